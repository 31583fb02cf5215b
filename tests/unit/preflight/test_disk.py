"""Disk space before a run: estimates of planned jobs on a small lattice, what exists already, disks that are too small."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections import namedtuple
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely

from smallmines.config.parse import parse_config
from smallmines.config.sections import Config
from smallmines.core.errors import UserError
from smallmines.core.product import S2_BANDS
from smallmines.grid.make import lattice_json
from smallmines.preflight import disk
from smallmines.preflight.disk import EACH, FETCHED, SEGMENTING, TILES, WINDOW, Job, check_space, needed, require_space
from smallmines.sensors.footprint import footprint_of
from smallmines.sensors.manifest import Manifest, ManifestItem, Query, Sentinel2Entry
from smallmines.sensors.manifest_files import write_manifest
from smallmines.settings.grid import Grid
from smallmines.settings.parameters import settings_of

LEFT, TOP, SIDE = 586600, 729640, 1280
WINDOW_1, WINDOW_2 = 6 * 128**2, 2 * 128**2
"""Pixels of the rectangles of block 1 (five tiles in two rows of three) and block 2 (two tiles)."""


def config_of(**more: Any) -> Config:
    grid = {"crs": "EPSG:32630", "blocks": 2, "anchor": {"x": LEFT, "y": TOP}}
    return parse_config({"run": "mine", "aoi": {"source": "file"}, "grid": grid, "years": {2016: WINTER}} | more)


WINTER = {"start": "2016-01-01", "end": "2016-01-31"}
BOTH = {2016: WINTER, 2022: {"start": "2022-01-01", "end": "2022-01-31"}}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_lattice(config: Config) -> None:
    places = [(0, 0, 1), (0, 1, 1), (0, 2, 1), (1, 0, 1), (1, 2, 1), (0, 3, 2), (0, 4, 2)]
    squares = [shapely.box(LEFT + col * SIDE, TOP - (row + 1) * SIDE, LEFT + (col + 1) * SIDE, TOP - row * SIDE) for row, col, _ in places]
    rows, cols, blocks = zip(*places, strict=True)
    columns = {"tile_id": [f"{n:04d}" for n in range(1, 8)], "row": rows, "col": cols, "block": list(map(str, blocks))}
    cells = gpd.GeoDataFrame(columns, geometry=squares, crs="EPSG:32630")
    path = Path("results/mine/grid/grid.json")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(lattice_json(cells, settings_of(config.grid, Grid), 10.0)))


def of_block(rule: str, block: str, *outputs: str, threads: int = 1, **wildcards: str) -> Job:
    return Job(rule, {"year": "2016", "block": block} | wildcards, outputs, threads)


def test_products_take_space_by_the_pixels_of_rectangle_or_tiles() -> None:
    config = config_of()
    write_lattice(config)
    need = needed(
        config, [of_block("composite_s2", "1"), of_block("image_patches", "1"), of_block("image_patches", "2"), Job("covered", {})]
    )
    assert need is not None
    assert need.results == pytest.approx(WINDOW["composite_s2"] * WINDOW_1 + TILES["image_patches"] * 7 * 128**2)
    assert (need.pixels, need.temporary) == (0, 0)
    pictures = needed(config, [of_block("pictures", "1")])
    assert pictures is not None
    assert pictures.results == 20 * WINDOW_1, "less than what a large picture takes"
    package = needed(config_of(years=BOTH), [Job("package", {})])
    assert package is not None
    assert package.results == TILES["package"] * 7 * 128**2 * 2, "all blocks of all years"


def test_the_map_takes_space_by_year_and_pair_and_the_shards_for_all_years() -> None:
    config, pixels = config_of(years=BOTH), 7 * 128**2
    write_lattice(config)
    expected = [
        (Job("map_mosaic", {"year": "2016"}), TILES["map_mosaic"] * pixels),
        (Job("map_picture", {"year": "2016"}), EACH["map_picture"]),
        (Job("map_change", {"first": "2016", "last": "2022"}), TILES["map_change"] * pixels + EACH["map_change"]),
        (of_block("map_model_block", "2"), TILES["map_model_block"] * 2 * 128**2),
        (Job("huggingface", {}), TILES["huggingface"] * 2 * pixels + EACH["huggingface"]),
    ]
    for job, size in expected:
        need = needed(config, [job])
        assert need is not None
        assert need.results == pytest.approx(size), job.rule


def test_products_that_exist_count_as_done() -> None:
    config = config_of()
    write_lattice(config)
    Path("s2.tif").write_bytes(bytes(1000))
    Path("folder").mkdir()
    need = needed(config, [of_block("composite_s2", "1", "s2.tif", "clear.tif", "folder")])
    assert need is not None
    assert need.results == pytest.approx(WINDOW["composite_s2"] * WINDOW_1 - 1000)
    Path("s2.tif").write_bytes(bytes(10_000_000))
    again = needed(config, [of_block("composite_s2", "1", "s2.tif")])
    assert again is not None
    assert again.results == 0


def test_temporary_files_are_those_of_the_segmentations_that_run_at_once() -> None:
    config = config_of()
    write_lattice(config)
    jobs = [of_block("segment", "1", threads=2), of_block("segment", "2", threads=2)]
    for cores, pixels in ((1, WINDOW_1), (2, WINDOW_1), (4, WINDOW_1 + WINDOW_2), (16, WINDOW_1 + WINDOW_2), (None, WINDOW_1 + WINDOW_2)):
        need = needed(config, jobs, cores)
        assert need is not None
        assert need.temporary == SEGMENTING * pixels
    elsewhere = needed(config, jobs, None, nodes=1)
    assert elsewhere is not None
    assert elsewhere.temporary == SEGMENTING * WINDOW_1


def write_scenes(config: Config, shares: list[float]) -> None:
    """Write a manifest of Sentinel-2 items, each of which covers a share of block 1 from the west."""
    sizes = disk._sizes(config, grid_is_planned=False)
    assert sizes is not None
    assert sizes.lattice is not None
    geobox = sizes.lattice.block("1")
    items = []
    for number, share in enumerate(shares, 1):
        entry = Sentinel2Entry(f"item{number}", number, f"take{number}", number, "2016-01-05T10:00:00Z", "T30NWN", "S2A", 1.0, 208, False)
        hrefs = {band: f"https://archive/{number}/{band}.tif" for band in (*S2_BANDS, "SCL")}
        items.append(ManifestItem(entry, footprint_of(geobox[:, : round(share * geobox.shape.x)]), hrefs))
    query = Query("sentinel-2-l2a", "2016", {"2016": ["2016-01-01", "2016-01-31"]}, {})
    write_manifest("results/mine/manifests/2016/s2.json", Manifest("s2", "earth_search", None, "", None, query, tuple(items), {}))


def test_pixels_are_those_under_the_footprints_of_the_chosen_scenes() -> None:
    config = config_of()
    write_lattice(config)
    write_scenes(config, [1.0, 0.25])
    fetch = of_block("fetch", "1", sensor="s2")
    need = needed(config, [fetch])
    assert need is not None
    assert need.pixels == pytest.approx(FETCHED["s2"] * WINDOW_1 * 1.25, rel=0.01)
    before = needed(config, [fetch, Job("search", {"year": "2016", "sensor": "s2"})])
    assert before is not None
    assert before.pixels == disk.TYPICAL_DATATAKE * 6 * WINDOW_1, "scenes that will be chosen anew"


def test_pixels_in_the_cache_count_as_done() -> None:
    config = config_of()
    write_lattice(config)
    write_scenes(config, [1.0])
    whole = needed(config, [of_block("fetch", "1", sensor="s2")])
    assert whole is not None
    from smallmines.archive.fetch import Cache, files_of_block
    from smallmines.sensors.manifest_files import read_manifest
    from smallmines.settings.fetch import FetchSentinel2

    sizes = disk._sizes(config, grid_is_planned=False)
    assert sizes is not None
    assert sizes.lattice is not None
    (files,) = files_of_block(
        read_manifest("results/mine/manifests/2016/s2.json").chosen,
        "s2",
        sizes.lattice.block("1"),
        Cache(disk.PIXELS, 1),
        settings_of(config.sentinel2, FetchSentinel2),
    )
    assert len(files) == 11
    for file in files[:3]:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        file.path.touch()
    rest = needed(config, [of_block("fetch", "1", sensor="s2")])
    assert rest is not None
    assert rest.pixels == pytest.approx(whole.pixels * 8 / 11)


def test_of_many_blocks_some_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of()
    write_lattice(config)
    write_scenes(config, [1.0])
    single = needed(config, [of_block("fetch", "1", sensor="s2")])
    assert single is not None
    looked: list[object] = []
    true = disk._fetched
    monkeypatch.setattr(disk, "_fetched", lambda *words: looked.append(words) or true(*words))
    many = needed(config, [of_block("fetch", "1", sensor="s2")] * 120)
    assert many is not None
    assert many.pixels == pytest.approx(120 * single.pixels)
    assert len(looked) == 40


@pytest.mark.parametrize(
    ("start", "end", "passes"), [("2016-01-01", "2016-01-31", 3), ("2018-01-01", "2018-01-31", 6), ("2022-01-01", "2022-03-01", 5)]
)
def test_passes_of_sentinel1_before_the_search(start: str, end: str, passes: int) -> None:
    year = dt.date.fromisoformat(start).year
    config = config_of(years={year: {"start": start, "end": end}})
    write_lattice(config)
    need = needed(config, [of_block("fetch", "2", year=str(year), sensor="s1")])
    assert need is not None
    assert need.pixels == pytest.approx(FETCHED["s1"] * passes * WINDOW_2)


def test_before_the_grid_is_made_sizes_follow_from_the_area() -> None:
    config = config_of()
    jobs = [Job("grid", {}), of_block("image_patches", "1"), of_block("image_patches", "2")]
    assert needed(config, jobs) is None, "neither grid nor area"
    expected = needed(config_of(aoi={"source": "file", "expected_area_km2": 163.84}), jobs)
    assert expected is not None
    assert expected.results == pytest.approx(TILES["image_patches"] * 110 * 128**2)
    area = gpd.GeoDataFrame(geometry=[shapely.box(LEFT + 10, TOP - 4 * SIDE + 10, LEFT + 3 * SIDE - 10, TOP - 10)], crs="EPSG:32630")
    path = Path("resources/user/mine/aoi.gpkg")
    path.parent.mkdir(parents=True)
    area.to_file(path)
    given = needed(config, jobs)
    assert given is not None
    assert given.results == pytest.approx(TILES["image_patches"] * 12 * 128**2)


Usage = namedtuple("Usage", "total used free")


def test_a_disk_without_the_space_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: Usage(10e9, 7e9, 3e9))
    require_space({Path("results/mine"): 2.9e9})
    with pytest.raises(UserError) as refused:
        require_space({Path("results/mine"): 1e9, Path("resources/automatic/pixels"): 2.1e9})
    assert "about 3.1 GB of free disk space for results/mine and resources/automatic/pixels" in str(refused.value)
    assert "found     3.0 GB free of 10.0 GB" in str(refused.value)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: Usage(1e9, 1e9, 0))
    require_space({Path("results/mine"): 99e6})


def test_folders_on_several_disks_are_counted_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("results", "pixels"):
        Path(name).mkdir()
    true = os.stat

    def stat(path: Any, *args: Any, **more: Any) -> os.stat_result:
        found = true(path, *args, **more)
        return os.stat_result([*found[:2], 77 if "pixels" in str(path) else 76, *found[3:]])

    monkeypatch.setattr(disk.os, "stat", stat)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: Usage(10e9, 7e9, 3e9))
    require_space({Path("results"): 2e9, Path("pixels"): 2e9})
    with pytest.raises(UserError, match=r"3\.5 GB of free disk space for pixels"):
        require_space({Path("results"): 2e9, Path("pixels"): 3.5e9})


def test_the_estimate_is_printed_where_it_is_noticeable(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(years=BOTH)
    write_lattice(config)
    jobs = [of_block("fetch", block, sensor="s2", year=year) for block in "12" for year in ("2016", "2022")]
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: Usage(1e9, 1e9, 1e6))
    check_space(config, jobs, 2)
    assert capsys.readouterr().err == "", "16 MB"
    with pytest.raises(SystemExit) as stopped:
        check_space(config_of(years=BOTH, sentinel2={"max_datatakes": 100}), jobs, 2)
    assert "disk space: about 0.3 GB to come (pixels 0.3 GB, products 0.0 GB, temporary files 0.0 GB)" in capsys.readouterr().err
    assert str(stopped.value).splitlines()[-1] == "nothing was run"


def test_blocks_that_the_grid_lacks_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    config = config_of()
    write_lattice(config)
    write_scenes(config, [1.0])
    rules = ("segment", "composite_s2", "pictures")
    jobs = [*(of_block(rule, "1") for rule in rules), of_block("fetch", "1", sensor="s2")]
    raised = [*(of_block(rule, block) for rule in rules for block in "34"), of_block("fetch", "3", sensor="s2")]
    expected = needed(config, jobs, 2)
    assert capsys.readouterr().err == ""
    assert needed(config, [*jobs, *raised], 2) == expected
    assert capsys.readouterr().err == "disk space: blocks that the grid lacks are not in the estimate: 3, 4\n"
    check_space(config, raised, 2)
    assert capsys.readouterr().err.startswith("disk space: blocks that the grid lacks are not in the estimate: 3, 4\n")


def test_what_cannot_be_estimated_stops_no_run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of()
    write_lattice(config)
    write_scenes(config, [1.0])
    manifest = Path("results/mine/manifests/2016/s2.json")
    manifest.write_text(manifest.read_text()[:100])
    check_space(config, [of_block("fetch", "1", sensor="s2")], 2)
    line = capsys.readouterr().err
    assert line.startswith(f"disk space: not estimated (expected a manifest, a JSON file, at {manifest}; found ")
    assert line.count("\n") == 1

    def wrong(*_: object) -> None:
        raise KeyError("3")

    monkeypatch.setattr(disk, "needed", wrong)
    check_space(config, [], 2)
    assert capsys.readouterr().err == "disk space: not estimated (KeyError: '3')\n"
