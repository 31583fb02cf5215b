"""Every product of the miniature is as recorded; and the command that says so finds, counts and refuses what it should."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import yaml
from content import Content, compare, read
from rasterio.transform import from_origin

import golden
from golden import Checksums, Finding, Machine, Record, Refusal, accept, findings, incomparable, products, rules_of
from workspace import Workspace

HERE = Machine("8.1.1", "AVX2")
RECORDED: Checksums = {"mask": {"masks/2016/1.tif": "a", "masks/2016/2.tif": "b"}, "page": {"report.html": "c"}}


@pytest.mark.e2e
def test_every_product_is_as_recorded(miniature: Workspace, cache: pytest.Cache) -> None:
    record, here = Record.read(), Machine.here()
    found = golden.checksums(miniature.results)
    listed = findings(record.rules, found)
    if listed and here != record.machine:
        # Another OTB segments otherwise, other arithmetic rounds otherwise: what the recorded commit makes on this machine decides.
        try:
            listed = findings(made_here(golden.recorded_commit(), here, cache), found)
        except Refusal as refusal:
            other = [finding for finding in listed if incomparable(finding, record.machine, here)]
            listed = [finding for finding in listed if finding not in other]
            if not listed:
                pytest.skip(f"{len(other)} products not comparable: recorded with {record.machine}, made with {here}; {refusal}")
    told = "\n".join(map(str, listed))
    assert not listed, f"{told}\n`python tests/golden/golden.py explain {miniature.results}` says how; see docs/golden.md"


def made_here(commit: str, machine: Machine, cache: pytest.Cache) -> Checksums:
    """Checksums of what a commit makes on this machine, made once and kept in pytest's cache."""
    key = f"golden/{commit}, {machine.otb}, {machine.arithmetic}".replace(" ", "-")
    known: Checksums | None = cache.get(key, None)
    if known is None:
        with golden.reference(commit) as results:
            known = golden.checksums(results)
        cache.set(key, known)
    return known


@pytest.mark.heavy
@pytest.mark.e2e
def test_rules_of_products_are_those_of_snakemake(miniature: Workspace) -> None:
    """Each declared output that exists is a product of the rule that Snakemake names, or a folder of such."""
    names = {name: product.rule for name, product in products(miniature.results).items()}
    lines = [line.split("\t") for line in miniature.snakemake("--summary").splitlines() if line.startswith("results/small/")]
    declared = {path.removeprefix("results/small/"): rule for path, _, rule, *_ in lines}
    assert len(declared) > 100
    wrong = {
        path: rule
        for path, rule in declared.items()
        if {of for name, of in names.items() if name == path or name.startswith(f"{path}/")} != {rule}
    }
    assert wrong == {}


def raster(path: Path, pixels: np.ndarray, tags: dict[str, str] | None = None, **profile: object) -> Path:
    bands = pixels if pixels.ndim == 3 else pixels[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"crs": "EPSG:32630", "transform": from_origin(600000, 700000, 10, 10), "nodata": 0} | profile
    with rasterio.open(
        path, "w", driver="GTiff", count=len(bands), height=bands.shape[1], width=bands.shape[2], dtype=bands.dtype, **options
    ) as target:
        target.write(bands)
        target.update_tags(**(tags or {}))
    return path


def both(path: Path, other: Path, name: str = "masks/2016/1.tif") -> tuple[Content, Content]:
    return read(path, name), read(other, name)


def test_a_changed_pixel_is_found_and_counted(tmp_path: Path) -> None:
    pixels = np.arange(1, 121, dtype=np.float32).reshape(2, 6, 10)
    changed = pixels.copy()
    changed[0, 2, 3] += 0.25
    changed[1, 2, 3] -= 1.5
    changed[1, 4, 4] += 1
    old, new = both(raster(tmp_path / "a.tif", pixels), raster(tmp_path / "b.tif", changed))
    assert old.checksum() != new.checksum()
    difference = compare(old, new)
    assert (difference.unit, difference.differing, difference.compared) == ("pixels", 2, 60)
    assert (difference.largest, difference.place, difference.notes) == (1.5, "band 2", ())
    assert str(difference) == "2 of 60 pixels differ, largest difference 1.5 (band 2)"


