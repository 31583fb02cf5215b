"""Masks of a release from a local folder or zip: what is taken, and what is refused."""

from __future__ import annotations

import json
import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from release import YEARS, write_grid, write_mask, write_release, zipped
from smallmines.archive.release_images import read_images
from smallmines.archive.released import read_released
from smallmines.core.errors import UserError
from smallmines.core.files import sha256
from smallmines.core.release import Release, read_release
from smallmines.settings.released import Released


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_grid(tmp_path / "grid.json")
    return tmp_path


def read(path: str, sha: str | None = None, years: tuple[str, ...] = YEARS) -> Release:
    read_released(Released("a/b", "c.zip", path, None, sha), years, "resources/user/x", "grid.json", "release.json")
    return read_release("release.json")


def test_a_folder_is_taken_in_place(here: Path) -> None:
    write_release(here)
    release = read("SmallMinesDS")
    assert (release.source, release.reading, release.address, release.sha256, release.size) == (
        "folder",
        "folder",
        "SmallMinesDS",
        None,
        None,
    )
    assert [mask.path for mask in release.masks[:2]] == [f"SmallMinesDS/2016/MASK/MASK_GH_000{number}_2016.tif" for number in (1, 2)]
    assert len(release.masks) == 12
    fifth = release.masks[4]
    assert (fifth.name, fifth.year, fifth.left, fifth.top) == ("MASK_GH_0005_2016.tif", 2016, 600_320.0, 699_680.0)
    assert fifth.sha256 == sha256(fifth.path)
    assert release.only_ours == release.only_released == {"2016": [], "2022": []}


def test_tiles_on_one_side_are_listed_by_place(here: Path) -> None:
    write_release(here, tiles=4, years=["2022"])
    write_grid(here / "grid.json", [("0007", 0, 0), ("0008", 0, 1), ("0009", 3, 2)])
    release = read("SmallMinesDS", years=("2022",))
    assert release.only_ours == {"2022": ["0009"]}
    assert release.only_released == {"2022": ["MASK_GH_0003_2022.tif", "MASK_GH_0004_2022.tif"]}


def test_a_zip_is_extracted_once(here: Path) -> None:
    zipped(write_release(here), here / "r.zip", image_bytes=1000)
    release = read("r.zip", sha256("r.zip"))
    assert (release.source, release.reading, release.sha256, release.size) == (
        "zip",
        "whole",
        sha256("r.zip"),
        (here / "r.zip").stat().st_size,
    )
    path = Path(release.masks[0].path)
    assert path == Path(f"resources/automatic/released/{sha256('r.zip')[:16]}/2016/MASK/MASK_GH_0001_2016.tif")
    assert path.read_bytes() == (here / "SmallMinesDS/2016/MASK/MASK_GH_0001_2016.tif").read_bytes()
    assert not list(here.rglob("resources/**/IMG_*"))
    before = path.stat().st_mtime_ns
    Path(release.masks[1].path).write_bytes(b"damaged")
    assert read("r.zip") == release
    assert path.stat().st_mtime_ns == before
    assert sha256(release.masks[1].path) == release.masks[1].sha256


def refused(path: str, sha: str | None = None) -> str:
    with pytest.raises(UserError) as error:
        read(path, sha)
    assert len(str(error.value).splitlines()) == 3
    return str(error.value)


def test_another_checksum_and_no_file_are_refused(here: Path) -> None:
    zipped(write_release(here), here / "r.zip")
    assert sha256("r.zip") in refused("r.zip", "0" * 64)
    assert "no such file: nowhere.zip" in refused("nowhere.zip")


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_in_any_compression_is_refused(here: Path, kind: int) -> None:
    with zipfile.ZipFile(here / "r.zip", "w", kind) as archive:
        for path in sorted(write_release(here).rglob("*.tif")):
            archive.write(path, path.relative_to(here))
    content = bytearray((here / "r.zip").read_bytes())
    content[120:124] = b"\xff\xff\xff\xff"
    (here / "r.zip").write_bytes(content)
    assert "a whole zip at r.zip" in refused("r.zip")


@pytest.mark.parametrize("signature", [b"PK\x01\x02", b"PK\x03\x04"])
def test_a_name_that_is_no_text_is_refused(here: Path, signature: bytes) -> None:
    content = bytearray(zipped(write_release(here), here / "r.zip").read_bytes())
    start = content.index(signature)
    flags, name = (9, 46) if signature == b"PK\x01\x02" else (7, 30)
    content[start + flags] |= 8  # UTF-8
    content[start + name] = 0xFF
    (here / "r.zip").write_bytes(content)
    assert "a whole zip at r.zip" in refused("r.zip")


