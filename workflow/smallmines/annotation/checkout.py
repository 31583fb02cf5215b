"""Check-out: choose the segments of a block and year that a person labels."""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.checkout_files import CheckedOut, NothingToLabel, require_annotator, write_checkout
from smallmines.annotation.queue import draw_overlap, near_features, review_queue
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import digest, remedy, written
from smallmines.core.layout import Layout
from smallmines.core.readable import innermost
from smallmines.labels.agreement import read_overlap
from smallmines.labels.event_files import standing

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.ensemble import RandomForestClassifier

PREDICTED = 50_000
"""Segments that the forests of the other blocks predict, drawn at random: all of a large block would take minutes."""


def checkout(
    block_year: BlockYear, annotator: str, size: int | None = None, tiles: Sequence[str] = (), everything: bool = False, dry: bool = False
) -> CheckedOut:
    """Check out the person's part of the review queue and the blind overlap.

    Args:
        annotator: one of `labels.annotators`.
        size: segments of the round over all annotators, in place of `labels.queue.size`.
        tiles: all segments of these tiles, in place of the queue.
        everything: every segment of the block, in place of the queue.
        dry: write nothing.

    Raises:
        UserError: an unknown annotator or tile, no labels yet, or a working copy with edits that are not checked in.
    """
    table = block_year.table()
    rows = review_rows(block_year, table, annotator, Choice(size, tuple(tiles), everything, dry))
    own = [event.key for event in standing(block_year.events()) if event.annotator == annotator]
    asked = undecided_overlap(block_year, table["key"].to_numpy(np.uint64), own)
    return write_checkout(block_year, shown(table, rows, asked), block_year.segments, annotator, "review", dry)


def undecided_overlap(block_year: BlockYear, keys: NDArray[np.uint64], decided: Sequence[int]) -> NDArray[np.bool_]:
    """Return which of some segments belong to the blind overlap and are not decided by a person, who must not learn what others said.

    Args:
        keys: content keys of the segments.
        decided: keys of the segments that the person has decided.
    """
    overlap = [read_overlap(path)["key"].to_numpy(np.uint64) for path in block_year.user_files()["overlap"]]
    asked = np.isin(keys, np.concatenate([np.empty(0, np.uint64), *overlap]))
    undecided: NDArray[np.bool_] = asked & ~np.isin(keys, np.array(decided, np.uint64))
    return undecided


@dataclass(frozen=True)
class Choice:
    """What a person asks for.

    Attributes:
        size: segments of the round over all annotators, in place of `labels.queue.size`.
        tiles: all segments of these tiles, in place of the queue.
        everything: every segment of the block, in place of the queue.
        dry: keep no newly drawn blind overlap.
        apart: let the forests of the other blocks predict in a process of their own, so that this one stays small.
    """

    size: int | None = None
    tiles: tuple[str, ...] = ()
    everything: bool = False
    dry: bool = False
    apart: bool = False


def review_rows(block_year: BlockYear, table: pd.DataFrame, annotator: str, choice: Choice) -> pd.DataFrame:
    """Choose the segments that a person reviews, in the order of the queue: segment, why, blind, inclusion, rank, opinions (empty).

    Args:
        table: of the block and year, see `BlockYear.table`.

    Raises:
        UserError: an unknown annotator or tile, or no labels yet.
        NothingToLabel: see there.
    """
    import pandas as pd

    people = require_annotator(block_year, annotator)
    if unknown := sorted(set(choice.tiles) - set(table["tile_id"])):
        raise UserError(f"tiles of block {block_year.block}", ", ".join(unknown), "see grid/fishnet.parquet for the tiles of each block")
    if choice.everything or choice.tiles:
        rows = tile_rows(table, () if choice.everything else choice.tiles)
    else:
        own = {event.key for event in standing(block_year.events()) if event.annotator == annotator}
        decided = table.loc[table["key"].isin(own).to_numpy(), "segment"]
        queue = _queue(block_year, table, choice)
        part = queue[np.arange(len(queue)) % len(people) == people.index(annotator)].reset_index(drop=True)
        blind = _overlap(block_year, table, choice.dry) if len(people) > 1 else pd.DataFrame({"segment": [], "inclusion": []})
        rows = _mixed(part, blind[~blind["segment"].isin(decided)])
    if rows.empty:
        raise NothingToLabel("segments to label", "none: people have decided on all", "check out tiles with --tiles to label them again")
    return rows.assign(rank=np.arange(1, len(rows) + 1), opinions="")


def tile_rows(table: pd.DataFrame, tiles: Sequence[str]) -> pd.DataFrame:
    """Return all segments of some tiles, or of the block where none are named, as `review_rows` does, without rank and opinions."""
    import pandas as pd

    chosen = table[table["tile_id"].isin(tiles).to_numpy()] if tiles else table
    rows = pd.DataFrame({"segment": chosen["segment"], "why": "tile", "order": np.arange(len(chosen), dtype=float)})
    return rows.assign(blind=False, inclusion=1.0)


