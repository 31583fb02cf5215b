"""Check-out: the queue of a block and year as a working copy for one person, with a QGIS project and files for Google Earth."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from smallmines import raster
from smallmines.config import Config
from smallmines.grid import Lattice, read_lattice
from smallmines.job import UserError
from smallmines.labels import decide, footprint, store
from smallmines.labels.tables import read as read_table
from smallmines.provenance import digest, read_json, written
from smallmines.review import qgis
from smallmines.review.checkin import pending
from smallmines.review.copies import About, copy_path, looks, polygons_of, shapes, write_base, write_copy
from smallmines.review.queue import draw_overlap, review_queue
from smallmines.segments import read_features

if TYPE_CHECKING:
    import pandas as pd

ASKED = 50_000
"""Segments that the other blocks' forests are asked about, drawn by chance: all of a large block would take minutes."""


@dataclass(frozen=True)
class Place:
    """A block and year of a run, and where its files lie.

    Attributes:
        root: the repository.
    """

    config: Config
    year: str
    block: str
    root: Path = Path()

    @property
    def results(self) -> Path:
        """`results/<run>`."""
        return self.root / "results" / self.config.run

    @property
    def user(self) -> Path:
        """`resources/user/<run>`."""
        return self.root / "resources" / "user" / self.config.run

    def product(self, stage: str, name: str) -> Path:
        """A product of the block and year.

        Raises:
            UserError: it is not there, or the run has no such year or block.
        """
        if self.year not in self.config.year_names or self.block not in self.config.blocks:
            raise UserError(
                f"a year of {', '.join(self.config.year_names)} and a block of {', '.join(self.config.blocks)}",
                f"{self.year}, block {self.block}",
                "name others",
            )
        path = self.results / stage / self.year / (f"{self.block}{name}" if name.startswith(".") else f"{self.block}/{name}")
        if not path.is_file():
            raise UserError(f"{path}", "no such file", "run the workflow up to the masks first: snakemake masks --configfile …")
        return path

    def events(self) -> list[store.Event]:
        """All events of the block and year."""
        return store.read_events(sorted((self.user / "events" / self.year / self.block).glob("*.jsonl")))

    def table(self) -> pd.DataFrame:
        """One row per segment: features, probability and entropy, label, provenance, who; and predicted (0, 1)."""
        table = read_features(self.product("segments", "features.parquet"))
        said = read_table(self.product("assistant", "probabilities.parquet"), "probabilities")
        decided = read_table(self.product("labels", ".parquet"), "labels")
        if not table["key"].equals(decided["key"]) or not table["segment"].equals(said["segment"]):
            raise UserError("labels of the present segmentation", "labels of another", "run the workflow up to the masks again")
        threshold = read_json(self.product("assistant", "metrics.json"))["threshold"]
        mining, _ = decide.predicted(said["probability"].to_numpy(), table["clear_share"].to_numpy(), threshold)
        return table.assign(
            probability=said["probability"],
            entropy=said["entropy"],
            label=decided["label"],
            provenance=decided["provenance"],
            who=decided["who"],
            predicted=mining.astype(np.int8),
        )


@dataclass(frozen=True)
class CheckedOut:
    """What a check-out gave: where it lies and how much it is, by reason."""

    path: Path
    base: str
    segments: int
    tasks: int
    reasons: dict[str, int]
    megabytes: float


def checkout(
    place: Place, annotator: str, size: int | None = None, tiles: Sequence[str] = (), everything: bool = False, dry: bool = False
) -> CheckedOut:
    """Hand out the person's part of the review queue and the blind overlap.

    Args:
        annotator: one of `labels.annotators`.
        size: segments of the round over all annotators, in place of `labels.queue.size`.
        tiles: these tiles whole, in place of the queue.
        everything: every segment of the block, in place of the queue.
        dry: write nothing.

    Raises:
        UserError: an unknown annotator or tile, no labels yet, or a copy with edits that are not checked in.
    """
    import pandas as pd

    people = place.config.labels.annotators
    if annotator not in people:
        raise UserError(
            f"one of labels.annotators ({', '.join(people)})", annotator, "name one of them, or add the code to the configuration"
        )
    table = place.table()
    events = place.events()
    if unknown := sorted(set(tiles) - set(table["tile_id"])):
        raise UserError(f"tiles of block {place.block}", ", ".join(unknown), "see grid/fishnet.parquet for the tiles of each block")
    own = {event.key for event in events if event.annotator == annotator}
    done = table["key"].isin(own).to_numpy()
    if everything or tiles:
        whole = table[np.ones(len(table), bool) if everything else table["tile_id"].isin(tiles).to_numpy()]
        rows = pd.DataFrame({"segment": whole["segment"], "why": "tile", "order": np.arange(len(whole), dtype=float)})
        rows = rows.assign(blind=False, inclusion=1.0)
    else:
        queue = _queue(place, table, size)
        mine = queue[np.arange(len(queue)) % len(people) == people.index(annotator)].reset_index(drop=True)
        blind = _overlap(place, table, dry) if len(people) > 1 else pd.DataFrame({"segment": [], "inclusion": []})
        blind = blind[~blind["segment"].isin(table.loc[done, "segment"])]
        mine = mine[~mine["segment"].isin(blind["segment"])]
        # the overlap lies evenly between the others, and looks like them
        parts = [
            mine.assign(order=(np.arange(len(mine)) + 0.5) / max(len(mine), 1), blind=False, inclusion=1.0),
            blind.assign(order=(np.arange(len(blind)) + 0.25) / max(len(blind), 1), blind=True, why="uncertainty")[
                ["segment", "why", "order", "blind", "inclusion"]
            ],
        ]
        rows = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True).sort_values(["order", "segment"])
    if rows.empty:
        raise UserError("segments to look at", "none: people have decided on all", "check out tiles with --tiles to look at them again")
    rows = rows.assign(rank=np.arange(1, len(rows) + 1), opinions="")
    return _hand_out(place, table, rows.reset_index(drop=True), annotator, "review", events, dry)


