"""The miniature Earth: its traps are in it, it is as hard as nature, and it is made again to the byte."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pystac
import pytest
import rasterio

from bench import difficulty
from miniature import people, score
from miniature.landscape import CODE, make_land
from miniature.layers import scratch
from miniature.make import expected_steps, make_world
from miniature.place import place
from smallmines.config.parse import parse_config
from smallmines.config.sections import Config
from smallmines.core.errors import UserError
from smallmines.core.product import S2_BANDS
from smallmines.grid.make import fishnet
from smallmines.sensors.radiometry import read_metadata

pytestmark = [pytest.mark.heavy, pytest.mark.matrix]

TILES = 5


def config_of(*years: int, blocks: int = 2) -> Config:
    epochs = {year: {"start": f"{year}-01-01", "end": f"{year}-01-31"} for year in years}
    return parse_config({"run": "tiny", "grid": {"blocks": blocks}, "years": epochs})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    root = tmp_path_factory.mktemp("world")
    config = config_of(2016, 2022)
    told: list[str] = []
    made = make_world(config, TILES, seed=3, root=root, tell=told.append, jobs=3)
    return SimpleNamespace(root=root, config=config, made=made, told=told, archive=made.layout.archive)


def items(world: SimpleNamespace, collection: str) -> list[pystac.Item]:
    catalogue = pystac.Catalog.from_file(str(world.archive / "catalog.json"))
    child = catalogue.get_child(collection)
    assert child is not None
    return sorted(child.get_items(), key=lambda item: item.id)


def pixels(item: pystac.Item, asset: str) -> tuple[np.ndarray, rasterio.DatasetReader]:
    with rasterio.open(item.assets[asset].get_absolute_href()) as source:
        return source.read(1), source


def test_every_item_and_asset_can_be_read(world: SimpleNamespace) -> None:
    assert len(world.told) == expected_steps(world.config)
    found = [item for name in ("sentinel-2-l2a", "sentinel-1-rtc", "cop-dem-glo-30") for item in items(world, name)]
    assert len(found) == world.made.items
    for item in found:
        for name, asset in item.assets.items():
            if name == "product_metadata":
                offset = 1000 if item.properties["s2:processing_baseline"] == "05.00" else None
                baseline = int(item.properties["s2:processing_baseline"].replace(".", ""))
                assert read_metadata(Path(asset.get_absolute_href()).read_text())[:2] == (baseline, [-offset] * 13 if offset else [])
                continue
            with rasterio.open(asset.get_absolute_href()) as source:
                assert source.profile["tiled"] or max(source.shape) <= 256, (item.id, name)


def test_tiles_are_those_of_the_configured_lattice(world: SimpleNamespace) -> None:
    aoi = gpd.read_file(world.root / "resources/user/tiny/aoi.gpkg")
    assert len(fishnet(aoi, world.config.grid)) == world.made.tiles == TILES
    assert aoi.geometry.area.sum() < TILES * 1280**2


def test_offset_follows_the_baseline_and_one_overpass_is_there_twice(world: SimpleNamespace) -> None:
    twice: dict[tuple[str, str], list[str]] = {}
    for item in items(world, "sentinel-2-l2a"):
        baseline = item.properties["s2:processing_baseline"]
        assert f"_N{baseline.replace('.', '')}_" in item.id
        darkest = min(float(np.percentile(band[band > 1], 0.1)) for band in (pixels(item, name)[0] for name in S2_BANDS))
        if item.properties["eo:cloud_cover"] < 95:
            assert (darkest >= 1000) == (baseline == "05.00"), item.id
        twice.setdefault((item.datetime.isoformat(), item.properties["grid:code"]), []).append(baseline)
    doubles = {key: sorted(found) for key, found in twice.items() if len(found) > 1}
    assert list(doubles.values()) == [["02.08", "05.00"]]


def test_the_two_products_of_an_overpass_differ_by_the_offset_alone(world: SimpleNamespace) -> None:
    old, new = (item for item in items(world, "sentinel-2-l2a") if "20160115T103422" in item.id and "30NXN" in item.id)
    a, b = pixels(old, "B11")[0].astype(int), pixels(new, "B11")[0].astype(int)
    assert set(np.unique(b - a)) == {1000}


def test_sentinel2_grids_swath_and_classes(world: SimpleNamespace) -> None:
    orbits, seen = set(), set()
    for item in items(world, "sentinel-2-l2a"):
        orbits.add(item.properties["sat:relative_orbit"])
        ten, fine = pixels(item, "B02")
        twenty, coarse = pixels(item, "B11")
        scl, _ = pixels(item, "SCL")
        assert (fine.transform.c % 20, fine.transform.f % 20) == (0, 0)
        assert (coarse.transform.a, coarse.bounds) == (20.0, fine.bounds)
        assert twenty.shape == scl.shape
        outside = ten == 0
        assert outside.any() == (item.properties["sat:relative_orbit"] == 8)
        assert not (outside.reshape(scl.shape[0], 2, -1, 2).all(axis=(1, 3)) & (scl != 0)).any()
        if outside.any() and not outside.all(axis=0).any():
            assert (ten == 1).any()  # detector edge
        seen |= set(np.unique(scl).tolist())
    assert orbits == {8, 108}
    assert {0, 3, 4, 5, 6, 8, 9} <= seen


def test_one_overpass_lies_after_the_window_and_one_is_clouded_over(world: SimpleNamespace) -> None:
    for year in (2016, 2022):
        mine = [item for item in items(world, "sentinel-2-l2a") if item.datetime.year == year]
        assert {item.datetime.date() > dt.date(year, 1, 31) for item in mine} == {True, False}
        assert any(item.properties["eo:cloud_cover"] >= 95 for item in mine)


def test_bright_tailings_are_taken_for_cloud_and_haze_is_not_seen(world: SimpleNamespace) -> None:
    with rasterio.open(world.made.layout.truth / "classes_2022.tif") as source:
        classes, box = source.read(1), source.transform
    clear = next(item for item in items(world, "sentinel-2-l2a") if "20220115" in item.id and "30NXN" in item.id)
    scl, grid = pixels(clear, "SCL")
    col, row = (round(value) for value in ~box @ (grid.transform.c, grid.transform.f))
    under = classes[row : row + 2 * scl.shape[0] : 2, col : col + 2 * scl.shape[1] : 2]
    share = {name: np.isin(scl[under == CODE[name]], (8, 9)).mean() for name in ("tailings", "forest")}
    assert share["tailings"] > share["forest"] + 0.02
    hazy = next(item for item in items(world, "sentinel-2-l2a") if "20220121" in item.id and "30NXN" in item.id)
    both = (scl == 4) & (pixels(hazy, "SCL")[0] == 4)
    lift = pixels(hazy, "B02")[0][::2, ::2][both].astype(int) - pixels(clear, "B02")[0][::2, ::2][both]
    assert lift.mean() > 100


def test_sentinel1_zeros_in_every_epoch_and_one_wrong_transform(world: SimpleNamespace) -> None:
    wrong, with_zeros = [], []
    for item in items(world, "sentinel-1-rtc"):
        power, source = pixels(item, "vv")
        assert (source.dtypes[0], source.nodata) == ("float32", -32768.0)
        assert power[power != -32768].min() >= 0
        assert source.transform.c % 10 == pytest.approx(3.7)
        if (power == 0).any():
            with_zeros.append((item.datetime.year, float((power == 0).mean())))
        if tuple(item.properties["proj:transform"])[:6] != tuple(source.transform)[:6]:
            wrong.append(item.id)
    assert len(wrong) == 1
    assert [year for year, _ in with_zeros] == [2016] * 6 + [2022], "fringes in the first epoch, lines inside one slice of the later"
    assert with_zeros[-1][1] < 0.02
    assert {item.properties["sat:orbit_state"] for item in items(world, "sentinel-1-rtc")} == {"ascending", "descending"}


def test_dem_tiles_meet_at_the_meridian_on_whole_seconds(world: SimpleNamespace) -> None:
    west, east = sorted((pixels(item, "data")[1] for item in items(world, "cop-dem-glo-30")), key=lambda one: one.bounds.left)
    assert west.bounds.right == pytest.approx(east.bounds.left, abs=1e-9)
    assert east.bounds.left == pytest.approx(-2 - 0.5 / 3600, abs=1e-9)
    aoi = gpd.read_file(world.root / "resources/user/tiny/aoi.gpkg").to_crs(4326).total_bounds
    assert aoi[0] < -2 < aoi[2]


def test_mines_grow_and_some_are_reclaimed(world: SimpleNamespace) -> None:
    shares = json.loads((world.made.layout.truth / "world.json").read_text())["mining_share"]
    assert 0.045 < shares["2016"] < 0.065
    assert 0.065 < shares["2022"] < 0.09
    early, late = (rasterio.open(world.made.layout.truth / f"{year}.tif").read(1) == 1 for year in (2016, 2022))
    assert 0.01 < (early & ~late).sum() / early.sum() < 0.4


def test_samples_lie_in_what_they_say_but_for_a_few(world: SimpleNamespace) -> None:
    right, total = 0, 0
    for path in sorted((world.root / "resources/user/tiny/samples").glob("*/*.gpkg")):
        table = gpd.read_file(path)
        with rasterio.open(world.made.layout.truth / f"{path.parent.name}.tif") as source:
            values = np.array([value[0] for value in source.sample(zip(table.geometry.x, table.geometry.y, strict=True))])
        right += int(((table["label"] == "mining") == (values == 1)).sum())
        total += len(table)
        assert set(table["label"]) == {"mining", "not_mining"}
        assert set(table["subclass"]) <= set(people.KINDS)
    assert 0.965 < right / total < 0.998


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_one_process_and_several_write_the_same_bytes(world: SimpleNamespace, tmp_path: Path) -> None:
    told: list[str] = []
    made = make_world(world.config, TILES, seed=3, root=tmp_path, jobs=1, tell=told.append)
    assert (made.items, sorted(told)) == (world.made.items, sorted(world.told))
    assert digests(tmp_path) == digests(world.root)


def test_same_arguments_same_bytes_and_peoples_files_are_kept(tmp_path: Path) -> None:
    config = config_of(2016, blocks=1)
    made = make_world(config, 1, seed=5, root=tmp_path)
    assert (len(made.written), len(made.kept)) == (2, 0)
    first = digests(tmp_path)
    aoi = tmp_path / "resources/user/tiny/aoi.gpkg"
    aoi.rename(aoi.with_suffix(".geojson"))  # people's own, in another format
    again = make_world(config, 1, seed=5, root=tmp_path)
    assert (len(again.written), len(again.kept)) == (0, 2)
    assert not aoi.exists()
    forced = make_world(config, 1, seed=5, root=tmp_path, force=True)
    assert (forced.new, len(forced.written), len(forced.kept)) == (False, 2, 0)
    assert digests(tmp_path) == first


def test_more_blocks_than_tiles_is_refused() -> None:
    with pytest.raises(UserError, match="raise --tiles"):
        place(config_of(2016, blocks=4), 3, 0)


def test_figures_of_a_confusion() -> None:
    mask = np.array([0, 1, 1, 0, 255, 1], np.uint8)
    truth = np.array([0, 1, 0, 1, 1, 1], np.uint8)
    assert score.confusion(mask, truth).tolist() == [1, 1, 1, 2]
    found = score.figures(1, 1, 1, 2)
    assert (found["iou"], found["precision"], found["recall"], found["pixels"]) == (0.5, 0.6667, 0.6667, 5)


def test_the_same_world_is_left_alone_and_another_one_forgets_what_was_fetched(tmp_path: Path) -> None:
    config = config_of(2022, blocks=1)
    first = make_world(config, 1, seed=0, root=tmp_path)
    item = next(first.layout.archive.glob("sentinel-2-l2a/*/")).name
    fetched = tmp_path / "resources/automatic/pixels" / item / "B02-0.tif"
    manifest = tmp_path / "results/tiny/manifests/2022/s2.json"
    for path in (fetched, manifest):
        path.parent.mkdir(parents=True)
        path.touch()
    again = make_world(config, 1, seed=0, root=tmp_path)
    assert (first.new, again.new, first.forgotten) == (True, False, False)
    assert manifest.exists()
    assert again.items == first.items
    assert len(again.kept) == 2
    assert fetched.exists()
    other = make_world(config, 1, seed=1, root=tmp_path)
    assert (other.new, other.forgotten) == (True, True)
    assert not fetched.exists()
    assert not manifest.parents[2].exists(), "results of a world that is no more"


def test_false_clouds_hit_the_same_bright_ground_on_every_date_and_never_the_forest(world: SimpleNamespace) -> None:
    with rasterio.open(world.made.layout.truth / "classes_2022.tif") as source:
        classes, box = source.read(1), source.transform
    dates = []
    for day in ("20220105", "20220115", "20220121"):
        item = next(item for item in items(world, "sentinel-2-l2a") if day in item.id and "30NXN" in item.id)
        scl, grid = pixels(item, "SCL")
        dates.append(np.isin(scl, (8, 9)))
    col, row = (round(value) for value in ~box @ (grid.transform.c, grid.transform.f))
    blocks = classes[row : row + 2 * scl.shape[0], col : col + 2 * scl.shape[1]].reshape(scl.shape[0], 2, -1, 2)

    def always(*names: str) -> float:
        whole = np.isin(blocks, [CODE[name] for name in names]).all(axis=(1, 3))
        return float(np.logical_and.reduce(dates)[whole].mean())

    assert always("tailings", "roof") > 0.05
    assert always("forest") < 0.02


def test_as_hard_as_nature(tmp_path: Path) -> None:
    config = config_of(2022)
    make_world(config, 40, seed=0, root=tmp_path)
    found = difficulty.difficulty(difficulty.world_tiles(config, "2022", tmp_path), config.segmentation, trees=30, pixels=20_000)
    assert 0.45 < found["forest_iou"] < 0.75
    assert found["first_three_components"] >= 0.95
    assert min(found["lag1"]) >= 0.88
    assert max(found["lag1"]) <= 0.99
    assert 46_500 <= found["segments_per_mpx"] <= 186_000, "within a factor 2 of the 93 000 of the Tanzania image"
    assert 0.2 <= found["empty_tiles"] <= 0.8


def test_years_share_the_land(world: SimpleNamespace, tmp_path: Path) -> None:
    where = place(world.config, TILES, 3)
    with scratch(tmp_path, where.shape) as layers:
        land = make_land(where, ["2016", "2022"], 3, layers)
        both = [layer[:, :] & 127 for layer in land.cover.values()]
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir()), "nothing is left of the scratch"
    assert (both[0] == both[1]).mean() > 0.9
    assert (both[0] != both[1]).any()
