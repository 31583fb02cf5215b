"""Write the map of change between two years, its areas of new and gone mining as polygons, and what each tile holds of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from smallmines.core import raster
from smallmines.core.files import temporary_folder, written
from smallmines.core.log import logger
from smallmines.core.optional import pandera
from smallmines.core.product import BUFFER, MASK_NODATA, SPLITS, patch_path
from smallmines.core.schemas import text_column
from smallmines.core.software import TAG, of_rasters
from smallmines.dataset.change import CLASSES, COLOURS, GONE, NEW, UNKNOWN, change_classes, halo, seen, windows
from smallmines.dataset.split_files import read_split_rows
from smallmines.grid.lattice import Lattice
from smallmines.map.cog import Form, created_cog
from smallmines.map.dates import ImageDates
from smallmines.map.mosaics import block_window, own_windows
from smallmines.map.polygons import MapFiles, mines, write_table
from smallmines.map.schemas import day_column, table_schema, tiles_column
from smallmines.settings.map import Change

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

CHANGED = {"new": NEW, "gone": GONE}
"""Classes that become polygons."""

MEANINGS = {
    "area": "Number of the area, from 1; new areas first, by their first pixel.",
    "change": "new or gone.",
    "first": "Earlier year.",
    "last": "Later year.",
    "area_ha": "Area in ha: number of pixels times the area of a pixel.",
    "before_from": "Day of the earliest Sentinel-2 image of the earlier year of its pixels, YYYY-MM-DD; empty where none has data.",
    "before_to": "Day of the latest one.",
    "after_from": "Day of the earliest image of the later year.",
    "after_to": "Day of the latest one.",
    "tile_ids": "Tiles that it has pixels in, sorted.",
}
"""Meaning of each column of the polygons beside the outline (multipolygon in the CRS of the run)."""

PAIR_MEANINGS = {
    "tile_id": "Tile.",
    "first": "Earlier year.",
    "last": "Later year.",
    "split": "Split that the tile is in in both years; empty where they differ, so that no pair of years is in two splits.",
    **{f"{name}_share": f"Share of its pixels that are {name.replace('_', ' ')}." for name in CLASSES},
    "unknown_share": "Share of its pixels without a class in either year.",
    "image_first": "Image of the earlier year, from the folder of the dataset; image_last, mask_first and mask_last alike.",
    "image_last": "Image of the later year.",
    "mask_first": "Mask of the earlier year.",
    "mask_last": "Mask of the later year.",
}
"""Meaning of each column of `pairs.parquet`."""


def changes_schema() -> Any:
    """Return the schema of `changes.parquet` (pandera) without its geometry: the columns of `MEANINGS` in order, with type and range."""
    pa = pandera()
    columns = {
        "area": pa.Column("int32", pa.Check.gt(0), unique=True),
        "change": text_column(pa.Check.isin(CHANGED)),
        **{name: pa.Column("int32") for name in ("first", "last")},
        "area_ha": pa.Column("float64", pa.Check.gt(0)),
        **{f"{when}_{end}": day_column() for when in ("before", "after") for end in ("from", "to")},
        "tile_ids": tiles_column(),
    }
    return table_schema(columns, MEANINGS)


def pairs_schema() -> Any:
    """Return the schema of `pairs.parquet` (pandera): the columns of `PAIR_MEANINGS` in order, with type and range."""
    pa = pandera()
    columns = {
        "tile_id": text_column(pa.Check(_is_unique, error="one row a tile")),
        **{name: pa.Column("int32") for name in ("first", "last")},
        "split": text_column(pa.Check.isin(["", *SPLITS, BUFFER])),
        **{f"{name}_share": pa.Column("float64", pa.Check.in_range(0, 1)) for name in (*CLASSES, "unknown")},
        **{f"{kind}_{end}": text_column() for kind in ("image", "mask") for end in ("first", "last")},
    }
    return table_schema(columns, PAIR_MEANINGS)


def _is_unique(column: pd.Series) -> bool:
    return bool(column.is_unique)


@dataclass(frozen=True)
class YearFiles:
    """Files of a year of the run.

    Attributes:
        year: of the images.
        mask: mosaic of the masks.
        clear: `clear.tif` by block.
        dates: days of the images.
    """

    year: str
    mask: str
    clear: Mapping[str, str]
    dates: ImageDates


def year_files(lattice: Lattice, year: str, mask: str, manifest: str, by_block: Mapping[str, Mapping[tuple[str, str], str]]) -> YearFiles:
    """Return the files of a year.

    Args:
        mask: mosaic of the masks. manifest: of Sentinel-2.
        by_block: `clear_masks`, `sources` and `composites`, each by year and block.
    """
    own = {name: {block: path for (of, block), path in paths.items() if of == year} for name, paths in by_block.items()}
    return YearFiles(year, mask, own["clear_masks"], ImageDates(lattice, own["sources"], own["composites"], manifest))


def form(first: str, last: str, settings: Change) -> Form:
    """Return the form of the map of change."""
    classes = ", ".join(f"{value} {name}" for value, name in enumerate(CLASSES))
    tags = {
        "CLASSES": f"{classes}, {UNKNOWN} unknown in either year",
        "YEARS": f"{first}, {last}",
        "TOLERANCE_PX": str(settings.change_tolerance_px),
        "SMALLEST_PX": str(settings.smallest_change_px),
        TAG: of_rasters(),
    }
    return Form("change", UNKNOWN, "mode", tags, COLOURS)


def write_change(first: YearFiles, last: YearFiles, lattice: Lattice, settings: Change, target: str | Path) -> None:
    """Write the map of change: a COG on the grid of the run's lattice, uint8 values of `dataset.change.CLASSES`, 255 unknown.

    It is computed in windows that read as far around themselves as their classes can depend on it, see `dataset.change.halo`.

    Raises:
        UserError: a raster is on another grid.
    """
    margin = halo(settings.change_tolerance_px, settings.smallest_change_px)
    pixels = np.zeros(256, np.int64)
    with (
        temporary_folder(Path(target).with_name("seen")) as folder,
        created_cog(target, lattice.geobox, form(first.year, last.year, settings)) as output,
    ):
        paths = [_write_seen(files, lattice, folder / f"{files.year}.tif") for files in (first, last)]
        with raster.opened(paths[0]) as before, raster.opened(paths[1]) as after:
            for window, read, inner in windows(lattice.geobox.shape, margin):
                masks = [source.read(1, window=read) for source in (before, after)]
                classes = change_classes(masks[0], masks[1], settings.change_tolerance_px, settings.smallest_change_px)[inner]
                pixels += np.bincount(classes.ravel(), minlength=256)
                output.write(classes, 1, window=window)
    counts = ", ".join(f"{count} px {name}" for name, count in zip(CLASSES, pixels, strict=False))
    logger.info("change %s to %s: %s, %d unknown or outside the tiles", first.year, last.year, counts, pixels[UNKNOWN])


def _write_seen(files: YearFiles, lattice: Lattice, target: Path) -> Path:
    """Write the mask of a year without what nobody saw, see `dataset.change.seen`."""
    with (
        raster.created(target, lattice.geobox, "uint8", MASK_NODATA, ["mining"]) as output,
        raster.opened(files.mask) as mask,
    ):
        raster.require_grid(mask, lattice.geobox)
        for block, path in files.clear.items():
            with raster.opened(path) as clear:
                raster.require_grid(clear, lattice.block(block))
                for window in own_windows(lattice, block):
                    own = clear.read(1, window=block_window(lattice, block, window))
                    output.write(seen(mask.read(1, window=window), own), 1, window=window)
    return target


def change_areas(change: str, first: YearFiles, last: YearFiles, lattice: Lattice) -> gpd.GeoDataFrame:
    """Return the areas of new and gone mining: connected pixels of a class, with a row each and the columns of `MEANINGS`.

    Args:
        change: map of change.
    """
    import geopandas as gpd
    import pandas as pd

    parts = []
    for name, value in CHANGED.items():
        before, after = (mines(MapFiles(change, value=value), lattice, files.year, files.dates, 0) for files in (first, last))
        columns = {
            "change": name,
            "first": np.int32(first.year),
            "last": np.int32(last.year),
            "area_ha": before["area_ha"],
            **{f"{when}_{end}": days for when, table in (("before", before), ("after", after)) for end, days in _days(table).items()},
            "tile_ids": before["tile_ids"],
        }
        parts.append(gpd.GeoDataFrame(columns, geometry=before.geometry, crs=before.crs, index=before.index))
    table = pd.concat(parts, ignore_index=True)
    table.insert(0, "area", np.arange(1, len(table) + 1, dtype=np.int32))
    return gpd.GeoDataFrame(table.astype({"first": np.int32, "last": np.int32, "change": str}), crs=str(lattice.geobox.crs))


def _days(table: gpd.GeoDataFrame) -> dict[str, Any]:
    return {"from": table["image_date_first"], "to": table["image_date_last"]}


def write_change_areas(
    change: str, first: YearFiles, last: YearFiles, lattice: Lattice, parquet: str | Path, flatgeobuf: str | Path
) -> None:
    """Write the areas of new and gone mining as GeoParquet and FlatGeobuf, see `change_areas` and `write_table`."""
    table = change_areas(change, first, last, lattice)
    write_table(table, changes_schema(), "change", parquet, flatgeobuf)
    area = table.groupby("change")["area_ha"].agg(["size", "sum"])
    logger.info("%s", "; ".join(f"{int(own['size'])} areas {name}, {own['sum']:.1f} ha" for name, own in area.iterrows()))


def write_pairs(change: str, years: tuple[str, str], splits: str, country: str, lattice: Lattice, target: str | Path) -> None:
    """Write what each tile holds of the change (Parquet), see `pairs`."""
    table = pairs_schema().validate(pairs(change, years, splits, country, lattice))
    with written(target) as beside:
        table.to_parquet(beside, index=False)


def pairs(change: str, years: tuple[str, str], splits: str, country: str, lattice: Lattice) -> pd.DataFrame:
    """Return what each tile holds of the change: a row a tile, the columns of `PAIR_MEANINGS`, by tile id.

    Args:
        splits: `splits.csv` of the dataset.
    """
    import pandas as pd

    split = read_split_rows(splits).pivot_table(index="tile_id", columns="year", values="split", aggfunc="first")
    first, last = (split.reindex(columns=[int(year)])[int(year)] for year in years)
    safe = first.where(first == last, "").fillna("")
    side, rows = lattice.tile_size, []
    with raster.opened(change) as source:
        raster.require_grid(source, lattice.geobox)
        for tile in sorted(lattice.tiles, key=lambda own: own.tile_id):
            window = rasterio.windows.Window(tile.col * side, tile.row * side, side, side)
            shares: NDArray[np.float64] = np.bincount(source.read(1, window=window).ravel(), minlength=256) / side**2
            rows.append(
                {
                    "tile_id": tile.tile_id,
                    "first": int(years[0]),
                    "last": int(years[1]),
                    "split": safe.get(tile.tile_id, ""),
                    **{f"{name}_share": round(float(shares[value]), 6) for value, name in enumerate(CLASSES)},
                    "unknown_share": round(float(shares[UNKNOWN]), 6),
                    **{
                        f"{kind.lower()}_{end}": patch_path(kind, country, tile.tile_id, year)
                        for kind in ("IMAGE", "MASK")
                        for end, year in zip(("first", "last"), years, strict=True)
                    },
                }
            )
    return pd.DataFrame(rows, columns=list(PAIR_MEANINGS)).astype({"first": np.int32, "last": np.int32})