def _mixed(queue: pd.DataFrame, blind: pd.DataFrame) -> pd.DataFrame:
    """Spread the blind overlap evenly over a person's part of the queue; nothing shows which segments belong to it."""
    import pandas as pd

    queue = queue[~queue["segment"].isin(blind["segment"])]
    parts = [
        queue.assign(order=(np.arange(len(queue)) + 0.5) / max(len(queue), 1), blind=False, inclusion=1.0),
        blind.assign(order=(np.arange(len(blind)) + 0.25) / max(len(blind), 1), blind=True, why="uncertainty")[
            ["segment", "why", "order", "blind", "inclusion"]
        ],
    ]
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True).sort_values(["order", "segment"])


def checkout_disputed(block_year: BlockYear, annotator: str, dry: bool = False) -> CheckedOut:
    """Check out the disputed segments, with the decision of each person, to the one who adjudicates.

    Raises:
        UserError: there are none, or there is a working copy with edits that are not checked in.
    """
    table = block_year.table()
    rows = disputed_rows(block_year, table)
    return write_checkout(block_year, shown(table, rows), block_year.segments, annotator, "adjudication", dry)


def disputed_rows(block_year: BlockYear, table: pd.DataFrame) -> pd.DataFrame:
    """Choose the disputed segments, with the decision of each person as opinions: the columns of `review_rows`.

    Args:
        table: of the block and year, see `BlockYear.table`.

    Raises:
        NothingToLabel: there are none.
    """
    import pandas as pd

    disputed = table[table["provenance"] == "disputed"]
    if disputed.empty:
        raise NothingToLabel(
            "segments about which people disagree", f"none in {block_year.year}, block {block_year.block}", "there is nothing to adjudicate"
        )
    words: dict[int, dict[str, str]] = {}
    for event in standing(block_year.events()):
        texts = (event.confidence, event.reason, event.evidence, event.evidence_date, event.note)
        # semicolons and lines divide opinions: a note cannot pass for another person's
        details = ", ".join(" ".join(text.replace(";", ",").split()) for text in texts if text)
        words.setdefault(event.key, {})[event.annotator] = f"{event.annotator}: {event.label}" + (f" ({details})" if details else "")
    # decisions transferred from other segments have other keys: of these only the labels are shown
    moved = block_year.review().set_index("segment")["why"].to_dict()
    opinions = [
        "; ".join(text for _, text in sorted(words[key].items())) if len(words.get(key, {})) > 1 else str(moved.get(segment, ""))
        for segment, key in zip(disputed["segment"].tolist(), disputed["key"].tolist(), strict=True)
    ]
    rows = pd.DataFrame({"segment": disputed["segment"], "why": "dispute", "rank": np.arange(1, len(disputed) + 1), "opinions": opinions})
    return rows.assign(blind=False, inclusion=1.0)


def shown(table: pd.DataFrame, rows: pd.DataFrame, asked: NDArray[np.bool_] | None = None) -> pd.DataFrame:
    """Return what a person is shown of the segments in `rows` (segment, why, rank, opinions, blind, inclusion).

    Args:
        asked: by row of the table, whether it belongs to the blind overlap and the person has still to decide it, however it is chosen.
    """
    picked = table.iloc[rows["segment"].to_numpy(np.int64) - 1].reset_index(drop=True)
    names = np.array(["not_mining", "mining", "unsure"], object)
    # in the overlap nobody learns the decisions of others
    hidden = rows["blind"].to_numpy(bool) | (picked["provenance"] == "predicted").to_numpy()
    hidden |= False if asked is None else asked[rows["segment"].to_numpy(np.int64) - 1]
    previous = np.where(hidden, "", names[picked["label"].to_numpy()] + " (" + picked["provenance"].to_numpy(object).astype(str) + ")")
    own = rows.drop(columns="segment").reset_index(drop=True)
    columns = picked[["segment", "key", "tile_id", "x", "y", "probability", "entropy"]]
    return columns.assign(prediction=names[picked["predicted"].to_numpy()], previous=previous, **{str(name): own[name] for name in own})


def _queue(block_year: BlockYear, table: pd.DataFrame, choice: Choice) -> pd.DataFrame:
    """Return the review queue of a round over all annotators."""
    settings = block_year.config.labels.queue
    if choice.size is not None:
        settings = settings.model_copy(update={"size": choice.size})
    review = block_year.review()
    return review_queue(
        table,
        settings,
        block_year.config.labels.seed,
        review["segment"].to_numpy(np.int64),
        _other_forests(block_year, table, choice.apart),
        _mined_before(block_year, len(table)),
    )


