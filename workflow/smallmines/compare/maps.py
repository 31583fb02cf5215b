"""Draw maps of the differences between two datasets, tile by tile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core.product import S2_BANDS
from smallmines.report import canvas

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

MATCHES = {"exact": "#009e73", "shifted": "#e69f00", "other": "#d55e00", "only ours": "#56b4e9"}
"""Colours of the first map."""

ABSENT = "#e4e4e4"


def difference_maps(rows: pd.DataFrame, alone: pd.DataFrame, year: str, side: float, target: str | Path) -> None:
    """Draw the maps of a year from the rows of `differences.compare_pairs`.

    Args:
        rows: of that year.
        alone: our tiles of the year without a partner: left, top.
        side: of a tile in the units of the CRS.
    """
    import pandas as pd

    tiles = pd.concat([rows.assign(code=rows["match"].map(list(MATCHES).index)), alone.assign(code=len(MATCHES) - 1)], ignore_index=True)
    s2 = tiles[[f"{band}_mae" for band in S2_BANDS]].mean(axis=1)
    figures = {
        "Sentinel-2: mean |ours − published|, ten bands": (s2, "DN", False),
        "VV: mean ours − published": (tiles["VV_bias"], "dB", True),
        "DEM: mean ours − published": (tiles["DEM_bias"], "m", True),
        "Masks: IoU of mining": (tiles["iou"], "iou", False),
        "Mining: ours − published": (tiles["percent_difference"], "% points", True),
    }
    figure = canvas.figure(13.5, 8.4)
    first, *others = figure.subplots(2, 3).ravel()
    _categories(first, _on_grid(tiles, tiles["code"], side), tiles["match"].fillna("only ours"))
    for axes, (title, (values, unit, signed)) in zip(others, figures.items(), strict=True):
        _values(axes, _on_grid(tiles, values, side), title, unit, signed)
    figure.suptitle(f"{year}: ours and published, tile by tile (grey: nothing to compare)", fontsize=13)
    canvas.save(figure, target)


def share_map(rows: pd.DataFrame, year: str, side: float, target: str | Path) -> None:
    """Draw our class shares, the published ones and their difference, from the rows of `published.by_tile` of a year."""
    figure = canvas.figure(13.5, 4.4)
    top = max(float(rows[["ours_percent", "published_percent"]].max().max()), 1.0)
    panels = (
        ("Mining, ours", "ours_percent", "%", False, top),
        ("Mining, published", "published_percent", "%", False, top),
        ("Ours − published", "percent_difference", "% points", True, None),
    )
    for axes, (title, column, unit, signed, end) in zip(figure.subplots(1, 3), panels, strict=True):
        _values(axes, _on_grid(rows, rows[column], side), title, unit, signed, end)
    figure.suptitle(f"{year}: {len(rows)} tiles whose id has one place (grey: none)", fontsize=13)
    canvas.save(figure, target)


def _on_grid(rows: pd.DataFrame, values: pd.Series[Any], side: float) -> NDArray[np.float64]:
    """Return values by tile as a (row, column) array, NaN where there is no tile."""
    cols = ((rows["left"] - rows["left"].min()) / side).round().astype(int)
    lines = ((rows["top"].max() - rows["top"]) / side).round().astype(int)
    grid = np.full((int(lines.max()) + 1, int(cols.max()) + 1), np.nan)
    grid[lines, cols] = values.to_numpy(np.float64)
    return grid


def _values(axes: Axes, grid: NDArray[np.float64], title: str, unit: str, signed: bool, end: float | None = None) -> None:
    """Draw a map with its colour bar; a signed one is white at 0, an IoU goes from 0 to 1."""
    values = grid[np.isfinite(grid)]
    largest = end or float(np.percentile(abs(values), 98) if values.size else 0) or float(abs(values).max() if values.size else 0) or 1.0
    if unit == "iou":
        options: dict[str, Any] = {"cmap": "viridis", "vmin": 0, "vmax": 1}
    elif signed:
        options = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}
    else:
        options = {"cmap": "viridis", "vmin": 0, "vmax": largest}
    axes.set_facecolor(ABSENT)
    name = title + ("\n(nothing to compare)" if not values.size else f"\nmean {values.mean():.3g}" + ("" if unit == "iou" else f" {unit}"))
    drawn = canvas.show(axes, np.ma.masked_invalid(grid), name, 0, **options)
    over = values.size and abs(values).max() > options["vmax"]
    under = signed and values.size and values.min() < options["vmin"]
    extend = "both" if under else "max" if over else "neither"
    bar = axes.figure.colorbar(drawn, ax=axes, shrink=0.75, extend=extend)
    bar.set_label("IoU" if unit == "iou" else unit)


def _categories(axes: Axes, grid: NDArray[np.float64], names: pd.Series[str]) -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    count = names.value_counts()
    axes.set_facecolor(ABSENT)
    options = {"cmap": ListedColormap(list(MATCHES.values())), "vmin": -0.5, "vmax": len(MATCHES) - 0.5}
    canvas.show(axes, np.ma.masked_invalid(grid), f"Grid\n{int(count.get('exact', 0))} of {len(names)} exactly the same", 0, **options)
    handles = [Patch(facecolor=colour, label=f"{name}: {count[name]}") for name, colour in MATCHES.items() if name in count]
    axes.legend(handles=handles, fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.02), ncols=2, frameon=False)
