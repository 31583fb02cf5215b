"""Kept measurements: the answers are the same with and without, also where a file was changed after it was measured."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio

from fake_results import Results, make_results, publish
from sections import Doctor
from smallmines.core.errors import UserError
from smallmines.core.files import sha256
from smallmines.core.product import PATCH_BANDS
from smallmines.dataset import assemble as assembling
from smallmines.dataset import band_statistics, measured, patch_measures
from smallmines.dataset.index import IndexSources, block_rows, read_index, read_rows, write_index, write_rows
from smallmines.dataset.measured import Measured, Sum, measured_checksums, read_measured
from smallmines.dataset.patches import read_patch
from smallmines.dataset.verify import Expected, verify_dataset
from smallmines.doctor import measure
from smallmines.doctor.block_measures import first_scenes, measure_images, measure_masks
from smallmines.doctor.examine import KEPT, examine, summary
from smallmines.doctor.labels import contradictions, contradictions_of_year, write_contradictions
from smallmines.doctor.phase_correlation import Spectra, cross_power, spectrum

LIMITS = Doctor()
YEARS = ("2016", "2022")
IMAGE, MASK = "2022/IMAGE/IMG_GH_0004_2022.tif", "2022/MASK/MASK_GH_0004_2022.tif"


@dataclass(frozen=True)
class Made:
    """Two years of a made-up dataset and the tables of its measurements."""

    results: Results
    tables: list[Path]

    @property
    def dataset(self) -> Path:
        return self.results.folder / "dataset"


def block(results: Results, year: str, number: str, kind: str) -> Path:
    return results.folder / "patches" / year / number / kind


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("results")
    tables = []
    for year in YEARS:
        results = make_results(folder, 64, year=year)
        publish(results, year=year)
        for (_, number), files in results.files(year).items():
            images, masks = (block(results, year, number, kind) for kind in ("IMAGE", "MASK"))
            before = None if year == YEARS[0] else block(results, YEARS[0], number, "IMAGE")
            own = [folder / "measured" / year / number / f"{kind}.parquet" for kind in ("IMAGE", "MASK")]
            measure_images(images, before, first_scenes(files.source, files.s2, results.lattice, number), own[0])
            measure_masks(masks, images, own[0], own[1])
            tables += own
        lists = [folder / "dataset" / year / f"{kind}.sha256" for kind in ("IMAGE", "MASK")]
        tables.append(folder / "measured" / year / "contradictions.parquet")
        write_contradictions(lists, tables[:-1], 1, tables[-1])
    return Made(results, tables)


@pytest.fixture
def no_reading(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the patches that are read."""
    read: list[str] = []

    def noted(path: Path) -> object:
        read.append(Path(path).name)
        return read_patch(path)

    for module in (measure, patch_measures):
        monkeypatch.setattr(module, "read_patch", noted)
    return read


def test_nothing_is_read_where_nothing_changed(made: Made, no_reading: list[str]) -> None:
    kept = read_measured(made.tables, KEPT)
    with_kept = examine(made.dataset, LIMITS, kept=kept)
    assert no_reading == []
    without = examine(made.dataset, LIMITS)
    assert len(no_reading) == 24
    assert summary(with_kept) == summary(without)
    pd.testing.assert_frame_equal(with_kept.measured.table, without.measured.table)
    pd.testing.assert_frame_equal(with_kept.measured.pixels, without.measured.pixels)
    pd.testing.assert_frame_equal(with_kept.measured.changes, without.measured.changes)
    assert with_kept.measured.changes["alike"].notna().all()
    one, two = (examined.measured.spectra.sums() for examined in (with_kept, without))
    assert one.keys() == two.keys()
    assert {kind.split()[0] for kind, _ in one} == {"radar", "slope", "mask", "years"}
    for key, (cross, count) in one.items():
        assert count == two[key][1]
        np.testing.assert_array_equal(cross, two[key][0])


