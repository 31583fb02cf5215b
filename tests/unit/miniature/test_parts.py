"""Parts of the miniature Earth: windows, outlines, streams, speckle, slices, and memory that does not grow with the world."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from miniature.layers import Shapes, Window, bilinear, windows
from miniature.noise import noise, rng_of
from miniature.place import MARGIN, grid_zone, place
from miniature.radar import ENL, OVERLAP, SPECKLE, Outline, Pass, looks, passes
from miniature.rivers import drained
from smallmines.config.parse import parse_config
from smallmines.config.sections import Config
from smallmines.core.errors import UserError
from smallmines.grid.utm import zone_at


def config_of(*years: int, blocks: int = 1) -> Config:
    epochs = {year: {"start": f"{year}-01-01", "end": f"{year}-01-31"} for year in years}
    return parse_config({"run": "parts", "grid": {"blocks": blocks}, "years": epochs})


def test_windows_cover_a_part_of_the_world_once() -> None:
    seen = np.zeros((2500, 3000), int)
    for window in windows(seen.shape, slice(100, 2500), slice(7, 1500)):
        assert window.rows.start in (100, 1024, 2048)
        seen[window.at] += 1
    assert (seen[100:, 7:1500] == 1).all()
    assert seen.sum() == 2400 * 1493
    whole = windows(seen.shape)[4]
    wide = whole.wider(30)
    assert np.arange(2500)[wide.rows][whole.inside(wide)[0]].tolist() == list(range(1024, 2048))


def test_shapes_are_burnt_alike_in_any_window() -> None:
    shapes = Shapes(np.array([shapely.box(-3, -3, 4, 2), shapely.Point(1020, 1030).buffer(20)]))
    whole = shapes.burn(Window(slice(0, 1500), slice(0, 1500), (1500, 1500)))
    assert whole[:2, :4].all()
    assert whole.sum() == pytest.approx(8 + np.pi * 400, rel=0.01)
    for window in windows((1500, 1500)):
        assert (shapes.burn(window) == whole[window.at]).all()


def test_cells_are_interpolated_between_their_middles() -> None:
    coarse = np.add.outer(np.arange(6.0), 10 * np.arange(5.0)).astype(np.float32)
    fine = bilinear(coarse, 8, Window(slice(0, 48), slice(0, 40), (48, 40)))
    assert fine[12, 12] == pytest.approx((12.5 / 8 - 0.5) * 11)
    assert fine[0, 0] == 0
    assert (bilinear(coarse, 8, Window(slice(5, 30), slice(9, 33), (48, 40))) == fine[5:30, 9:33]).all()


def test_streams_run_downhill_to_the_border() -> None:
    shape = (256, 320)
    rivers = drained(noise(shape, rng_of(0, 2), 60), shape, rng_of(0, 3))
    outlets = rivers.parent == np.arange(rivers.parent.size)
    assert (rivers.depth[~outlets] == rivers.depth[rivers.parent[~outlets]] + 1).all()
    assert (rivers.length[~outlets] > rivers.length[rivers.parent[~outlets]]).all()
    assert rivers.accumulated[outlets].sum() == rivers.parent.size
    one = np.zeros(rivers.grid)
    one[20, 20] = 7
    below = rivers.downstream(one)
    assert set(np.unique(below)) == {0, 7}
    assert (below == 7).sum() == rivers.depth[20 * rivers.grid[1] + 20] + 1


def test_a_given_outline_is_shrunk_to_the_tiles_and_kept_at_its_own_size(tmp_path: Path) -> None:
    square = gpd.GeoDataFrame(geometry=[shapely.box(591721, 701481, 599399, 709159)], crs=32630)
    square.to_crs(4326).to_file(tmp_path / "aoi.geojson")
    square.to_file(tmp_path / "aoi.gpkg")
    whole = place(config_of(2016), 36, 0, tmp_path / "aoi.gpkg")
    assert len(whole.cells) == 36
    assert whole.aoi.geometry.iloc[0].equals(square.geometry.iloc[0])
    assert len(place(config_of(2016), 1000, 0, tmp_path / "aoi.gpkg").cells) == 36
    small = place(config_of(2016), 9, 0, tmp_path / "aoi.geojson")
    assert len(small.cells) in (8, 9, 10)
    assert square.geometry.iloc[0].buffer(1).contains(small.aoi.geometry.iloc[0])
    tiles = whole.tiles(slice(0, whole.shape[0]), slice(0, whole.shape[1]))
    assert (np.bincount(tiles[tiles >= 0]) == 128 * 128).all()
    assert (tiles[:MARGIN] == -1).all()
    with pytest.raises(UserError, match="check --aoi"):
        place(config_of(2016), 9, 0, tmp_path / "none.gpkg")


@pytest.mark.parametrize(
    ("crs", "designator", "degrees"),
    [("EPSG:32630", "30N", (-2.0, 6.24)), ("EPSG:32629", "29N", (-8.0, 6.24)), ("EPSG:32719", "19M", (-68.0, -6.24))],
)
def test_a_made_up_world_lies_in_its_zone_and_names_it(crs: str, designator: str, degrees: tuple[float, float]) -> None:
    where = place(
        parse_config({"run": "tiny", "grid": {"blocks": 1, "crs": crs}, "years": {2016: {"start": "2016-01-01", "end": "2016-01-31"}}}),
        4,
        0,
    )
    assert grid_zone(where.geobox) == designator
    assert where.cells["tile_id"].iloc[0] == "0001"
    assert where.cells.to_crs(4326).union_all().centroid.coords[0] == pytest.approx(degrees, abs=0.03)


@pytest.mark.parametrize(
    ("longitude", "latitude", "designator"),
    [(-69.95, -12.95, "19L"), (-56.0, -4.6, "21M"), (28.2, -3.1, "35M"), (30.03, 1.95, "36N"), (10.0, 7.99, "32N"), (10.0, 8.01, "32P")],
)
def test_grid_zones_of_real_places(longitude: float, latitude: float, designator: str) -> None:
    zone = zone_at(longitude, latitude)
    x, y = Transformer.from_crs("EPSG:4326", zone.epsg, always_xy=True).transform(longitude, latitude)
    assert grid_zone(GeoBox((2, 2), Affine(10, 0, x - 10, 0, -10, y + 10), zone.epsg)) == designator


def test_more_blocks_than_tiles_is_refused() -> None:
    with pytest.raises(UserError, match="raise --tiles"):
        place(config_of(2016, blocks=4), 3, 0)


def inside(shape: tuple[int, int], one: Pass, part: int) -> np.ndarray:
    return Outline(shape, one, part)(Window(slice(0, shape[0]), slice(0, shape[1]), shape))


def test_slices_abut_on_one_date_and_overlap_a_little_on_the_other() -> None:
    shape = (400, 500)
    down = [one for one in passes(config_of(2016).years[2016]) if one.slices == 2]
    assert [one.overlap for one in down] == [OVERLAP, 0]
    for one in down:
        north, south = (inside(shape, one, part) for part in (0, 1))
        whole = inside(shape, Pass(one.number, one.start, one.orbit_state, one.orbit, one.east, 1, 0.0), 0)
        assert ((north | south) == whole).all()
        assert set((north & south).sum(axis=0)[40:-40].tolist()) == {one.overlap}
        rows, cols = Outline(shape, one, 1).area(0)
        assert south[rows, cols].sum() == south.sum()


def test_speckle_has_the_looks_of_a_grd_scene_and_hangs_together() -> None:
    field = noise((1200, 1200), rng_of(0, 1), *SPECKLE)(slice(0, 1200), slice(0, 1200))
    draws = looks(field)
    assert draws.mean() == pytest.approx(1, abs=0.01)
    assert draws.mean() ** 2 / draws.var() == pytest.approx(ENL, rel=0.03)
    assert 0.3 < np.corrcoef(draws[:, 1:].ravel(), draws[:, :-1].ravel())[0, 1] < 0.6


PEAK = """
import resource, sys
from smallmines.config.parse import parse_config
from miniature.make import make_world
config = parse_config({"run": "big", "grid": {"blocks": 1}, "years": {2016: {"start": "2016-01-01", "end": "2016-01-31"}}})
made = make_world(config, int(sys.argv[1]), root=sys.argv[2])
peaks = [resource.getrusage(whose).ru_maxrss for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(made.tiles, max(peaks) / 1024)
"""


@pytest.mark.heavy
@pytest.mark.matrix
def test_memory_does_not_grow_with_the_world(tmp_path: Path, repository: Path) -> None:
    """A world of 16 times the area takes less than 1.6 times the memory in any process: noise keeps a 64th of the world per field."""
    peaks = []
    for tiles in (40, 640):
        environment = os.environ | {"PYTHONPATH": str(repository / "workflow")}
        command = [sys.executable, "-c", PEAK, str(tiles), str(tmp_path / str(tiles))]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        peaks.append(float(done.stdout.split()[-1]))
    print(peaks)
    assert peaks[1] < 1.6 * peaks[0]
    assert peaks[1] < 1500
