"""Label quality: review coverage, agreement between annotators, accuracy of the masks."""

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
from smallmines.grid.lattice import Lattice, read_lattice
from smallmines.labels import event_files, tables
from smallmines.labels.accuracy import accuracy
from smallmines.labels.agreement import agreements, read_overlap
from smallmines.labels.decisions import require_home
from smallmines.labels.pixel_samples import interpreted, read_design, require_about, require_design, rows_and_columns
from smallmines.labels.released import released_shares
from smallmines.labels.released_agreement import ReleaseFiles, add_released
from smallmines.segment.features import read_features

POINTS = ["year", "block", "x", "y", "stratum", "pixels", "inclusion", "mapped", "reference", "who"]
"""Columns of the published accuracy sample. mapped: value of the mask; reference: 1 mining, 0 not, -1 unsure or disputed."""

KINDS = ("events", "overlap", "design", "references")
"""Kinds of files that people make, see `PeopleFiles`."""


@dataclass(frozen=True)
class PeopleFiles:
    """Files of a year and block: products, and what people made.

    Attributes:
        features, labels, mask: products; no features and labels where the mask is a released one.
        events: check-ins. overlap: blind overlaps. design: accuracy sample (one or none). references: check-ins of it.
    """

    features: str | None
    labels: str | None
    mask: str
    events: Sequence[str]
    overlap: Sequence[str]
    design: Sequence[str]
    references: Sequence[str]


def write_quality(
    files: Mapping[tuple[str, str], PeopleFiles],
    seed: int,
    target: str | Path,
    points_out: str | Path,
    release: ReleaseFiles | None = None,
) -> None:
    """Write `labels.json` and the accuracy sample, see `quality`.

    Args:
        release: where labels come from a release, products about it, see `add_released`.
    """
    lattice = read_lattice(release.grid) if release is not None and release.grid is not None else None
    document, points = quality(files, seed, lattice)
    for year, values in document["years"].items():
        logger.info("%s: people decided on %.1f %% of the area", year, 100 * values["validated_share"])
        if doubtful := values.get("doubtful_evidence"):
            logger.warning("%s: the evidence of %d decisions is later than the decision, or from before 1972", year, doubtful)
        if values["accuracy"] is None and (points["year"] == year).any():
            logger.warning("%s: no accuracy: %s", year, values["accuracy_lacks"])
    with written(points_out) as beside:
        points.to_csv(beside, index=False, lineterminator="\n")
    write_json(target, document if release is None else add_released(document, release))


def quality(files: Mapping[tuple[str, str], PeopleFiles], seed: int, lattice: Lattice | None = None) -> tuple[dict[str, Any], pd.DataFrame]:
    """Measure the quality of the labels; return the document and the interpreted part of the accuracy sample.

    Args:
        files: by year and block.
        seed: of the bootstrap of kappa.
        lattice: of the run, where its masks are the released ones; else None.

    Returns:
        `years`, by year: `provenance` (segments, or pixels of released masks, and share of the labelled area of each), `validated_share`,
        `open_share`, `looks`, `agreement` (each two people; of the year and by block, see `agreement`) and `accuracy` (see `accuracy`;
        null where too few points are interpreted, then `accuracy_lacks` says what is missing). And the table with columns `POINTS`.
    """
    years: dict[str, Any] = {}
    points = []
    for year in sorted({year for year, _ in files}):
        blocks = {block: paths for (of, block), paths in sorted(files.items()) if of == year}
        read = {block: _events_and_overlap(paths, int(year), block) for block, paths in blocks.items()}
        sample = pd.concat([_references(paths, int(year), block) for block, paths in blocks.items()], ignore_index=True)
        years[year] = {
            **_shares(blocks, lattice),
            **looks([event for events, _ in read.values() for event in events]),
            "agreement": {
                "year": _pairs([event for events, _ in read.values() for event in events], [table for _, table in read.values()], seed),
                "blocks": {block: _pairs(events, [table], seed) for block, (events, table) in read.items()},
            },
            **_accuracy(sample),
        }
        points.append(sample[sample["reference"] > -2])
    return {"years": years}, pd.concat(points, ignore_index=True)[POINTS]


def by_place(
    places: Sequence[tuple[str, str]], products: Mapping[str, Sequence[str]], people: Mapping[str, Sequence[str]]
) -> dict[tuple[str, str], PeopleFiles]:
    """Group files by year and block.

    Args:
        places: years and blocks.
        products: features, labels and masks, each in the order of `places`; features and labels empty where masks are released ones.
        people: files that people made, by kind, of all places.
    """
    own = {kind: {place: [path for path in paths if place_of(path) == place] for place in places} for kind, paths in people.items()}

    def product(name: str, number: int) -> str | None:
        return products[name][number] if products[name] else None

    return {
        place: PeopleFiles(
            product("features", number), product("labels", number), products["masks"][number], *(own[kind][place] for kind in KINDS)
        )
        for number, place in enumerate(places)
    }


def place_of(path: str) -> tuple[str, str]:
    """Year and block of a file that people made: `<year>/<block>/<name>.jsonl`, `<year>/<block>.csv` or `<year>/<block>-<digest>.csv`."""
    parts = Path(path).parts
    return (parts[-3], parts[-2]) if parts[-1].endswith(".jsonl") else (parts[-2], Path(path).stem.partition("-")[0])