def _other_forests(block_year: BlockYear, table: pd.DataFrame, apart: bool = False) -> NDArray[np.float64] | None:
    """Return the mean probability of mining by the forests of the other blocks, for `PREDICTED` segments; None: no other block.

    Args:
        apart: predict in a process of its own.
    """
    blocks = [block for block in block_year.config.blocks if block != block_year.block]
    if not any(block_year.layout.forest(block_year.year, block).is_file() for block in blocks):
        return None
    waiting = np.flatnonzero((table["provenance"] == "predicted").to_numpy())
    chosen = np.sort(np.random.default_rng(block_year.config.labels.seed).permutation(waiting)[:PREDICTED])
    if apart:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
            votes = processes.submit(_votes_of_others, block_year, chosen).result()
    else:
        votes = _votes_of_others(block_year, chosen)
    if votes is None:
        return None
    probability = np.full(len(table), np.nan)
    probability[chosen] = votes
    return probability


def _votes_of_others(block_year: BlockYear, chosen: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Return the mean probability of mining by the forests of the other blocks, of the chosen rows; None: no forest counts.

    Forests of other features, from before the configuration changed, do not count.
    """
    from smallmines.labels.feature_table import PAPER, matrix, medians
    from smallmines.labels.forest import predict

    paths = [block_year.layout.forest(block_year.year, block) for block in block_year.config.blocks if block != block_year.block]
    context = block_year.config.assistant.features == "context"
    forests = [_forest(path, path.stat().st_mtime_ns) for path in paths if path.is_file()]
    forests = [forest for forest in forests if bool(set(forest.fill) - set(PAPER)) == context]
    if not forests or not len(chosen):
        return np.empty(0) if forests else None
    features = block_year.forest_features()
    votes = []
    for forest in forests:
        fill = medians(features, list(forest.fill), forest.fill)
        votes.append(predict(forest.model, matrix(features.iloc[chosen], list(fill), fill), [0, 1], 1)[:, 1])
    return np.asarray(np.mean(votes, axis=0).round(4), np.float64)


class Forest(NamedTuple):
    """Forest of a block; fill: its features in order, each with the median of its block, in its own unit."""

    model: RandomForestClassifier
    fill: dict[str, float]


@functools.lru_cache(maxsize=8)
def _forest(path: Path, changed: int) -> Forest:
    """Read the forest of a model file; cached, since check-outs of many blocks and annotators need each again.

    Args:
        changed: time of the file's last change, so that a new forest is read again.

    Raises:
        UserError: the file is cut short, or holds no forest.
    """
    import joblib

    try:
        content = joblib.load(path)
        forest = Forest(content["model"], {str(name): float(content["fill"][name]) for name in content["features"]})
    except Exception as error:  # an unpickler raises whatever the bytes make it do
        raise UserError(f"a readable random forest {path}", innermost(error), remedy(path)) from error
    return forest


def _mined_before(block_year: BlockYear, count: int) -> NDArray[np.float64] | None:
    """Return the share of each segment's pixels that are mining in the mask of the run's year before; None: there is no such mask."""
    before = [year for year in block_year.config.year_names if int(year) < int(block_year.year)]
    path = block_year.layout.mask(before[-1] if before else "none", block_year.block)
    if not path.is_file():
        return None
    hits, pixels = np.zeros(count + 1), np.zeros(count + 1)
    with raster.opened(block_year.product(Layout.segments)) as ids, raster.opened(path) as mask:
        for window in raster.strips(ids.shape):
            labels = ids.read(1, window=window).ravel()
            inside = labels > 0
            labels, mined = labels[inside], mask.read(1, window=window).ravel()[inside] == 1
            if not len(labels):
                continue
            first, last = int(labels.min()), int(labels.max()) + 1  # ids of a strip lie close together
            pixels[first:last] += np.bincount(labels - first)
            hits[first:last] += np.bincount(labels - first, mined)
    share: NDArray[np.float64] = hits[1:] / np.maximum(pixels[1:], 1)
    return share


def _overlap(block_year: BlockYear, table: pd.DataFrame, dry: bool) -> pd.DataFrame:
    """Return the blind overlap (segment, inclusion): drawn once and kept with people's files, the same for all annotators."""
    folder = block_year.layout.user.overlap(block_year.year)
    kept = [read_overlap(path) for path in sorted(folder.glob(f"{block_year.block}-*.csv"))]
    present = [overlap.merge(table[["segment", "key"]], on="key") for overlap in kept]
    usable = [rows for overlap, rows in zip(kept, present, strict=True) if len(rows) >= 0.5 * len(overlap)]
    if usable:
        return max(usable, key=len)[["segment", "inclusion"]].sort_values("segment", ignore_index=True)
    context = block_year.config.labels.overlap_near
    near = near_features(table, block_year.root / context, str(block_year.lattice.geobox.crs)) if context else None
    drawn = draw_overlap(table, block_year.config.labels.overlap, block_year.config.labels.seed, near)
    drawn = drawn.merge(table[["segment", "key", "tile_id", "area"]], on="segment")
    if not dry:
        text = drawn[["key", "tile_id", "stratum", "inclusion", "area"]].to_csv(index=False, lineterminator="\n")
        with written(folder / f"{block_year.block}-{digest(text)[:8]}.csv") as beside:  # named by content: none is ever replaced
            beside.write_text(text, encoding="utf-8")
    return drawn[["segment", "inclusion"]]
