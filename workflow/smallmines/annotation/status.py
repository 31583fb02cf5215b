"""Rows for the reports on labels: progress, working copies, transfer, agreement, accuracy."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.change_sample import change_progress
from smallmines.annotation.checkin import pending
from smallmines.annotation.checkout_pixels import asked_first, other_number, prevalence_progress
from smallmines.config.sections import Config
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.layout import Layout
from smallmines.core.readable import read_parquet
from smallmines.labels.label_quality import PeopleFiles, quality
from smallmines.labels.tables import VALIDATED
from smallmines.labels.transfer import FATES, decisions_in_force
from smallmines.settings.transfer import Transfer

if TYPE_CHECKING:
    import pandas as pd

COUNTED_FROM = (Layout.features, Layout.labels)
"""Products that `labels_of` reads."""

COUNTED = ("manual", "confirmed", "corrected", "adjudicated", "transferred", "imported", "released", "disputed")
"""Provenances that `labels_of` counts."""


def labels_of(config: Config, root: Path = Path()) -> list[dict[str, Any]]:
    """Count the segments of each year and block by provenance; the counts are None where there are no labels yet.

    Raises:
        UserError: the run has no segments, or a table is damaged.
    """
    return [labels_of_block(block_year) for block_year in _places(config, root)]


def labels_of_block(block_year: BlockYear) -> dict[str, Any]:
    """Count the segments of a year and block by provenance, see `labels_of`."""
    place = {"year": int(block_year.year), "block": block_year.block}
    if not block_year.has(*COUNTED_FROM):
        return {**place, **dict.fromkeys(("segments", *COUNTED, "open", "validated"))}
    area = read_parquet(block_year.product(Layout.features), ["area"])["area"].to_numpy(float)
    labels = read_parquet(block_year.product(Layout.labels), ["label", "provenance"])
    if len(area) != len(labels):
        raise UserError("labels of the present segmentation", "labels of another", "run the workflow up to the masks again")
    validated = labels["provenance"].isin(VALIDATED).to_numpy()
    count = labels["provenance"].value_counts()
    return {
        **place,
        "segments": len(labels),
        **{name: int(count.get(name, 0)) for name in COUNTED},
        "open": int((labels["label"] < 0).sum()),
        "validated": float(area[validated].sum() / area.sum()),
    }


def prevalence_samples_of(config: Config, root: Path = Path()) -> list[dict[str, Any]]:
    """Count the pixels of the prevalence sample of each year and block; nothing where `assistant.prevalence` is not `sample`.

    Raises:
        UserError: a design is damaged.
    """
    if config.assistant.prevalence != "sample":
        return []
    rows = [{"year": int(place.year), "block": place.block, **asdict(prevalence_progress(place))} for place in _places(config, root)]
    return [{name: row[name] for name in row if name != "lacks"} for row in rows]


def change_samples_of(config: Config, root: Path = Path()) -> list[dict[str, Any]]:
    """Count the pixels of the change sample of each later year and block, see `change_sample.change_progress`; nothing where none is drawn.

    Raises:
        UserError: a design is damaged.
    """
    counts = {(place.year, place.block): change_progress(place) for place in _places(config, root)}
    return [{"year": int(year), "block": block, **count} for (year, block), count in counts.items() if count]


def ignored_numbers(config: Config, root: Path = Path()) -> list[str]:
    """Say which prevalence samples were drawn with another number of pixels than the configuration has now.

    Raises:
        UserError: a design is damaged.
    """
    if config.assistant.prevalence != "sample":
        return []
    return [text for text in map(other_number, _places(config, root)) if text]


def first_steps(config: Config, root: Path = Path()) -> list[str]:
    """Say what comes before the review of segments: a run of the workflow where there are no labels yet, and prevalence samples.

    Raises:
        UserError: the run has no segments, or a design is damaged.
    """
    asked = {(place.year, place.block): asked_first(place) for place in _places(config, root)}
    unmade = [place for place in _places(config, root) if not place.has(*COUNTED_FROM) and not asked[place.year, place.block]]
    blocks = {year: [place.block for place in unmade if place.year == year] for year in config.year_names}
    named = "; ".join(f"{year}, block{'s' * (len(names) > 1)} {', '.join(names)}" for year, names in blocks.items() if names)
    run_first = f"FIRST run the workflow up to the masks: there are no labels yet of {named}.\n  snakemake masks --cores … --configfile …"
    return [text for text in (run_first if named else "", *asked.values()) if text]


def _places(config: Config, root: Path) -> list[BlockYear]:
    """List the years and blocks of a run."""
    return [BlockYear(config, year, block, root) for year in config.year_names for block in config.blocks]


def copies_of(config: Config, root: Path = Path()) -> list[dict[str, Any]]:
    """Count the edits of each working copy that are not checked in."""
    folder = Layout(config.run, root).user.work
    return [{"copy": str(path), "not_checked_in": pending(path.parents[2], path)} for path in sorted(folder.glob("*/[0-9]*-[0-9]*.gpkg"))]


def transferred(config: Config, year: str, block: str, rule: Transfer, root: Path = Path()) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the decisions of a year and block by fate with the number of segments to review, and their lineage.

    Raises:
        UserError: the year and block has no segments yet.
    """
    block_year = BlockYear(config, year, block, root)
    with raster.opened(block_year.product(Layout.segments)) as source:
        settled = decisions_in_force(block_year.events(), block_year.features(), lambda: source.read(1), raster.geobox_of(source), rule)
    fates = settled.lineage["fate"].value_counts()
    row = {"year": int(year), "block": block, "decisions": len(settled.lineage), **{name: int(fates.get(name, 0)) for name in FATES}}
    return {**row, "to_review": len(settled.review)}, settled.lineage.assign(year=year, block=block)