def shares_by_provenance(blocks: Sequence[pd.DataFrame]) -> dict[str, Any]:
    """Return the number of segments and the share of the area of each provenance, for the labels of a year.

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


def looks(events: Sequence[event_files.Event]) -> dict[str, Any]:
    """Count the decisions that stand.

    Returns:
        `looks`: by how they were made: single, bulk, task (see `event_files.LOOKS`), or unknown (version 1); and, only where there are
        any, `doubtful_evidence`: number whose evidence has a doubtful day, see `Event.doubt`.
    """
    counting = event_files.standing(events)
    names = [event.look or "unknown" for event in counting]
    doubtful = sum(bool(event.doubt) for event in counting)
    return {"looks": {name: names.count(name) for name in sorted(set(names))}, **({"doubtful_evidence": doubtful} if doubtful else {})}


def missed_gates(document: Mapping[str, Any], gates: Mapping[str, float | None]) -> list[str]:
    """Describe each gate of `labels.gates` that the labels of a dataset miss; empty if they pass all.

    Args:
        document: content of `labels.json`.
    """
    failures = []
    kappa, open_most, validated_least = (gates.get(name) for name in ("minimum_kappa", "maximum_open_share", "minimum_validated_share"))
    for year, values in sorted(document["years"].items()):
        pairs = values["agreement"]["year"]
        if kappa is not None and not pairs:
            failures.append(f"{year}: no two people labelled the same segments blind, kappa must be {kappa} (labels.gates.minimum_kappa)")
        for pair in pairs:
            if kappa is not None and not (pair["kappa"] is not None and pair["kappa"] >= kappa):
                value = f"{pair['kappa']:.3f}" if pair["kappa"] is not None else "undefined"
                failures.append(f"{year}: kappa of {', '.join(pair['people'])} is {value}, not {kappa} (labels.gates.minimum_kappa)")
        if open_most is not None and values["open_share"] > open_most:
            failures.append(f"{year}: {values['open_share']:.4f} of the area is open, not {open_most} (labels.gates.maximum_open_share)")
        if validated_least is not None and values["validated_share"] < validated_least:
            share = f"people have looked at {values['validated_share']:.4f} of the area"
            failures.append(f"{year}: {share}, not {validated_least} (labels.gates.minimum_validated_share)")
    return failures


def _shares(blocks: Mapping[str, PeopleFiles], lattice: Lattice | None) -> dict[str, Any]:
    if lattice is not None:
        return released_shares({block: files.mask for block, files in blocks.items()}, lattice)
    return shares_by_provenance(
        [_labels(files.labels, files.features) for files in blocks.values() if files.labels is not None and files.features is not None]
    )


def _labels(labels: str, features: str) -> pd.DataFrame:
    table = tables.read(labels, "labels")
    return table[["segment", "label", "provenance"]].merge(read_features(features)[["segment", "area"]], on="segment")


def _events_and_overlap(files: PeopleFiles, year: int, block: str) -> tuple[list[event_files.Event], pd.DataFrame]:
    events = event_files.read_events(files.events)
    require_home(events, year, block)
    overlap = [read_overlap(path) for path in files.overlap]
    empty = pd.DataFrame({"key": np.array([], np.uint64), "tile_id": [], "area": [], "inclusion": []})
    return events, pd.concat(overlap, ignore_index=True) if overlap else empty


def _pairs(events: Sequence[event_files.Event], overlap: Sequence[pd.DataFrame], seed: int) -> list[dict[str, Any]]:
    return [_rounded(asdict(pair)) for pair in agreements(events, pd.concat(list(overlap), ignore_index=True), seed)]


def _references(files: PeopleFiles, year: int, block: str) -> pd.DataFrame:
    """Read the accuracy sample of a block; add people's interpretation and the value of the mask."""
    require_design(files.design, files.references, "accuracy")
    if not files.design:
        return pd.DataFrame({name: [] for name in POINTS}).astype({"reference": np.int64, "mapped": np.int64}).assign(pixel_ha=[])
    design = read_design(files.design[0])
    events = event_files.read_events(files.references)
    require_about(events, "accuracy", year, block)
    sample = interpreted(design, events)
    with raster.opened(files.mask) as source:
        geobox, mask = raster.geobox_of(source), source.read(1)
    row, col, inside = rows_and_columns(sample, geobox)
    mapped = np.full(len(sample), 255, np.int64)
    mapped[inside] = mask[row[inside], col[inside]]
    pixel = abs(geobox.transform.a * geobox.transform.e) / 10_000
    stratum = [f"{block}/{code}" for code in sample["stratum"]]
    return sample.assign(year=str(year), block=block, mapped=mapped, stratum=stratum, pixel_ha=pixel)


def _accuracy(points: pd.DataFrame) -> dict[str, Any]:
    """Return the estimates of a year, or what is missing for them."""
    if points.empty:
        return {"accuracy": None, "accuracy_lacks": "no accuracy sample was drawn (smallmines labels sample)"}
    try:
        estimates = accuracy(points, float(points["pixel_ha"].iloc[0]))
    except UserError as error:
        return {"accuracy": None, "accuracy_lacks": f"expected {error.expected}, found {error.found}"}
    return {"accuracy": {"blocks": sorted(set(points["block"]), key=int), **_rounded(asdict(estimates))}}


def _rounded(value: Any) -> Any:
    """Round numbers to six decimals and turn NaN into None, so that the JSON has the same bytes on every machine."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if np.isfinite(value) else None
    return value
