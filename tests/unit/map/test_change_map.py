"""The map of change of synthetic results in two years: raster, polygons, tiles."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from scipy.ndimage import label

from fake_map import YEARS, make_years
from fake_results import Results
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.dataset.change import GONE, NEW, UNKNOWN, change_classes, seen
from smallmines.map.change_map import MEANINGS, PAIR_MEANINGS, YearFiles, pairs, write_change, write_change_areas
from smallmines.settings.map import Change

SETTINGS = Change(1, 3)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, dict[str, YearFiles], Path]:
    """Two years of results, and the map of change."""
    folder = tmp_path_factory.mktemp("change")
    results, files = make_years(folder)
    target = folder / "change.tif"
    write_change(files["2016"], files["2022"], results.lattice, SETTINGS, target)
    return results, files, target


def whole(files: YearFiles, results: Results) -> np.ndarray:
    """The mask of a year without what nobody saw, on the whole lattice."""
    mask, clear = raster.read(files.mask)[0], np.ones(results.lattice.geobox.shape, np.uint8)
    for block, path in files.clear.items():
        row, col = results.lattice.offset(block)
        own, values = results.lattice.own(block), raster.read(path)[0]
        place = (slice(row, row + own.shape[0]), slice(col, col + own.shape[1]))
        clear[place] = np.where(own, values, clear[place])
    return seen(mask, clear)


def test_the_map_has_the_classes_of_the_masks_on_the_whole_lattice(made: tuple[Results, dict[str, YearFiles], Path]) -> None:
    results, files, target = made
    masks = [whole(files[year], results) for year in YEARS]
    expected = change_classes(masks[0], masks[1], 1, 3)
    classes = raster.read(target, results.lattice.geobox)[0]
    np.testing.assert_array_equal(classes, expected)
    assert {NEW, GONE, UNKNOWN} < set(np.unique(classes))
    with rasterio.open(target) as source:
        assert source.tags()["CLASSES"].startswith("0 stable_other, 1 new, 2 gone, 3 stable_mining, 255 unknown")
        assert (source.tags()["TOLERANCE_PX"], source.tags()["SMALLEST_PX"], source.nodata) == ("1", "3", 255)
        assert source.overviews(1) or min(source.shape) <= 512


def test_polygons_are_the_connected_areas_with_the_days_of_both_years(
    made: tuple[Results, dict[str, YearFiles], Path], tmp_path: Path
) -> None:
    results, files, target = made
    write_change_areas(str(target), files["2016"], files["2022"], results.lattice, tmp_path / "a.parquet", tmp_path / "a.fgb")
    table = gpd.read_parquet(tmp_path / "a.parquet")
    assert list(table.columns) == [*MEANINGS, "geometry"]
    classes = raster.read(target)[0]
    for name, value in (("new", NEW), ("gone", GONE)):
        areas, number = label(classes == value, np.ones((3, 3)))
        own = table[table["change"] == name]
        assert sorted(np.bincount(areas.ravel())[1:] / 100) == pytest.approx(sorted(own["area_ha"]))
        assert len(own) == number > 0
    np.testing.assert_allclose(table.area / 10_000, table["area_ha"])
    dated = table[table["after_from"] != ""]
    assert len(dated)
    assert set(dated["before_from"]) | set(dated["after_to"]) <= {"2016-01-05", "2016-01-15", ""}
    flat = gpd.read_file(tmp_path / "a.fgb")
    assert sorted(flat["area"]) == table["area"].tolist() == list(range(1, len(table) + 1))


def test_each_tile_has_its_shares_and_a_split_only_where_both_years_share_it(
    made: tuple[Results, dict[str, YearFiles], Path], tmp_path: Path
) -> None:
    results, _, target = made
    tiles = [tile.tile_id for tile in results.lattice.tiles]
    rows = [
        (tile, year, "train" if number % 3 else ("val", "test")[year == 2022]) for number, tile in enumerate(tiles) for year in (2016, 2022)
    ]
    pd.DataFrame(rows, columns=["tile_id", "year", "split"]).to_csv(tmp_path / "splits.csv", index=False)
    table = pairs(str(target), YEARS, str(tmp_path / "splits.csv"), "GH", results.lattice)
    assert list(table.columns) == list(PAIR_MEANINGS)
    assert table["tile_id"].tolist() == sorted(tiles)
    assert table.set_index("tile_id").loc[tiles, "split"].tolist() == ["train" if number % 3 else "" for number in range(len(tiles))]
    shares = [name for name in table if name.endswith("_share")]
    np.testing.assert_allclose(table[shares].sum(axis=1), 1, atol=1e-5)
    classes, side = raster.read(target)[0], results.lattice.tile_size
    for tile, row in zip(sorted(results.lattice.tiles, key=lambda own: own.tile_id), table.itertuples(), strict=True):
        pixels = classes[tile.row * side : (tile.row + 1) * side, tile.col * side : (tile.col + 1) * side]
        assert row.new_share == pytest.approx((pixels == NEW).mean(), abs=1e-6)
        assert row.unknown_share == pytest.approx((pixels == UNKNOWN).mean(), abs=1e-6)
    assert table["image_first"][0] == f"2016/IMAGE/IMG_GH_{table['tile_id'][0]}_2016.tif"
    assert table["mask_last"][0] == f"2022/MASK/MASK_GH_{table['tile_id'][0]}_2022.tif"


def test_years_on_different_lattices_are_refused(made: tuple[Results, dict[str, YearFiles], Path], tmp_path: Path) -> None:
    results, files, _ = made
    path = tmp_path / "mask.tif"
    box = results.lattice.geobox
    raster.write(path, np.zeros((box.shape.y, box.shape.x - 1), np.uint8), box[:, :-1], 255, ["mining"])
    with pytest.raises(UserError, match=str(path)):
        write_change(files["2016"], dataclasses.replace(files["2022"], mask=str(path)), results.lattice, SETTINGS, tmp_path / "change.tif")
    assert not (tmp_path / "change.tif").exists()