def rewritten(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    with rasterio.open(path) as source:
        array, profile, tags, bands = source.read(), source.profile, source.tags(), source.descriptions
    path.unlink()
    with rasterio.open(path, "w", **profile) as target:
        target.write(change(array).astype(array.dtype))
        target.update_tags(**tags)
        target.descriptions = bands


def swap(folder: Path) -> None:
    one, two = folder / IMAGE, folder / IMAGE.replace("0004", "0005")
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


SIDE_CAR = "<PAMDataset><Metadata><MDI key='A'>/home/x/y</MDI></Metadata></PAMDataset>"

DAMAGES: dict[str, Callable[[Path], object]] = {
    "a swapped pair of images": swap,
    "an edited mask": lambda folder: rewritten(folder / MASK, lambda mask: np.where(mask == 1, 0, mask)),
    "an edited image": lambda folder: rewritten(folder / IMAGE, lambda image: image + 7),
    "an image of the year before": lambda folder: rewritten(folder / IMAGE.replace("2022", "2016"), lambda image: image[:, ::-1]),
    "a file cut short": lambda folder: (folder / IMAGE).write_bytes((folder / IMAGE).read_bytes()[:3000]),
    "a file of nothing": lambda folder: (folder / MASK).write_bytes(b""),
    "a byte more": lambda folder: (folder / MASK).write_bytes((folder / MASK).read_bytes() + b"x"),
    "a missing mask": lambda folder: (folder / MASK).unlink(),
    "a side-car file": lambda folder: (folder / f"{MASK}.aux.xml").write_text(SIDE_CAR),
    "an image over a mask": lambda folder: shutil.copyfile(folder / IMAGE, folder / MASK),
    "a mask over an image": lambda folder: shutil.copyfile(folder / MASK, folder / IMAGE),
    "an image twice": lambda folder: shutil.copyfile(folder / IMAGE, folder / IMAGE.replace("0004", "0005")),
}


@pytest.fixture
def spoilt(made: Made, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made.dataset, tmp_path / "dataset"))


HEAVY = {"an edited image", "a file of nothing", "a byte more", "a side-car file", "a mask over an image", "an image twice"}
"""Damages like another one that `make test` tries."""


@pytest.mark.parametrize("damage", [pytest.param(name, marks=pytest.mark.heavy if name in HEAVY else ()) for name in DAMAGES])
def test_what_changed_after_it_was_measured_is_found(made: Made, spoilt: Path, damage: str) -> None:
    kept = read_measured(made.tables)
    DAMAGES[damage](spoilt)
    assert summary(examine(spoilt, LIMITS, kept=kept)) == summary(examine(spoilt, LIMITS))
    expected = Expected(made.results.lattice, ["2022"], "GH")
    index = read_index(spoilt / "index.parquet")
    one, two = (verify_dataset(spoilt, index, expected, 2, own)[0] for own in (kept, None))
    assert one == two
    assert bool(one) == (damage != "an image of the year before"), "2022 alone is verified"


def test_what_was_measured_is_not_decoded_before_it_is_published(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []

    def noted(paths: Iterable[Path]) -> list[tuple[Path, str]]:
        decoded.extend(path.name for path in paths)
        return [(path, "broken") for path in paths]

    monkeypatch.setattr(assembling, "unreadable", noted)
    folders = {number: tmp_path / number for number in made.results.lattice.windows}
    for number, folder in folders.items():
        shutil.copytree(block(made.results, "2022", number, "MASK"), folder)
    tables = [table for table in made.tables if table.name == "MASK.parquet" and "2022" in table.parts]
    places = (folders, made.results.lattice, "2022", "MASK", "GH", tmp_path / "2022/MASK.sha256")
    assert assembling.assemble(*places, tables)["linked"] == 6
    assert decoded == []
    path = next(path for folder in folders.values() for path in folder.glob("*_0004_*"))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match="1 that cannot be read"):
        assembling.assemble(*places, tables)
    assert decoded == [path.name]


def test_times_are_no_proof(made: Made, spoilt: Path) -> None:
    """A file with other bytes and the time and size of the one that was measured is read again."""
    kept, path = read_measured(made.tables), spoilt / MASK
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    index = read_index(spoilt / "index.parquet")
    findings, _ = verify_dataset(spoilt, index, Expected(made.results.lattice, ["2022"], "GH"), 1, kept)
    assert MASK in {name for finding in findings if finding.check == "altered" for name in finding.tiles}


