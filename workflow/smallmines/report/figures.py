"""Figures of the report: headings, captions, and alternative texts with what is to be seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from smallmines.report.tables import SplitShare, degrees, most_mining

FIGURES = {
    "location": (
        "Location",
        "Left: the area (red) on a map of countries (outlines: Natural Earth, 1 : 110 million). Right: the tiles and the blocks. Each "
        "block is composited and segmented on its own.",
    ),
    "overview": (
        "Mining by tile",
        "Share of mining in each tile; the colour scale follows the square root, so that small shares differ from none. "
        "Grey: tiles without mining.",
    ),
    "change": (
        "Change",
        "Change of the share of mining in each tile: orange is more, violet is less. Errors of the masks of both years are part of it.",
    ),
    "class_share": (
        "How much mining",
        "Left: mean share of mining by block and year. Right: number of tiles by their share of mining (logarithmic).",
    ),
    "splits": (
        "Training, validation and test",
        "Left: tiles by split. Right: how well the five nearest training rows (row, column and year) predict the test. Near 0 (R²) "
        "and 0.5 (AUC), place and year alone say nothing; high values mean that a split leaks. With few tiles in the test both are chance. "
        "“In force” is the split of this dataset; the others are what each method would give.",
    ),
    "examples": ("Examples", "The tiles with most mining, each in its year with most: the image (top), and the mask on it (bottom)."),
    "radiometry": (
        "Radiometry",
        "Values of each band by year: median (line), middle half (box), 1 % to 99 % (whiskers). Years of one radiometry lie at "
        "the same height.",
    ),
    "labels": (
        "Labels",
        "Left: where the labels come from (logarithmic). Middle: how well two people agree on segments that both labelled without "
        "knowing of each other. Right: accuracy of the masks by the accuracy sample.",
    ),
    "metrics": (
        "The forests",
        "Accuracy of the random forests that propose labels, cross-validated with whole tiles held out. Blue: re-weighted to the class "
        "shares of the block. Grey: on the samples as drawn, in which mining is far more common than in the area. Right: how much each "
        "feature of a segment contributes (mean decrease of the Gini impurity; related features share what they know).",
    ),
}
"""Heading and caption by first part of a picture's name, in the order of the page."""

CAPTIONS_OF_RELEASED_MASKS = {
    "location": FIGURES["location"][1].replace("composited and segmented", "composited"),
    "labels": "Left: the labels are those of a release. Right: accuracy of the masks by the accuracy sample.",
}
"""Other captions where the masks are those of a release."""


@dataclass(frozen=True)
class Described:
    """What the alternative texts state numbers from.

    Attributes:
        facts: the content of facts.json.
        index: the dataset's index.
        shares: class shares by split and year.
        ious: out-of-fold IoU of each forest.
        importances: mean importance of each feature, the largest first.
    """

    facts: Mapping[str, Any]
    index: pd.DataFrame
    shares: Sequence[SplitShare]
    ious: Sequence[float]
    importances: Mapping[str, float]

    @property
    def years(self) -> list[str]:
        """Years, sorted."""
        return sorted(self.facts["years"])


def alternative_text(name: str, stem: str, described: Described) -> str:
    """What a figure shows, with its main numbers, for those who do not see it.

    Args:
        name: key of `FIGURES`.
        stem: name of the picture, e.g. overview_2016.
    """
    texts = {
        "location": _location,
        "change": _change,
        "class_share": _class_share,
        "splits": _splits,
        "examples": _examples,
        "radiometry": _radiometry,
        "labels": _labels,
        "metrics": _metrics,
    }
    return _overview(stem.removeprefix("overview_"), described) if name == "overview" else texts[name](described)


def _location(described: Described) -> str:
    west, south, east, north = (round(value, 2) for value in described.facts["degrees"])
    place = f"from {degrees(south, 'NS')} to {degrees(north, 'NS')} and from {degrees(west, 'EW')} to {degrees(east, 'EW')}"
    tiles = f"{described.facts['tiles']} square tiles in {described.index['block'].nunique()} blocks {place}"
    return f"Two maps with scale bars: the countries around the area, and {tiles}."


