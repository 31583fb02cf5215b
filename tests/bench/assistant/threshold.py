"""Measure the masks of prediction alone in finished runs on miniature worlds: at votes of 0.5, at the run's threshold, at the true share.

Usage: PYTHONPATH=tests:workflow python tests/bench/assistant/threshold.py CONFIG [CONFIG …]

CONFIG is the configuration file of a run in the folder above, made at least up to `assistant`: `.bench-assistant/s0/config/demo.yaml`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from bench.assistant.experiment import iou_at_share
from bench.assistant.places import share_of_segments
from miniature.score import truth_of
from smallmines.cli.console import plain_errors, read_config, show
from smallmines.config.sections import Config
from smallmines.core import raster
from smallmines.core.json_products import read_product
from smallmines.core.layout import Layout
from smallmines.grid.lattice import read_lattice
from smallmines.labels import tables

WAYS = ("votes of 0.5", "the run's threshold", "true share")


def measured(config: Config, root: Path) -> Iterator[dict[str, Any]]:
    """Yield a row for each block and year: true and estimated share, and the IoU of mining over the pixels of its segments by way."""
    layout = Layout(config.run, root)
    for year in config.year_names:
        for block in config.blocks:
            labels = raster.read(layout.segments(year, block))[0]
            truth = truth_of(config, year, read_lattice(layout.grid).block(block), root) == 1
            area = np.bincount(labels.ravel(), minlength=int(labels.max()) + 1)[1:].astype(np.float64)
            positive = share_of_segments(labels, truth) * area
            votes = tables.read(layout.probabilities(year, block), "probabilities")["probability"].to_numpy(np.float64)
            metrics = read_product(layout.forest_metrics(year, block), dict[str, Any])
            ious = [_iou(votes >= level - 1e-9, area, positive) for level in (0.5, float(metrics["threshold"]))]
            row = {"run": f"{root.name}, {config.run}", "area": area.sum(), "truth": positive.sum() / area.sum()}
            row |= {"share": metrics["prevalence"]["share"]}
            yield row | dict(zip(WAYS, (*ious, iou_at_share(votes, area, positive)), strict=True))


def _iou(mapped: Any, area: Any, positive: Any) -> float:
    hit = positive[mapped].sum()
    return float(hit / (area[mapped].sum() + positive.sum() - hit))


def main(configs: Annotated[list[Path], typer.Argument(help="Configuration files of finished runs on miniature worlds.")]) -> None:
    """Compare thresholds."""
    import pandas as pd

    with plain_errors():
        rows = pd.DataFrame([row for path in configs for row in measured(read_config(path), _root(path))])
    rows["ratio"] = rows["share"] / rows["truth"]
    lines = []
    for run, own in rows.groupby("run", sort=False):
        line = {"run": str(run), "blocks and years": str(len(own)), "mining": f"{np.average(own['truth'], weights=own['area']):.1%}"}
        line |= {"estimate / truth": f"{own['ratio'].median():.2f} ({own['ratio'].min():.2f} … {own['ratio'].max():.2f})"}
        lines.append(line | {f"IoU, {way}": f"{own[way].mean():.3f}" for way in WAYS})
    show("Masks of prediction alone (mean over blocks and years)", lines)


def _root(config: Path) -> Path:
    """Return the folder of a run: the nearest above its configuration file that has results."""
    return next((folder for folder in config.resolve().parents if (folder / "results").is_dir()), config.resolve().parent)


if __name__ == "__main__":
    typer.run(main)