def test_tags_compression_and_times_are_not_content(tmp_path: Path) -> None:
    pixels = np.arange(60, dtype=np.uint16).reshape(6, 10)
    old, new = both(
        raster(tmp_path / "a.tif", pixels), raster(tmp_path / "b.tif", pixels, {"CONFIG": "new"}, compress="deflate", predictor=2)
    )
    assert (tmp_path / "a.tif").read_bytes() != (tmp_path / "b.tif").read_bytes()
    assert old.checksum() == new.checksum()


def test_nan_equals_nan_whatever_its_bits(tmp_path: Path) -> None:
    pixels = np.array([[1, np.nan], [0.0, 2]], np.float32)
    other = np.array([[1, 0], [-0.0, 2]], np.float32)
    other.view(np.uint32)[0, 1] = 0xFFC00123
    old, new = both(raster(tmp_path / "a.tif", pixels, nodata=np.nan), raster(tmp_path / "b.tif", other, nodata=np.nan))
    assert old.checksum() == new.checksum()
    assert compare(old, new).differing == 0
    filled = read(raster(tmp_path / "c.tif", np.nan_to_num(pixels), nodata=np.nan), "c")
    assert (compare(old, filled).differing, compare(old, filled).largest) == (1, 0)


@pytest.mark.parametrize(
    ("profile", "told"),
    [
        ({"crs": "EPSG:32631"}, "crs: EPSG:32630 → EPSG:32631"),
        ({"nodata": 255}, "nodata: 0.0 → 255.0"),
        ({"transform": from_origin(600010, 700000, 10, 10)}, "transform: [10.0, 0.0, 600000.0"),
    ],
)
def test_the_grid_is_content(tmp_path: Path, profile: dict[str, object], told: str) -> None:
    pixels = np.ones((4, 4), np.uint8)
    old, new = both(raster(tmp_path / "a.tif", pixels), raster(tmp_path / "b.tif", pixels, **profile))
    assert old.checksum() != new.checksum()
    assert compare(old, new).notes[0].startswith(told)


def test_type_and_shape_are_content(tmp_path: Path) -> None:
    ones = np.ones((4, 4), np.uint8)
    old = read(raster(tmp_path / "a.tif", ones), "a")
    assert old.checksum() != read(raster(tmp_path / "b.tif", ones.astype(np.uint16)), "b").checksum()
    wider = read(raster(tmp_path / "c.tif", np.ones((4, 5), np.uint8)), "c")
    assert "shape of band 1: 4 × 4 → 4 × 5" in compare(old, wider).notes


