"""Accuracy of a run's masks against the truth of the miniature Earth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from miniature.annotators import truth_path
from miniature.place import window_in
from smallmines.config.sections import Config
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import read_json
from smallmines.core.layout import Layout
from smallmines.grid.lattice import read_lattice

if TYPE_CHECKING:
    import pandas as pd
    from odc.geo.geobox import GeoBox


def score(config: Config, root: str | Path = ".") -> pd.DataFrame:
    """Compare a run's masks with the truth, and also the masks that the prediction alone gives.

    Pixels with 255 in a mask do not count.

    Returns:
        One row per kind of mask (`prediction alone`, `with people's labels`) and year, and one for all years: masks, year, iou,
        precision, recall, f1, predicted and true share, pixels.

    Raises:
        UserError: a product or the truth is missing.
    """
    import pandas as pd

    layout = Layout(config.run, Path(root))
    rows = []
    for kind, mask_of in (("prediction alone", predicted_mask), ("with people's labels", final_mask)):
        counts: dict[str, NDArray[np.int64]] = {}
        for year in config.year_names:
            counts[year] = np.zeros(4, np.int64)
            for block in config.blocks:
                mask, geobox = mask_of(layout, year, block)
                mined = truth_of(config, year, geobox, root)
                counts[year] += confusion(mask, mined)
        counts["all"] = np.sum(list(counts.values()), axis=0)
        rows += [{"masks": kind, "year": year} | figures(*count) for year, count in counts.items()]
    return pd.DataFrame(rows)


def seen_mines(config: Config, root: str | Path = ".") -> pd.DataFrame:
    """Count the true mine pixels of a run's tiles with a valid observation.

    Returns:
        One row per year and one for all: year, mine_pixels, valid (share with a valid observation), stable (share that is valid only
        because it is stable).

    Raises:
        UserError: a composite or the truth is missing.
    """
    import pandas as pd

    layout = Layout(config.run, Path(root))
    lattice = read_lattice(required(layout.grid))
    counts: dict[str, NDArray[np.int64]] = {}
    for year in config.year_names:
        counts[year] = np.zeros(3, np.int64)
        for block in config.blocks:
            box = lattice.block(block)
            mined = (truth_of(config, year, box, root) == 1) & lattice.own(block)
            clear = raster.read(required(layout.clear(year, block)), box)[0]
            counts[year] += np.bincount(clear[mined], minlength=3)[:3]
    counts["all"] = np.sum(list(counts.values()), axis=0)
    rows = []
    for year, count in counts.items():
        _, observed, stable = count / max(1, int(count.sum()))
        pixels = int(count.sum())
        rows.append({"year": year, "mine_pixels": pixels, "valid": round(float(observed + stable), 4), "stable": round(float(stable), 4)})
    return pd.DataFrame(rows)


def truth_of(config: Config, year: str, geobox: GeoBox, root: str | Path = ".") -> NDArray[np.uint8]:
    """Read the true mask on a grid, uint8 (row, column), 1 mining."""
    with raster.opened(required(truth_path(config, year, root))) as true:
        rows, cols = window_in(raster.geobox_of(true), geobox)
        mask: NDArray[np.uint8] = true.read(1, window=Window.from_slices(rows, cols))
        return mask


def required(path: Path) -> Path:
    """Return the path of an existing file.

    Raises:
        UserError: there is no such file.
    """
    if not path.is_file():
        raise UserError(str(path), "no such file", "make the world (miniature make) and the masks (snakemake masks)")
    return path


def final_mask(layout: Layout, year: str, block: str) -> tuple[NDArray[np.uint8], GeoBox]:
    """Read the mask of a block, uint8 (row, column), and its grid."""
    with raster.opened(required(layout.mask(year, block))) as source:
        return source.read(1), raster.geobox_of(source)


def predicted_mask(layout: Layout, year: str, block: str) -> tuple[NDArray[np.uint8], GeoBox]:
    """Return the mask that the prediction alone gives for a block, uint8 (row, column), and its grid."""
    from smallmines.labels import tables
    from smallmines.labels.decide import label_segments
    from smallmines.labels.mask import lookup, masked
    from smallmines.segment.features import read_features

    table = label_segments(
        read_features(required(layout.features(year, block))),
        tables.read(required(layout.samples(year, block)), "samples").iloc[:0],
        tables.read(required(layout.decisions(year, block)), "decisions").iloc[:0],
        tables.read(required(layout.probabilities(year, block)), "probabilities"),
        read_json(required(layout.forest_metrics(year, block)))["threshold"],
    )
    values, predicted = lookup(table)
    with raster.opened(required(layout.segments(year, block))) as source:
        clear = raster.read(layout.clear(year, block))[0]
        return masked(source.read(1), clear, values, predicted), raster.geobox_of(source)


def confusion(mask: NDArray[np.uint8], truth: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count true negative, false positive, false negative and true positive pixels; 255 in the mask is left out."""
    valid = mask != 255
    return np.bincount(truth[valid].astype(np.int64) * 2 + mask[valid], minlength=4)


def figures(true_negative: int, false_positive: int, false_negative: int, true_positive: int) -> dict[str, Any]:
    """Return IoU, precision, recall and F1 of mining (0 if undefined), and shares of the area."""
    predicted, real = true_positive + false_positive, true_positive + false_negative
    pixels = predicted + false_negative + true_negative
    return {
        "iou": round(float(true_positive / max(predicted + false_negative, 1)), 4),
        "precision": round(float(true_positive / max(predicted, 1)), 4),
        "recall": round(float(true_positive / max(real, 1)), 4),
        "f1": round(float(2 * true_positive / max(predicted + real, 1)), 4),
        "predicted_share": round(float(predicted / max(pixels, 1)), 4),
        "true_share": round(float(real / max(pixels, 1)), 4),
        "pixels": int(pixels),
    }
