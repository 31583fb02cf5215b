"""Compute the index of a dataset: one row per tile and year with its grid cell, shares, sources and checksums (stac-geoparquet).

Shares come from the block rasters and labels, not from the patches, so that `verify` can compare the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray

from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import written
from smallmines.core.json_products import LabelQuality, read_product
from smallmines.core.log import logger
from smallmines.core.product import BUFFER, KINDS, MASK_NODATA, SPLITS, patch_path
from smallmines.core.readable import read_parquet
from smallmines.dataset import stac
from smallmines.dataset.assemble import read_list
from smallmines.dataset.columns import RELEASED_COLUMNS, SEGMENT_COLUMNS, columns_left_out
from smallmines.dataset.label_codes import OPEN, label_reader
from smallmines.dataset.scenes import histograms, scene_tags, scenes
from smallmines.dataset.splits import read_splits
from smallmines.grid.lattice import Lattice
from smallmines.labels.tables import PROVENANCES, VALIDATED
from smallmines.sensors.radiometry import VERDICT_TAG

if TYPE_CHECKING:
    import geopandas as gpd
    import pandera.pandas as pa

ACCURACIES = {
    "year_overall_accuracy": ("overall", "value"),
    "year_users_accuracy": ("users", "mining", "value"),
    "year_producers_accuracy": ("producers", "mining", "value"),
}
"""Columns with the accuracy of the year's masks, and their keys in labels.json."""

KAPPAS = ("block_kappa", "year_kappa")
"""Columns of agreement (Cohen's κ), −1 to 1."""

COUNTED = ("mask", "s2", "s1", "dem", "clear", "source", "label", "unsupported")
"""Values that are counted in each tile."""


@dataclass(frozen=True)
class BlockFiles:
    """The products of one year and block that the index is computed from, all on the block's grid.

    Without segments and labels, the mask is a released one.
    """

    masks: str
    s2: str
    s1: str
    dem: str
    source: str
    clear_mask: str
    segments: str | None
    labels: str | None


@dataclass(frozen=True)
class IndexSources:
    """Files that the index is computed from.

    Attributes:
        blocks: by (year, block) the products, or the rows that `write_rows` has computed from them.
        lists: the checksum lists `<year>/<kind>.sha256`.
        fishnet: grid/fishnet.parquet: tile_id, row, col, block, released_id, geometry.
        label_quality: labels.json, for the accuracy of each year.
        splits: splits.csv.
    """

    blocks: Mapping[tuple[str, str], BlockFiles | str]
    lists: Sequence[str | Path]
    fishnet: str | Path
    label_quality: str | Path
    splits: str | Path