def _overview(year: str, described: Described) -> str:
    rows = described.index[described.index["year"].astype(str) == year]
    if rows["mining_percent"].isna().all():
        return f"Map of {len(rows)} tiles in {year}, none of which has a label."
    most, empty = rows.loc[rows["mining_percent"].idxmax()], int((rows["mining_percent"] == 0).sum())
    highest = f"The highest share is {most['mining_percent']:.1f} % in tile {most['tile_id']} of block {most['block']}"
    return f"Map of {len(rows)} tiles in {year} coloured by share of mining. {highest}; tiles without mining: {empty}."


def _change(described: Described) -> str:
    wide = described.index.pivot_table(index="tile_id", columns="year", values="mining_percent")
    texts = []
    for before, after in pairwise(sorted(wide.columns)):
        change = (wide[after] - wide[before]).dropna()
        if len(change):
            most, least = f"{change.max():+.1f} in tile {change.idxmax()}", f"{change.min():+.1f} in tile {change.idxmin()}"
            texts.append(f"{before} to {after}: largest increase {most}, largest decrease {least}, mean {change.mean():+.2f}")
    text = "; ".join(texts)
    return (f"Map of the change of mining, in percentage points of the tile. {text}." if texts else "One year only: no change.").replace(
        "-", "−"
    )


def _class_share(described: Described) -> str:
    means = described.index.groupby(["year", "block"])["mining_percent"].mean()
    texts = []
    for year, of_year in means.groupby(level="year"):
        of_blocks = of_year.droplevel("year")
        lowest, highest = f"{of_blocks.min():.1f} % in block {of_blocks.idxmin()}", f"{of_blocks.max():.1f} % in block {of_blocks.idxmax()}"
        texts.append(f"{year}: from {lowest} to {highest}")
    few = 100 * (described.index["mining_percent"] < 10).mean()
    return f"Bar charts. Mean share of mining by block, {'; '.join(texts)}. {few:.0f} % of the pairs have less than 10 %."


def _splits(described: Described) -> str:
    counts = ", ".join(f"{name} {count}" for name, count in described.facts["splits"].items())
    leak = described.facts["leakage"]["r2"]
    r2 = "not defined" if leak is None else f"{leak:.2f}".replace("-", "−")
    judged = f"Train and test are judged as {described.facts['leakage']['judgement']}"
    return f"Maps of the tiles by split ({counts} pairs). {judged}; place and year alone predict the test's mining share with R² {r2}."


def _examples(described: Described) -> str:
    rows = most_mining(described.index)
    named = ", ".join(f"{row['tile_id']} in {row['year']} ({row['mining_percent']:.0f} %)" for row in rows.to_dict("records"))
    return f"Satellite images and masks of {len(rows)} tiles: {named}. Mining is marked in red-orange."


def _radiometry(described: Described) -> str:
    bands = described.facts["bands"]
    means = [f"{year}: B04 {bands[year]['B04']['mean']:.0f} DN, VV {bands[year]['VV']['mean']:.1f} dB" for year in described.years]
    return f"Box plots of 13 bands by year. Means, {'; '.join(means)}.".replace("-", "−")


def _labels(described: Described) -> str:
    texts = []
    for year in described.years:
        facts = described.facts["years"][year]
        parts = [f"{facts['validated_percent']:.1f} % of the area reviewed by people"]
        parts += [f"κ {pair['kappa']:.2f}" for pair in facts["agreement"] if pair["kappa"] is not None]
        parts += [f"IoU of mining {facts['accuracy']['iou']['value']:.2f}"] if facts["accuracy"] else []
        texts.append(f"{year}: {', '.join(parts)}")
    return f"Charts of provenance, agreement and accuracy. {'; '.join(texts)}."


def _metrics(described: Described) -> str:
    texts = ["Charts of IoU and F1 of the forests by year and block, and of the importance of features."]
    if described.ious:
        low, middle, high = np.quantile(described.ious, (0, 0.5, 1))
        texts.append(f"Re-weighted IoU from {low:.2f} to {high:.2f}, median {middle:.2f}.")
    if described.importances:
        first = [f"{name} {value:.2f}" for name, value in list(described.importances.items())[:3]]
        texts.append(f"Most important features: {', '.join(first)}.")
    return " ".join(texts)
