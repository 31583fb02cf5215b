"""Turn polygons that others drew into samples: points on pixels inside them, for the epochs that their days are near."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.annotation.block_year import BlockYear
from smallmines.config.external import External
from smallmines.config.sections import Config, Year
from smallmines.core.crs import reproject
from smallmines.core.errors import UserError
from smallmines.core.files import flat, only_file, written
from smallmines.grid.area import read_polygon_layer
from smallmines.labels.sample_files import rows
from smallmines.labels.samples import LABELS, SUFFIXES

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

ANNOTATOR = "external"
"""Annotator of the samples."""

COLUMNS = ("x", "y", "label", "subclass", "annotator")
"""Columns of the sample file: easting and northing in the grid's CRS, label, class as the polygons name it, `ANNOTATOR`."""


@dataclass(frozen=True)
class Drawn:
    """Samples of a block and year.

    Attributes:
        mining, not_mining: number of points.
        both: pixels that lie in polygons of both labels, which are left out.
        far: polygons of the file with a day too far from the epoch.
        samples: number written; None where a sample file exists already.
    """

    mining: int
    not_mining: int
    both: int
    far: int
    samples: int | None


def read_polygons(external: Sequence[External], crs: str, root: Path = Path()) -> gpd.GeoDataFrame:
    """Read the polygons of all files whose class has a label.

    Returns:
        label, subclass (the class), day (dt.date or None), within_days, points, geometry in `crs`; in the order of the files.

    Raises:
        UserError: unreadable, without CRS, no polygons, attributes that are not there, no polygon of the named classes, a day that is none
            or missing.
    """
    import geopandas as gpd
    import pandas as pd

    if not external:
        raise UserError("files of polygons in labels.external", "none", "name them: docs/labelling.md#polygons-of-others")
    return gpd.GeoDataFrame(pd.concat([_read(entry, crs, root) for entry in external], ignore_index=True), crs=crs)


def _read(entry: External, crs: str, root: Path) -> gpd.GeoDataFrame:
    import geopandas as gpd
    import shapely

    table, _ = read_polygon_layer(str(root / entry.path), "file of polygons")
    for column in filter(None, (entry.class_column, entry.date_column)):
        if column not in table.columns:
            names = ", ".join(name for name in table.columns if name != "geometry")
            raise UserError(f"an attribute {column} in {entry.path}", f"attributes {names or 'none'}", "correct labels.external")
    table = table[table.geometry.notna() & table.geom_type.isin(["Polygon", "MultiPolygon"])].reset_index(drop=True)
    classes = table[entry.class_column].astype(str).str.strip()
    used = classes.isin(list(entry.classes)).to_numpy(bool)
    if not used.any():
        there = ", ".join(sorted(set(classes))[:10]) or "no polygons"
        raise UserError(f"polygons of the classes {', '.join(entry.classes)} in {entry.path}", there, "correct labels.external.classes")
    days = _days(table, entry, used)
    kept = reproject(table[used], crs, entry.path)
    return gpd.GeoDataFrame(
        {
            "label": [entry.classes[name] for name in classes[used]],
            "subclass": classes[used].tolist(),
            "day": np.array(days, object)[used],
            "within_days": entry.within_days,
            "points": entry.points,
        },
        geometry=shapely.make_valid(kept.geometry.to_numpy()),
        crs=crs,
    )


def _days(table: gpd.GeoDataFrame, entry: External, used: NDArray[np.bool_]) -> list[dt.date | None]:
    """Return the day of each polygon, None where it has none.

    Raises:
        UserError: a text that is no day, or no day although `allow_undated` is not set; names the rows.
    """
    column = entry.date_column
    values = [None] * len(table) if column is None else [None if value is None or value != value else value for value in table[column]]
    texts = ["" if value is None else str(value).strip() for value in values]
    days = [_day(text) for text in texts]
    wrong = [number for number, (text, day) in enumerate(zip(texts, days, strict=True)) if used[number] and text and day is None]
    if wrong:
        found = f"{rows(number + 1 for number in wrong)}: {flat(texts[wrong[0]])[:40]!r}"
        raise UserError(f"days as 2022-01-31 in {column} of {entry.path}", found, "correct them, or clear them and set allow_undated")
    undated = [number + 1 for number, day in enumerate(days) if used[number] and day is None]
    if undated and not entry.allow_undated:
        do = "fill in the days, or set allow_undated: true and answer for it that they hold for every epoch"
        raise UserError(f"a day in {column} for each polygon of {entry.path}", f"none in {rows(undated)}", do)
    return days


def _day(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text[:10]) if text else None
    except ValueError:
        return None


def is_near(day: dt.date | None, within_days: int, epoch: Year) -> bool:
    """Whether a polygon is used for an epoch: it has no day, or one at most `within_days` before its first or after its last day."""
    return day is None or max((epoch.start - day).days, (day - epoch.end).days) <= within_days


