"""Describe the dataset in Croissant 1.1 with the fields of GeoCroissant 1.0 and Croissant RAI 1.0 (MLCommons): `croissant.json`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from smallmines.core.files import sha256
from smallmines.core.product import BANDS, PATCH_BANDS
from smallmines.core.readable import require_readable
from smallmines.dataset.columns import columns_of, masks_are_released
from smallmines.settings.publish import Documents

CONFORMS = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/geo/1.0", "http://mlcommons.org/croissant/RAI/1.0"]

_CORE = (
    "arrayShape citeAs column conformsTo containedIn equivalentProperty extract field fileProperty fileObject fileSet format includes "
    "isArray isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace samplingRate separator source "
    "subField transform"
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{name: f"cr:{name}" for name in _CORE.split()},
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "geocr": "http://mlcommons.org/croissant/geo/",
    "name": {"@container": "@language"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}

TYPES = {"text": "sc:Text", "integer": "sc:Integer", "number": "sc:Float"}
"""Types of the columns in the record set; columns of other kinds (lists, structs, times, the geometry) are in the table only."""

TABLES = (
    ("index.parquet", "application/x-parquet", "One row per tile and year (stac-geoparquet)."),
    ("splits.csv", "text/csv", "Split and fold of each tile and year."),
)
"""Name, media type and description of each table."""


def croissant(facts: Mapping[str, Any], about: Documents, licence: str, cite: str, folder: str | Path) -> dict[str, Any]:
    """Return the document.

    Args:
        facts: as `facts.gather` returns them.
        licence: address of the licence.
        cite: citation of the dataset.
        folder: the dataset's folder, for checksums of the tables.
    """
    west, south, east, north = facts["degrees"]
    starts, ends = zip(*((year["start"], year["end"]) for year in facts["years"].values()), strict=True)
    side = facts["tile_size"]
    document: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": facts["title"],
        "description": facts["description"],
        "conformsTo": CONFORMS,
        "license": licence,
        "version": facts["version"],
        "citeAs": cite,
        "keywords": facts["keywords"],
        "url": about.url or (f"https://doi.org/{about.doi}" if about.doi else "https://doi.org/10.1109/LGRS.2025.3566356"),
        "creator": [{"@type": "sc:Person", "name": name} for name in about.authors]
        or [{"@type": "sc:Organization", "name": facts["title"]}],
        "isLiveDataset": False,
        "spatialCoverage": {"@type": "Place", "geo": {"@type": "GeoShape", "box": f"{south} {west} {north} {east}"}},
        "temporalCoverage": f"{min(starts)}/{max(ends)}",
        "geocr:coordinateReferenceSystem": facts["crs"],
        "geocr:spatialResolution": {"@type": "QuantitativeValue", "value": facts["resolution_m"], "unitText": "m"},
        "geocr:bandConfiguration": _bands(),
        "geocr:spectralBandMetadata": _spectral(),
        "geocr:samplingStrategy": f"Every cell of a grid of {side} × {side} pixels that touches the area of interest; none is left out.",
        "geocr:spatialBias": f"{_regions(facts)} and {'their' if 'regions' in facts else 'its'} dry season; "
        "classes are as imbalanced as on the ground.",
        **rai(facts),
        "distribution": [
            *(_table(Path(folder), *table) for table in TABLES),
            _files("images", "Images of 13 bands.", "*/IMAGE/IMG_*.tif"),
            _files("masks", "Masks: 1 mining, 0 not mining, 255 nodata.", "*/MASK/MASK_*.tif"),
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "patches",
                "name": "patches",
                "description": "One record per tile and year.",
                "key": {"@id": "patches/id"},
                "field": [
                    _column(name, TYPES[column.kind], column.meaning) for name, column in columns_of(facts).items() if column.kind in TYPES
                ],
            },
            _pictures("images", len(BANDS), {"geocr:bandConfiguration": _bands(), "geocr:spectralBandMetadata": _spectral()}, side),
            _pictures("masks", 1, {}, side),
        ],
    }
    if about.date is not None:
        document["datePublished"] = str(about.date)
    return document


def rai(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of Croissant RAI: origin, quality and limitations of the labels."""
    years = facts["years"]
    reviewed = [f"{name}: {year['validated_percent']} % of the labelled area looked at by people" for name, year in years.items()]
    agreement = [
        f"{name}: Cohen's κ {pair['kappa']} ({pair['low']} to {pair['high']}) over {pair['segments']} segments"
        for name, year in years.items()
        for pair in year["agreement"]
    ]
    pasted = masks_are_released(years)
    tools = [] if pasted else ["Orfeo ToolBox mean shift", "scikit-learn random forest"]
    left_open = "Disputed and unsure segments are left open: 255 in the masks, unless configured otherwise."
    return {
        "rai:dataCollection": "Satellite images of the dry season of each year, composited without clouds where there are any clear dates.",
        "rai:dataCollectionType": ["Secondary Data analysis", "Manual Human Curation"],
        "rai:dataCollectionTimeframe": [f"{year[end]}T00:00:00" for year in years.values() for end in ("start", "end")],
        "rai:dataPreprocessingProtocol": [
            f"Sentinel-2 L2A digital numbers, radiometry {facts['radiometry']}; 20 m bands on the 10 m grid.",
            "Sentinel-1 RTC: 3 × 3 circular mean of linear power, then 10·log10.",
            "Copernicus DEM GLO-30 on the same grid.",
        ],
        "rai:dataAnnotationProtocol": " ".join(of_regions(facts, lambda region: [_protocol(region)])),
        "rai:dataAnnotationPlatform": ["QGIS"],
        "rai:machineAnnotationTools": tools,
        "rai:dataAnnotationAnalysis": [*reviewed, *agreement, *of_regions(facts, _released)],
        "rai:dataManipulationProtocol": "None: the masks have 255 where the release has no class." if pasted else left_open,
        "rai:dataImputationProtocol": "None: pixels without data are nodata.",
        "rai:dataLimitations": [
            "Specks of a few pixels and vegetation islands inside mines may be missing or included.",
            "Polluted water inside mines counts as mining.",
            "Sand winning and bright roofs look like mines.",
        ],
        "rai:dataBiases": [f"{_regions(facts)}; mining is rare, so that most pixels are not mining."],
        "rai:dataUseCases": ["Training and testing of models that map artisanal mines", "Change of mining between the years"],
        "rai:personalSensitiveInformation": ["None: no person can be recognised at 10 m; annotators appear as codes."],
        "rai:dataSocialImpact": "Maps of mines can help land planning and restoration; they can also be used against people who live "
        "from mining.",
        "rai:dataReleaseMaintenancePlan": f"Version {facts['version']}; corrections of labels make a new version.",
    }


