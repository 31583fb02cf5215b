"""Check the samples of a block and year and join them to its segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import written
from smallmines.core.log import logger
from smallmines.grid.lattice import read_lattice
from smallmines.labels import samples, tables
from smallmines.segment.features import read_features
from smallmines.settings.samples import Samples

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SampleFiles:
    """The sample file of a block and year.

    Attributes:
        paths: the sample files that exist, or the one that was drawn from a release; one is right.
        wanted: path where the file should lie, without its suffix.
        command: what makes candidates for it.
    """

    paths: Sequence[str]
    wanted: str
    command: str


@dataclass(frozen=True)
class Inputs:
    """Products that samples are joined to: `grid.json`, label raster and table of features of the block."""

    grid: str | Path
    segments: str | Path
    features: str | Path


@dataclass(frozen=True)
class Outputs:
    """Paths of the table `samples` (Parquet) and of the samples that label no segment (CSV)."""

    samples: str | Path
    refused: str | Path


def check_samples(files: SampleFiles, block: str, settings: Samples, inputs: Inputs, outputs: Outputs) -> None:
    """Read the samples of a block and year, join them to its segments, write the table and the refused samples.

    Raises:
        UserError: no sample file or several, unusable contents, samples outside the block, too few of a class.
    """
    path = samples.sample_file(files.paths, files.wanted, files.command)
    lattice = read_lattice(inputs.grid)
    geobox = lattice.block(block)
    features = read_features(inputs.features)
    labelled = samples.read_samples(path, str(geobox.crs))
    logger.info("%s: %d labelled features, %d without a label", path, len(labelled.table), labelled.unlabelled)
    joined = samples.join(labelled, raster.read(inputs.segments, geobox)[0], lattice.own(block), geobox, path)
    table = joined.samples.merge(features[["segment", "tile_id"]], on="segment", how="left")
    table = table[["segment", "label", "subclass", "tile_id", "who"]]
    logger.info("%s", tables.counts(table))
    if settings.on_missing_class == "error" and (lack := tables.lacking(table, settings.folds)):
        where = "" if path.startswith(files.wanted) else f" in a file of your own ({files.wanted}.gpkg), lower released.hold_out"
        raise UserError(
            f"samples of both classes, each in at least {settings.folds} tiles (assistant.folds), in {path}",
            f"{tables.counts(table)}; {len(joined.refused)} refused",
            f"add samples of {' and '.join(lack)}{where}, or set assistant.on_missing_class to pooled_model",
        )
    warn_of_types(table)
    if len(joined.refused):
        logger.warning("%d samples or parts of them label no segment: listed in %s", len(joined.refused), outputs.refused)
    tables.write(outputs.samples, table, "samples")
    with written(outputs.refused) as beside:
        joined.refused.to_csv(beside, index=False, lineterminator="\n")


def warn_of_types(table: pd.DataFrame) -> None:
    """Warn about types of land that no non-mining sample names in its subclass."""
    named = {part.strip().lower().replace("_", " ") for text in table.loc[table["label"] == 0, "subclass"] for part in text.split("|")}
    missing = [kind for kind in samples.NEGATIVE_TYPES if kind not in named]
    if missing:
        logger.warning("no not_mining sample has the subclass %s: the forest does not learn these types of land", ", ".join(missing))
