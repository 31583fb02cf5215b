"""The published folder: exactly the blocks' patches, linked, listed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from fake_results import CELLS, SIDE, Results, make_grid
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.dataset.assemble import assemble, read_list
from smallmines.dataset.seal import write_sums


def patch(path: Path, value: int) -> None:
    """Write a patch of one value."""
    raster.write(
        path, np.full((SIDE, SIDE), value, np.uint8), GeoBox((SIDE, SIDE), Affine(10, 0, 0, 0, -10, 0), "EPSG:32630"), 255, ["mask"]
    )


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Patches whose pixels and tag differ."""
    lattice = make_grid(tmp_path)
    for tile_id, _, _, block in CELLS:
        path = tmp_path / "patches" / block / f"MASK_GH_{tile_id}_2016.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        patch(path, int(tile_id))
        (path.parent / ".snakemake_timestamp").touch()
    return Results(tmp_path, lattice, 16)


def run(results: Results) -> dict[str, int]:
    folders = {block: results.folder / "patches" / block for block in "12"}
    return assemble(folders, results.lattice, "2016", "MASK", "GH", results.folder / "dataset" / "2016" / "MASK.sha256")


def inodes(results: Results) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in (results.folder / "dataset" / "2016" / "MASK").iterdir()}


def test_links_and_lists_all_tiles(results: Results) -> None:
    assert run(results) == {"linked": 6, "copied": 0, "kept": 0, "removed": 0, "strange": 0}
    assert inodes(results) == {
        f"MASK_GH_{c[0]}_2016.tif": (results.folder / "patches" / c[3] / f"MASK_GH_{c[0]}_2016.tif").stat().st_ino for c in CELLS
    }
    year = results.folder / "dataset" / "2016"
    listed = read_list(year / "MASK.sha256")
    assert list(listed) == [f"MASK/MASK_GH_{number:04d}_2016.tif" for number in range(1, 7)]
    checked = subprocess.run(["sha256sum", "-c", "--strict", "MASK.sha256"], cwd=year, capture_output=True, text=True)
    assert checked.returncode == 0
    assert checked.stdout.count(": OK") == 6


def test_unchanged_files_keep_their_inode_and_changed_ones_are_replaced(results: Results) -> None:
    run(results)
    before = inodes(results)
    changed = results.folder / "patches" / "1"
    shutil.copytree(changed, changed.with_name("new"))
    shutil.rmtree(changed)
    changed.with_name("new").rename(changed)  # all new inodes, as after a rerun of the patch rule
    patch(changed / "MASK_GH_0002_2016.tif", 77)
    assert run(results) == {"linked": 1, "copied": 0, "kept": 5, "removed": 0, "strange": 0}
    after = inodes(results)
    assert {name for name in after if after[name] != before[name]} == {"MASK_GH_0002_2016.tif"}
    assert (raster.read(results.folder / "dataset" / "2016" / "MASK" / "MASK_GH_0002_2016.tif") == 77).all()


def test_stale_patches_go_and_strangers_stay(results: Results) -> None:
    run(results)
    folder = results.folder / "dataset" / "2016" / "MASK"
    for name in ("MASK_GH_0099_2016.tif", "MASK_GH_0001_2016.tif.aux.xml", ".MASK_GH_0001_2016.77.tif", "notes.txt"):
        (folder / name).write_text("x")
    assert run(results) == {"linked": 0, "copied": 0, "kept": 6, "removed": 3, "strange": 1}
    assert {path.name for path in folder.iterdir()} == {f"MASK_GH_{c[0]}_2016.tif" for c in CELLS} | {"notes.txt"}


def test_copies_where_links_are_impossible(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("smallmines.core.files.os.link", refuse)
    assert run(results)["copied"] == 6
    before = inodes(results)
    assert run(results)["kept"] == 6
    assert inodes(results) == before


@pytest.mark.parametrize("defect", ["missing", "double", "unknown"])
def test_a_tile_missing_or_double_is_refused(results: Results, defect: str) -> None:
    one, two = (results.folder / "patches" / block for block in "12")
    if defect == "missing":
        (one / "MASK_GH_0002_2016.tif").unlink()
    elif defect == "double":
        shutil.copy(one / "MASK_GH_0002_2016.tif", two)
    else:
        (two / "MASK_GH_0077_2016.tif").touch()
    with pytest.raises(UserError, match=r"1 missing .*MASK_GH_0002" if defect == "missing" else r"1 too many or double .*MASK_GH_00"):
        run(results)
    assert not (results.folder / "dataset" / "2016" / "MASK.sha256").exists()


def test_a_list_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_list(tmp_path / "IMAGE.sha256")
    (tmp_path / "IMAGE.sha256").write_text("abc  x\n")
    with pytest.raises(UserError, match="line 1"):
        read_list(tmp_path / "IMAGE.sha256")


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("damage", [b"", b"cut", b"garbage"])
def test_a_patch_that_cannot_be_read_is_refused_with_its_name(results: Results, again: bool, damage: bytes) -> None:
    """Also when it was published before: source and published file are one."""
    if again:
        run(results)
    listed = results.folder / "dataset/2016/MASK.sha256"
    listed.unlink(missing_ok=True)  # as Snakemake does before the job
    path = results.folder / "patches/1/MASK_GH_0002_2016.tif"
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.truncate(0)
        file.write({b"cut": content[: len(content) - 20], b"garbage": bytes(len(content))}.get(damage, damage))
    with pytest.raises(UserError) as refused:
        run(results)
    assert "1 that cannot be read" in refused.value.found
    assert str(path) in refused.value.found
    assert refused.value.do == f"delete {path.parent} and run again, which makes them anew"
    assert not listed.exists()
    shutil.rmtree(path.parent)  # what it says
    for tile_id, _, _, block in CELLS:
        if block == "1":
            path.parent.mkdir(exist_ok=True)
            patch(path.parent / f"MASK_GH_{tile_id}_2016.tif", int(tile_id))
    run(results)
    assert len(read_list(listed)) == 6


def test_a_list_that_lost_lines_is_not_sealed(results: Results) -> None:
    run(results)
    path = results.folder / "dataset/2016/MASK.sha256"
    assert write_sums(results.folder / "dataset", [path], []) == 7
    (path.with_suffix("") / "notes.txt").touch()  # `verify` names it
    assert write_sums(results.folder / "dataset", [path], []) == 7
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:4]))
    with pytest.raises(UserError, match=r"MASK\.sha256\nfound     2 missing, e\.g\. MASK/MASK_GH_0005_2016\.tif"):
        write_sums(results.folder / "dataset", [path], [])


@pytest.mark.parametrize("name", ["splits.csv", "facts.json", "LICENSE"])
def test_a_cut_file_is_not_sealed(tmp_path: Path, name: str) -> None:
    contents = {"splits.csv": "tile_id,split\n0001,train\n", "facts.json": '{"a": 1}\n', "LICENSE": "CC-BY-SA-4.0\n"}
    for other, content in contents.items():
        (tmp_path / other).write_text(content)
    files = [tmp_path / other for other in contents]
    assert write_sums(tmp_path, [], files) == 3
    before = (tmp_path / "SHA256SUMS").read_text()
    (tmp_path / name).write_text(contents[name][:-4])
    with pytest.raises(UserError, match=f"a readable file {tmp_path / name}"):
        write_sums(tmp_path, [], files)
    assert (tmp_path / "SHA256SUMS").read_text() == before
