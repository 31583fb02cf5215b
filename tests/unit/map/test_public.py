"""What of a map is given away: areas alone, or polygons that are large and old enough."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from smallmines.config.parse import parse_config
from smallmines.core.errors import UserError
from smallmines.map.polygons import mines_schema, write_table
from smallmines.map.public import publishable, write_public
from smallmines.settings.map import Public

YEARS = {2016: {"start": "2016-01-01", "end": "2016-01-31"}}
DAY = dt.date(2016, 3, 1)
AREAS = "layer,unit,year,area_ha\nrun,all tiles,2016,400.0\n"


def mines_of(*mines: tuple[float, str]) -> gpd.GeoDataFrame:
    """Return mines (area in ha, day of the latest image)."""
    count = len(mines)
    return gpd.GeoDataFrame(
        {
            "mine": np.arange(1, count + 1, dtype=np.int32),
            "year": np.full(count, 2016, np.int32),
            "area_ha": [area for area, _ in mines],
            "probability": np.full(count, 0.5, np.float32),
            "seen_share": np.zeros(count, np.float32),
            "image_date_first": ["2016-01-05"] * count,
            "image_date_last": [day for _, day in mines],
            "tile_ids": [["0001"]] * count,
        },
        geometry=[shapely.MultiPolygon([shapely.box(number, 0, number + 1, 1)]) for number in range(count)],
        crs="EPSG:32719",
    )


MINES = mines_of((0.49, "2016-01-05"), (0.5, "2016-01-31"), (3.0, "2016-02-01"), (3.0, ""))


@pytest.mark.parametrize(
    ("smallest", "delay", "numbers"),
    [(0.0, 0, [1, 2, 3, 4]), (0.5, 0, [2, 3, 4]), (0.0, 30, [1, 2]), (0.0, 29, [1, 2, 3]), (0.5, 30, [2]), (10.0, 0, [])],
)
def test_mines_are_large_and_old_enough(smallest: float, delay: int, numbers: list[int]) -> None:
    assert publishable(MINES, Public("polygons", smallest, delay), DAY)["mine"].tolist() == numbers


def written(tmp_path: Path, settings: Public) -> Path:
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "areas.csv").write_text(AREAS)
    write_table(MINES, mines_schema(), "mines", tmp_path / "mines.parquet", tmp_path / "mines.fgb")
    mines = {"2016": str(tmp_path / "mines.parquet")} if settings.public == "polygons" else {}
    write_public(tmp_path / "areas.csv", mines, settings, DAY, "Mines", tmp_path / "public")
    return tmp_path / "public"


def test_without_a_choice_areas_alone_are_given_away(tmp_path: Path) -> None:
    section = parse_config({"run": "r", "years": YEARS}).map
    folder = written(tmp_path, Public(section.public, section.smallest_published_ha, section.delay_days))
    assert sorted(path.name for path in folder.rglob("*")) == ["README.md", "areas.csv"]
    assert (folder / "areas.csv").read_text() == AREAS
    assert "Outlines of mines are not published." in (folder / "README.md").read_text()


def test_polygons_are_those_that_may_be_given_away_and_the_folder_says_so(tmp_path: Path) -> None:
    folder = written(tmp_path, Public("polygons", 0.5, 30))
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        "2016/mines.fgb",
        "2016/mines.parquet",
        "README.md",
        "areas.csv",
    ]
    table = gpd.read_parquet(folder / "2016/mines.parquet")
    assert (table["mine"].tolist(), table["area_ha"].tolist(), table.crs.to_epsg()) == ([2], [0.5], 32719)
    assert gpd.read_file(folder / "2016/mines.fgb")["mine"].tolist() == [2]
    text = (folder / "README.md").read_text()
    assert "Left out: mines below 0.5 ha and mines seen in the 30 days before 2016-03-01; `areas.csv` counts them." in text
    assert "- 2016: 1 of 4 mines." in text


def test_the_same_mines_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (written(tmp_path / name, Public("polygons", 0.5, 0)) for name in ("a", "b"))
    for path in first.rglob("*"):
        assert path.is_dir() or path.read_bytes() == (second / path.relative_to(first)).read_bytes()


def test_a_delay_needs_a_day_of_publication() -> None:
    values = {"run": "r", "years": YEARS, "map": {"public": "polygons", "delay_days": 30}}
    with pytest.raises(UserError, match=r"publish\.date"):
        parse_config(values)
    assert parse_config(values | {"publish": {"date": "2026-01-31"}}).map.delay_days == 30
    assert parse_config(values | {"map": {"delay_days": 30}}).map.public == "areas"