def test_an_offset_before_the_file_is_refused(here: Path) -> None:
    content = bytearray(zipped(write_release(here), here / "r.zip").read_bytes())
    end = content.rindex(b"PK\x05\x06")
    content[end + 16 : end + 20] = struct.pack("<I", int.from_bytes(content[end + 16 : end + 20], "little") + 5000)
    (here / "r.zip").write_bytes(content)
    assert "a whole zip at r.zip" in refused("r.zip")


VRT = b"""<VRTDataset rasterXSize="32" rasterYSize="32"><SRS>EPSG:32630</SRS><GeoTransform>600000,10,0,700000,0,-10</GeoTransform>
<VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename>/elsewhere.tif</SourceFilename></SimpleSource></VRTRasterBand>
</VRTDataset>"""


@pytest.mark.parametrize("content", [VRT, b"", b"version https://git-lfs.github.com/spec/v1"])
def test_a_file_of_another_format_is_refused(here: Path, content: bytes) -> None:
    path = write_release(here) / "2016/MASK/MASK_GH_0001_2016.tif"
    path.write_bytes(content)
    assert f"a GeoTIFF in {path.relative_to(here)}" in refused("SmallMinesDS")
    zipped(here / "SmallMinesDS", here / "r.zip")
    assert "a GeoTIFF in SmallMinesDS/2016/MASK/MASK_GH_0001_2016.tif" in refused("r.zip")
    assert not list(here.rglob("resources/**/MASK_GH_0001_2016.tif"))


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/nowhere")])
def test_a_mask_that_is_no_file_is_refused(here: Path, make: Callable[[Path], None]) -> None:
    make(write_release(here) / "2016/MASK/MASK_GH_0009_2016.tif")
    assert "a readable mask SmallMinesDS/2016/MASK/MASK_GH_0009_2016.tif" in refused("SmallMinesDS")


def test_a_mask_cut_short_is_refused(here: Path) -> None:
    path = write_release(here) / "2016/MASK/MASK_GH_0001_2016.tif"
    path.write_bytes(path.read_bytes()[:-40])
    assert "a readable mask SmallMinesDS/2016/MASK/MASK_GH_0001_2016.tif" in refused("SmallMinesDS")


def test_an_empty_zip_is_refused(here: Path) -> None:
    zipfile.ZipFile(here / "r.zip", "w").close()
    assert "none of 2016, 2022" in refused("r.zip")


def test_images_of_another_archive_than_the_labels_come_from_are_refused(here: Path) -> None:
    zipped(write_release(here), here / "r.zip", image_bytes=1000)
    read("r.zip")
    settings = Released("a/b", "c.zip", "r.zip", None, None)
    read_images(settings, YEARS, "resources/user/x", "images.json", "release.json")
    assert json.loads(Path("images.json").read_text())["sha256"] == sha256("r.zip")
    zipped(here / "SmallMinesDS", here / "r.zip", image_bytes=1001)
    with pytest.raises(UserError, match="the archive that the labels come from"):
        read_images(settings, YEARS, "resources/user/x", "images.json", "release.json")


def test_a_folder_has_no_checksum(here: Path) -> None:
    write_release(here)
    assert "the folder SmallMinesDS" in refused("SmallMinesDS", "0" * 64)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_truncated_zip_is_refused(here: Path, share: float) -> None:
    content = zipped(write_release(here), here / "r.zip", image_bytes=2000).read_bytes()
    (here / "r.zip").write_bytes(content[: int(len(content) * share)])
    assert "a whole zip at r.zip" in refused("r.zip")


def test_a_damaged_member_is_refused(here: Path) -> None:
    zipped(write_release(here), here / "r.zip", compressed=False)
    with zipfile.ZipFile(here / "r.zip") as archive:
        offset = archive.infolist()[3].header_offset + 100
    content = bytearray((here / "r.zip").read_bytes())
    content[offset] ^= 1
    (here / "r.zip").write_bytes(content)
    assert "Bad CRC-32" in refused("r.zip")


def _named(name: str) -> Callable[[zipfile.ZipFile], None]:
    return lambda archive: archive.writestr(name, b"evil")


def _link(archive: zipfile.ZipFile) -> None:
    info = zipfile.ZipInfo("SmallMinesDS/2016/MASK/MASK_GH_0009_2016.tif")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(info, "/etc/passwd")


