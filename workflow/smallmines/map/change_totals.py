"""Areas of gain and loss of mining between two years: what the map says, and what the change sample says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import written
from smallmines.core.layout import PixelSample
from smallmines.core.log import logger
from smallmines.core.optional import pandera
from smallmines.core.schemas import text_column
from smallmines.dataset.change import CLASSES
from smallmines.grid.lattice import Lattice
from smallmines.labels.event_files import Event, read_events
from smallmines.labels.pixel_samples import (
    interpreted,
    read_design,
    require_about,
    require_design,
    require_drawn,
    require_earlier_year,
    require_places,
)
from smallmines.map.change_estimate import FEWEST, STRATA, estimates, reference_class, unknown_strata
from smallmines.map.schemas import hectares_column, table_schema

if TYPE_CHECKING:
    import pandas as pd

MEANINGS = {
    "change": "Class of change.",
    "mapped_ha": "Area of the class on the map of change, ha. It is no estimate: the errors of both masks add up in it.",
    "area_ha": "Area estimated from the change sample, ha; empty without one, or where no point of a stratum has a class.",
    "low": "Lower end of its 95 % interval, ha, which counts nothing of such strata; empty where there is none.",
    "high": "Upper end, ha, which counts all of such strata.",
    "points": "Points of the sample that are of the class by what people saw.",
    "sampled_ha": "Land that the sample was drawn from, ha; `area_ha` of all classes adds up to it. Empty without a sample.",
    "why": "Why there is no area, or no interval.",
}
"""Meaning of each column."""


def totals_schema() -> Any:
    """Return the schema of `areas.csv` of change (pandera): the columns of `MEANINGS` in order, with type and range."""
    pa = pandera()
    columns = {
        "change": text_column(pa.Check.isin(CLASSES)),
        "mapped_ha": hectares_column(),
        **{name: hectares_column(nullable=True) for name in ("area_ha", "low", "high")},
        "points": pa.Column("int64", pa.Check.ge(0)),
        "sampled_ha": hectares_column(nullable=True),
        "why": text_column(),
    }
    return table_schema(columns, MEANINGS)


OTHER_LAND = 0.01
"""Share by which the land of the map may differ from that of the sample without a warning: labels that were left open at the draw."""


LOOKED_AT = 0.9
"""Share of the points of each block that people must have looked at in both years, unsure or not, for an estimate. Points that nobody
looked at are missing by chance within a block, and not where a whole block is left."""


@dataclass(frozen=True)
class SampleFiles:
    """Files of the change sample of a pair of years.

    Attributes:
        designs: of all blocks and both kinds, all alike; none where it was not drawn.
        before, after: check-ins about the earlier and the later year.
    """

    designs: Sequence[str]
    before: Sequence[str]
    after: Sequence[str]


def write_totals(change: str, sample: SampleFiles, years: tuple[str, str], lattice: Lattice, target: str | Path) -> None:
    """Write the areas of the classes of change (CSV), see `totals`.

    Args:
        years: earlier and later one.
    """
    points = read_points(sample, years, lattice)
    table = totals_schema().validate(totals(change, points, lattice))
    with written(target) as beside:
        table.to_csv(beside, index=False, lineterminator="\n")
    for row in table.to_dict("records"):
        logger.info("%s", ", ".join(f"{name} {value}" for name, value in row.items() if value == value and value != ""))
    mapped, sampled = float(table["mapped_ha"].sum()), float(table["sampled_ha"].iloc[0])
    if abs(mapped - sampled) > OTHER_LAND * sampled:
        logger.warning(
            "the change sample was drawn from %.1f ha, and the map has classes on %.1f ha now: area_ha is of the land of the draw. "
            "Where tiles were added or left out, draw a new sample (docs/change.md)",
            sampled,
            mapped,
        )


def read_points(sample: SampleFiles, years: tuple[str, str], lattice: Lattice) -> pd.DataFrame | None:
    """Read the change sample: stratum, pixels, before, after (see `pixel_samples.interpreted`); None where it was not drawn.

    Args:
        years: earlier and later one.

    Raises:
        UserError: designs that differ, check-ins without a design, another earlier year, or decisions about other pixels.
    """
    require_design(sample.designs, [*sample.before, *sample.after], "change_before")
    if not sample.designs:
        return None
    design = read_design(sample.designs[0], "change_before")
    for path in sample.designs[1:]:
        if not read_design(path, "change_before").equals(design):
            do = "restore the one that was edited from a copy: they are all alike"
            raise UserError("one design of the change sample", f"{path} differs from {sample.designs[0]}", do)
    require_places(sample.designs[0], design, lattice.geobox)
    require_earlier_year(sample.designs[0], design, years[0])
    kinds: dict[PixelSample, Sequence[str]] = {"change_before": sample.before, "change_after": sample.after}
    references = {}
    for kind, paths in kinds.items():
        events: list[Event] = []
        for block in lattice.windows:
            own = read_events([path for path in paths if Path(path).parent.name == block])
            require_about(own, kind, int(years[1]), block)
            events += own
        require_drawn(sample.designs[0], design, events)
        references[kind] = interpreted(design, events)["reference"]
    return design.assign(before=references["change_before"], after=references["change_after"])


def totals(change: str, points: pd.DataFrame | None, lattice: Lattice) -> pd.DataFrame:
    """Return the area of each class of change: the columns of `MEANINGS`.

    Args:
        change: map of change.
        points: see `read_points`.
    """
    import pandas as pd

    pixels = np.zeros(256, np.int64)
    with raster.opened(change) as source:
        raster.require_grid(source, lattice.geobox)
        for window in raster.strips(lattice.geobox.shape):
            pixels += np.bincount(source.read(1, window=window).ravel(), minlength=256)
    pixel_ha = abs(lattice.geobox.transform.a * lattice.geobox.transform.e) / 10_000
    table = pd.DataFrame({"change": CLASSES, "mapped_ha": (pixels[: len(CLASSES)] * pixel_ha).round(4)})
    reference = np.zeros(0, np.int64) if points is None else reference_class(points["before"].to_numpy(), points["after"].to_numpy())
    counts = np.bincount(reference[reference >= 0], minlength=len(CLASSES))
    empty = dict.fromkeys(("area_ha", "low", "high"), np.nan)
    sampled_ha = np.nan if points is None else round(float(points.groupby("stratum")["pixels"].first().sum()) * pixel_ha, 4)
    table = table.assign(sampled_ha=sampled_ha)
    if points is None:
        return table.assign(**empty, points=0, why="no change sample")[list(MEANINGS)]
    if left := blocks_left(points, lattice):
        return table.assign(**empty, points=counts, why=f"too few points looked at in both years: {left}")[list(MEANINGS)]
    stratum, stratum_pixels = points["stratum"].to_numpy(), points["pixels"].to_numpy()
    areas = estimates(stratum, stratum_pixels, reference, pixel_ha)
    ends = {"area_ha": "value", "low": "low", "high": "high"}
    values = {column: [round(getattr(areas[name], end), 4) for name in CLASSES] for column, end in ends.items()}
    lacking = [f"{STRATA[code]} ({stratum_pixels[stratum == code][0] * pixel_ha:.1f} ha)" for code in unknown_strata(stratum, reference)]
    unknown = f"unknown: no point with a class in {', '.join(lacking)}" if lacking else ""
    few = [f"no interval: fewer than {FEWEST} points" if count < FEWEST else "" for count in counts]
    why = ["; ".join(filter(None, (unknown, own))) for own in few]
    return table.assign(**values, points=counts, why=why)[list(MEANINGS)]


def blocks_left(points: pd.DataFrame, lattice: Lattice) -> str:
    """Say in which blocks people have looked at less than `LOOKED_AT` of the points; empty where in none.

    Args:
        points: see `read_points`.
    """
    block_of = {tile.tile_id: f"block {tile.block}" for tile in lattice.tiles}
    looked_at = (points["before"] > -2) & (points["after"] > -2)
    blocks = looked_at.groupby(points["tile_id"].map(block_of).fillna("tiles that the run lacks now")).agg(["sum", "size"])
    lacking = blocks[blocks["sum"] < LOOKED_AT * blocks["size"]]
    return ", ".join(f"{done} of {drawn} in {block}" for block, done, drawn in lacking.itertuples())