def disputes(place: Place, annotator: str, dry: bool = False) -> CheckedOut:
    """Hand out the segments about which people disagree, with what each of them said, to the one who settles it.

    Raises:
        UserError: there are none, or a copy with edits that are not checked in.
    """
    import pandas as pd

    table, events = place.table(), place.events()
    open_ = table[table["provenance"] == "disputed"]
    if open_.empty:
        raise UserError("segments about which people disagree", f"none in {place.year}, block {place.block}", "there is nothing to settle")
    words: dict[int, dict[str, str]] = {}
    for event in events:
        what = ", ".join(part for part in (event.confidence, event.reason, event.evidence, event.evidence_date, event.note) if part)
        words.setdefault(event.key, {})[event.annotator] = f"{event.annotator}: {event.label}" + (f" ({what})" if what else "")
    # decisions that moved here from other segments hang on other keys: of them the labels alone are told
    moved = pd.read_csv(place.product("people", "review.csv")).set_index("segment")["why"].to_dict()
    opinions = [
        "; ".join(text for _, text in sorted(words[key].items())) if len(words.get(key, {})) > 1 else str(moved.get(segment, ""))
        for segment, key in zip(open_["segment"].tolist(), open_["key"].tolist(), strict=True)
    ]
    rows = pd.DataFrame({"segment": open_["segment"], "why": "dispute", "rank": np.arange(1, len(open_) + 1), "opinions": opinions})
    return _hand_out(place, table, rows.assign(blind=False, inclusion=1.0).reset_index(drop=True), annotator, "adjudication", events, dry)


def _queue(place: Place, table: pd.DataFrame, size: int | None) -> pd.DataFrame:
    import pandas as pd

    settings = place.config.labels.queue
    if size is not None:
        settings = settings.model_copy(update={"size": size})
    review = pd.read_csv(place.product("people", "review.csv"))
    return review_queue(
        table,
        settings,
        place.config.labels.seed,
        review["segment"].to_numpy(np.int64),
        _other_forests(place, table),
        _mined_before(place, len(table)),
    )


def _other_forests(place: Place, table: pd.DataFrame) -> NDArray[np.float64] | None:
    """Mean probability of mining by the forests of the run's other blocks, for `ASKED` segments; None: there are none."""
    import joblib

    from smallmines.assistant import matrix, predict

    paths = [place.results / "assistant" / place.year / block / "model.joblib" for block in place.config.blocks if block != place.block]
    paths = [path for path in paths if path.is_file()]
    if not paths:
        return None
    waiting = np.flatnonzero((table["provenance"] == "predicted").to_numpy())
    chosen = np.sort(np.random.default_rng(place.config.labels.seed).permutation(waiting)[:ASKED])
    x = matrix(table.iloc[chosen])[0]
    found = np.full(len(table), np.nan)
    if len(chosen):
        found[chosen] = np.mean([predict(joblib.load(path)["model"], x, [0, 1], 1)[:, 1] for path in paths], axis=0).round(4)
    return found


