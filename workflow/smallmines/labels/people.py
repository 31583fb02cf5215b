"""What people say about a block and year: samples and events, checked before anything is computed from them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from smallmines import raster
from smallmines.config import Assistant
from smallmines.grid import read_lattice
from smallmines.job import UserError
from smallmines.labels import samples, store, tables
from smallmines.provenance import written
from smallmines.segments import read_features

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger("smallmines")


def check_samples(
    paths: Sequence[str],
    wanted: str,
    command: str,
    block: str,
    settings: Assistant,
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


def check_events(
    paths: Sequence[str], year: str, block: str, features: str | Path, decisions_out: str | Path, refused_out: str | Path
) -> None:
    """Read the events of a block and year, write the decision that counts for each segment, and the refused.

    Raises:
        UserError: an unusable file, or an event of another year or block.
    """
    decided, gone = decisions(store.read_events(paths), read_features(features), int(year), block)
    logger.info("%d decisions in %d files", len(decided), len(paths))
    if len(gone):
        logger.warning("%d events are about segments that are not there any more: listed in %s", len(gone), refused_out)
    tables.write(decisions_out, decided, "decisions")
    with written(refused_out) as beside:
        gone.to_csv(beside, index=False, lineterminator="\n")


def decisions(events: Sequence[store.Event], features: pd.DataFrame, year: int, block: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The decision that counts for each segment, and the decisions whose segment has changed.

    Args:
        features: columns segment and key.

    Returns:
        A table `decisions` in segment order, and rows what, which, segment, why for the refused.

    Raises:
        UserError: an event of another year or block.
    """
    import numpy as np
    import pandas as pd

    strays = [event for event in events if (event.year, event.block) != (year, block)]
    if strays:
        raise UserError(
            f"events of {year}, block {block}",
            f"{len(strays)} of others, the first of {strays[0].year}, block {strays[0].block} by {strays[0].annotator} at {strays[0].time}",
            "move their files to the folder of their year and block",
        )
    best = store.winners(events)
    found = pd.DataFrame(
        {
            "key": np.array(list(best), np.uint64),
            "label": np.array([store.LABELS[event.label] for event in best.values()], np.int8),
            "provenance": [event.provenance for event in best.values()],
            "who": [event.annotator for event in best.values()],
            "when": [event.time for event in best.values()],
            "event": [event.hash for event in best.values()],
        }
    ).merge(features[["segment", "key"]], on="key", how="left")
    here = found["segment"].notna()
    kept = found[here].astype({"segment": "uint32"}).sort_values("segment", ignore_index=True)
    text = ["provenance", "who", "when", "event"]
    gone = pd.DataFrame({"what": "event", "which": sorted(found.loc[~here, "event"]), "segment": 0, "why": "segment changed"})
    return kept[["segment", "label", *text]].astype(dict.fromkeys(text, "object")), gone


def warn_of_types(people: pd.DataFrame) -> None:
    """Warn about types of land that no non-mining sample names in its subclass."""
    named = {part.strip().lower().replace("_", " ") for text in people.loc[people["label"] == 0, "subclass"] for part in text.split("|")}
    missing = [kind for kind in samples.NEGATIVE_TYPES if kind not in named]
    if missing:
        logger.warning("no not_mining sample has the subclass %s: the assistant knows only what it was shown", ", ".join(missing))