def test_a_table_is_compared_by_cells(tmp_path: Path) -> None:
    table = pd.DataFrame({"key": np.array([2**63, 5], np.uint64), "share": [0.5, np.nan], "who": ["A01", None], "scenes": [["a"], ["b"]]})
    changed = table.assign(share=[0.75, np.nan], who=["A02", None])
    table.to_parquet(tmp_path / "a.parquet", compression="zstd")
    table.to_parquet(tmp_path / "same.parquet", compression="snappy")
    changed.to_parquet(tmp_path / "b.parquet")
    old, new = both(tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert old.checksum() == read(tmp_path / "same.parquet", "same").checksum() != new.checksum()
    assert str(compare(old, new)) == "2 of 8 cells differ in 1 rows, largest difference 0.25 (share)"
    table.astype({"share": np.float32}).to_parquet(tmp_path / "c.parquet")
    assert compare(old, read(tmp_path / "c.parquet", "c")).notes == ("type of share: float64 → float32",)


def test_geometry_and_text_tables(tmp_path: Path) -> None:
    places = gpd.GeoDataFrame({"label": ["mining"]}, geometry=gpd.points_from_xy([1], [2]), crs=32630)
    places.to_file(tmp_path / "a.gpkg", layer="samples")
    places.translate(0, 1).to_frame("geometry").assign(label="mining")[["label", "geometry"]].to_file(tmp_path / "b.gpkg", layer="samples")
    assert compare(*both(tmp_path / "a.gpkg", tmp_path / "b.gpkg")).place == "samples: geometry"
    (tmp_path / "a.csv").write_text("tile_id,share\n0001,0.5\n")
    (tmp_path / "b.csv").write_text("tile_id,share\n1,0.75\n")
    assert str(compare(*both(tmp_path / "a.csv", tmp_path / "b.csv"))) == "2 of 2 cells differ in 1 rows, largest difference 0.25 (share)"


def test_values_of_json_and_what_is_left_out(tmp_path: Path) -> None:
    old = {"asked": "2026", "items": [{"a": 1, "href": "pixels/S2A/B02-0123456789abcdef.tif"}], "sum": "f" * 64}
    new = {"asked": "2027", "items": [{"a": 3.5, "href": "pixels/S2A/B02-fedcba9876543210.tif"}], "sum": "e" * 64, "more": []}
    for name, document in (("a", old), ("b", new)):
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    difference = compare(*both(tmp_path / "a.json", tmp_path / "b.json", "manifests/2016/s2.json"))
    assert str(difference) == "1 of 3 values differ, largest difference 2.5 (items[0].a); 1 new: more"
    assert "asked" in read(tmp_path / "a.json", "grid/grid.json").arrays


def test_lines_of_text_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<p>one</p>\n<img src="data:image/png;base64,AAAA">\n')
    (tmp_path / "b.html").write_text('<p>two</p>\n<img src="data:image/png;base64,BBBB">\n')
    assert str(compare(*both(tmp_path / "a.html", tmp_path / "b.html"))) == "1 of 2 lines differ, none of them by a number (text)"
    (tmp_path / "c.html").write_text("<p>one</p>\n")
    assert compare(*both(tmp_path / "a.html", tmp_path / "c.html")).notes == ("1 of 2 lines gone, 0 new",)


def test_products_of_a_run_by_rule(tmp_path: Path) -> None:
    results = tmp_path / "results/small"
    raster(results / "masks/2016/1.tif", np.ones((2, 2), np.uint8))
    (results / "patches/2016/1/MASK").mkdir(parents=True)
    (results / "patches/2016/1/MASK/.snakemake_timestamp").touch()
    cached = raster(tmp_path / "resources/automatic/pixels/S2A/B02-0123456789abcdef.tif", np.ones((2, 2), np.uint8))
    raster(tmp_path / "resources/automatic/pixels/S2A/B02-fedcba9876543210.tif", np.zeros((2, 2), np.uint8))
    fetched = {"block": "1", "items": [{"id": "S2A", "files": {"B02": str(cached.relative_to(tmp_path))}}]}
    (results / "fetched/2016/1").mkdir(parents=True)
    (results / "fetched/2016/1/s2.json").write_text(json.dumps(fetched))
    raster(tmp_path / "resources/automatic/small/archive/sentinel-2-l2a/S2A/B02.tif", np.ones((2, 2), np.uint8))
    found = products(results)
    assert {name: product.rule for name, product in found.items()} == {
        "fetched/2016/1/s2.json": "fetch",
        "masks/2016/1.tif": "mask",
        "pixels/S2A": "fetch",
        "world/archive/sentinel-2-l2a/S2A": "world",
    }
    assert found["pixels/S2A"].files == {"block 1 B02.tif": tmp_path / "resources/automatic/pixels/S2A/B02-0123456789abcdef.tif"}
    (results / "masks/2016/1.txt").touch()
    with pytest.raises(ValueError, match=r"masks/2016/1.txt \(no rule\)"):
        products(results)


def test_explanations_of_two_runs(tmp_path: Path) -> None:
    old, new = (tmp_path / name / "results/small" for name in ("old", "new"))
    raster(old / "masks/2016/1.tif", np.zeros((2, 2), np.uint8))
    raster(new / "masks/2016/1.tif", np.eye(2, dtype=np.uint8))
    for folder in (old, new):
        raster(folder / "masks/2016/2.tif", np.zeros((2, 2), np.uint8))
    raster(new / "masks/2022/1.tif", np.zeros((2, 2), np.uint8))
    assert [line.split(maxsplit=1)[1] for line in golden.explanations(new, old)] == [
        "masks/2016/1.tif: 2 of 4 pixels differ, largest difference 1 (band 1)",
        "masks/2022/1.tif: new",
    ]


def test_each_name_has_one_rule() -> None:
    assert rules_of("composites/static/1/dem.tif") == ["composite_dem"]
    assert rules_of("pictures/2016/1/mask.png") == ["label_pictures"]
    assert rules_of("pictures/metrics.png") == ["plots"]
    assert rules_of("other/pictures/metrics.png") == []


def test_new_missing_and_other_products_are_told() -> None:
    found: Checksums = {"mask": {"masks/2016/1.tif": "x", "masks/2022/1.tif": "d"}, "page": {"report.html": "c"}}
    assert findings(RECORDED, found) == [
        Finding("masks/2016/1.tif", "mask", "differs"),
        Finding("masks/2016/2.tif", "mask", "missing"),
        Finding("masks/2022/1.tif", "mask", "new"),
    ]


def test_what_another_machine_explains() -> None:
    """Another OTB what comes after segmentation, other arithmetic all; neither a missing file."""
    other = Machine("9.0.0", HERE.arithmetic)
    assert incomparable(Finding("masks/2016/1.tif", "mask", "differs"), HERE, other)
    assert not incomparable(Finding("masks/2016/1.tif", "mask", "missing"), HERE, other)
    assert not incomparable(Finding("composites/2016/1/s2.tif", "composite_s2", "differs"), HERE, other)
    assert incomparable(Finding("composites/2016/1/s2.tif", "composite_s2", "differs"), HERE, Machine(HERE.otb, "NEON"))
    assert not incomparable(Finding("masks/2016/1.tif", "mask", "differs"), HERE, HERE)


CHANGED: Checksums = {"mask": {"masks/2016/1.tif": "x", "masks/2016/2.tif": "b"}, "page": {"report.html": "y"}}


def test_accept_writes_checksums_and_the_reason(tmp_path: Path) -> None:
    record, log = tmp_path / "products.json", tmp_path / "accepted.yaml"
    Record(HERE, RECORDED).write(record)
    assert accept(CHANGED, "masks are smoothed", ["mask", "page"], HERE, record=record, log=log) == {"mask": 1, "page": 1}
    assert Record.read(record) == Record(HERE, CHANGED)
    accept(RECORDED, "and no more", [], HERE, record=record, log=log)
    entries = yaml.safe_load(log.read_text())
    assert [entry["reason"] for entry in entries] == ["masks are smoothed", "and no more"]
    assert entries[0]["products"] == {"mask": 1, "page": 1}


@pytest.mark.parametrize(
    ("found", "reason", "rules", "here", "told"),
    [
        (CHANGED, "  ", [], HERE, "expected a reason"),
        (CHANGED, "why", ["mask"], HERE, r"not named changed, too: page \(1\)"),
        (CHANGED, "why", ["mask", "page", "grid"], HERE, "nothing changed in: grid"),
        (RECORDED, "why", [], HERE, "nothing changed in: any rule"),
        (CHANGED, "why", [], Machine("9.0.0", HERE.arithmetic), "this machine has"),
    ],
)
def test_accept_refuses(tmp_path: Path, found: Checksums, reason: str, rules: list[str], here: Machine, told: str) -> None:
    record, log = tmp_path / "products.json", tmp_path / "accepted.yaml"
    Record(HERE, RECORDED).write(record)
    with pytest.raises(Refusal, match=told):
        accept(found, reason, rules, here, record=record, log=log)
    assert Record.read(record) == Record(HERE, RECORDED)
    assert not log.exists()


def test_the_record_of_the_repository_is_written_as_accept_writes_it(tmp_path: Path) -> None:
    record = Record.read()
    record.write(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == golden.RECORD.read_text()
    assert set(record.rules) == set(golden.RULES) - {"candidates"}, "candidates are made where `annotate` is asked for"
    assert [name for rule, names in record.rules.items() for name in names if rules_of(name) != [rule]] == []
