"""Measure rounds of simulated annotators on the miniature: IoU of the masks after each round, and coverage of the intervals.

Usage: PYTHONPATH=tests python tests/bench/rounds.py CONFIG PICTURE [ROUNDS] [SHARE]

Every round is check-out, edits, check-in and adjudication with real working copies of all blocks of the last year, once in the order of
the review queue and once in random order. It works on a copy of people's files and of what depends on them; the run is not changed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import rasterio.windows
from numpy.typing import NDArray

from miniature import annotators
from miniature.annotators import Errors
from miniature.place import window_in
from place import decide_again
from smallmines.annotation import checkout
from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.queue import draw_overlap
from smallmines.annotation.rounds import advice, differing, progress, rounds_of
from smallmines.cli.console import read_config, show
from smallmines.core import raster
from smallmines.core.layout import Layout
from smallmines.labels import accuracy
from smallmines.labels.agreement import agreements, kappa
from smallmines.labels.event_files import Event

SEEDS = 50
ORDERS = {"queue": checkout.review_queue, "random order": None}


def block_years(config: Any, year: str, root: Path) -> list[BlockYear]:
    """Return the blocks of a year without decisions, in a new folder."""
    results = root / "results" / config.run
    results.mkdir(parents=True)
    for name in ("composites", "grid", "segments", "assistant"):
        (results / name).symlink_to(Path("results").absolute() / config.run / name)
    (root / "resources").mkdir()
    (root / "resources/automatic").symlink_to(Path("resources/automatic").absolute())
    blocks = [BlockYear(config, year, block, root) for block in config.blocks]
    for block_year in blocks:
        folder = results / "people" / year / block_year.block
        folder.mkdir(parents=True)
        (folder / "samples.parquet").symlink_to(
            Path("results").absolute() / config.run / f"people/{year}/{block_year.block}/samples.parquet"
        )
        for before in config.year_names:
            if before < year:
                (results / "masks" / before).mkdir(parents=True, exist_ok=True)
                (results / f"masks/{before}/{block_year.block}.tif").symlink_to(
                    Path("results").absolute() / config.run / f"masks/{before}/{block_year.block}.tif"
                )
        decide_again(block_year)
    return blocks


def truth_of(block_year: BlockYear) -> NDArray[np.bool_]:
    """Read the true mask of a block."""
    with raster.opened(annotators.truth_path(block_year.config, block_year.year, block_year.root)) as source:
        window = window_in(raster.geobox_of(source), block_year.lattice.block(block_year.block))
        return np.asarray(source.read(1, window=rasterio.windows.Window.from_slices(*window)) == 1)


def mask_of(block_year: BlockYear, segments: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Return the mask of the present labels: 0, 1, 255 open or outside."""
    label = pd.read_parquet(block_year.product(Layout.labels))["label"].to_numpy(int) % 256
    return np.concatenate([[255], label]).astype(np.uint8)[segments]


def iou(blocks: list[BlockYear]) -> float:
    """Return the IoU of mining over all blocks, without open labels, as in training."""
    both = either = 0
    for block_year in blocks:
        mask, truth = mask_of(block_year, block_year.segments()), truth_of(block_year)
        valid = mask != 255
        both += int(((mask == 1) & truth & valid).sum())
        either += int((((mask == 1) | truth) & valid).sum())
    return both / either


def by_chance(table: pd.DataFrame, settings: Any, seed: int, *_: Any) -> pd.DataFrame:
    """Return a queue in random order."""
    waiting = np.flatnonzero((table["provenance"] == "predicted").to_numpy())
    chosen = np.random.default_rng(seed + len(waiting)).permutation(waiting)[: settings.size]
    return pd.DataFrame({"segment": table["segment"].to_numpy()[chosen], "why": "uncertainty"})


def corrected_of(blocks: list[BlockYear]) -> dict[int, float]:
    """Return the share of each round's decisions that changed the prediction, over all blocks."""
    table = pd.concat([rounds_of(block_year.events()) for block_year in blocks])
    return {int(number): float(own["corrected"].mean()) for number, own in table.groupby("round")}


def rounds(config: Any, year: str, number: int, share: float) -> Iterator[dict[str, Any]]:
    """Yield a row per order and round."""
    for order, queue in ORDERS.items():
        checkout.review_queue = queue or by_chance
        with tempfile.TemporaryDirectory() as folder:
            blocks = block_years(config, year, Path(folder))
            before, seen = iou(blocks), set[str]()
            none = float("nan")
            yield {"order": order, "round": 0, "looked_at": 0, "corrected_%": none, "IoU": before, "points_per_100": none}
            for step in range(1, number + 1):
                for block_year in blocks:
                    annotators.label(block_year, share / (1 - share * (step - 1)), step)
                    decide_again(block_year)
                    annotators.settle_disputes(block_year)
                    decide_again(block_year)
                events = [event for block_year in blocks for event in block_year.events()]
                changed, earlier = corrected_of(blocks), len(seen)
                seen |= {event.hash for event in events}
                now = iou(blocks)
                row = {
                    "order": order,
                    "round": step,
                    "looked_at": len(events),
                    "corrected_%": 100 * changed[step],
                    "IoU": now,
                    "points_per_100": 100 * 100 * (now - before) / (len(seen) - earlier),
                }
                before = now
                print(row, flush=True)
                yield row
            if queue:
                for block_year in blocks:
                    print(f"block {block_year.block}: {advice(progress(block_year, 2), differing(block_year))}", flush=True)
    checkout.review_queue = ORDERS["queue"]


