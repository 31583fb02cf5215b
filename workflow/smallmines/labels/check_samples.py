"""People's samples of a block and year, checked before anything is computed from them."""

from __future__ import annotations

from collections.abc import Sequence
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


def check_samples(
    paths: Sequence[str],
    wanted: str,
    command: str,
    block: str,
    settings: Samples,
    grid: str | Path,
    segments: str | Path,
    features: str | Path,
    samples_out: str | Path,
    refused_out: str | Path,
) -> None:
    """Read the samples of a block and year, join them to its segments, write the table and the refused.

    Args:
        paths: the sample files that exist.
        wanted: where the sample file should lie, without suffix.
        command: what makes candidates for it.
        settings: folds and what to do about a missing class.

    Raises:
        UserError: no sample file or several, unusable contents, samples outside the block, too few of a class.
    """
    path = samples.sample_file(paths, wanted, command)
    lattice = read_lattice(grid)
    geobox = lattice.block(block)
    table = read_features(features)
    given = samples.read_samples(path, str(geobox.crs))
    logger.info("%s: %d labelled features, %d without a label", path, len(given.table), given.unlabelled)
    joined = samples.join(given, raster.read(segments, geobox)[0], lattice.own(block), geobox, path)
    people = joined.samples.merge(table[["segment", "tile_id"]], on="segment", how="left")
    people = people[["segment", "label", "subclass", "tile_id", "who"]]
    logger.info("%s", tables.counts(people))
    if settings.on_missing_class == "error" and (lack := tables.lacking(people, settings.folds)):
        raise UserError(
            f"samples of both classes, each in at least {settings.folds} tiles (assistant.folds), in {path}",
            f"{tables.counts(people)}; {len(joined.refused)} refused",
            f"add samples of {' and '.join(lack)}, or set assistant.on_missing_class to pooled_model",
        )
    warn_of_types(people)
    if len(joined.refused):
        logger.warning("%d samples or parts of them label no segment: listed in %s", len(joined.refused), refused_out)
    tables.write(samples_out, people, "samples")
    with written(refused_out) as beside:
        joined.refused.to_csv(beside, index=False, lineterminator="\n")


def warn_of_types(people: pd.DataFrame) -> None:
    """Warn about types of land that no non-mining sample names in its subclass."""
    named = {part.strip().lower().replace("_", " ") for text in people.loc[people["label"] == 0, "subclass"] for part in text.split("|")}
    missing = [kind for kind in samples.NEGATIVE_TYPES if kind not in named]
    if missing:
        logger.warning("no not_mining sample has the subclass %s: the assistant knows only what it was shown", ", ".join(missing))