def write_index(
    sources: IndexSources, lattice: Lattice, country: str, windows: stac.Windows, run: str, target: str | Path
) -> gpd.GeoDataFrame:
    """Compute and write `dataset/index.parquet`; rows by year, then tile id.

    Args:
        windows: first and last day of acquisitions by year.
        run: name of the run, the id of the collection.

    Returns:
        The index: tile_id (str), year (int32), block, split (str), row, col (int64), released_id, geometry (the tile's square),
        mining_percent (of the mask's valid pixels, NaN where there is none), mask_nodata_percent, open_percent (labels
        left open, or not given by a released mask), unsupported_percent (labelled by a release, without Sentinel-2 data; only
        where labels come from a release), image_nodata_percent (Sentinel-2), s1_nodata_percent, dem_nodata_percent (of all pixels),
        clear_share (of the pixels with Sentinel-2 data), share_<provenance> (of the labelled pixels; share_released only where labels
        come from a release), validated_share (of these,
        those that people looked at), year_overall_accuracy, year_users_accuracy, year_producers_accuracy (of the year's masks, the
        last two of mining; NaN where not measured), block_kappa, year_kappa (the lowest Cohen's κ of two people in the overlap; NaN
        where not measured), scenes, baselines (lists of str), radiometry, radiometry_verdict, image, mask (paths from the
        dataset's folder), image_sha256, mask_sha256. The file has the columns of an item beside these (see `stac.flat`) and the
        geometry in degrees.

    Raises:
        UserError: a file is missing or on another grid, a label has an unknown provenance, a patch is not listed.
    """
    import geopandas as gpd

    checksums = {f"{Path(path).parent.name}/{name}": checksum for path in sources.lists for name, checksum in read_list(path).items()}
    parts = [
        read_rows(files) if isinstance(files, str) else block_rows(files, lattice, year, block)
        for (year, block), files in sorted(sources.blocks.items())
    ]
    rows = pd.concat(parts, ignore_index=True).sort_values(["year", "tile_id"], ignore_index=True)
    for kind, column in zip(KINDS, ("image", "mask"), strict=True):
        names = [patch_path(kind, country, tile, str(year)) for tile, year in zip(rows["tile_id"], rows["year"], strict=True)]
        if unlisted := [name for name in names if name not in checksums]:
            raise UserError(
                f"a checksum of every patch in {' '.join(map(str, sources.lists))}",
                f"none of {len(unlisted)}, e.g. {unlisted[0]}",
                "run again with --forcerun assemble",
            )
        rows[column], rows[f"{column}_sha256"] = names, [checksums[name] for name in names]
    label_quality = read_product(sources.label_quality, LabelQuality)
    rows = rows.assign(**accuracies(label_quality, rows["year"].tolist()), **kappas(label_quality, rows))
    splits = read_splits(sources.splits, rows).drop(columns="fold")
    rows = rows.merge(splits, on=["tile_id", "year"], validate="one_to_one").astype({"year": "int32"})
    table = gpd.read_parquet(sources.fishnet).astype({"block": str})
    table = table.merge(rows, on=["tile_id", "block"], how="inner", validate="one_to_many")
    columns = [name for name in COLUMNS if name not in columns_left_out(label_quality["years"])]
    table = contract().validate(table[[*columns, "geometry"]].sort_values(["year", "tile_id"], ignore_index=True))
    if len(table) != len(rows):
        raise UserError(f"{len(rows)} tiles and years in the fishnet", f"{len(table)}", "run again with --forcerun grid")
    with written(target) as beside:
        stac.flat(_on_grid(table, lattice.tile_size), windows, run).to_parquet(beside, index=False)
    logger.info("index of %d patches: mean mining %.3f %%", len(table), table["mining_percent"].mean())
    return table


def read_index(path: str | Path) -> gpd.GeoDataFrame:
    """Read an index as `write_index` returns it: the geometry is the tile's square on the grid; `attrs["tile_size"]` in px.

    Raises:
        UserError: the file is no index.
    """
    import geopandas as gpd
    import shapely

    try:
        table = gpd.read_parquet(path)
        columns = [name for name in COLUMNS if name in table or name not in _OPTIONAL]
        numbers = {name: float for name in columns if name in _NUMBERS}
        rows = table[columns].astype({"year": "int32", "row": "int64", "col": "int64", **numbers})
        west, south, east, north = np.array(table["proj:bbox"].tolist(), np.float64).reshape(-1, 4).T
        crs = table["proj:code"].iloc[0] or table["proj:wkt2"].iloc[0]
        if len(others := set(table["proj:code"]) - {crs, None}):
            raise ValueError(f"several CRS, {crs} and {', '.join(sorted(others))}: that of a merged dataset")
        squares = gpd.GeoDataFrame(rows, geometry=shapely.normalize(shapely.box(west, south, east, north)), crs=crs)
        return _on_grid(squares, int(table["proj:shape"].iloc[0][0]))
    except (OSError, ValueError, TypeError, AttributeError, LookupError, RuntimeError) as error:  # pyproj's errors are RuntimeErrors
        found = f"no such file: {path}" if not Path(path).is_file() else " ".join(str(error).split())[:300]
        raise UserError(f"an index of tiles and years at {path}", found, "run again with --forcerun index") from error


def _on_grid(table: gpd.GeoDataFrame, tile_size: int) -> gpd.GeoDataFrame:
    table.attrs["tile_size"] = tile_size
    return table


