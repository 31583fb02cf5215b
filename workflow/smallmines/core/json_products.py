"""JSON products of a run: the keys and types that later rules and verbs rely on, checked where a product is read.

A file that parses can still hold something else, after a merge, an edit by hand or a copy into the wrong place.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smallmines.core.errors import UserError
from smallmines.core.files import read_json, remedy


@dataclass(frozen=True)
class Software:
    """`software.json`: names and versions; with files where they are mixed or unknown."""

    versions: dict[str, list[str]]
    mixed: dict[str, Any]
    unknown: dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """Agreement of two people."""

    people: list[str]
    segments: int
    kappa: float | None
    low: float | None
    high: float | None
    ac1: float | None
    iou: float | None


@dataclass(frozen=True)
class Agreement:
    """Agreement of a year, and of its blocks."""

    year: list[Pair]
    blocks: dict[str, list[Pair]]


@dataclass(frozen=True)
class Provenance:
    """Share of the area whose labels have one provenance."""

    area_share: float


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of the masks of a year."""

    settled: int
    overall: dict[str, Any]
    users: dict[str, Any]
    producers: dict[str, Any]
    iou: dict[str, Any]
    mining_ha: dict[str, Any]


@dataclass(frozen=True)
class QualityOfYear:
    """Label quality of a year."""

    provenance: dict[str, Provenance]
    validated_share: float
    open_share: float
    agreement: Agreement
    accuracy: Accuracy | None
    looks: dict[str, int] = field(default_factory=dict)
    doubtful_evidence: int = 0


@dataclass(frozen=True)
class LabelQuality:
    """`dataset/labels.json`."""

    years: dict[str, QualityOfYear]


@dataclass(frozen=True)
class SplitSource:
    """`splits.json`: the method or file that the splits come from."""

    source: str


@dataclass(frozen=True)
class Leakage:
    """What place alone says of the test of a split."""

    judgement: str
    places: int
    auc: float | None
    r2: float | None


@dataclass(frozen=True)
class SplitReport:
    """`splits.json`."""

    source: str
    rows: dict[str, int]
    mining_share: dict[str, float | None]
    leakage: Leakage
    methods: dict[str, dict[str, Any]]
    reason: str
    advice: str


@dataclass(frozen=True)
class BandStatistics:
    """Statistics of a band in `statistics/<year>.json`."""

    count: int
    mean: float | None
    sd: float | None
    min: float | None
    max: float | None
    quantiles: list[float]


@dataclass(frozen=True)
class SegmentReport:
    """`segments/<year>/<block>/segments.json`."""

    segments: int
    pixels: int
    settings: dict[str, Any]


@dataclass(frozen=True)
class ForestThreshold:
    """`assistant/<year>/<block>/metrics.json`: the probability from which a segment is mining."""

    threshold: float


@dataclass(frozen=True)
class ForestParameters:
    """`assistant/<year>/<block>/metrics.json`: the parameters of the forest."""

    forest: dict[str, Any]


@dataclass(frozen=True)
class CoverageOfSensor:
    """Coverage of the blocks by a sensor's scenes of a year."""

    blocks: dict[str, float]
    cells: dict[str, int]
    scenes: int
    provider: str
    why_rejected: str
    with_data: float | None


@dataclass(frozen=True, kw_only=True)
class CompositeStatistics:
    """`composites/<year>/<block>/<sensor>.json`; files of earlier versions state no findings."""

    findings: list[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Sentinel2Statistics(CompositeStatistics):
    """Those of Sentinel-2, with the steps where two scenes meet."""

    seams: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Sentinel1Statistics(CompositeStatistics):
    """Those of Sentinel-1, with the steps where two passes meet."""

    joins: list[dict[str, Any]]


@dataclass(frozen=True)
class Facts:
    """`dataset/facts.json`, as far as the report indexes it."""

    run: str
    title: str
    version: str
    years: dict[str, dict[str, Any]]
    bands: dict[str, dict[str, Any]]
    splits: dict[str, int]
    software: Software
    radiometry_verdicts: dict[str, int]
    composite_findings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class DoctorReport:
    """`doctor.json`."""

    findings: list[dict[str, Any]]
    counts: dict[str, int]


@dataclass(frozen=True)
class ManifestScene:
    """A chosen scene."""

    id: str
    datatake: str
    datetime: str


@dataclass(frozen=True)
class ManifestQuery:
    """The query of a search."""

    year: str


@dataclass(frozen=True)
class ManifestScenes:
    """`manifests/<year>/<sensor>.json`, as the report reads it; `sensors.manifest_files.read_manifest` checks the rest."""

    sensor: str
    query: ManifestQuery
    chosen: list[ManifestScene]
    dropped: list[dict[str, Any]] | None = None


@dataclass(frozen=True)
class GridRemarks:
    """`grid/grid.json`, as the report reads it; `grid.lattice.read_lattice` checks the rest."""

    remarks: list[dict[str, Any]] | None = None


def read_product(path: str | Path, kind: Any) -> Any:
    """Read a JSON product as it is.

    Args:
        kind: a type of this module, or a container of such, e.g. `dict[str, BandStatistics]`. Keys that it does not name may be there.

    Raises:
        UserError: the file is missing, no JSON, lacks a key, or has a value of another type; names the file, the key and the value.
    """
    import pydantic

    content = read_json(path)
    try:
        _adapter(kind).validate_json(Path(path).read_bytes(), strict=True)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        value = "is missing" if first["type"] in ("missing", "missing_argument") else f"is {repr(first['input'])[:80]}: {first['msg']}"
        raise UserError(f"in {path} the keys and types that the workflow writes", f"{place} {value}", remedy(path)) from None
    return content


@functools.cache
def _adapter(kind: Any) -> Any:
    import pydantic

    return pydantic.TypeAdapter(kind)
