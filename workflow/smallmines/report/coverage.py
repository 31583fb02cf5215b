"""Maps of the number of chosen scenes over each tile."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from smallmines.core.json_products import CoverageOfSensor, read_product
from smallmines.grid.lattice import read_lattice
from smallmines.report import canvas

NAMES = {"s2": "Sentinel-2", "s1": "Sentinel-1", "dem": "Elevation"}


def picture(coverage_json: str | Path, grid: str | Path, target: str | Path) -> None:
    """Draw a map per year and sensor: number of scenes over each tile, red where there is none, with the outlines of the blocks."""
    from matplotlib.colors import BoundaryNorm, ListedColormap

    coverage: Mapping[str, Any] = read_product(coverage_json, dict[str, CoverageOfSensor])
    maps = dict(sorted(coverage.items(), key=lambda pair: (pair[0].split("/")[0], list(NAMES).index(pair[0].split("/")[1]))))
    cells = read_lattice(grid).cells
    most = max(2, *(max(entry["cells"].values()) for entry in maps.values()))
    colours = ListedColormap(["#b2182b", *(blue(step / (most - 1)) for step in range(most))])
    columns = min(2, len(maps))
    rows = -(-len(maps) // columns)
    figure = canvas.figure(4.4 * columns + 1, 3.4 * rows)
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    row, col = cells["row"].to_numpy() + 1, cells["col"].to_numpy() + 1  # with an empty frame, for the outlines
    blocks = np.zeros((row.max() + 2, col.max() + 2))
    blocks[row, col] = cells["block"].astype(int)
    shown = None
    for place, (name, entry) in zip(axes, maps.items(), strict=False):
        count = np.full(blocks.shape, np.nan)
        count[row, col] = [entry["cells"][tile] for tile in cells["tile_id"]]
        shown = place.imshow(count, cmap=colours, norm=BoundaryNorm(np.arange(-0.5, most + 1), colours.N), interpolation="nearest")
        for block in np.unique(blocks[blocks > 0]):
            place.contour(np.kron(blocks == block, np.ones((8, 8))), [0.5], colors="black", linewidths=0.8, extent=extent(blocks.shape))
        year, sensor = name.split("/")
        block, share = min(entry["blocks"].items(), key=lambda pair: pair[1])
        when = "" if year == "static" else f" {year}"
        place.set_title(
            f"{NAMES[sensor]}{when}, {entry['provider']}\n{entry['scenes']} scenes, least: block {block}, {100 * share:.1f} %", fontsize=9
        )
    for place in axes:
        place.set_axis_off()
    if shown is not None:
        figure.colorbar(shown, ax=list(axes), label="scenes over the tile", shrink=0.6, ticks=range(0, most + 1, max(1, most // 8)))
    canvas.save(figure, target)


def blue(share: float) -> tuple[float, float, float]:
    """Return a blue, light at 0 and dark at 1."""
    return (0.87 - 0.84 * share, 0.92 - 0.62 * share, 0.97 - 0.45 * share)


def extent(shape: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the extent of an image of cells, for a finer image in the same place whose first row is on top."""
    return (-0.5, shape[1] - 0.5, -0.5, shape[0] - 0.5)
