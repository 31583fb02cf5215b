"""Report of a run for readers of the dataset: one self-contained HTML file."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smallmines.core.files import sha256, written
from smallmines.core.json_products import DoctorReport, Facts, GridRemarks, ManifestScenes, read_product
from smallmines.core.readable import require_readable
from smallmines.dataset.columns import masks_are_released
from smallmines.dataset.documents import attributions, cite, licence_address, release_name
from smallmines.dataset.seal import read_sums
from smallmines.labels.tables import PROVENANCES
from smallmines.report.checks import passed
from smallmines.report.figures import CAPTIONS_OF_RELEASED_MASKS, FIGURES, Described, alternative_text
from smallmines.report.html import environment
from smallmines.report.tables import (
    CLASSES,
    acquisitions,
    confusion,
    forest_ious,
    forest_shares,
    importances,
    left_out,
    split_shares,
    unknown_prevalences,
)
from smallmines.settings.publish import Page


@dataclass(frozen=True)
class Sources:
    """Files that the report is made from.

    Attributes:
        facts, doctor: facts.json and doctor.json.
        sums: SHA256SUMS; its own checksum names the state of the dataset.
        index: the dataset's index.
        points: accuracy_points.csv.
        manifests: manifests of Sentinel-2 and Sentinel-1.
        metrics: metrics of the forests.
        plots: PNG files whose names begin with the keys of `FIGURES`.
        grid: grid.json, whose remarks on the place are shown.
    """

    facts: str | Path
    doctor: str | Path
    sums: str | Path
    index: str | Path
    points: str | Path
    manifests: Sequence[str | Path]
    metrics: Sequence[str | Path]
    plots: Sequence[str | Path]
    grid: str | Path


@dataclass(frozen=True)
class Figure:
    """A figure of the report.

    Attributes:
        images: alternative text and Base64 of each PNG.
    """

    name: str
    heading: str
    caption: str
    images: tuple[tuple[str, str], ...]


def write_page(sources: Sources, about: Page, target: str | Path) -> None:
    """Write the report."""
    import pandas as pd

    from smallmines.dataset.index import read_index

    require_readable([sources.sums, sources.points])
    read_sums(sources.sums)
    facts: Mapping[str, Any] = read_product(sources.facts, Facts)
    doctor: Mapping[str, Any] = read_product(sources.doctor, DoctorReport)
    manifests = [read_product(path, ManifestScenes) for path in sources.manifests]
    index = read_index(sources.index)
    described = Described(facts, index, split_shares(index), forest_ious(sources.metrics), importances(sources.metrics))
    agreement = any(year["agreement"] for year in facts["years"].values())
    assessed = [year for year in described.years if facts["years"][year]["accuracy"]]
    text = (
        environment()
        .get_template("page.html.j2")
        .render(
            facts=facts,
            about=about,
            doctor=doctor,
            figures={figure.name: figure for figure in _figures(sources.plots, described)},
            shares=described.shares,
            left_out=left_out(manifests),
            acquisitions=acquisitions(manifests, {year: facts["years"][year]["scenes"] for year in described.years}),
            matrices=confusion(pd.read_csv(sources.points, dtype={"year": str}), assessed) if assessed else [],
            classes=list(CLASSES.values()),
            forests=described.ious,
            prevalences=unknown_prevalences(sources.metrics),
            shares_of_forests=forest_shares(sources.metrics),
            masks=[facts["years"][year]["accuracy"]["iou"]["value"] for year in assessed],
            families=passed(doctor, agreement),
            provenances=[name for name in PROVENANCES if any(year["provenance"].get(name) for year in facts["years"].values())],
            attributions=attributions(about, facts),
            pasted=masks_are_released(facts["years"]),
            release=release_name(facts["released"]) if "released" in facts else "",
            remarks=read_product(sources.grid, GridRemarks).get("remarks", []),
            licence=licence_address(about.license),
            cite=cite(facts, about),
            seal=sha256(sources.sums),
        )
    )
    with written(target) as beside:
        beside.write_text(text, encoding="utf-8")


def _figures(plots: Sequence[str | Path], described: Described) -> list[Figure]:
    """The figures of which there is a picture, in the order of `FIGURES`."""
    figures, pasted = [], masks_are_released(described.facts["years"])
    for name, (heading, caption) in FIGURES.items():
        paths = sorted(path for path in map(Path, plots) if path.stem == name or path.stem.startswith(f"{name}_2"))
        caption = CAPTIONS_OF_RELEASED_MASKS.get(name, caption) if pasted else caption
        images = [(alternative_text(name, path.stem, described), base64.b64encode(path.read_bytes()).decode()) for path in paths]
        if images:
            figures.append(Figure(name, heading, caption, tuple(images)))
    return figures
