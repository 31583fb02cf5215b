"""Compare a dataset with the published split tables alone: counts, means, empty tiles, bins, and shares by tile where ids can be matched.

The published tables (`train_test_splits_<year>.csv`) have no coordinates. An id stands for the same tile only where our grid states it
(`released_id` of the index). The rule of the grid lacks one released cell: ids after it differ by one, and ids that may be on either side
of it are not matched.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.compare.differences import read_mask
from smallmines.compare.pairs import Patch, find_patches
from smallmines.core.errors import UserError
from smallmines.core.product import MASK_NODATA, PATCH_NAME
from smallmines.dataset.split_files import read_rows
from smallmines.dataset.split_methods import BINS, bins_of

if TYPE_CHECKING:
    import pandas as pd

UNDECIDED = (2041, 2067)
"""Range of released ids whose location is not known from the tables: one of them is the cell that the rule of the grid lacks."""

RELEASED_TILES = 2135
COLUMNS = ("patch_name", "class_percentage")

BIN_NAMES = tuple(f"{low:g}–{high:g} %" for low, high in itertools.pairwise(BINS))
"""Names of the bins of `split_methods.bins_of`: a bin contains its upper end and not its lower one (0 belongs to the first)."""


def tables_in(place: Path) -> list[Path]:
    """Return the CSV files with the columns `COLUMNS`, whatever separates them: `place` itself, or files below it."""
    files = [place] if place.is_file() and place.suffix == ".csv" else sorted(place.rglob("*.csv")) if place.is_dir() else []
    return [path for path in files if set(COLUMNS) <= set(re.split(r"[,;|\t]", _first_line(path).replace('"', "")))]


def _first_line(path: Path) -> str:
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        return file.readline().strip()


def read_published(files: Sequence[Path]) -> pd.DataFrame:
    """Read tile_id (str), year (int), percent (mining in the tile), split ("" where there is none), one row per tile and year.

    Raises:
        UserError: a file that cannot be read (see `split_files.read_rows`), a name that is not that of a patch, a share outside 0 to
            100, or a tile and year twice.
    """
    import pandas as pd

    table = pd.concat([read_rows(path, COLUMNS, "correct the tables") for path in files], ignore_index=True)
    names = table["patch_name"].str.extract(f"^{PATCH_NAME.pattern}$")
    percent = pd.to_numeric(table["class_percentage"], errors="coerce")
    wrong = names["tile_id"].isna() | ~names["tile_id"].astype(str).str.isdigit() | ~percent.between(0, 100)
    if wrong.any():
        first = table.loc[wrong, list(COLUMNS)].iloc[0].tolist()
        raise UserError(
            "rows like MASK_0001_2016.tif with 0 to 100 % of mining", f"{wrong.sum()} other rows, e.g. {first}", "correct the tables"
        )
    split = table["split"].fillna("").astype(str) if "split" in table else ""
    ids = names["tile_id"].map(lambda name: f"{int(name):04d}")
    shares = pd.DataFrame({"tile_id": ids, "year": names["year"].astype(int), "percent": percent}).assign(split=split)
    if (twice := shares.duplicated(["tile_id", "year"])).any():
        row = shares[twice].iloc[0]
        raise UserError("one row per tile and year", f"tile {row['tile_id']} of {row['year']} twice", "name the tables of one release")
    return shares.sort_values(["year", "tile_id"], ignore_index=True)


def read_ours(folder: Path) -> pd.DataFrame:
    """Read our class shares from `index.parquet`, else from the masks.

    Returns:
        tile_id, year, percent (NaN without data), released_id (True, False or NA), left, top, side (of the tile).

    Raises:
        UserError: there is neither index nor mask, or the index cannot be read.
    """
    import pandas as pd

    if (index := folder / "index.parquet").is_file():
        import geopandas as gpd

        try:
            table = gpd.read_parquet(index)
            table = table[["tile_id", "year", "mining_percent", "released_id", "geometry"]]
        except (OSError, ValueError, LookupError) as error:
            found = " ".join(str(error).split())[:300]
            raise UserError(
                f"an index of tiles and years at {index}", found, "restore the file, or remove it: the masks count then"
            ) from None
        edges = table.geometry.bounds
        return pd.DataFrame(
            {
                "tile_id": table["tile_id"].astype(str),
                "year": table["year"].astype(int),
                "percent": table["mining_percent"].astype(float),
                "released_id": table["released_id"].astype("boolean"),
                "left": edges["minx"],
                "top": edges["maxy"],
                "side": edges["maxx"] - edges["minx"],
            }
        )
    patches = [patch for patch in find_patches(folder) if patch.mask is not None]
    if not patches:
        raise UserError(
            f"index.parquet or masks MASK_… below {folder}", "neither", "name the folder of a dataset, e.g. results/<run>/dataset"
        )
    headers = [patch.header for patch in patches]
    table = pd.DataFrame(
        {
            "tile_id": [header.tile_id for header in headers],
            "year": [int(header.year) for header in headers],
            "percent": [_mining_percent(patch) for patch in patches],
            "left": [header.left for header in headers],
            "top": [header.top for header in headers],
            "side": [header.height * header.resolution[1] for header in headers],
        }
    )
    return table.assign(released_id=pd.array([None] * len(table), "boolean"))


def _mining_percent(patch: Patch) -> float:
    mask = read_mask(patch)
    valid = mask != MASK_NODATA
    return 100 * float((mask[valid] == 1).mean()) if valid.any() else float("nan")


def released_ids(tile_ids: Sequence[str], are_released: Sequence[bool | None], published: Sequence[str]) -> tuple[list[str | None], str]:
    """Return the released id of each of our tiles, None where it is not known, and how they were matched, in words.

    Args:
        tile_ids: ours, each once.
        are_released: whether each of our ids is the released one; None where that is not stated.
        published: the ids of the tables.
    """
    if set(tile_ids) == {name for name in published if name}:
        return list(tile_ids), "the same ids in both"
    if not any(are_released):
        return [None] * len(tile_ids), "no tile: nothing says which of our ids are the released ones (grid.released_ids_up_to)"
    sure = max(int(name) for name, released in zip(tile_ids, are_released, strict=True) if released)
    behind = len(tile_ids) == RELEASED_TILES - 1 and sure == UNDECIDED[0] - 1
    ids: list[str | None] = []
    for name, released in zip(tile_ids, are_released, strict=True):
        if released:
            ids.append(name)
        else:
            ids.append(f"{int(name) + 1:04d}" if behind and int(name) >= UNDECIDED[1] else None)
    matched = f"ids up to {sure}, which are the released ones"
    if behind:
        matched += f", and from {UNDECIDED[1] + 1}, which are one more than ours; {UNDECIDED[0]} to {UNDECIDED[1]} are left out"
    return ids, matched


def by_tile(ours: pd.DataFrame, published: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Match the tiles and years of both: tile_id, released_id, year, ours_percent, published_percent, percent_difference, left, top."""
    import pandas as pd

    tiles = ours.drop_duplicates("tile_id")
    are_released = [None if pd.isna(flag) else bool(flag) for flag in tiles["released_id"]]
    ids, matched = released_ids(tiles["tile_id"].tolist(), are_released, sorted(set(published["tile_id"])))
    placed = ours.assign(released_id=ours["tile_id"].map(dict(zip(tiles["tile_id"], ids, strict=True)))).dropna(subset=["released_id"])
    joined = placed.rename(columns={"percent": "ours_percent"}).merge(
        published.rename(columns={"tile_id": "released_id", "percent": "published_percent"}), on=["released_id", "year"]
    )
    joined = joined.assign(percent_difference=joined["ours_percent"] - joined["published_percent"])
    columns = ["tile_id", "released_id", "year", "left", "top", "ours_percent", "published_percent", "percent_difference"]
    return joined[columns].sort_values(["year", "tile_id"], ignore_index=True), matched