def test_verification_reads_no_patch_again(made: Made, no_reading: list[str]) -> None:
    kept = read_measured(made.tables, ["patch"])
    index = read_index(made.dataset / "index.parquet")
    found = verify_dataset(made.dataset, index, Expected(made.results.lattice, ["2022"], "GH"), 2, kept)
    assert no_reading == []
    assert found == verify_dataset(made.dataset, index, Expected(made.results.lattice, ["2022"], "GH"), 2)


def test_band_statistics_are_the_same(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = read_measured(made.tables, ["patch", band_statistics.SUM])
    images = sorted((made.dataset / "2016/IMAGE").glob("*.tif"))
    plain = band_statistics.band_statistics(images)
    monkeypatch.setattr(band_statistics, "read_bands", lambda path: pytest.fail(f"{path} is read"))
    assert band_statistics.band_statistics(images, kept) == plain
    assert plain["B02"]["count"] > 0


def test_band_statistics_of_a_part_read_what_no_sum_covers(made: Made) -> None:
    kept = read_measured(made.tables, ["patch", band_statistics.SUM])
    images = sorted((made.dataset / "2016/IMAGE").glob("*.tif"))[1:]
    assert band_statistics.band_statistics(images, kept) == band_statistics.band_statistics(images)


def test_rows_of_a_block_are_the_same_through_a_file(made: Made, tmp_path: Path) -> None:
    results, year = made.results, "2022"
    files = results.files(year)
    rows = {}
    for (_, number), own in files.items():
        rows[year, number] = str(tmp_path / f"{number}.parquet")
        write_rows(own, results.lattice, year, number, rows[year, number])
        pd.testing.assert_frame_equal(read_rows(rows[year, number]), block_rows(own, results.lattice, year, number))
    lists = [made.dataset / year / f"{kind}.sha256" for kind in ("IMAGE", "MASK")]
    others = (results.folder / "grid/fishnet.parquet", made.dataset / "labels.json", made.dataset / "splits.csv")
    windows = {year: [f"{year}-01-01", f"{year}-01-31"]}
    for blocks, name in ((files, "a"), (rows, "b")):
        write_index(IndexSources(blocks, lists, *others), results.lattice, "GH", windows, "made-up", tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_measurement_comes_back_as_it_was(made: Made, tmp_path: Path) -> None:
    path = made.dataset / IMAGE
    fresh, _ = patch_measures.measured(path, "image")
    kept = read_measured(made.tables).patches[sha256(path)]
    assert kept.form == fresh.form
    assert fresh.form is not None
    assert str(kept.form.geobox.crs) == str(fresh.form.geobox.crs)
    assert json.dumps(kept.values) == json.dumps(fresh.values)
    np.testing.assert_array_equal(kept.sample, fresh.sample)
    np.testing.assert_array_equal(kept.planes, fresh.planes)
    with rasterio.open(path) as source:
        np.testing.assert_array_equal(kept.plane(0), (source.read(list(range(1, 11))) == -9999).any(axis=0))
    assert set(kept.sample.shape) == {len(PATCH_BANDS), patch_measures.SAMPLE}


def test_a_table_of_another_version_counts_as_empty_and_a_broken_one_is_named(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "IMAGE.parquet"
    path.write_bytes(made.tables[0].read_bytes()[:-20])
    with pytest.raises(UserError, match="measurements of patches"):
        read_measured([path])
    monkeypatch.setattr(measured, "VERSION", 2)
    assert read_measured(made.tables).patches == {}


def test_a_table_of_another_version_may_have_other_columns(made: Made, tmp_path: Path) -> None:
    path, table = tmp_path / "IMAGE.parquet", pq.read_table(made.tables[0])
    pq.write_table(table.drop(["key"]).replace_schema_metadata({"measured": "2"}), path)
    assert measured_checksums([path]) == set()
    assert read_measured([path]).patches == {}
    pq.write_table(table.drop(["key"]), path)
    with pytest.raises(UserError, match="measurements of patches"):
        measured_checksums([path])


def test_tags_of_another_type_are_named(made: Made, tmp_path: Path) -> None:
    path, table = tmp_path / "IMAGE.parquet", pq.read_table(made.tables[0])
    at = table.column_names.index("tags")
    pq.write_table(table.set_column(at, "tags", pa.array(["[]"] * len(table), pa.string())), path, write_page_checksum=True)
    with pytest.raises(UserError, match="measurements of patches"):
        read_measured([path])


def test_a_flipped_bit_of_a_table_gives_no_other_measurement(made: Made, tmp_path: Path) -> None:
    table = next(table for table in made.tables if table.name == "IMAGE.parquet")
    content, path = table.read_bytes(), tmp_path / "IMAGE.parquet"
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    whole, named = texts(read_measured([table])), list[str]()
    for place in np.random.default_rng(0).integers(4, footer, 60).tolist():
        flipped = bytearray(content)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        try:
            assert texts(read_measured([path])) == whole, f"byte {place}"
        except UserError as error:
            named.append(error.expected)
    assert set(named) == {f"measurements of patches in {path}"}
    assert len(named) > 40, "most bytes are of pages"


def texts(kept: Measured) -> dict[str, tuple[str, bytes]]:
    """All that is in a table, by patch or sum."""
    patches = {
        key: (json.dumps([own.values, repr(own.form)]), own.sample.tobytes() + own.planes.tobytes()) for key, own in kept.patches.items()
    }
    return patches | {f"{own.what} {' '.join(own.members)}": (json.dumps(own.values), own.array.tobytes()) for own in kept.sums}


def test_labels_are_compared_where_a_mask_has_the_bytes_of_an_image(made: Made, tmp_path: Path) -> None:
    lists = [tmp_path / f"{kind}.sha256" for kind in ("IMAGE", "MASK")]
    for path in lists:
        shutil.copyfile(made.dataset / "2022" / path.name, path)
    digests = (sha256(made.dataset / MASK), sha256(made.dataset / IMAGE))
    lists[1].write_text(lists[1].read_text().replace(*digests))
    write_contradictions(lists, made.tables[:-1], 1, tmp_path / "contradictions.parquet")
    assert len(read_measured([tmp_path / "contradictions.parquet"]).sums) == 1


def test_images_with_values_that_are_not_finite_are_measured_and_named(made: Made, spoilt: Path, tmp_path: Path) -> None:
    def spoil(image: np.ndarray) -> np.ndarray:
        image = image.copy()
        image[0, 0, :3] = np.nan, np.inf, -np.inf
        image[12, 5, 5] = np.nan
        return image

    rewritten(spoilt / IMAGE, spoil)
    measure_images(spoilt / "2022/IMAGE", spoilt / "2016/IMAGE", {}, tmp_path / "IMAGE.parquet")
    kept = read_measured([tmp_path / "IMAGE.parquet"])
    assert kept.patches[sha256(spoilt / IMAGE)].values["nonfinite"] == 4
    images = sorted((spoilt / "2022/IMAGE").glob("*.tif"))
    statistics = band_statistics.band_statistics(images)
    before = band_statistics.band_statistics(sorted((made.dataset / "2022/IMAGE").glob("*.tif")))
    assert band_statistics.band_statistics(images, kept) == statistics
    assert {name: before[name]["count"] - statistics[name]["count"] for name in PATCH_BANDS if before[name] != statistics[name]} == {
        "B02": 3,
        "DEM": 1,
    }
    assert all(np.isfinite(value) for own in statistics.values() for value in (own["mean"], own["sd"], *own["quantiles"]))
    found = [finding for finding in examine(spoilt, LIMITS, kept=kept).findings if finding.check == "not finite"]
    assert [(finding.severity, finding.found) for finding in found] == [("error", "NaN or infinity in 1 images")]
    index = read_index(spoilt / "index.parquet")
    problems, _ = verify_dataset(spoilt, index, Expected(made.results.lattice, ["2022"], "GH"), 1, kept)
    assert [problem.tiles for problem in problems if problem.found == "NaN or infinite values"] == [(IMAGE,)]


def test_a_patch_with_a_side_car_file_is_not_kept(spoilt: Path, tmp_path: Path) -> None:
    """What GDAL reads together with the patch may be gone when its bytes are looked up."""
    for path, tag in ((IMAGE, "A"), (MASK, "B")):
        (spoilt / f"{path}.aux.xml").write_text(SIDE_CAR.replace("'A'", f"'{tag}'"))
    tables = [tmp_path / "IMAGE.parquet", tmp_path / "MASK.parquet"]
    measure_images(spoilt / "2022/IMAGE", spoilt / "2016/IMAGE", {}, tables[0])
    measure_masks(spoilt / "2022/MASK", spoilt / "2022/IMAGE", tables[0], tables[1])
    kept = read_measured(tables)
    left = {sha256(path) for path in (spoilt / "2022").glob("*/*.tif")} - set(kept.patches)
    assert left == {sha256(spoilt / IMAGE), sha256(spoilt / MASK)}
    assert not {member for own in kept.sums for members in own.members for member in members.split()} & left
    for path in (IMAGE, MASK):
        (spoilt / f"{path}.aux.xml").unlink()
    assert summary(examine(spoilt, LIMITS, kept=kept)) == summary(examine(spoilt, LIMITS))


def test_a_sum_counts_only_with_all_its_members() -> None:
    sums = [Sum("radar", members, {"count": 1}, np.zeros(1)) for members in (("a", "b"), ("c",), ("d", "d"))]
    kept = Measured(sums=sums)
    chosen, left = kept.usable("radar", ["a", "c", "d", "d", "e"])
    assert [own.members for own in chosen] == [("c",), ("d", "d")]
    assert sorted(left.elements()) == ["a", "e"]
    assert kept.usable("radar", ["d"])[0] == []
    assert kept.usable("mask", ["c"])[0] == []


def test_parts_of_spectra_in_any_order_give_the_same_sum() -> None:
    random = np.random.default_rng(0)
    crosses = [cross_power(*(spectrum(random.normal(size=(64, 64))) for _ in range(2))) for _ in range(40)]
    whole, parts = Spectra(), Spectra()
    for cross in crosses:
        whole.add(("radar", "g"), cross)
    for start in (20, 0):
        part = Spectra()
        for cross in reversed(crosses[start : start + 20]):
            part.add(("radar", "g"), cross)
        parts.merge(part)
    np.testing.assert_array_equal(whole.sums()["radar", "g"][0], parts.sums()["radar", "g"][0])
    assert whole.sums()["radar", "g"][1] == parts.sums()["radar", "g"][1] == 40


def test_the_size_of_most_patches_is_correlated() -> None:
    spectra = Spectra()
    for side in (63, 64, 64):
        spectra.add(("radar", "g"), np.ones((side, side // 2 + 1), complex))
    cross, count = spectra.sums()["radar", "g"]
    assert (cross.shape, count) == ((64, 33), 2)


def test_small_parts_are_counted_by_the_limit() -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[5, 5:8] = mask[20, 4:9] = 1
    array = patch_measures.of_mask(mask)
    own = patch_measures.PatchMeasures("", None, array, patch_measures.NO_SAMPLE, np.ones((3, 1), np.uint8), (2, 4))
    epoch = measure.Epoch(2016, "g", None, "m", set())
    assert array["specks"] == [3, 5]
    for limit, specks in ((4, 3), (6, 8), (2, 0)):
        assert measure.row_of("1", epoch, None, own, replace(LIMITS, speck_px=limit))["specks"] == specks


def test_another_pixel_makes_another_forest() -> None:
    random = np.random.default_rng(0)
    parts = []
    for number in range(9):
        mask = random.uniform(size=64) < 0.4
        bands = {name: (2000 + 800 * mask + random.normal(0, 300, 64)).astype(np.float32) for name in PATCH_BANDS}
        parts.append(pd.DataFrame(bands).assign(tile=f"{number:04d}", year=2016, place=range(64), mask=mask.astype(float)))
    pixels = pd.concat(parts, ignore_index=True)
    kept = Measured(sums=[contradictions_of_year(pixels)])
    areas, patches = contradictions(pixels)
    again, same = contradictions(pixels, kept=kept)
    assert areas == again
    assert areas[2016] > 0.8
    pd.testing.assert_frame_equal(patches, same)
    kept.sums[0].values["area"] = 0.5
    assert contradictions(pixels, kept=kept)[0] == {2016: 0.5}, "the kept result is taken"
    other = pixels.assign(B02=pixels["B02"].where(pixels.index != 7, 1.0))
    assert contradictions(other, kept=kept)[0] == contradictions(other)[0] != {2016: 0.5}