def _mined_before(place: Place, count: int) -> NDArray[np.float64] | None:
    """Share of each segment's pixels that the mask of the year before (of the run's) calls mining; None: there is no such mask."""
    before = [year for year in place.config.year_names if int(year) < int(place.year)]
    path = place.results / "masks" / (before[-1] if before else "none") / f"{place.block}.tif"
    if not path.is_file():
        return None
    hits, pixels = np.zeros(count + 1), np.zeros(count + 1)
    with raster.opened(place.product("segments", "segments.tif")) as ids, raster.opened(path) as mask:
        for window in raster.strips(ids.shape):
            here = ids.read(1, window=window).ravel()
            mined = mask.read(1, window=window).ravel() == 1
            pixels += np.bincount(here, minlength=count + 1)
            hits += np.bincount(here, mined, minlength=count + 1)
    share: NDArray[np.float64] = hits[1:] / np.maximum(pixels[1:], 1)
    return share


def _overlap(place: Place, table: pd.DataFrame, dry: bool) -> pd.DataFrame:
    """The blind overlap (segment, inclusion): drawn once and kept with people's files, so that all get the same."""
    import pandas as pd

    folder = place.user / "overlap" / place.year
    kept = [pd.read_csv(path, dtype={"key": np.uint64}) for path in sorted(folder.glob(f"{place.block}-*.csv"))]
    present = [known.merge(table[["segment", "key"]], on="key") for known in kept]
    whole = [here for known, here in zip(kept, present, strict=True) if len(here) >= 0.5 * len(known)]
    if whole:
        return max(whole, key=len)[["segment", "inclusion"]].sort_values("segment", ignore_index=True)
    drawn = draw_overlap(table, place.config.labels.overlap, place.config.labels.seed)
    drawn = drawn.merge(table[["segment", "key", "area"]], on="segment")
    if not dry:
        text = drawn[["key", "stratum", "inclusion", "area"]].to_csv(index=False, lineterminator="\n")
        with written(folder / f"{place.block}-{digest(text)[:8]}.csv") as beside:  # named by content: none is ever replaced
            beside.write_text(text, encoding="utf-8")
    return drawn[["segment", "inclusion"]]


def _hand_out(
    place: Place,
    table: pd.DataFrame,
    rows: pd.DataFrame,
    annotator: str,
    kind: Literal["review", "adjudication"],
    events: Sequence[store.Event],
    dry: bool,
) -> CheckedOut:
    """Write base, working copy, project and task files for `rows` (segment, why, rank, opinions, blind, inclusion)."""
    import geopandas as gpd

    about = About(place.config.run, int(place.year), place.block, annotator, kind)
    target = copy_path(place.user, about)
    if target.is_file() and (left := pending(place.user, target, events)):
        raise UserError(f"no working copy with edits at {target}", f"{left} edits not checked in", "check it in first, or move it away")
    reasons = {str(name): int(number) for name, number in rows["why"].value_counts().items()}
    if dry:
        tiles = table["tile_id"].iloc[rows["segment"].to_numpy(np.int64) - 1].nunique()
        return CheckedOut(target, "", len(rows), tiles, reasons, 0.0)
    lattice = read_lattice(place.results / "grid/grid.json")
    geobox, crs = lattice.block(place.block), str(lattice.geobox.crs)
    picked = table.iloc[rows["segment"].to_numpy(np.int64) - 1].reset_index(drop=True)
    segments = raster.read(place.product("segments", "segments.tif"))[0]
    ids = picked["segment"].to_numpy(np.int64)
    geometry = polygons_of(segments, ids, geobox)
    names = np.array(["not_mining", "mining", "unsure"], object)
    prediction = names[picked["predicted"].to_numpy()]
    # in the overlap nobody learns what others said
    hidden = rows["blind"].to_numpy(bool) | (picked["provenance"] == "predicted").to_numpy()
    previous = np.where(hidden, "", names[picked["label"].to_numpy()] + " (" + picked["provenance"].to_numpy(object).astype(str) + ")")
    given = rows[["rank", "why"]].assign(
        key=picked["key"].astype(str),
        tile_id=picked["tile_id"].astype(str),
        prediction=prediction,
        probability=picked["probability"].astype(float).round(4),
        entropy=picked["entropy"].astype(float).round(4),
        previous=previous,
    )
    base = given.assign(
        x=picked["x"].astype(float),
        y=picked["y"].astype(float),
        blind=rows["blind"].astype(bool),
        inclusion=rows["inclusion"].astype(float),
        footprint=footprint.encode(footprint.runs_of(segments, ids), len(ids), geobox),
        shape=shapes(geometry),
    )
    about = write_base(place.user, about, base)
    empty = {name: np.full(len(given), None, object) for name in ("label", "confidence", "reason", "evidence", "evidence_date", "note")}
    frame = gpd.GeoDataFrame({**empty, "edited": np.nan, **given, "opinions": rows["opinions"]}, geometry=geometry, crs=crs)
    text = dict.fromkeys([*empty, "key", "tile_id", "why", "prediction", "previous", "opinions"], "string")
    frame = frame.astype({**text, "edited": "Int64", "rank": "int32"})
    tasks = _tasks(lattice, place.block, base, crs)
    write_copy(target, about, frame, tasks)
    _project(place, target, lattice, tasks)
    _google_earth(target, frame, tasks)
    return CheckedOut(target, about.base, len(frame), len(tasks), reasons, round(target.stat().st_size / 1e6, 1))