def quality_of(config: Config, root: Path = Path()) -> dict[str, Any]:
    """Measure the quality of the present labels, see `labels.label_quality.quality`.

    Raises:
        UserError: a year and block has no masks yet.
    """
    files = {}
    for year in config.year_names:
        for block in config.blocks:
            block_year = BlockYear(config, year, block, root)
            mask, user_files = str(block_year.product(Layout.mask)), block_year.user_files()
            features = labels = None
            if block_year.segmented:
                features, labels = (str(block_year.product(path_of)) for path_of in (Layout.features, Layout.labels))
            else:  # decisions about segments are not in released masks
                user_files |= {"events": [], "overlap": []}
            files[year, block] = PeopleFiles(features=features, labels=labels, mask=mask, **user_files)
    return quality(files, config.labels.seed, None if block_year.segmented else block_year.lattice)[0]


def agreement_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the agreement of each two people, a row for each year and block and one for the year."""
    rows = []
    for year, values in document["years"].items():
        for block, pairs in [*values["agreement"]["blocks"].items(), ("all", values["agreement"]["year"])]:
            for pair in pairs:
                rows.append({"year": int(year), "block": block, **pair, "people": ", ".join(pair["people"])})
    return rows


def accuracy_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the figures of accuracy, one row each, with their 95 % intervals."""
    rows = []
    for year, values in document["years"].items():
        accuracy = values["accuracy"]
        if accuracy is None:
            continue
        figures = {
            "overall accuracy": accuracy["overall"],
            **{f"user's accuracy of {name}": value for name, value in accuracy["users"].items()},
            **{f"producer's accuracy of {name}": value for name, value in accuracy["producers"].items()},
            "IoU of mining": accuracy["iou"],
            "area of mining in ha": accuracy["mining_ha"],
            "area mapped as mining in ha": accuracy["mapped_ha"],
        }
        rows += [{"year": int(year), "figure": name, **value} for name, value in figures.items()]
    return rows
