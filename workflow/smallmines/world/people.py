"""People of the miniature Earth: the area of interest, samples, and annotators who correct and err."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio.windows
from numpy.typing import NDArray

from smallmines import raster
from smallmines.config import Config
from smallmines.job import UserError
from smallmines.provenance import written
from smallmines.world.landscape import CODE, MINING, Land
from smallmines.world.layers import Window, in_threads, windows
from smallmines.world.noise import Noise, noise, rng_of
from smallmines.world.place import Place, window_in

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
"""Sample subclasses: the classes they are drawn from, and how many points a block and year get of each at most."""
LABEL_ERROR = 0.015
"""Share of the samples with the wrong label."""
OMIT, COMMIT = 0.10, 0.02
"""How often an annotator misses a mine, and calls something else a mine."""
ANNOTATORS = ("A01", "A02")
FIRST_DAY = dt.datetime(2024, 3, 4, 8, 0, tzinfo=dt.UTC)


def write_people(folder: Path, where: Place, land: Land, years: Sequence[str], seed: int, force: bool) -> tuple[list[Path], list[Path]]:
    """Write `aoi.gpkg` and `samples/<year>/<block>.gpkg`; returns the paths written and those kept as they were."""
    new: list[Path] = []
    kept: list[Path] = []
    if _free(folder, "aoi", force, kept):
        _write_layer(folder / "aoi.gpkg", where.aoi, "aoi")
        new.append(folder / "aoi.gpkg")
    for number, year in enumerate(years):
        blocks = sorted(where.cells["block"].unique(), key=int)
        wanted = [block for block in blocks if _free(folder / "samples" / year, block, force, kept)]
        drawn = draw_samples(where, land, year, number, seed) if wanted else {}
        for block in wanted:
            path = folder / "samples" / year / f"{block}.gpkg"
            _write_layer(path, drawn[block], "samples")
            new.append(path)
    return new, kept


def _free(folder: Path, stem: str, force: bool, kept: list[Path]) -> bool:
    """Whether a people's file may be written: none of that name in any format, or `force`, which removes them."""
    there = sorted(folder.glob(f"{stem}.*"))
    if force:
        for path in there:
            path.unlink()
    else:
        kept.extend(there)
    return force or not there


def _write_layer(path: Path, table: gpd.GeoDataFrame, layer: str) -> None:
    """Write a GeoPackage whose bytes depend on its content alone (it would else carry the time)."""
    import pyogrio

    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2024-01-01T00:00:00.000Z"})
    try:
        with written(path) as beside:
            pyogrio.write_dataframe(table, beside, layer=layer, driver="GPKG")
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})


def draw_samples(where: Place, land: Land, year: str, number: int, seed: int) -> dict[str, gpd.GeoDataFrame]:
    """Points on the ground of each block, as people would set them: inside what they mean, seldom at its edge.

    Every pixel draws a lot; of each kind and block those with the lowest are taken, so that windows can be gone through one by one.

    Returns:
        By block: label (mining | not_mining), subclass, geometry (points in the grid's CRS); a few labels are wrong.
    """
    import pandas as pd

    blocks = sorted(where.cells["block"].unique(), key=int)
    block_of = pd.Categorical(where.cells["block"], categories=blocks).codes
    lots = noise(where.shape, rng_of(seed, 100, number), 0)
    parts: list[pd.DataFrame] = []
    offered = np.zeros((len(blocks), len(KINDS)), np.int64)
    for found in in_threads(lambda window: _offers(where, land, year, window, block_of, lots), windows(where.shape)):
        np.add.at(offered, (found["block"], found["kind"]), 1)
        parts.append(_lowest(found))
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
    """Pixels of a window that people might set a point in: block, kind, pixel (of the world, row by row), mining, lot."""
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
    """Of each block and kind the offers with the lowest lots, as many as any kind may need, in the order of their lots."""
    most = max(most for _, most in KINDS.values())
    ordered = offers.sort_values(["block", "kind", "lot", "pixel"], ignore_index=True)
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


