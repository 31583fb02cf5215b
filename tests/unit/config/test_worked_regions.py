"""The worked examples of other countries: their configurations, and the grid of an area in each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smallmines.config.publish import CLASS_DEFINITION, Publish
from smallmines.grid.area import area_of
from smallmines.grid.make import fishnet
from smallmines.grid.utm import LATTICE_M, zone_at, zone_of
from smallmines.preflight.check import check_area
from smallmines.preflight.new_region import TILE_KM2, TILES_PER_BLOCK, countries
from smallmines.settings.grid import Grid
from smallmines.settings.parameters import settings_of
from worked_regions import FOLDER, PLACES, YEARS, config_of, stand_in


def test_every_shipped_region_is_tested() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(PLACES)


@pytest.mark.parametrize("run", PLACES)
def test_a_region_says_its_own_place_and_season(run: str) -> None:
    country, crs, _, (first, last) = PLACES[run]
    config = config_of(run)
    assert (config.run, config.country, config.grid.crs) == (run, country, crs)
    assert {name: (str(year.start), str(year.end)) for name, year in config.years.items()} == {
        int(year): (f"{year}-{first}", f"{year}-{last}") for year in YEARS
    }
    assert config.aoi.source == "geoboundaries"
    assert config.aoi.country == {"PE": "PER", "BR": "BRA", "CD": "COD"}[country]
    assert config.aoi.names
    assert config.assistant.features == "context"
    assert (config.labels.source, config.sentinel2.radiometry) == ("people", "dn_plus1000")
    assert countries()[country].split(" ")[0] in {"Peru", "Brazil", "Congo"}
    assert "Ghana" not in config.publish.title + config.publish.description
    assert config.publish.class_definition not in (CLASS_DEFINITION, "")
    assert config.publish.class_definition.startswith("Ground ")
    assert "Not mining: " in config.publish.class_definition
    assert config.publish.attributions[:2] == Publish().attributions
    assert config.publish.attributions[2].startswith("Area of interest: geoBoundaries")
    assert config.grid.released_ids_up_to is None
    assert config.grid.expected_tiles is None


@pytest.mark.parametrize("run", PLACES)
def test_the_grid_of_a_region_counts_from_the_south_west_of_its_southern_zone(run: str, tmp_path: Path) -> None:
    from pyproj import CRS

    config = config_of(run)
    grid = settings_of(config.grid, Grid)
    area = stand_in(run, tmp_path / "area.geojson", size=0.2)
    zone = zone_of(CRS(grid.crs))
    assert zone is not None
    assert zone == zone_at(*area_of(area).centre)
    assert zone.south
    cells = fishnet(area, grid)
    assert cells.crs.to_string() == PLACES[run][1]
    assert cells["tile_id"].tolist() == [f"{number:04d}" for number in range(1, len(cells) + 1)]
    west, south = cells.bounds["minx"].to_numpy(), cells.bounds["miny"].to_numpy()
    assert np.array_equal(np.lexsort((west, south)), np.arange(len(cells)))
    assert (np.abs(south - 10_000_000) < 2_000_000).all()
    assert (south > 8_000_000).all()
    assert (cells["row"].iloc[0], cells["row"].iloc[-1]) == (cells["row"].max(), 0)
    assert ((west - grid.anchor.x) % 1280 == 0).all()
    assert ((south - grid.anchor.y) % 1280 == 0).all()
    assert grid.anchor.x % LATTICE_M == grid.anchor.y % LATTICE_M == 0
    middle = cells.union_all().centroid
    expected = area.to_crs(grid.crs).union_all().centroid
    assert middle.distance(expected) < 640


@pytest.mark.parametrize("run", PLACES)
def test_the_check_of_a_region_has_nothing_to_say(run: str, tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").symlink_to(repository / "config")
    monkeypatch.chdir(tmp_path)
    config = config_of(run)
    assert check_area(config) == [], "before the download"
    stand_in(run, tmp_path / f"resources/automatic/{run}/boundaries.geojson")
    assert check_area(config) == []


@pytest.mark.parametrize(("run", "km2"), [("madre_de_dios", 8500), ("tapajos", 12000), ("kivu", 11000)])
def test_blocks_follow_from_the_stated_size(run: str, km2: int) -> None:
    config = config_of(run)
    assert f"about {km2:,} km²".replace(",", " ") in (FOLDER / f"{run}.yaml").read_text(encoding="utf-8")
    tiles = km2 / TILE_KM2
    assert tiles < config.grid.max_tiles
    assert config.grid.blocks == round(tiles / TILES_PER_BLOCK)
