"""Verification: a sound dataset passes, and each defect put into it is found by the check that is meant for it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine

from fake_results import Results, make_results, publish
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import sha256
from smallmines.core.product import PATCH_BANDS, UNITS
from smallmines.dataset.band_statistics import band_statistics
from smallmines.dataset.index import read_index
from smallmines.dataset.seal import write_archive
from smallmines.dataset.verify import Expected, VerifiedFiles, verify, verify_dataset
from smallmines.labels.label_quality import missed_gates
from smallmines.loaders.folder import read_image, read_pairs

IMAGE, MASK = "2016/IMAGE/IMG_GH_0004_2016.tif", "2016/MASK/MASK_GH_0004_2016.tif"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Results:
    made = make_results(tmp_path_factory.mktemp("sound"))
    publish(made)
    return made


@pytest.fixture
def results(sound: Results, tmp_path: Path) -> Results:
    """A copy that a test may spoil."""
    shutil.copytree(sound.folder / "dataset", tmp_path / "dataset")
    return Results(tmp_path, sound.lattice, sound.side)


def expected(results: Results) -> Expected:
    return Expected(results.lattice, ["2016"], "GH")


def found(results: Results) -> set[tuple[str, str]]:
    table = read_index(results.folder / "dataset" / "index.parquet")
    findings, _ = verify_dataset(results.folder / "dataset", table, expected(results))
    return {(finding.check, *finding.tiles) for finding in findings}


def relist(results: Results, name: str) -> None:
    """Bring checksum list and index up to the file, so that only the defect itself is left to find."""
    dataset = results.folder / "dataset"
    year, kind, base = name.split("/")
    listed = dataset / year / f"{kind}.sha256"
    lines = [line for line in listed.read_text().splitlines() if not line.endswith(base)] + [f"{sha256(dataset / name)}  {kind}/{base}"]
    listed.write_text("".join(f"{line}\n" for line in sorted(lines, key=lambda line: line[66:])))
    table = gpd.read_parquet(dataset / "index.parquet")
    column = "image" if kind == "IMAGE" else "mask"
    table.loc[table[column] == name, f"{column}_sha256"] = sha256(dataset / name)
    table.to_parquet(dataset / "index.parquet", index=False)


def rewrite(results: Results, name: str, change: Callable[[dict[str, object]], None]) -> None:
    """Write a patch anew with something changed in its parts."""
    path = results.folder / "dataset" / name
    with rasterio.open(path) as source:
        parts: dict[str, object] = {
            "array": source.read(),
            "geobox": raster.geobox_of(source),
            "nodata": source.nodata,
            "bands": source.descriptions,
            "tags": source.tags(),
            "units": tuple(unit or "" for unit in source.units),
        }
    change(parts)
    raster.write(path, **parts)  # type: ignore[arg-type]
    relist(results, name)


def run(results: Results, **gates: float | None) -> None:
    dataset, target = results.folder / "dataset", results.folder / "verify.json"
    files = VerifiedFiles(results.lists, dataset / "index.parquet", dataset / "labels.json")
    verify(files, expected(results), gates, "demo", 2, target)


def test_splits_that_are_not_those_of_the_index(results: Results) -> None:
    path = results.folder / "dataset/splits.csv"
    good = path.read_text()
    path.write_text(good.replace("train", "val", 1))
    with pytest.raises(UserError, match="is val, in the index train"):
        run(results)
    path.write_text("\n".join(good.splitlines()[:-1]) + "\n")
    with pytest.raises(UserError, match="1 missing"):
        run(results)
    path.write_text(good)
    run(results)


def test_gates(results: Results) -> None:
    run(results, minimum_kappa=0.81, maximum_open_share=0.02, minimum_validated_share=0.1)
    (results.folder / "verify.json").unlink()
    for gate, value, words in (
        ("minimum_kappa", 0.82, "kappa of A01, A02 is 0.810, not 0.82"),
        ("maximum_open_share", 0.01, "0.0200 of the area is open, not 0.01"),
        ("minimum_validated_share", 0.2, "people have looked at 0.1000 of the area, not 0.2"),
    ):
        with pytest.raises(UserError, match=words):
            run(results, **{gate: value})
        assert not (results.folder / "verify.json").exists()
    known = json.loads((results.folder / "dataset/labels.json").read_text())
    known["years"]["2016"]["agreement"]["year"] = []
    assert missed_gates(known, {"minimum_kappa": 0.5}) == [
        "2016: no two people labelled the same segments blind, kappa must be 0.5 (labels.gates.minimum_kappa)"
    ]
    assert missed_gates(known, {"minimum_kappa": None}) == []


def test_a_sound_dataset_passes(results: Results) -> None:
    assert found(results) == set()
    run(results)
    assert json.loads((results.folder / "verify.json").read_text()) == {
        **{"findings": 0, "tiles": 6, "years": ["2016"], "rows": 6},
        **{"files": 12, "pairs": 6, "pixels": 6 * 256},
    }


def test_rewriting_alone_is_no_defect(results: Results) -> None:
    rewrite(results, IMAGE, lambda parts: None)
    assert found(results) == set()


def test_a_deleted_patch_fails_the_run_and_is_named(results: Results) -> None:
    (results.folder / "dataset" / MASK).unlink()
    assert found(results) == {("missing", MASK)}
    with pytest.raises(UserError, match=r"1 problems(.|\n)*MASK_GH_0004_2016.tif: no such file"):
        run(results)
    assert not (results.folder / "verify.json").exists()


def test_an_extra_file(results: Results) -> None:
    (results.folder / "dataset" / "2016" / "IMAGE" / "IMG_GH_0044_2016.tif").write_text("x")
    assert found(results) == {("extra", "2016/IMAGE/IMG_GH_0044_2016.tif")}


def test_an_altered_file(results: Results) -> None:
    path = results.folder / "dataset" / IMAGE
    path.write_bytes(path.read_bytes() + b"\0")
    assert found(results) == {("altered", IMAGE)}


def test_a_truncated_file(results: Results) -> None:
    path = results.folder / "dataset" / IMAGE
    os.truncate(path, path.stat().st_size // 2)
    assert {check for check, _ in found(results)} == {"altered", "readable"}


def test_a_tile_not_listed_and_a_list_missing(results: Results) -> None:
    listed = results.folder / "dataset" / "2016" / "MASK.sha256"
    listed.write_text("".join(line for line in listed.read_text().splitlines(keepends=True) if "0004" not in line))
    assert found(results) == {("list", MASK)}
    listed.unlink()
    assert found(results) == {("list", "2016/MASK.sha256")}


def change_place(parts: dict[str, object]) -> None:
    geobox = parts["geobox"]
    parts["geobox"] = type(geobox)(geobox.shape, geobox.transform * Affine.translation(1, 0), geobox.crs)  # type: ignore[call-arg,attr-defined]


def change_crs(parts: dict[str, object]) -> None:
    geobox = parts["geobox"]
    parts["geobox"] = type(geobox)(geobox.shape, geobox.transform, "EPSG:32631")  # type: ignore[call-arg,attr-defined]


def change_shape(parts: dict[str, object]) -> None:
    parts["array"] = parts["array"][:, :-1]  # type: ignore[index]
    parts["geobox"] = parts["geobox"][:-1]  # type: ignore[index]


def change_values(place: object, value: float) -> Callable[[dict[str, object]], None]:
    def change(parts: dict[str, object]) -> None:
        parts["array"][place] = value  # type: ignore[index]

    return change


def swap_bands(parts: dict[str, object]) -> None:
    parts["bands"] = ("B03", "B02", *PATCH_BANDS[2:])


DEFECTS: dict[str, tuple[str, Callable[[dict[str, object]], None], set[str]]] = {
    "shifted by a pixel": (IMAGE, change_place, {"place"}),
    "another zone": (MASK, change_crs, {"crs"}),
    "a row short": (IMAGE, change_shape, {"shape"}),
    "bands swapped": (IMAGE, swap_bands, {"bands"}),
    "no units": (IMAGE, lambda parts: parts.update(units=("",) * 13), {"units"}),
    "wrong unit": (IMAGE, lambda parts: parts.update(units=("dB", *UNITS[1:])), {"units"}),
    "bands missing": (IMAGE, lambda parts: parts.update(array=parts["array"][:6], bands=PATCH_BANDS[:6], units=UNITS[:6]), {"bands"}),  # type: ignore[index]
    "float64": (IMAGE, lambda parts: parts.update(array=parts["array"].astype(np.float64)), {"dtype"}),  # type: ignore[attr-defined]
    "nodata 0": (IMAGE, lambda parts: parts.update(nodata=0), {"nodata"}),
    "mask nodata missing": (MASK, lambda parts: parts.update(nodata=None), {"nodata"}),
    "tags of another tile": (MASK, lambda parts: parts.update(tags={"TILE_ID": "0001", "YEAR": "2016"}), {"tags"}),
    "NaN": (IMAGE, change_values(np.s_[12, 9, 9], np.nan), {"nodata"}),
    "Sentinel-2 gap in one band": (IMAGE, change_values(np.s_[3, 9, 9], -9999), {"nodata", "pair", "index"}),
    "Sentinel-2 fraction": (IMAGE, change_values(np.s_[3, 9, 9], 1500.5), {"values"}),
    "wrapped nodata in Sentinel-1": (IMAGE, change_values(np.s_[10, 9, 9], 55537), {"values"}),
    "linear power": (IMAGE, change_values(np.s_[10:12], 0.2), {"values"}),
    "mask value 2": (MASK, change_values(np.s_[0, 9, 9], 2), {"values"}),
    "mask without data under it": (MASK.replace("0004", "0001"), change_values(np.s_[0, 0:2], 0), {"pair", "index"}),
    "mask 255 over data": (MASK, change_values(np.s_[0, 9, 9], 255), {"pair", "index"}),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_of_a_file_is_found(results: Results, defect: str) -> None:
    name, change, checks = DEFECTS[defect]
    rewrite(results, name, change)
    assert {check for check, _ in found(results)} == checks


@pytest.mark.parametrize(
    ("column", "value"),
    [("mining_percent", 50.5), ("image", "x.tif"), ("block", "2"), ("col", 9), ("mask_sha256", "0" * 64), ("open_percent", 99.0)],
)
def test_a_wrong_row_of_the_index_is_found(results: Results, column: str, value: object) -> None:
    path = results.folder / "dataset" / "index.parquet"
    table = gpd.read_parquet(path)
    table.loc[table["tile_id"] == "0004", column] = value
    table.to_parquet(path, index=False)
    checks = {check for check, _ in found(results)}
    assert checks == ({"pair"} if column == "open_percent" else {"index"})


def test_missing_and_double_rows_of_the_index(results: Results) -> None:
    path = results.folder / "dataset" / "index.parquet"
    table = gpd.read_parquet(path)
    table.iloc[[0, 1, 2, 3, 4, 4]].to_parquet(path, index=False)
    findings, _ = verify_dataset(path.parent, read_index(path), expected(results))
    assert [finding.found for finding in findings] == ["no row for tile 0006 of 2016", "2 rows for tile 0005 of 2016"]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: (folder / "LICENSE").write_text("mine"), "LICENSE: its content is not what was sealed"),
        (lambda folder: (folder / "stac/2016/GH_0001_2016.json").unlink(), "GH_0001_2016.json: is sealed but not there"),
        (lambda folder: (folder / "notes.txt").write_text("x"), "notes.txt: does not belong here"),
        (lambda folder: (folder / "SHA256SUMS").unlink(), "SHA256SUMS: no such file"),
    ],
)
def test_the_seal_is_held_against_the_folder(results: Results, spoil: Callable[[Path], object], told: str) -> None:
    spoil(results.folder / "dataset")
    with pytest.raises(UserError, match=told):
        run(results)


@pytest.mark.parametrize("name", [IMAGE, MASK])
def test_a_patch_that_is_a_folder_or_a_link_to_nowhere_is_missing(results: Results, name: str) -> None:
    path = results.folder / "dataset" / name
    path.unlink()
    path.symlink_to("nowhere.tif")
    assert found(results) == {("missing", name)}
    path.unlink()
    path.mkdir()
    assert found(results) == {("missing", name)}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("labels.json", b"{", r"labels\.json: is not what label_quality writes"),
        ("labels.json", b"\xff\xfe", r"labels\.json: is not what label_quality writes"),
        ("labels.json", b"[]", r"labels\.json: is not what label_quality writes: TypeError"),
        ("labels.json", b'{"years": {"2016": {}}}', "KeyError: 'agreement'"),
        ("SHA256SUMS", b"\xff\xfe\0", r"SHA256SUMS: .* in line 1"),
        ("2016/IMAGE.sha256", b"\xff\n", r"2016/IMAGE\.sha256: .* in line 1"),
        ("index.parquet", b"PAR1", "an index of tiles and years"),
        ("splits.csv", b"tile_id;year;split;fold\n", r"splits\.csv: semicolons in line 1"),
    ],
)
def test_damaged_tables_and_documents_are_told(results: Results, name: str, content: bytes, words: str) -> None:
    (results.folder / "dataset" / name).write_bytes(content)
    with pytest.raises(UserError, match=words):
        run(results)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("open_percent", np.nan, "labels are open on -1"),
        ("mining_percent", "x", "an index of tiles and years"),
        ("year", "x", "an index of tiles and years"),
        ("row", None, "an index of tiles and years"),
        ("tile_id", None, "no row for tile 0001 of 2016"),
    ],
)
def test_values_of_another_kind_in_the_index_are_told(results: Results, column: str, value: object, words: str) -> None:
    path = results.folder / "dataset/index.parquet"
    table = gpd.read_parquet(path)
    table[column] = value
    table.to_parquet(path, index=False)
    with pytest.raises(UserError, match=words):
        run(results)


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "three bands", "folder", "nowhere"])
def test_images_that_cannot_be_read_stop_statistics_loaders_and_archive(results: Results, damage: str) -> None:
    path = results.folder / "dataset" / IMAGE
    content = path.read_bytes()
    if damage == "three bands":
        with rasterio.open(path) as source:
            array, geobox = source.read([1, 2, 3]), raster.geobox_of(source)
        raster.write(path, array, geobox, -9999, PATCH_BANDS[:3])
    else:
        path.unlink()
        if damage == "folder":
            path.mkdir()
        elif damage == "nowhere":
            path.symlink_to("nowhere.tif")
        else:
            path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "text": b"hello"}[damage])
    dataset, target = results.folder / "dataset", results.folder / "x.zip"
    for act in (
        lambda: band_statistics(sorted((dataset / "2016/IMAGE").glob("*.tif"))),
        lambda: [read_image(image) for image in read_pairs(dataset)["image"]],
        lambda: write_archive(dataset / "SHA256SUMS", "made-up", target),
    ):
        with pytest.raises(UserError) as error:
            act()
        assert len(str(error.value).splitlines()) == 3
        assert "IMG_GH_0004_2016.tif" in str(error.value)
    assert not target.exists()
