"""People's files of the miniature Earth before a run: area of interest, and samples with a few errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from miniature.landscape import CODE, MINING, Land
from miniature.layers import Window, windows
from miniature.noise import Noise, noise, rng_of
from miniature.place import Place
from miniature.processes import in_processes
from smallmines.core.files import written
from smallmines.core.layout import UserFolder

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

KINDS: dict[str, tuple[tuple[str, ...], int]] = {
    "forest": (("forest",), 60),
    "vegetation": (("fallow", "regrowth"), 50),
    "crops": (("crops",), 40),
    "bare_land": (("bare_land", "road"), 45),
    "settlement": (("roof",), 40),
    "sand_winning": (("sand_winning",), 25),
    "clear_water": (("clear_water",), 15),
    "turbid_river": (("turbid_river",), 15),
    "pit": (("pit",), 100),
    "tailings": (("tailings",), 70),
    "pond": (("pond",), 40),
}
"""Subclasses of samples: classes that they are drawn from, and largest number of points per block and year."""
LABEL_ERROR = 0.015
"""Share of the samples with the wrong label."""


def write_people(
    user: UserFolder, where: Place, land: Land, years: Sequence[str], seed: int, force: bool, jobs: int = 1
) -> tuple[list[Path], list[Path]]:
    """Write area of interest and samples; return the paths that were written and those that were kept as they were."""
    new: list[Path] = []
    kept: list[Path] = []
    if _free(user.aoi, force, kept):
        new.append(user.aoi.with_suffix(".gpkg"))
        _write_layer(new[-1], where.aoi, "aoi")
    for number, year in enumerate(years):
        blocks = sorted(where.cells["block"].unique(), key=int)
        wanted = [block for block in blocks if _free(user.samples(year, block), force, kept)]
        drawn = draw_samples(where, land, year, number, seed, jobs) if wanted else {}
        for block in wanted:
            path = user.samples(year, block).with_suffix(".gpkg")
            _write_layer(path, drawn[block], "samples")
            new.append(path)
    return new, kept


def _free(stem: Path, force: bool, kept: list[Path]) -> bool:
    """Return whether a file of people may be written: there is none of that name in any format, or `force`, which removes it."""
    existing = sorted(stem.parent.glob(f"{stem.name}.*"))
    if force:
        for path in existing:
            path.unlink()
    else:
        kept.extend(existing)
    return force or not existing


def _write_layer(path: Path, table: gpd.GeoDataFrame, layer: str) -> None:
    """Write a GeoPackage with reproducible bytes, without the time of writing."""
    import pyogrio

    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2024-01-01T00:00:00.000Z"})
    try:
        with written(path) as beside:
            pyogrio.write_dataframe(table, beside, layer=layer, driver="GPKG")
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})


def draw_samples(where: Place, land: Land, year: str, number: int, seed: int, jobs: int = 1) -> dict[str, gpd.GeoDataFrame]:
    """Draw sample points of each block as people set them: inside an object, away from its edge.

    Every pixel has a random number; of each kind and block the pixels with the lowest are taken, which works window by window.

    Returns:
        By block: label (mining | not_mining), subclass, geometry (points in the grid's CRS); a share `LABEL_ERROR` of the labels is wrong.
    """
    import pandas as pd

    blocks = sorted(where.cells["block"].unique(), key=int)
    block_of = pd.Categorical(where.cells["block"], categories=blocks).codes
    lots = noise(where.shape, rng_of(seed, 100, number), 0)
    parts: list[pd.DataFrame] = []
    offered = np.zeros((len(blocks), len(KINDS)), np.int64)

    def offer(window: Window) -> tuple[NDArray[np.int64], pd.DataFrame]:
        offers = _offers(where, land, year, window, block_of, lots)
        group = offers["block"].to_numpy(np.intp) * len(KINDS) + offers["kind"]
        return np.bincount(group, minlength=offered.size).reshape(offered.shape), _lowest(offers)

    for counts, lowest in in_processes(offer, windows(where.shape), jobs):
        offered += counts
        parts.append(lowest)
    table = _lowest(pd.concat(parts, ignore_index=True))
    most = np.array([most for _, most in KINDS.values()])
    wanted = np.minimum(most, np.maximum(1, offered // 6))
    place = table.groupby(["block", "kind"]).cumcount()
    table = table[place.to_numpy() < wanted[table["block"], table["kind"]]]
    return {
        name: _points(where, table[table["block"] == code].sort_values(["kind", "pixel"]), rng_of(seed, 101, number, int(name)))
        for code, name in enumerate(blocks)
    }


def _offers(where: Place, land: Land, year: str, window: Window, block_of: NDArray[np.integer], lots: Noise) -> pd.DataFrame:
    """Return the pixels of a window that may get a point: block, kind, pixel (index in the world), mining, lot (random number)."""
    import pandas as pd
    from scipy.ndimage import uniform_filter

    outer = window.wider(1)
    classes, truth = land.classes(year, window), land.truth(year, outer)
    core = (np.abs(uniform_filter(truth.astype(np.float32), 3) - truth) < 0.2)[window.inside(outer)]
    truth = truth[window.inside(outer)]
    tile = where.tiles(*window.at)
    kind = np.full((2, len(CODE)), -1, np.int8)
    for index, (name, (members, _)) in enumerate(KINDS.items()):
        kind[int(name in MINING), [CODE[member] for member in members]] = index
    kinds = np.where(core & (tile >= 0), kind[truth.astype(np.intp), classes], -1)
    row, col = np.nonzero(kinds >= 0)
    pixel = (row + window.rows.start) * where.shape[1] + col + window.cols.start
    return pd.DataFrame(
        {
            "block": block_of[tile[row, col]],
            "kind": kinds[row, col],
            "pixel": pixel,
            "mining": truth[row, col],
            "lot": lots(*window.at)[row, col],
        }
    )


def _lowest(offers: pd.DataFrame) -> pd.DataFrame:
    """Return the offers with the lowest lots of each block and kind, as many as any kind needs, in the order of their lots."""
    most = max(most for _, most in KINDS.values())
    keys = [offers[name].to_numpy() for name in ("pixel", "lot", "kind", "block")]
    ordered = offers.iloc[np.lexsort(keys)].reset_index(drop=True)
    return ordered[ordered.groupby(["block", "kind"]).cumcount() < most].reset_index(drop=True)


def _points(where: Place, chosen: pd.DataFrame, rng: np.random.Generator) -> gpd.GeoDataFrame:
    import geopandas as gpd

    y, x = np.divmod(chosen["pixel"].to_numpy(), where.shape[1])
    wrong = rng.uniform(size=len(chosen)) < LABEL_ERROR
    east, north = where.geobox.transform @ (x + rng.uniform(0.2, 0.8, x.size), y + rng.uniform(0.2, 0.8, y.size))
    labels = np.where(chosen["mining"].to_numpy() ^ wrong, "mining", "not_mining")
    subclass = np.array(list(KINDS), object)[chosen["kind"].to_numpy()]
    points = gpd.points_from_xy(np.round(east, 2), np.round(north, 2))
    return gpd.GeoDataFrame({"label": labels, "subclass": subclass}, geometry=points, crs=str(where.geobox.crs))