def _regions(facts: Mapping[str, Any]) -> str:
    """Return the number of regions in words, to begin a sentence with."""
    return f"{len(facts['regions'])} regions, each with its own labels," if "regions" in facts else "One region"


def of_regions(facts: Mapping[str, Any], texts: Callable[[Mapping[str, Any]], list[str]]) -> list[str]:
    """Return texts on a dataset; on a merged one those on its regions, with their names in front where they differ."""
    if "regions" not in facts:
        return texts(facts)
    of_region: dict[str, list[str]] = {region["name"]: texts(region) for region in facts["regions"]}
    first = next(iter(of_region.values()))
    if all(own == first for own in of_region.values()):
        return first
    return [f"{name}: {text}" for name, own in of_region.items() for text in own]


def _protocol(facts: Mapping[str, Any]) -> str:
    """Return how the labels were made."""
    if "released" not in facts:
        return (
            "Mean-shift segments; people label some, a random forest per block and year proposes the others, "
            "people look at proposals and correct them."
        )
    if masks_are_released(facts["years"]):
        return "The masks of a release, placed by their georeference."
    return (
        "Mean-shift segments with the class of the released masks that cover them; a random forest per block and year, trained on some of "
        "them, labels the others; people can correct them."
    )


def _released(facts: Mapping[str, Any]) -> list[str]:
    """Return what the comparison with the release says, where labels come from one."""
    if "released" not in facts:
        return []
    parts = {name: year["released"].get("held_out", {}) for name, year in facts["years"].items()}
    held = [
        f"{name}: IoU of the forest with the release {part['forest']} in {part['tiles']} tiles held out"
        for name, part in parts.items()
        if part.get("forest") is not None
    ]
    return ["The labels come from a release: that the masks agree with it proves nothing about their accuracy.", *held]


def _bands() -> dict[str, Any]:
    return {"@type": "geocr:BandConfiguration", "geocr:totalBands": len(BANDS), "geocr:bandNameList": list(PATCH_BANDS)}


def _spectral() -> list[dict[str, Any]]:
    def nanometres(value: float) -> dict[str, Any]:
        return {"@type": "QuantitativeValue", "value": value, "unitText": "nm"}

    return [
        {
            "@type": "geocr:SpectralBand",
            "name": band.name,
            "geocr:centerWavelength": nanometres(band.centre),
            "geocr:bandwidth": nanometres(band.width),
        }
        for band in BANDS
        if band.centre
    ]


def _table(folder: Path, name: str, media_type: str, description: str) -> dict[str, Any]:
    require_readable([folder / name])
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "description": description,
        "contentUrl": name,
        "encodingFormat": media_type,
        "sha256": sha256(folder / name),
    }


def _files(name: str, description: str, pattern: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "description": description,
        "encodingFormat": "image/tiff",
        "includes": pattern,
    }


def _column(name: str, data_type: str, description: str) -> dict[str, Any]:
    source = {"fileObject": {"@id": "index.parquet"}, "extract": {"column": name}}
    return {
        "@type": "cr:Field",
        "@id": f"patches/{name}",
        "name": name,
        "description": description,
        "dataType": data_type,
        "source": source,
    }


def _pictures(name: str, bands: int, more: Mapping[str, Any], side: int) -> dict[str, Any]:
    """Return the record set of the files of a file set."""
    return {
        "@type": "cr:RecordSet",
        "@id": f"{name}_files",
        "name": f"{name}_files",
        "description": f"The files of the file set {name}.",
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}_files/filename",
                "name": "filename",
                "description": "Name of the file.",
                "dataType": "sc:Text",
                "source": {"fileSet": {"@id": name}, "extract": {"fileProperty": "filename"}},
            },
            {
                "@type": "cr:Field",
                "@id": f"{name}_files/content",
                "name": "content",
                "description": f"The bytes of a GeoTIFF of {bands} band{'s' * (bands > 1)} of {side} × {side} pixels.",
                "dataType": "sc:ImageObject",
                "source": {"fileSet": {"@id": name}, "extract": {"fileProperty": "content"}},
                **more,
            },
        ],
    }
