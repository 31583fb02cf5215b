"""Polygons of others as samples: which pixels, which epochs, the same points each time, and what is refused."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.polygons import ANNOTATOR, import_all, is_near
from smallmines.config.parse import parse_config
from smallmines.config.sections import Config, Year
from smallmines.core.errors import UserError
from smallmines.core.files import write_json
from smallmines.labels.samples import read_samples

CRS = "EPSG:32719"
LEFT, TOP, SIDE = 350000.0, 8560000.0, 16
PLACES = [("2018", "1"), ("2018", "2"), ("2023", "1"), ("2023", "2")]
ENTRY = {"path": "polygons.gpkg", "class_column": "type", "classes": {"pond": "mining", "farm": "not_mining"}, "date_column": "day"}


def run_of(folder: Path, **changes: Any) -> Config:
    """Write the grid of two tiles of 160 m side by side, a block each; return the configuration."""
    lattice = {
        "crs": CRS,
        "tile_size": SIDE,
        "transform": [10, 0, LEFT, 0, -10, TOP],
        "shape": [SIDE, 2 * SIDE],
        "windows": {"1": [0, 0, 1, 1], "2": [0, 1, 1, 1]},
        "cells": [["0001", 0, 0, "1"], ["0002", 0, 1, "2"]],
    }
    (folder / "results/r/grid").mkdir(parents=True, exist_ok=True)
    write_json(folder / "results/r/grid/grid.json", lattice)
    years = {year: {"start": f"{year}-07-01", "end": f"{year}-08-31"} for year in (2018, 2023)}
    grid = {"crs": CRS, "blocks": 2, "tile_size": SIDE}
    return parse_config({"run": "r", "country": "PE", "grid": grid, "years": years, "labels": {"external": [{**ENTRY, **changes}]}})


def square(column: float, row: float, size: float) -> Any:
    """Return a square by its upper left pixel and its side in pixels."""
    return shapely.box(LEFT + 10 * column, TOP - 10 * (row + size), LEFT + 10 * (column + size), TOP - 10 * row)


POLYGONS: list[tuple[Any, str, str | None]] = [
    (square(1, 1, 6), "pond", "2018-06-01"),
    (square(6, 6, 4), "farm", "2018-08-31"),
    (square(13, 2, 6), "pond", "2023-07-15"),  # across the two blocks
    (square(20, 10, 2), "lake", "2018-07-01"),  # no class of the mapping
    (square(100, 100, 5), "pond", "2018-07-01"),  # beside the tiles
    (square(2, 12, 2), "farm", "2021-01-01"),  # too far from both epochs
]


def write_polygons(folder: Path, polygons: list[tuple[Any, str, str | None]], crs: str = CRS) -> None:
    shapes, classes, days = zip(*polygons, strict=True)
    table = gpd.GeoDataFrame({"type": classes, "day": days}, geometry=list(shapes), crs=CRS)
    table.to_crs(crs).to_file(folder / "polygons.gpkg")


def samples_of(folder: Path, year: str, block: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"resources/user/r/samples/{year}/{block}.csv")


def pixels_of(table: pd.DataFrame) -> set[tuple[int, int]]:
    """Return column and row of each point, which must be a centre of a pixel."""
    column, row = (table["x"] - LEFT) / 10 - 0.5, (TOP - table["y"]) / 10 - 0.5
    assert np.allclose(column, column.round())
    assert np.allclose(row, row.round())
    return set(zip(column.round().astype(int), row.round().astype(int), strict=True))


def square_pixels(column: int, row: int, size: int) -> set[tuple[int, int]]:
    return {(x, y) for x in range(column, column + size) for y in range(row, row + size)}


def test_points_are_pixels_of_their_polygon_block_and_epoch(tmp_path: Path) -> None:
    write_polygons(tmp_path, POLYGONS)
    table = {(row["year"], row["block"]): row for row in import_all(run_of(tmp_path, points=1000), PLACES, root=tmp_path)}
    counts = {place: (row["mining"], row["not_mining"], row["both"], row["far"], row["samples"]) for place, row in table.items()}
    assert counts == {
        (2018, "1"): (35, 15, 1, 2, 50),
        (2018, "2"): (0, 0, 0, 2, 0),
        (2023, "1"): (18, 0, 0, 4, 18),
        (2023, "2"): (18, 0, 0, 4, 18),
    }
    own = samples_of(tmp_path, "2018", "1")
    overlap = {(6, 6)}
    assert pixels_of(own[own["label"] == "mining"]) == square_pixels(1, 1, 6) - overlap
    assert pixels_of(own[own["label"] == "not_mining"]) == square_pixels(6, 6, 4) - overlap
    assert pixels_of(samples_of(tmp_path, "2023", "1")) == {pixel for pixel in square_pixels(13, 2, 6) if pixel[0] < SIDE}
    assert pixels_of(samples_of(tmp_path, "2023", "2")) == {pixel for pixel in square_pixels(13, 2, 6) if pixel[0] >= SIDE}
    assert own.groupby("label")["subclass"].unique().map(list).to_dict() == {"mining": ["pond"], "not_mining": ["farm"]}
    assert not (tmp_path / "resources/user/r/samples/2018/2.csv").exists()
    read = read_samples(tmp_path / "resources/user/r/samples/2018/1.csv", CRS).table
    assert read["label"].value_counts().to_dict() == {"mining": 35, "not_mining": 15}
    assert set(read["annotator"]) == {ANNOTATOR}


def test_a_few_points_are_drawn_alike_whatever_the_order(tmp_path: Path) -> None:
    drawn = []
    for number, polygons in enumerate((POLYGONS, POLYGONS[::-1], POLYGONS[:3])):
        folder = tmp_path / str(number)
        config = run_of(folder)
        write_polygons(folder, polygons)
        import_all(config, PLACES, root=folder)
        drawn.append((folder / "resources/user/r/samples/2018/1.csv").read_bytes())
        table = samples_of(folder, "2018", "1")
        assert table["label"].value_counts().to_dict() == {"mining": 5, "not_mining": 5}
    assert drawn[0] == drawn[1] == drawn[2]
    other = run_of(tmp_path / "0")
    other = other.model_copy(update={"labels": other.labels.model_copy(update={"seed": 1})})
    (tmp_path / "0/resources/user/r/samples/2018/1.csv").unlink()
    import_all(other, PLACES[:1], root=tmp_path / "0")
    assert (tmp_path / "0/resources/user/r/samples/2018/1.csv").read_bytes() != drawn[0]


def test_polygons_in_degrees_lie_in_the_same_place(tmp_path: Path) -> None:
    write_polygons(tmp_path, POLYGONS[:1], "EPSG:4326")
    import_all(run_of(tmp_path, points=1000), PLACES[:1], root=tmp_path)
    assert pixels_of(samples_of(tmp_path, "2018", "1")) == square_pixels(1, 1, 6)


def test_samples_of_people_and_dry_runs_write_nothing(tmp_path: Path) -> None:
    write_polygons(tmp_path, POLYGONS)
    config = run_of(tmp_path)
    (row,) = import_all(config, PLACES[:1], dry=True, root=tmp_path)
    assert row["samples"] == 10
    assert not (tmp_path / "resources").exists()
    place = BlockYear(config, "2018", "1", tmp_path).layout.user.samples("2018", "1").with_suffix(".gpkg")
    place.parent.mkdir(parents=True)
    place.write_bytes(b"people's")
    (row,) = import_all(config, PLACES[:1], root=tmp_path)
    assert row["samples"] is None
    assert [path.name for path in place.parent.iterdir()] == ["1.gpkg"]
    assert place.read_bytes() == b"people's"


@pytest.mark.parametrize(
    ("day", "near"),
    [("2017-07-01", True), ("2017-06-30", False), ("2018-08-01", True), ("2019-08-31", True), ("2019-09-01", False), (None, True)],
)
def test_days_count_from_the_ends_of_the_epoch(day: str | None, near: bool) -> None:
    epoch = Year(start=dt.date(2018, 7, 1), end=dt.date(2018, 8, 31))
    assert is_near(None if day is None else dt.date.fromisoformat(day), 365, epoch) == near


def test_polygons_without_a_day_are_refused_unless_somebody_answers_for_them(tmp_path: Path) -> None:
    write_polygons(tmp_path, [*POLYGONS, (square(2, 14, 1), "farm", None), (square(2, 15, 1), "lake", None)])
    with pytest.raises(UserError, match="a day in day") as caught:
        import_all(run_of(tmp_path), PLACES, root=tmp_path)
    assert caught.value.found == "none in row 7"
    import_all(run_of(tmp_path, allow_undated=True, points=1000), PLACES, root=tmp_path)
    for year in ("2018", "2023"):
        assert (2, 14) in pixels_of(samples_of(tmp_path, year, "1"))
    with pytest.raises(UserError, match="date_column"):
        run_of(tmp_path, date_column=None)
    assert run_of(tmp_path, date_column=None, allow_undated=True).labels.external[0].date_column is None


@pytest.mark.parametrize(
    ("polygons", "changes", "words"),
    [
        (POLYGONS, {"class_column": "kind"}, "an attribute kind"),
        (POLYGONS, {"classes": {"mine": "mining"}}, "polygons of the classes mine"),
        ([(square(1, 1, 2), "pond", "last year")], {}, "days as 2022-01-31"),
        (POLYGONS[4:], {}, "polygons in the tiles of the run"),
        (POLYGONS[5:], {}, "polygons in the tiles of the run"),
        (POLYGONS, {"path": "none.gpkg"}, "none.gpkg"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, polygons: list[Any], changes: dict[str, Any], words: str) -> None:
    write_polygons(tmp_path, polygons)
    with pytest.raises(UserError, match=words):
        import_all(run_of(tmp_path, **changes), PLACES, root=tmp_path)
    assert not list(tmp_path.glob("resources/user/r/samples/*/*"))


def test_without_files_nothing_is_imported(tmp_path: Path) -> None:
    config = run_of(tmp_path)
    with pytest.raises(UserError, match=r"labels\.external"):
        import_all(config.model_copy(update={"labels": config.labels.model_copy(update={"external": ()})}), PLACES, root=tmp_path)