def kappas(label_quality: Mapping[str, Any], rows: pd.DataFrame) -> dict[str, list[float]]:
    """Return columns with the lowest κ of two people in each row's block and year, and in its year; NaN where not measured."""

    def lowest(pairs: Sequence[Mapping[str, Any]]) -> float:
        return min((float(pair["kappa"]) for pair in pairs if pair["kappa"] is not None), default=float("nan"))

    agreement = {year: quality["agreement"] for year, quality in label_quality["years"].items()}
    years = [str(year) for year in rows["year"]]
    return {
        "block_kappa": [lowest(agreement[year]["blocks"].get(block, ())) for year, block in zip(years, rows["block"], strict=True)],
        "year_kappa": [lowest(agreement[year]["year"]) for year in years],
    }


def accuracies(label_quality: Mapping[str, Any], years: Sequence[int]) -> dict[str, list[float]]:
    """Return columns with the accuracy of each row's year, NaN where it was not measured."""
    accuracy: dict[str, list[float]] = {}
    for name, path in ACCURACIES.items():
        values = {}
        for year in set(years):
            value: Any = label_quality["years"][str(year)]["accuracy"]
            for key in path:
                value = None if value is None else value[key]
            values[year] = float("nan") if value is None else float(value)
        accuracy[name] = [values[year] for year in years]
    return accuracy


def write_rows(files: BlockFiles, lattice: Lattice, year: str, block: str, target: str | Path) -> None:
    """Write the rows of one year and block, see `block_rows`."""
    with written(target) as beside:
        block_rows(files, lattice, year, block).to_parquet(beside, index=False)


def read_rows(path: str | Path) -> pd.DataFrame:
    """Read what `write_rows` has written."""
    table = read_parquet(path)
    for name in ("scenes", "baselines"):
        table[name] = pd.Series([list(items) for items in table[name]], dtype=object)
    return table