def _tasks(lattice: Lattice, block: str, base: pd.DataFrame, crs: str) -> Any:
    """One row per tile with segments of the copy, the most urgent first."""
    import geopandas as gpd
    import shapely

    cells = lattice.cells_of(block).set_index("tile_id")
    urgent = base.groupby("tile_id")["rank"].agg(["min", "size"]).sort_values("min")
    x, y = cells.loc[urgent.index, "x"].to_numpy(), cells.loc[urgent.index, "y"].to_numpy()
    side, transform = lattice.tile_size, lattice.block(block).transform
    (left, top), (right, bottom) = transform @ (x, y), transform @ (x + side, y + side)
    empty = {name: np.full(len(urgent), None, object) for name in ("evidence", "evidence_date", "note")}
    frame = gpd.GeoDataFrame(
        {"tile_id": urgent.index.astype(str), "segments": urgent["size"].to_numpy(np.int32), "status": "open", **empty, "edited": np.nan},
        geometry=shapely.box(left, bottom, right, top),
        crs=crs,
    )
    return frame.astype({**dict.fromkeys(["tile_id", "status", *empty], "string"), "edited": "Int64"})


def _project(place: Place, target: Path, lattice: Lattice, tasks: Any) -> None:
    """The QGIS project of a working copy: true and false colour of every year, radar, hillshade, and what the configuration adds."""
    images = []
    for year in sorted(place.config.year_names, key=lambda name: name != place.year):  # the copy's year first
        folder = place.results / "composites" / year / place.block
        for name, path, bands in (
            ("true colour", folder / "s2.tif", (3, 2, 1)),
            ("false colour", folder / "s2.tif", (9, 7, 3)),
            ("radar VV", folder / "s1.tif", (1,)),
        ):
            if path.is_file():
                images.append(qgis.Image(f"{year} {name}", path, bands, tuple(_limits(path, band) for band in bands)))
    images.sort(key=lambda image: ("radar" in image.name, "false" in image.name))
    if (dem := place.results / "composites/static" / place.block / "dem.tif").is_file():
        images.append(qgis.Image("hillshade", dem))
    first = tasks.geometry.iloc[0].bounds
    with written(target.with_suffix(".qgs")) as beside:
        qgis.write_project(
            beside,
            target,
            looks(),
            images,
            place.config.labels.map_layers,
            str(lattice.geobox.crs),
            (first[0] - 200, first[1] - 200, first[2] + 200, first[3] + 200),
        )


def _limits(path: Path, band: int) -> tuple[float, float]:
    """Values shown black and full, from a thumbnail: the 2nd percentile, and the median plus six times its distance to that."""
    with raster.opened(path) as source:
        step = max(1, max(source.shape) // 500)
        values = source.read(band, out_shape=(source.height // step, source.width // step), masked=True).compressed()
    values = values[np.isfinite(values)]
    low, middle = np.percentile(values, [2, 50]) if len(values) else (0, 1)  # the upper percentiles may be cloud
    return float(low), float(middle + 6 * max(middle - low, 1))


def _google_earth(target: Path, frame: Any, tasks: Any) -> None:
    """A KMZ per task beside the copy (`<year>-<block>-tasks/<tile>.kmz`): outlines only, so that the imagery shows."""
    import pandas as pd
    import pyogrio

    lines = frame.to_crs("EPSG:4326")
    lines["geometry"] = lines.geometry.boundary
    squares = tasks.to_crs("EPSG:4326")
    squares["geometry"] = squares.geometry.boundary
    folder = target.with_name(f"{target.stem}-tasks")
    with written(folder) as beside:
        beside.mkdir()
        by_tile = dict(tuple(lines.groupby("tile_id")))
        for at in range(len(squares)):
            tile = squares.iloc[[at]]
            own = by_tile[tile["tile_id"].iloc[0]]
            named = pd.concat(
                [
                    tile.assign(Name="tile " + tile["tile_id"])[["Name", "geometry"]],
                    own.assign(Name=[f"{rank}: {said}" for rank, said in zip(own["rank"], own["prediction"], strict=True)])[
                        ["Name", "geometry"]
                    ],
                ]
            )
            pyogrio.write_dataframe(named, beside / f"{tile['tile_id'].iloc[0]}.kmz", driver="LIBKML", layer="task")
        shutil.rmtree(folder, ignore_errors=True)
