"""Samples of single pixels that people interpret: the design that was drawn, and what people say.

Each is drawn for itself: the accuracy sample judges the masks and trains nothing, the prevalence sample sets the threshold of the forest,
the change sample tells gain and loss between two years: people look at its pixels twice, in the earlier (`change_before`) and in the later
year (`change_after`). Decisions about their pixels have provenances of their own, so that none is taken for a label or for one of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from smallmines.core.errors import UserError
from smallmines.core.files import flat
from smallmines.core.layout import PixelSample
from smallmines.labels.event_files import LABELS, PROVENANCE_OF, Event, standing
from smallmines.segment.features import splitmix64

if TYPE_CHECKING:
    import pandas as pd

DRAWN = ["key", "x", "y", "tile_id", "stratum", "pixels", "inclusion"]
"""Columns of every design: content key and centre of a pixel, its tile, its stratum and the number of pixels in it, inclusion
probability."""

COLUMNS: dict[PixelSample, list[str]] = {
    "accuracy": [*DRAWN, "mapped"],
    "prevalence": [*DRAWN, "probability"],
    "change_before": [*DRAWN, "earlier_year"],
    "change_after": [*DRAWN, "earlier_year"],
}
"""Columns of a design. mapped: value of the mask on the day of the draw; probability: of mining by the forest of that day; earlier_year:
the year before the one that the design is of, in which people look at the pixels for `change_before`."""

LEAST = 2
"""Points of each stratum with a class that an estimate needs."""


@dataclass(frozen=True)
class Progress:
    """How far people have come with a sample of pixels.

    Attributes:
        drawn: number of pixels, 0 where none has been drawn.
        looked_at: of these, those that a person has interpreted, also as unsure.
        settled: of these, those to which people gave one class.
        lacks: strata with fewer than `LEAST` settled pixels, or than were drawn there.
    """

    drawn: int
    looked_at: int
    settled: int
    lacks: int


def read_design(path: str | Path, kind: PixelSample = "accuracy") -> pd.DataFrame:
    """Read the design: the pixels that were drawn in a year and block.

    Raises:
        UserError: the file is not a design, or not as it was drawn: the estimate would weigh the pixels wrongly.
    """
    import pandas as pd

    columns = COLUMNS[kind]
    try:
        if not Path(path).is_file():  # a pipe would be waited for
            raise OSError("no file")
        table = pd.read_csv(path, dtype={"key": np.uint64, "tile_id": str})
        missing = sorted(set(columns) - set(table.columns))
    except (OSError, ValueError) as error:
        raise UserError(f"the design of {name_of(kind)} in {path}", flat(error), "restore the file") from None
    if missing:
        raise UserError(f"the design of {name_of(kind)} in {path}", f"without {', '.join(missing)}", "restore the file")
    if faults := _faults(table):
        raise UserError(f"the design of {name_of(kind)} in {path} as it was drawn", "; ".join(faults), "restore the file")
    return table[columns].astype({"x": np.float64, "y": np.float64, "pixels": np.int64, "inclusion": np.float64})


def _faults(design: pd.DataFrame) -> list[str]:
    """Say in what a design is not as it was drawn: of each stratum inclusion times pixels is the number of its rows."""
    import pandas as pd

    checked = ["x", "y", "stratum", "pixels", "inclusion", *(["earlier_year"] if "earlier_year" in design else [])]
    numbers = design[checked].apply(pd.to_numeric, errors="coerce")
    if not len(design) or not np.isfinite(numbers.to_numpy(np.float64)).all():
        return ["no rows" if not len(design) else "cells without a number"]
    of_stratum = numbers.groupby("stratum")["pixels"]
    faults = {
        "keys that stand twice": design["key"].duplicated().any(),
        "strata with several numbers of pixels, or none": (of_stratum.transform("nunique") > 1).any() or (numbers["pixels"] < 1).any(),
        "strata with other numbers of rows than were drawn": (
            (numbers["inclusion"] * numbers["pixels"] - of_stratum.transform("size")).abs() > 0.5
        ).any(),
    }
    return [fault for fault, there in faults.items() if there]


def require_places(path: str | Path, design: pd.DataFrame, geobox: GeoBox) -> None:
    """Refuse a design whose pixels do not lie where their keys say.

    Args:
        geobox: of the run's whole lattice.

    Raises:
        UserError: the file was edited, or the grid has changed since the draw.
    """
    row, col, inside = rows_and_columns(design, geobox)
    index = np.where(inside, row, 0).astype(np.uint64) * np.uint64(geobox.shape.x) + np.where(inside, col, 0).astype(np.uint64)
    wrong = ~inside | (splitmix64(index) != design["key"].to_numpy())
    if wrong.any():
        do = "restore the file; after a change of the grid move it and its check-ins away, and draw again"
        raise UserError(f"the pixels of {path} where their keys say", f"{int(wrong.sum())} of {len(design)} elsewhere", do)


def require_earlier_year(path: str | Path, design: pd.DataFrame, earlier_year: str) -> None:
    """Refuse the design of a change sample whose pixels people looked at in another earlier year.

    Args:
        earlier_year: the year before the one of the design in the run as it is configured now.

    Raises:
        UserError: a year was added to the run, or left out, since the draw.
    """
    if of_design := sorted(set(design["earlier_year"].astype(str)) - {earlier_year}):
        do = "configure the years as they were at the draw; or move change_before and change_after of the year away, and draw again"
        raise UserError(f"a change sample from {earlier_year} on in {path}", f"one from {', '.join(of_design)} on", do)


def require_drawn(path: str | Path, design: pd.DataFrame, events: Sequence[Event]) -> None:
    """Refuse decisions about pixels that are not in the design.

    Raises:
        UserError: there are some: it was drawn anew, or is of another year or block.
    """
    standing_keys = {event.key for event in standing(events)}
    if strays := standing_keys - set(design["key"].tolist()):
        do = "restore the design that they were made with, or move it and its check-ins away, and draw again"
        raise UserError(f"decisions about the pixels of {path}", f"{len(strays)} of {len(standing_keys)} are about other pixels", do)


def name_of(kind: PixelSample) -> str:
    """Return the name of a kind of sample with its article."""
    return f"{'an' if kind == 'accuracy' else 'a'} {kind.partition('_')[0]} sample"


def interpreted(design: pd.DataFrame, events: Sequence[Event]) -> pd.DataFrame:
    """Add people's interpretation to the drawn pixels.

    Args:
        design: key and further columns of each pixel.
        events: of each person the latest about a pixel counts, unless it is withdrawn.

    Returns:
        `design` with reference: 1 mining, 0 not, -1 unsure or labelled differently by two people, -2 not interpreted; and who.
    """
    import pandas as pd

    counting = standing(events)
    latest = pd.DataFrame(
        {
            "key": np.array([event.key for event in counting], np.uint64),
            "person": [event.annotator for event in counting],
            "label": np.array([LABELS[event.label] for event in counting], np.int64),
        }
    )
    # a person who is unsure does not contradict one who is sure
    sure = latest[latest["label"] >= 0].groupby("key")["label"].agg(["min", "max"])
    who = latest.groupby("key")["person"].agg(lambda people: "|".join(sorted(people)))
    labels = sure.reindex(design["key"])
    agreed = (labels["min"] == labels["max"]).to_numpy()
    has_event = design["key"].isin(latest["key"]).to_numpy()
    reference = np.where(agreed, labels["min"].fillna(-1).to_numpy(), np.where(has_event, -1, -2)).astype(np.int64)
    return design.assign(reference=reference, who=who.reindex(design["key"]).fillna("").to_numpy())


def progress(points: pd.DataFrame) -> Progress:
    """Count what people have done of a sample.

    Args:
        points: stratum, reference; see `interpreted`.
    """
    reference, (names, code) = points["reference"].to_numpy(), np.unique(points["stratum"].to_numpy(), return_inverse=True)
    settled, drawn = (np.bincount(part, minlength=len(names)) for part in (code[reference >= 0], code))
    return Progress(
        len(points),
        int((reference > -2).sum()),
        int(settled.sum()),
        int((settled < np.minimum(LEAST, drawn)).sum()),
    )


def require_design(designs: Sequence[str], references: Sequence[str], kind: PixelSample) -> None:
    """Refuse check-ins without a design: without its weights nobody would count what people did.

    Raises:
        UserError: there is no design, and there are check-ins.
    """
    if references and not designs:
        do = "restore the design from a backup or another computer, or move the check-ins away"
        raise UserError(f"the design of {name_of(kind)}", f"none, but {len(references)} check-ins, the first {references[0]}", do)


def require_about(events: Sequence[Event], kind: PixelSample, year: int, block: str) -> None:
    """Refuse events about anything but a sample of a year and block.

    Raises:
        UserError: there are such events.
    """
    if strays := [event for event in events if event.provenance != PROVENANCE_OF[kind] or (event.year, event.block) != (year, block)]:
        raise UserError(
            f"events about the {kind} sample of {year}, block {block}",
            f"{len(strays)} events of another kind or place, the first by {strays[0].annotator} at {strays[0].time}",
            "move their files to the folder of their kind, year and block",
        )


def sample_command(kind: PixelSample, year: int | str, block: str) -> str:
    """Return the command that checks out a sample; the configuration and the annotator are left to the reader."""
    return f"smallmines labels sample --for {kind} --config … --year {year} --block {block} --annotator …"


def rows_and_columns(design: pd.DataFrame, geobox: GeoBox) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return row and column of each drawn pixel in a raster, and whether it lies inside."""
    col, row = (np.floor(axis).astype(np.int64) for axis in ~geobox.transform @ (design["x"].to_numpy(), design["y"].to_numpy()))
    return row, col, (row >= 0) & (row < geobox.shape.y) & (col >= 0) & (col < geobox.shape.x)
