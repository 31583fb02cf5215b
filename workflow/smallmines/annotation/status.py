"""How far people's labels are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smallmines.annotation.block_year import Place
from smallmines.annotation.checkin import pending
from smallmines.config.sections import Config
from smallmines.core import raster
from smallmines.core.layout import Layout
from smallmines.labels.label_quality import PeopleFiles, quality
from smallmines.labels.tables import VALIDATED
from smallmines.labels.tables import read as read_table
from smallmines.labels.transfer import FATES, settle
from smallmines.settings.transfer import Transfer

if TYPE_CHECKING:
    import pandas as pd


def standing(config: Config, root: Path = Path()) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A row per year and block, and one per working copy.

    Raises:
        UserError: a year and block has no labels yet.
    """
    rows = []
    places = [Place(config, year, block, root) for year in config.year_names for block in config.blocks]
    for place in places:
        features = place.features()
        decided = read_table(place.product(Layout.labels), "labels")
        area = features["area"].to_numpy(float)
        seen = decided["provenance"].isin(VALIDATED).to_numpy()
        count = decided["provenance"].value_counts()
        rows.append(
            {
                "year": place.year,
                "block": place.block,
                "segments": len(decided),
                **{
                    name: int(count.get(name, 0))
                    for name in ("manual", "confirmed", "corrected", "adjudicated", "transferred", "imported", "disputed")
                },
                "open": int((decided["label"] < 0).sum()),
                "validated": float(area[seen].sum() / area.sum()),
            }
        )
    copies = []
    for path in sorted(Layout(config.run, root).user.work.glob("*/[0-9]*-[0-9]*.gpkg")):
        copies.append({"copy": str(path), "not checked in": pending(path.parents[2], path)})
    return rows, copies


def moved(
    config: Config, years: Sequence[str], blocks: Sequence[str], rule: Transfer, root: Path = Path()
) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """For each year and block with decisions: counts by fate and segments to review, and the lineage.

    Raises:
        UserError: a year and block has no segments yet.
    """
    found = []
    for year in years:
        for block in blocks:
            place = Place(config, year, block, root)
            path = place.product(Layout.segments)
            with raster.opened(path) as source:
                here = settle(
                    place.events(),
                    place.features(),
                    lambda source=source: source.read(1),  # type: ignore[misc]
                    raster.geobox_of(source),
                    rule,
                )
            fates = here.lineage["fate"].value_counts()
            row = {"year": year, "block": block, "decisions": len(here.lineage), **{name: int(fates.get(name, 0)) for name in FATES}}
            found.append(({**row, "to review": len(here.review)}, here.lineage.assign(year=year, block=block)))
    return found


def worth(config: Config, root: Path = Path()) -> dict[str, Any]:
    """What the labels are worth as they stand, see `quality.summary.quality`.

    Raises:
        UserError: a year and block has no masks yet.
    """
    files = {}
    for year in config.year_names:
        for block in config.blocks:
            place = Place(config, year, block, root)
            files[year, block] = PeopleFiles(
                features=str(place.product(Layout.features)),
                labels=str(place.product(Layout.labels)),
                mask=str(place.product(Layout.mask)),
                **place.given(),
            )
    return quality(files, config.labels.seed)[0]


def agreed(known: dict[str, Any]) -> list[dict[str, Any]]:
    """Agreement of each two people, a row for each year and block and one for the year."""
    rows = []
    for year, one in known["years"].items():
        for block, pairs in [*one["agreement"]["blocks"].items(), ("all", one["agreement"]["year"])]:
            for pair in pairs:
                rows.append({"year": year, "block": block, **pair, "people": ", ".join(pair["people"])})
    return rows


def estimated(known: dict[str, Any]) -> list[dict[str, Any]]:
    """The figures of accuracy, one row each, with their 95 % intervals."""
    rows = []
    for year, one in known["years"].items():
        found = one["accuracy"]
        if found is None:
            continue
        figures = {
            "overall accuracy": found["overall"],
            **{f"user's accuracy of {name}": value for name, value in found["users"].items()},
            **{f"producer's accuracy of {name}": value for name, value in found["producers"].items()},
            "IoU of mining": found["iou"],
            "area of mining in ha": found["mining_ha"],
            "area mapped as mining in ha": found["mapped_ha"],
        }
        rows += [{"year": year, "figure": name, **value} for name, value in figures.items()]
    return rows