def held(config: Any, year: str) -> list[dict[str, Any]]:
    """Return how often, over `SEEDS` draws, the intervals contain the kappa implied by the error rates, and the true area of mining."""
    with tempfile.TemporaryDirectory() as folder:
        blocks = []
        for block_year in block_years(config, year, Path(folder)):
            table, segments, truth = block_year.table(), block_year.segments(), truth_of(block_year)
            share = annotators.true_share_of(block_year, table["key"].to_numpy(np.uint64))
            mask = mask_of(block_year, segments)
            chance = np.concatenate([[0.0], table["probability"].to_numpy(np.float64)])
            stratum = accuracy.strata(mask, segments, chance)
            risk = accuracy.risk_of(stratum, segments, chance)
            blocks.append((table, dict(zip(table["key"].tolist(), share >= 0.5, strict=True)), stratum, risk, mask, truth))
    areas, right, kappas = [], [], []
    true = sum(int((truth & (stratum >= 0)).sum()) for _, _, stratum, _, _, truth in blocks) * 0.01
    exact = np.mean(np.concatenate([((mask == 1) == truth)[stratum >= 0] for _, _, stratum, _, mask, truth in blocks]))
    for seed in range(SEEDS):
        points = []
        for number, (_, _, stratum, risk, mask, truth) in enumerate(blocks):
            drawn = accuracy.draw(stratum, risk, config.labels.accuracy, seed * 10 + number)
            at = drawn["row"], drawn["col"]
            points.append(drawn.assign(reference=truth[at].astype(int), mapped=mask[at].astype(int)))
            points[-1]["stratum"] = [f"{number}/{name}" for name in drawn["stratum"]]
        estimates = accuracy.accuracy(pd.concat(points, ignore_index=True), 0.01)
        areas.append(estimates.mining_ha.low <= true <= estimates.mining_ha.high)
        right.append(estimates.overall.low <= exact <= estimates.overall.high)
        kappas.append(kappa_holds(config, year, blocks, seed))
    return [
        {"interval": name, "holds": int(sum(values)), "of": SEEDS}
        for name, values in (("kappa implied by the error rates", kappas), ("true area of mining", areas), ("overall accuracy", right))
    ]


def kappa_holds(config: Any, year: str, blocks: list[Any], seed: int) -> bool:
    """Return whether the interval of kappa holds for one draw of the blind overlap, labelled by two annotators with errors."""
    errors, events, overlaps, mines = Errors(), [], [], []
    rng = np.random.default_rng(seed)
    for number, (table, truth, *_) in enumerate(blocks):
        drawn = draw_overlap(table, config.labels.overlap, seed * 10 + number).merge(
            table[["segment", "key", "tile_id", "area"]], on="segment"
        )
        overlaps.append(drawn)
        mines += [bool(truth[key]) for key in drawn["key"].tolist()]
        for key in drawn["key"].tolist():
            for who in ("A01", "A02"):
                mining = rng.random() >= errors.omit if truth[key] else rng.random() < errors.commit
                label = "mining" if mining else "not_mining"
                events.append(Event(int(year), str(number), key, 0.0, 0.0, label, "corrected", who, "2026-01-01T00:00:00Z", blind=True))
    (agreement,) = agreements(events, pd.concat(overlaps, ignore_index=True), seed)
    share = float(np.mean(mines))
    both = share * (1 - errors.omit) ** 2 + (1 - share) * errors.commit**2
    single = share * (1 - errors.omit) * errors.omit + (1 - share) * errors.commit * (1 - errors.commit)
    return bool(agreement.low <= float(kappa(np.array([1 - both - 2 * single, single, single, both]))) <= agreement.high)


def main() -> None:
    """See the module."""
    config, picture = read_config(Path(sys.argv[1])), Path(sys.argv[2])
    number, share = int(sys.argv[3]) if len(sys.argv) > 3 else 4, float(sys.argv[4]) if len(sys.argv) > 4 else 0.1
    year = config.year_names[-1]
    rows = list(rounds(config, year, number, share))
    show(f"Masks of {year} against the truth, by round", rows, decimals=4)
    show("95 % intervals", held(config, year))
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for order, own in pd.DataFrame(rows).groupby("order", sort=False):
        axes.plot(own["looked_at"], own["IoU"], "o-", label=order)
    axes.set_xlabel("decisions of people (two annotators, overlap and adjudication)")
    axes.set_ylabel("IoU of mining against the truth")
    axes.set_title(f"Miniature, {year}: rounds of check-out, edits, check-in, adjudication", fontsize=11)
    axes.legend(frameon=False)
    axes.grid(color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture, dpi=110, metadata={"Software": None})


main()
