"""Join the predictions of a model of the benchmark for all blocks of a year to mosaics on the run's lattice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from smallmines.core import raster
from smallmines.core.log import logger
from smallmines.core.product import MASK_NODATA
from smallmines.grid.lattice import Lattice
from smallmines.map.cog import created_cog
from smallmines.map.mosaics import PROBABILITY_NODATA, block_window, forms, own_windows


class Targets(Protocol):
    """Paths of the mosaics."""

    mask: str | Path
    probability: str | Path


def write_model_mosaics(
    predictions: Mapping[str, str | Path], lattice: Lattice, year: str, model: str, threshold: int, targets: Targets
) -> None:
    """Write the mosaics of a year: COGs like those of `mosaics.write_mosaics`.

    Args:
        predictions: probability by block, uint8 (255 is 1) with a mask of gaps, as `smallmines predict` writes it.
        model: its name, for the tags.
        threshold: least value of mining in 1/255.
        targets: mask (1 mining, 0 not, 255 a gap) and probability (0 to 100 %, 255 a gap).

    Raises:
        UserError: a prediction is on another grid.
    """
    form = forms(year)
    tags = {"MODEL": model, "THRESHOLD": f"{threshold / 255:.4f}"}
    mask_form = replace(form["mask"], tags={**form["mask"].tags, **tags})
    about = f"of mining by {model} of the benchmark"
    probability_form = replace(form["probability"], tags={**form["probability"].tags, **tags, "PROBABILITY": about})
    pixels = np.zeros(256, np.int64)
    with (
        created_cog(targets.mask, lattice.geobox, mask_form) as masks,
        created_cog(targets.probability, lattice.geobox, probability_form) as probabilities,
    ):
        for block, path in predictions.items():
            with raster.opened(path) as source:
                raster.require_grid(source, lattice.block(block))
                for window in own_windows(lattice, block):
                    own = block_window(lattice, block, window)
                    probability, whole = source.read(1, window=own), source.read_masks(1, window=own) > 0
                    mask = np.where(whole, probability >= threshold, MASK_NODATA).astype(np.uint8)
                    percent = np.where(whole, np.round(probability * (100 / 255)), PROBABILITY_NODATA).astype(np.uint8)
                    pixels += np.bincount(mask.ravel(), minlength=256)
                    masks.write(mask, 1, window=window)
                    probabilities.write(percent, 1, window=window)
    logger.info("%s by %s: %d px mining, %d not, %d gaps", year, model, pixels[1], pixels[0], pixels[MASK_NODATA])