def block_rows(files: BlockFiles, lattice: Lattice, year: str, block: str) -> pd.DataFrame:
    """Compute the rows of one year and block, without geometry and checksums; reads a row of tiles at a time."""
    cells = lattice.cells_of(block)
    geobox, side = lattice.block(block), lattice.tile_size
    rows, columns = geobox.shape.y // side, geobox.shape.x // side
    counts = {name: np.zeros((rows, columns, 256), np.int64) for name in COUNTED}
    with ExitStack() as stack:
        rasters: dict[str, rasterio.DatasetReader] = {}
        for name in ("masks", "s2", "s1", "dem", "source", "clear_mask", "segments"):
            if path := getattr(files, name):
                rasters[name] = stack.enter_context(raster.opened(path))
                raster.require_grid(rasters[name], geobox)
        labels_in = label_reader(files.labels, rasters.get("segments"))
        tags = scene_tags(rasters["s2"], rasters["source"])
        for row in sorted(set((cells["y"] // side).tolist())):
            window = rasterio.windows.Window(0, row * side, geobox.shape.x, side)
            data = (rasters["s2"].read(window=window) > 0).all(axis=0)
            mask = rasters["masks"].read(1, window=window)
            strip = {
                "mask": mask,
                "s2": data,
                "s1": np.isfinite(rasters["s1"].read(window=window)).all(axis=0),
                "dem": np.isfinite(rasters["dem"].read(1, window=window)),
                "clear": np.where(data, rasters["clear_mask"].read(1, window=window) > 0, MASK_NODATA),
                "source": rasters["source"].read(1, window=window),
                "label": labels_in(window, mask, data),
                "unsupported": (mask != MASK_NODATA) & ~data,
            }
            for name, values in strip.items():
                counts[name][row] = histograms(values.astype(np.uint8), side)
    at = (cells["y"].to_numpy() // side, cells["x"].to_numpy() // side)
    return _rows(cells, {name: count[at] for name, count in counts.items()}, tags, year)


def _rows(cells: pd.DataFrame, counts: dict[str, NDArray[np.int64]], tags: Mapping[str, str], year: str) -> pd.DataFrame:
    """Compute percentages, shares and sources from the histograms (tile, value) of a block's tiles."""
    pixels = counts["mask"].sum(axis=1)
    valid = counts["mask"][:, 0] + counts["mask"][:, 1]
    provenance = counts["label"][:, 1 : len(PROVENANCES) + 1] + counts["label"][:, OPEN + 1 : OPEN + len(PROVENANCES) + 1]
    sources = scenes(counts["source"], tags)
    table = pd.DataFrame(
        {
            "tile_id": cells["tile_id"].astype(str),
            "year": np.full(len(cells), int(year), np.int32),
            "block": cells["block"].astype(str),
            "mining_percent": _share(counts["mask"][:, 1], valid, 100),
            "mask_nodata_percent": _share(counts["mask"][:, MASK_NODATA], pixels, 100),
            "open_percent": _share(counts["label"][:, OPEN:].sum(axis=1), pixels, 100),
            "unsupported_percent": _share(counts["unsupported"][:, 1], pixels, 100),
            "image_nodata_percent": _share(counts["s2"][:, 0], pixels, 100),
            "s1_nodata_percent": _share(counts["s1"][:, 0], pixels, 100),
            "dem_nodata_percent": _share(counts["dem"][:, 0], pixels, 100),
            "clear_share": _share(counts["clear"][:, 1], counts["s2"][:, 1], 1),
        }
    )
    for position, name in enumerate(PROVENANCES):
        table[f"share_{name}"] = _share(provenance[:, position], provenance.sum(axis=1), 1)
    table["validated_share"] = table[[f"share_{name}" for name in VALIDATED]].sum(axis=1, min_count=1).clip(upper=1)
    table["scenes"] = pd.Series([items for items, _ in sources], dtype=object)
    table["baselines"] = pd.Series([baselines for _, baselines in sources], dtype=object)
    return table.assign(radiometry=tags.get("RADIOMETRY", ""), radiometry_verdict=tags.get(VERDICT_TAG, ""))


def _share(part: NDArray[np.int64], whole: NDArray[np.int64], scale: float) -> NDArray[np.float64]:
    """Return part / whole · scale, NaN where the whole is 0."""
    with np.errstate(invalid="ignore"):
        return scale * part / np.where(whole == 0, np.nan, whole)


_NUMBERS = (
    "mining_percent",
    "mask_nodata_percent",
    "open_percent",
    "unsupported_percent",
    "image_nodata_percent",
    "s1_nodata_percent",
    "dem_nodata_percent",
    "clear_share",
    *(f"share_{name}" for name in PROVENANCES),
    "validated_share",
    *ACCURACIES,
    *KAPPAS,
)
_OPTIONAL = {*RELEASED_COLUMNS, *SEGMENT_COLUMNS}
_PATHS = ("image", "mask", "image_sha256", "mask_sha256")
COLUMNS = (
    "tile_id",
    "year",
    "block",
    "split",
    "row",
    "col",
    "released_id",
    *_NUMBERS,
    "scenes",
    "baselines",
    "radiometry",
    "radiometry_verdict",
    *_PATHS,
)
"""Columns of the index before the geometry, see `write_index`; those of `RELEASED_COLUMNS` or `SEGMENT_COLUMNS` may be missing."""


def contract() -> pa.DataFrameSchema:
    """Return the schema of an index (see `write_index`)."""
    from smallmines.core.optional import pandera

    pa = pandera()

    def number(name: str) -> Any:
        low, high = (-1 if name in KAPPAS else 0), (100 if name.endswith("percent") else 1)
        return pa.Column(float, pa.Check.in_range(low, high), nullable=True, required=name not in _OPTIONAL)

    columns: dict[str, Any] = {
        "tile_id": pa.Column(str, pa.Check.str_matches(r"^\S+$")),
        "year": pa.Column("int32"),
        "block": pa.Column(str),
        "split": pa.Column(str, pa.Check.isin([*SPLITS, BUFFER])),
        "row": pa.Column("int64", pa.Check.ge(0)),
        "col": pa.Column("int64", pa.Check.ge(0)),
        **{name: number(name) for name in _NUMBERS},
        **{name: pa.Column(str) for name in _PATHS},
    }
    return pa.DataFrameSchema(columns, unique=["tile_id", "year"])
