"""Measure mapped change in finished runs on miniature worlds against the true change, by tolerance and smallest area.

Usage: PYTHONPATH=tests:workflow python tests/bench/change.py CONFIG [CONFIG …]

CONFIG is the configuration file of a run in the folder above, made at least up to `masks`: `.bench-assistant/s0/config/demo.yaml`.
Pixels that either mask does not know do not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from miniature.score import truth_of
from smallmines.cli.console import plain_errors, read_config, show
from smallmines.config.sections import Config
from smallmines.core import raster
from smallmines.core.layout import Layout
from smallmines.dataset.change import CLASSES, GONE, NEW, UNKNOWN, change_classes, seen
from smallmines.grid.lattice import read_lattice

SETTINGS = ((0, 1), (1, 1), (0, 30), (1, 5), (1, 10), (1, 20), (1, 30), (1, 50), (1, 100), (2, 30))
"""Tolerance and smallest area in pixels."""


def confusions(config: Config, root: Path) -> Iterator[tuple[tuple[int, int], NDArray[np.int64]]]:
    """Yield the confusion (true class, mapped class) of each block for each of `SETTINGS`."""
    layout = Layout(config.run, root)
    lattice = read_lattice(layout.grid)
    years = config.year_names[:2]
    for block in config.blocks:
        first, last = (truth_of(config, year, lattice.block(block), root) == 1 for year in years)
        true = np.where(first, np.where(last, 3, GONE), np.where(last, NEW, 0))
        masks = [seen(raster.read(layout.mask(year, block))[0], raster.read(layout.clear(year, block))[0]) for year in years]
        for tolerance, smallest in SETTINGS:
            mapped = change_classes(masks[0], masks[1], tolerance, smallest)
            counted = lattice.own(block) & (mapped != UNKNOWN)
            yield (tolerance, smallest), np.bincount(4 * true[counted] + mapped[counted], minlength=16).reshape(4, 4)


def main(configs: Annotated[list[Path], typer.Argument(help="Configuration files of finished runs on miniature worlds.")]) -> None:
    """Print precision, recall and F1 of new and gone areas."""
    total: dict[tuple[int, int], Any] = {}
    with plain_errors():
        for path in configs:
            root = next(folder for folder in path.resolve().parents if (folder / "results").is_dir())
            for settings, confusion in confusions(read_config(path), root):
                total[settings] = total.get(settings, 0) + confusion
    rows = []
    for (tolerance, smallest), confusion in total.items():
        row: dict[str, str] = {"tolerance, px": str(tolerance), "smallest, px": str(smallest)}
        for value in (NEW, GONE):
            precision, recall = confusion[value, value] / confusion[:, value].sum(), confusion[value, value] / confusion[value].sum()
            scores = {"precision": precision, "recall": recall, "F1": 2 * precision * recall / (precision + recall)}
            row |= {f"{CLASSES[value]}: {name}": f"{score:.2f}" for name, score in scores.items()}
        rows.append(row)
    show("Mapped change against the true change (pixels)", rows)


if __name__ == "__main__":
    typer.run(main)
