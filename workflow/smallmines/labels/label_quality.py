"""What the labels of a dataset are worth: who looked at how much, how well people agree, how accurate the masks are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import write_json, written
from smallmines.core.log import logger
from smallmines.labels import event_files, tables
from smallmines.labels.accuracy import accuracy, interpreted, read_design
from smallmines.labels.agreement import agreements, read_overlap
from smallmines.labels.decisions import require_home
from smallmines.segment.features import read_features

POINTS = ["year", "block", "x", "y", "stratum", "pixels", "inclusion", "mapped", "reference", "who"]
"""Columns of the published accuracy sample. mapped: value of the mask; reference: 1 mining, 0 not, -1 unsure or disputed."""


KINDS = ("events", "overlap", "design", "references")
"""What people give, see `PeopleFiles`."""


@dataclass(frozen=True)
class PeopleFiles:
    """A year and block: its products, and what people gave.

    Attributes:
        features, labels, mask: products.
        events: check-ins. overlap: blind overlaps. design: accuracy sample (one or none). references: check-ins about it.
    """

    features: str
    labels: str
    mask: str
    events: Sequence[str]
    overlap: Sequence[str]
    design: Sequence[str]
    references: Sequence[str]


def write_quality(files: Mapping[tuple[str, str], PeopleFiles], seed: int, target: str | Path, points_out: str | Path) -> None:
    """Write `labels.json` and the accuracy sample, see `quality`."""
    known, points = quality(files, seed)
    for year, one in known["years"].items():
        logger.info("%s: people looked at %.1f %% of the area", year, 100 * one["validated_share"])
        if one["accuracy"] is None and (points["year"] == year).any():
            logger.warning("%s: no accuracy: %s", year, one["accuracy_lacks"])
    with written(points_out) as beside:
        points.to_csv(beside, index=False, lineterminator="\n")
    write_json(target, known)


def quality(files: Mapping[tuple[str, str], PeopleFiles], seed: int) -> tuple[dict[str, Any], pd.DataFrame]:
    """What the labels are worth, and the accuracy sample as far as it was looked at.

    Args:
        files: by year and block.
        seed: of the bootstrap of kappa.

    Returns:
        `years`, by year: `provenance` (segments and share of the labelled area of each), `validated_share`, `open_share`, `agreement`
        (each two people; of the year and by block, see `agreement`) and `accuracy` (see `accuracy`; null where people have not looked
        at enough points, then `accuracy_lacks` says what is missing). And the table `POINTS`.
    """
    years: dict[str, Any] = {}
    points = []
    for year in sorted({year for year, _ in files}):
        blocks = {block: one for (of, block), one in sorted(files.items()) if of == year}
        read = {block: _opinions(one, int(year), block) for block, one in blocks.items()}
        known = pd.concat([_references(one, int(year), block) for block, one in blocks.items()], ignore_index=True)
        years[year] = {
            **standing([_labels(one) for one in blocks.values()]),
            "agreement": {
                "year": _agreed([event for events, _ in read.values() for event in events], [table for _, table in read.values()], seed),
                "blocks": {block: _agreed(events, [table], seed) for block, (events, table) in read.items()},
            },
            **_accuracy(known),
        }
        points.append(known[known["reference"] > -2])
    return {"years": years}, pd.concat(points, ignore_index=True)[POINTS]


def by_place(
    places: Sequence[tuple[str, str]], products: Mapping[str, Sequence[str]], people: Mapping[str, Sequence[str]]
) -> dict[tuple[str, str], PeopleFiles]:
    """The files of each year and block.

    Args:
        places: years and blocks.
        products: features, labels and masks, each in the order of `places`.
        people: what people gave, by kind, of all places.
    """
    own = {kind: {place: [path for path in paths if place_of(path) == place] for place in places} for kind, paths in people.items()}
    return {
        place: PeopleFiles(*(products[name][number] for name in ("features", "labels", "masks")), *(own[kind][place] for kind in KINDS))
        for number, place in enumerate(places)
    }


def place_of(path: str) -> tuple[str, str]:
    """Year and block of a file that people gave: `<year>/<block>/<name>.jsonl`, `<year>/<block>.csv` or `<year>/<block>-<digest>.csv`."""
    parts = Path(path).parts
    return (parts[-3], parts[-2]) if parts[-1].endswith(".jsonl") else (parts[-2], Path(path).stem.partition("-")[0])


def standing(blocks: Sequence[pd.DataFrame]) -> dict[str, Any]:
    """Where the labels of a year come from: of each provenance its segments and its share of the area.

    Args:
        blocks: label, provenance, area (pixels) of the segments of each block.
    """
    table = pd.concat(blocks, ignore_index=True)
    total = float(table["area"].sum())
    count = table.groupby("provenance")["area"].agg(["size", "sum"])
    return {
        "provenance": {
            name: {"segments": int(count["size"][name]), "area_share": round(float(count["sum"][name]) / total, 6)}
            for name in tables.PROVENANCES
            if name in count.index
        },
        "validated_share": round(float(table.loc[table["provenance"].isin(tables.VALIDATED), "area"].sum()) / total, 6),
        "open_share": round(float(table.loc[table["label"] < 0, "area"].sum()) / total, 6),
    }


def failing(known: Mapping[str, Any], gates: Mapping[str, float | None]) -> list[str]:
    """Which gates of `labels.gates` the labels of a dataset do not pass, in words.

    Args:
        known: the content of `labels.json`.
    """
    found = []
    kappa, open_most, seen_least = (gates.get(name) for name in ("minimum_kappa", "maximum_open_share", "minimum_validated_share"))
    for year, one in sorted(known["years"].items()):
        pairs = one["agreement"]["year"]
        if kappa is not None and not pairs:
            found.append(f"{year}: no two people labelled the same segments blind, kappa must be {kappa} (labels.gates.minimum_kappa)")
        for pair in pairs:
            if kappa is not None and not (pair["kappa"] is not None and pair["kappa"] >= kappa):
                told = f"{pair['kappa']:.3f}" if pair["kappa"] is not None else "undefined"
                found.append(f"{year}: kappa of {', '.join(pair['people'])} is {told}, not {kappa} (labels.gates.minimum_kappa)")
        if open_most is not None and one["open_share"] > open_most:
            found.append(f"{year}: {one['open_share']:.4f} of the area is open, not {open_most} (labels.gates.maximum_open_share)")
        if seen_least is not None and one["validated_share"] < seen_least:
            told = f"people have looked at {one['validated_share']:.4f} of the area"
            found.append(f"{year}: {told}, not {seen_least} (labels.gates.minimum_validated_share)")
    return found


def _labels(files: PeopleFiles) -> pd.DataFrame:
    labels = tables.read(files.labels, "labels")
    return labels[["segment", "label", "provenance"]].merge(read_features(files.features)[["segment", "area"]], on="segment")


def _opinions(files: PeopleFiles, year: int, block: str) -> tuple[list[event_files.Event], pd.DataFrame]:
    events = event_files.read_events(files.events)
    require_home(events, year, block)
    overlap = [read_overlap(path) for path in files.overlap]
    empty = pd.DataFrame({"key": np.array([], np.uint64), "tile_id": [], "area": [], "inclusion": []})
    return events, pd.concat(overlap, ignore_index=True) if overlap else empty


def _agreed(events: Sequence[event_files.Event], overlap: Sequence[pd.DataFrame], seed: int) -> list[dict[str, Any]]:
    return [_rounded(asdict(one)) for one in agreements(events, pd.concat(list(overlap), ignore_index=True), seed)]


def _references(files: PeopleFiles, year: int, block: str) -> pd.DataFrame:
    """The accuracy sample of a block, with what people and mask say about each point."""
    if not files.design:
        return pd.DataFrame({name: [] for name in POINTS}).astype({"reference": np.int64, "mapped": np.int64}).assign(pixel_ha=[])
    design = read_design(files.design[0])
    events = event_files.read_events(files.references)
    if strays := [event for event in events if event.provenance != event_files.REFERENCE or (event.year, event.block) != (year, block)]:
        raise UserError(
            f"what people say about the accuracy sample of {year}, block {block}",
            f"{len(strays)} events of another kind or place, the first by {strays[0].annotator} at {strays[0].time}",
            "move their files to the folder of their kind, year and block",
        )
    known = interpreted(design, events)
    with raster.opened(files.mask) as source:
        geobox, mask = raster.geobox_of(source), source.read(1)
    col, row = (np.floor(axis).astype(np.int64) for axis in ~geobox.transform @ (known["x"].to_numpy(), known["y"].to_numpy()))
    inside = (row >= 0) & (row < mask.shape[0]) & (col >= 0) & (col < mask.shape[1])
    mapped = np.full(len(known), 255, np.int64)
    mapped[inside] = mask[row[inside], col[inside]]
    pixel = abs(geobox.transform.a * geobox.transform.e) / 10_000
    return known.assign(year=str(year), block=block, mapped=mapped, stratum=[f"{block}/{one}" for one in known["stratum"]], pixel_ha=pixel)


def _accuracy(points: pd.DataFrame) -> dict[str, Any]:
    """Estimates of a year, or what they lack."""
    if points.empty:
        return {"accuracy": None, "accuracy_lacks": "no accuracy sample was drawn (smallmines labels sample)"}
    try:
        found = accuracy(points, float(points["pixel_ha"].iloc[0]))
    except UserError as error:
        return {"accuracy": None, "accuracy_lacks": f"expected {error.expected}, found {error.found}"}
    return {"accuracy": {"blocks": sorted(set(points["block"]), key=int), **_rounded(asdict(found))}}


def _rounded(value: Any) -> Any:
    """Numbers to six digits, NaN as None, so that the file is JSON and its bytes do not hang on the machine."""
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    if isinstance(value, float):
        return round(value, 6) if np.isfinite(value) else None
    return value
