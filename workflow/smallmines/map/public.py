"""The part of a map that is given away: areas by unit and, where they are wanted, polygons of mines that are large and old enough."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from smallmines.core.files import written
from smallmines.core.log import logger
from smallmines.map.polygons import mines_schema, write_table
from smallmines.settings.map import Public

if TYPE_CHECKING:
    import geopandas as gpd

README = """# {title}

Areas of mining by unit and year: `areas.csv`.{polygons}

A label is a statement on land, not on a person, and no proof of a breach of law. Do not use it against single people or places.
"""


def write_public(
    areas: str | Path, mines: Mapping[str, str], settings: Public, published: dt.date | None, title: str, folder: str | Path
) -> None:
    """Write the folder that is given away: `areas.csv`, README.md and, with `polygons`, `<year>/mines.parquet` and `<year>/mines.fgb`.

    Nothing else of the map is in it. The sums of `areas.csv` count all mines, also those whose polygons are left out.

    Args:
        areas: `areas.csv` of the map.
        mines: `mines.parquet` by year; empty with `areas`.
        published: `publish.date`, from which `delay_days` counts; needed where there is a delay.
        folder: must not exist.
    """
    import geopandas as gpd

    lines = []
    with written(folder) as beside:
        beside.mkdir()
        shutil.copyfile(areas, beside / "areas.csv")
        for year, path in sorted(mines.items()):
            table = gpd.read_parquet(path)
            kept = publishable(table, settings, published)
            (beside / year).mkdir()
            write_table(kept, mines_schema(), "mines", beside / year / "mines.parquet", beside / year / "mines.fgb")
            lines.append(f"- {year}: {len(kept)} of {len(table)} mines.")
            logger.info("%s: %d of %d mines are in the public folder", year, len(kept), len(table))
        (beside / "README.md").write_text(README.format(title=title, polygons=_polygons(lines, settings, published)), encoding="utf-8")


def publishable(table: gpd.GeoDataFrame, settings: Public, published: dt.date | None) -> gpd.GeoDataFrame:
    """Return the mines that are large enough and whose latest image is old enough; with a delay, mines without a day are left out.

    Args:
        table: as `polygons.mines` returns it.
    """
    kept = table["area_ha"] >= settings.smallest_published_ha
    if settings.delay_days and published is not None:
        last = str(published - dt.timedelta(days=settings.delay_days))
        kept &= (table["image_date_last"] != "") & (table["image_date_last"] <= last)
    return table[kept].reset_index(drop=True)


def _polygons(lines: list[str], settings: Public, published: dt.date | None) -> str:
    """Return the part of the README about polygons; empty without."""
    if not lines:
        return " Outlines of mines are not published."
    limits = [f"mines below {settings.smallest_published_ha:g} ha"] if settings.smallest_published_ha else []
    if settings.delay_days:
        limits.append(f"mines seen in the {settings.delay_days} days before {published}")
    left_out = f" Left out: {' and '.join(limits)}; `areas.csv` counts them." if limits else ""
    return " Mines as polygons: `<year>/mines.parquet` and `<year>/mines.fgb`." + left_out + "\n\n" + "\n".join(lines)