def correct(config: Config, share: float = 0.1, seed: int = 0, root: str | Path = ".") -> list[Path]:
    """One round of corrections by two simulated annotators, as event files below `resources/user/<run>/events/`.

    Per year and block they are shown the first `share` of a queue of the predicted segments (entropy × area, largest
    first), decide by the true majority of each, and err (`OMIT`, `COMMIT`). Each takes every other segment.

    Raises:
        UserError: the run has no labels yet, or there is no truth.
    """
    import pandas as pd

    root = Path(root)
    results, user = root / "results" / config.run, root / "resources" / "user" / config.run
    paths: list[Path] = []
    for number, year in enumerate(config.year_names):
        for block in config.blocks:
            segments = results / "segments" / year / block
            tables = [segments / "features.parquet", results / "assistant" / year / block / "probabilities.parquet"]
            tables.append(results / "labels" / year / f"{block}.parquet")
            for path in [*tables, truth_path(config, year, root)]:
                if not path.is_file():
                    raise UserError(f"{path}", "no such file", "make the world and run the workflow first (snakemake masks)")
            table = pd.read_parquet(tables[0], columns=["segment", "area", "key", "x", "y"])
            table = table.merge(pd.read_parquet(tables[1])[["segment", "entropy"]], on="segment")
            table = table.merge(pd.read_parquet(tables[2])[["segment", "label", "provenance"]], on="segment")
            table = table.assign(mining=true_share(segments / "segments.tif", truth_path(config, year, root), table["segment"].to_numpy()))
            queue = review_queue(table, share)
            rng = rng_of(seed, 110, number, int(block))
            paths += _decide(queue, year, block, rng, user / "events" / year / block)
    return paths


def review_queue(table: pd.DataFrame, share: float) -> pd.DataFrame:
    """The first `share` of the segments that only the model has labelled, by entropy × area, ties by key."""
    waiting = table[table["provenance"] == "predicted"]
    weight = (waiting["entropy"].astype(float) * waiting["area"].astype(float)).round(6)
    order = np.lexsort((waiting["key"].to_numpy(), -weight.to_numpy()))
    return waiting.iloc[order[: round(share * len(waiting))]]


def true_share(segments: Path, truth: Path, ids: NDArray[np.integer]) -> NDArray[np.float64]:
    """Share of truly mined pixels in each of the segments `ids`."""
    with raster.opened(segments) as source, raster.opened(truth) as true:
        window = window_in(raster.geobox_of(true), raster.geobox_of(source))
        numbers = source.read(1).ravel()
        mined = true.read(1, window=rasterio.windows.Window.from_slices(*window)).ravel() == 1
    pixels = np.bincount(numbers)
    share = np.bincount(numbers, mined) / np.maximum(pixels, 1)
    return np.asarray(share[ids], np.float64)


def _decide(queue: pd.DataFrame, year: str, block: str, rng: np.random.Generator, folder: Path) -> list[Path]:
    from smallmines.labels.store import Event, write_events

    chance = rng.uniform(size=len(queue))
    is_mine = queue["mining"].to_numpy() >= 0.5
    says = np.where(is_mine, chance >= OMIT, chance < COMMIT)
    provenance = np.where(says == (queue["label"].to_numpy() == 1), "confirmed", "corrected")
    round_ = len(list(folder.glob("*.jsonl"))) // len(ANNOTATORS)
    begin = FIRST_DAY + dt.timedelta(days=7 * round_)
    paths = []
    for turn, annotator in enumerate(ANNOTATORS):
        events = [
            Event(
                year=int(year),
                block=block,
                key=int(key),
                x=float(x),
                y=float(y),
                label="mining" if mining else "not_mining",
                provenance=str(how),
                annotator=annotator,
                time=(begin + dt.timedelta(seconds=6 * index)).isoformat().replace("+00:00", "Z"),
                evidence="simulated",
            )
            for index, (key, x, y, mining, how) in enumerate(
                zip(queue["key"][turn::2], queue["x"][turn::2], queue["y"][turn::2], says[turn::2], provenance[turn::2], strict=True)
            )
        ]
        if events:
            paths.append(write_events(folder, events))
    return paths


def truth_path(config: Config, year: str, root: str | Path = ".") -> Path:
    """Where the true mask of a year lies."""
    return Path(root) / "resources" / "automatic" / config.run / "truth" / f"{year}.tif"