def _bomb(archive: zipfile.ZipFile) -> None:
    archive.writestr("SmallMinesDS/2016/MASK/MASK_GH_0009_2016.tif", bytes(2_000_000))


@pytest.mark.parametrize(
    ("add", "found"),
    [
        (_named("../MASK_GH_0009_2016.tif"), "leaves the folder"),
        (_named("SmallMinesDS/../../x.txt"), "leaves the folder"),
        (_named("/etc/MASK_GH_0009_2016.tif"), "leaves the folder"),
        (_named("C:/MASK_GH_0009_2016.tif"), "leaves the folder"),
        (_named("SmallMinesDS\\2016\\MASK_GH_0009_2016.tif"), "leaves the folder"),
        (_link, "is a link"),
        (_bomb, "MASK_GH_0009_2016.tif of 2.0 MB"),
        (_named("SmallMinesDS/2016/MASK/MASK_GH_0009_2022.tif"), "SmallMinesDS/2016/MASK/MASK_GH_0009_2022.tif"),
        (_named("SmallMinesDS/more/MASK_GH_0001_2016.tif"), "SmallMinesDS/more/MASK_GH_0001_2016.tif"),
    ],
)
def test_a_member_that_is_not_as_it_should_be_is_refused(here: Path, add: Callable[[zipfile.ZipFile], None], found: str) -> None:
    zipped(write_release(here), here / "r.zip")
    with zipfile.ZipFile(here / "r.zip", "a", zipfile.ZIP_DEFLATED) as archive:
        add(archive)
    assert found in refused("r.zip")
    assert not list(here.rglob("resources/**/*.tif")), "refused before anything is written"


def test_a_member_longer_than_its_directory_says_is_refused(here: Path) -> None:
    zipped(write_release(here), here / "r.zip")
    with zipfile.ZipFile(here / "r.zip", "a", zipfile.ZIP_DEFLATED) as archive:
        _bomb(archive)
    content = (here / "r.zip").read_bytes()
    assert content.count(struct.pack("<I", 2_000_000)) == 2
    (here / "r.zip").write_bytes(content.replace(struct.pack("<I", 2_000_000), struct.pack("<I", 20_000)))
    assert "a whole zip" in refused("r.zip")


def test_an_encrypted_member_is_refused(here: Path) -> None:
    zipped(write_release(here), here / "r.zip")
    content = bytearray((here / "r.zip").read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (here / "r.zip").write_bytes(content)
    assert "MASK_GH_0001_2016.tif is encrypted" in refused("r.zip")


def test_a_year_without_masks_is_refused(here: Path) -> None:
    zipped(write_release(here, years=["2016"]), here / "r.zip")
    assert "none of 2022" in refused("r.zip")
    assert "none of 2022" in refused("SmallMinesDS")


def test_a_mask_in_the_folder_of_another_year_is_refused_in_a_folder_too(here: Path) -> None:
    write_mask(write_release(here) / "2016/MASK/MASK_GH_0009_2022.tif", 2, 2)
    assert "2016/MASK/MASK_GH_0009_2022.tif" in refused("SmallMinesDS")


def test_two_masks_of_one_name_or_place_are_refused(here: Path) -> None:
    other = write_mask(write_release(here) / "2016/copy/MASK_GH_0001_2016.tif", 2, 3)
    assert "each mask once" in refused("SmallMinesDS")
    other.unlink()
    write_mask(here / "SmallMinesDS/2016/MASK/MASK_GH_0009_2016.tif", 0, 0)
    assert "MASK_GH_0001_2016.tif and SmallMinesDS/2016/MASK/MASK_GH_0009_2016.tif lie on one" in refused("SmallMinesDS")


@pytest.mark.parametrize(
    "form",
    [
        {"col": 0.5},
        {"col": 1 / 32},
        {"col": 0.25 / 32},
        {"crs": "EPSG:32631"},
        {"step": 20.0},
        {"side": 64},
    ],
)
def test_a_foreign_lattice_is_refused(here: Path, form: dict[str, object]) -> None:
    place = {"col": 2, "row": 3, **form}
    write_mask(write_release(here) / "2016/MASK/MASK_GH_0009_2016.tif", **place)  # type: ignore[arg-type]
    text = refused("SmallMinesDS")
    assert "masks on tiles of the run's lattice: EPSG:32630, 32 × 32 px of 10 m, corner 600000.0, 700000.0" in text
    assert "set grid.anchor" in text
