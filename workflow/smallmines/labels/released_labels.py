"""Draw samples and labels from the released masks of a block, as people would give them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallmines.core import raster
from smallmines.core.files import written
from smallmines.core.log import logger
from smallmines.core.product import CLASSES
from smallmines.grid.lattice import read_lattice
from smallmines.labels import tables
from smallmines.labels.candidates import rank_within
from smallmines.labels.released import classes_of_segments, held_out, held_pixels
from smallmines.segment.features import read_features
from smallmines.settings.released import ReleasedSamples
from smallmines.settings.transfer import Transfer

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Inputs:
    """Products of a block and year: released masks on its grid, label raster, table of features, and `grid.json`."""

    mask: str | Path
    segments: str | Path
    features: str | Path
    grid: str | Path


@dataclass(frozen=True)
class Outputs:
    """Paths of the drawn samples (CSV) and of the table `released` (Parquet)."""

    samples: str | Path
    labels: str | Path


def write_released_labels(
    inputs: Inputs, year: str, block: str, settings: ReleasedSamples, seed: int, transfer: Transfer, outputs: Outputs
) -> None:
    """Write the labels that the release gives to segments, and samples that are drawn from them.

    Both only for segments that the masks cover with one class and that touch no tile that is held out, see `classes_of_segments`.

    Args:
        seed: `labels.seed`, for the tiles that are held out and for the samples.
    """
    lattice = read_lattice(inputs.grid)
    geobox = lattice.block(block)
    features = read_features(inputs.features)
    held = held_pixels(lattice, block, held_out(lattice.cells["tile_id"].tolist(), (), settings.hold_out, seed))
    mask, segments = (raster.read(path, geobox)[0] for path in (inputs.mask, inputs.segments))
    classes = classes_of_segments(segments, mask, held, len(features), transfer)
    labelled = classes.label >= 0
    logger.info(
        "%d segments: %d with a class of the release, %d with both classes, %d not covered or in tiles held out",
        len(features),
        labelled.sum(),
        (classes.covered & ~labelled).sum(),
        (~classes.covered).sum(),
    )
    samples = draw_samples(features, classes.label, settings.samples, seed + int(year), tables.RELEASED)
    for name in CLASSES:
        if (number := int((samples["label"] == name).sum())) < settings.samples:
            logger.warning("%s: only %d segments have this class of the release, fewer than released.samples", name, number)
    with written(outputs.samples) as beside:
        samples.to_csv(beside, index=False, lineterminator="\n")
    released = features.loc[labelled, ["segment", "key"]].assign(label=classes.label[labelled].astype(np.int8))
    tables.write(outputs.labels, released.reset_index(drop=True), "released")


def draw_samples(features: pd.DataFrame, label: NDArray[np.int64], number: int, seed: int, annotator: str) -> pd.DataFrame:
    """Draw segments of each class by chance, all where there are fewer: x, y, label, subclass, annotator, as in a sample file.

    Args:
        features: of the segments in the order of `label`.
        label: 1 mining, 0 not, -1 not drawn.
        number: segments of each class.
    """
    import pandas as pd

    turn = rank_within(label + 1, np.random.default_rng(seed).uniform(size=len(label)))
    chosen = np.flatnonzero((label >= 0) & (turn < number))
    table = pd.DataFrame({name: features[name].to_numpy()[chosen] for name in ("x", "y")})
    return table.assign(label=np.array(["not_mining", "mining"], object)[label[chosen]], subclass="", annotator=annotator)