def import_polygons(block_year: BlockYear, polygons: gpd.GeoDataFrame, dry: bool = False) -> Drawn:
    """Draw points in polygons and write `samples/<year>/<block>.csv` where there are no samples yet.

    Points are centres of pixels of the block's own tiles; those in polygons of both labels are left out. Which are drawn depends on the
    outline, the epoch and `labels.seed` alone, not on the order or number of the polygons.

    Args:
        polygons: as `read_polygons` returns them.
    """
    epoch = block_year.config.years[int(block_year.year)]
    near = [is_near(day, within, epoch) for day, within in zip(polygons["day"], polygons["within_days"], strict=True)]
    table, both = _draw(block_year, polygons[near])
    counts = table["label"].value_counts()
    target = block_year.layout.user.samples(block_year.year, block_year.block)
    written_rows = None
    if not only_file(target.parent, target.name, SUFFIXES):
        written_rows = len(table)
        if len(table) and not dry:
            with written(target.with_name(f"{target.name}.csv")) as beside:
                table.to_csv(beside, index=False, lineterminator="\n")
    return Drawn(int(counts.get("mining", 0)), int(counts.get("not_mining", 0)), both, near.count(False), written_rows)


def _draw(block_year: BlockYear, polygons: gpd.GeoDataFrame) -> tuple[pd.DataFrame, int]:
    """Return the points, sorted by pixel, and the number of pixels in polygons of both labels."""
    import pandas as pd
    from rasterio.features import geometry_window, rasterize
    from rasterio.windows import transform

    geobox, own = block_year.lattice.block(block_year.block), block_year.lattice.own(block_year.block)
    inside: dict[str, NDArray[np.bool_]] = {label: np.zeros(own.shape, bool) for label in LABELS}
    pixels: list[NDArray[np.int64]] = []
    left, bottom, right, top = geobox.boundingbox.bbox
    touching = polygons.cx[left:right, bottom:top]
    grid: Any = _Grid(geobox.transform, *own.shape)
    for row in touching.itertuples():
        try:
            window = geometry_window(grid, [row.geometry])
        except ValueError:  # rasterio's WindowError: beside the grid
            pixels.append(np.zeros(0, np.int64))
            continue
        rows_, cols = window.toslices()
        shape = (rows_.stop - rows_.start, cols.stop - cols.start)
        burnt = rasterize([(row.geometry, 1)], shape, transform=transform(window, geobox.transform), dtype="uint8") == 1
        burnt &= own[rows_, cols]
        inside[row.label][rows_, cols] |= burnt
        y, x = np.nonzero(burnt)
        pixels.append((y + rows_.start).astype(np.int64) * own.shape[1] + x + cols.start)
    both = np.logical_and(*inside.values())
    parts = []
    for row, places in zip(touching.itertuples(), pixels, strict=True):
        free = places[~both.ravel()[places]]
        chosen = _chosen(free, row.geometry, row.points, f"{block_year.config.labels.seed} {block_year.year}")
        parts.append(pd.DataFrame({"place": chosen, "label": row.label, "subclass": row.subclass}))
    empty = pd.DataFrame({"place": np.zeros(0, np.int64), "label": [], "subclass": []})
    table = pd.concat([empty, *parts], ignore_index=True).sort_values(["place", "subclass"]).drop_duplicates("place", ignore_index=True)
    y, x = np.divmod(table.pop("place").to_numpy(np.int64), own.shape[1])
    easting, northing = geobox.transform @ (x + 0.5, y + 0.5)
    table = table.assign(x=easting, y=northing, annotator=ANNOTATOR)
    return table[list(COLUMNS)], int(both.sum())


@dataclass(frozen=True)
class _Grid:
    """What rasterio asks a dataset for to find a window in it."""

    transform: Any
    height: int
    width: int


def _chosen(places: NDArray[np.int64], outline: Any, points: int, seed: str) -> NDArray[np.int64]:
    """Return at most `points` of the pixels, drawn by a generator that the outline and `seed` start."""
    import shapely

    if len(places) <= points:
        return places
    content = shapely.to_wkb(shapely.normalize(outline), byte_order=1) + seed.encode()
    start = int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
    return np.sort(np.random.default_rng(start).choice(places, points, replace=False))


def import_all(config: Config, places: Sequence[tuple[str, str]], dry: bool = False, root: Path = Path()) -> list[dict[str, Any]]:
    """Import for years and blocks; return a row for each: year, block and the attributes of `Drawn`.

    Raises:
        UserError: see `read_polygons`; or no polygon is near an epoch and in a block.
    """
    polygons = read_polygons(config.labels.external, config.grid.crs, root)
    rows_ = []
    for year, block in places:
        drawn = import_polygons(BlockYear(config, year, block, root), polygons, dry)
        rows_.append({"year": int(year), "block": block, **vars(drawn)})
    if not any(row["mining"] or row["not_mining"] for row in rows_):
        far = max(row["far"] for row in rows_)
        found = f"none of {len(polygons)}; {far} have a day that is too far from an epoch"
        do = "check the area, the days and labels.external.within_days"
        raise UserError("polygons in the tiles of the run, of the time of its epochs", found, do)
    return rows_