def totals(percent: NDArray[np.float64]) -> dict[str, Any]:
    """Return tiles, mean_percent, empty (tiles without mining), max_percent, bins (tiles by ten points, see `BIN_NAMES`)."""
    valid = percent[np.isfinite(percent)]
    return {
        "tiles": len(percent),
        "mean_percent": float(valid.mean()) if valid.size else None,
        "empty": int((valid == 0).sum()),
        "max_percent": float(valid.max()) if valid.size else None,
        "bins": dict(zip(BIN_NAMES, np.bincount(bins_of(valid), minlength=len(BIN_NAMES)).tolist(), strict=True)),
    }


def against_tables(ours: pd.DataFrame, published: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Compare our dataset with the tables.

    Returns:
        The tiles and years that could be joined (see `by_tile`), and by year: ours and published (see `totals`), by_tile (tiles,
        mean_absolute and largest difference in points, correlation, same_bin and same_empty as shares; None where none could be joined).

    Raises:
        UserError: no year is in both.
    """
    years = sorted(set(ours["year"]) & set(published["year"]))
    if not years:
        found = f"ours {sorted(set(ours['year'].tolist()))}, published {sorted(set(published['year'].tolist()))}"
        raise UserError("a year that is in both datasets", found, "compare the years of the release")
    joined, matched = by_tile(ours, published)
    joined = joined[joined["year"].isin(years)]
    by_year = {}
    for year in years:
        rows = joined[joined["year"] == year].dropna(subset=["percent_difference"])
        a, b = rows["ours_percent"].to_numpy(np.float64), rows["published_percent"].to_numpy(np.float64)
        shares = None
        if len(rows):
            varied = len(rows) > 1 and a.std() > 0 and b.std() > 0
            shares = {
                "tiles": len(rows),
                "mean_absolute": float(abs(a - b).mean()),
                "largest": float(abs(a - b).max()),
                "correlation": float(np.corrcoef(a, b)[0, 1]) if varied else None,
                "same_bin": float((bins_of(a) == bins_of(b)).mean()),
                "same_empty": float(((a == 0) == (b == 0)).mean()),
            }
        sides = {
            name: totals(table.loc[table["year"] == year, "percent"].to_numpy(np.float64))
            for name, table in (("ours", ours), ("published", published))
        }
        by_year[str(year)] = {**sides, "by_tile": shares}
    return joined, {"joined": matched, "years": by_year}
