"""Meaning of each column of the index, for the card and the Croissant."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from smallmines.labels.tables import PROVENANCES, RELEASED

PROVENANCE_MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "manual": "given by a sample",
        "predicted": "predicted by the random forest",
        "corrected": "corrected by a person",
        "confirmed": "predicted and confirmed by a person",
        "adjudicated": "decided after two people disagreed",
        "transferred": "decided on an earlier segmentation and moved to this one",
        "imported": "taken from published masks",
        "disputed": "given differently by two people and not adjudicated",
        "cloud": "predicted where no clear observation exists",
        "released": "that of the released masks",
    }
)


@dataclass(frozen=True)
class Column:
    """A column of the index.

    Attributes:
        kind: text, integer, number, boolean, time, list or struct, geometry.
        meaning: with its unit.
    """

    kind: str
    meaning: str


COLUMNS: Mapping[str, Column] = MappingProxyType(
    {
        "type": Column("text", "Feature, as STAC wants it."),
        "stac_version": Column("text", "Version of STAC."),
        "stac_extensions": Column("list", "Addresses of the STAC extensions in use."),
        "id": Column("text", "Name of the patch pair: country, tile, year."),
        "collection": Column("text", "Name of the run, id of the STAC collection."),
        "bbox": Column("struct", "Bounding box in degrees (WGS 84)."),
        "links": Column("list", "Links of the STAC item."),
        "assets": Column("struct", "Files of the STAC item with their bands and checksums."),
        "datetime": Column("time", "Empty: the images are composites of several dates."),
        "start_datetime": Column("time", "Begin of the acquisition period (UTC)."),
        "end_datetime": Column("time", "End of the acquisition period (UTC)."),
        "gsd": Column("number", "Ground sampling distance in m."),
        "proj:code": Column("text", "CRS of the grid."),
        "proj:epsg": Column("integer", "The same as a number of the EPSG registry, for readers of STAC 1.0; empty where it has none."),
        "proj:shape": Column("list", "Rows and columns of the patch."),
        "proj:bbox": Column("list", "Bounds of the patch in the CRS of the grid: west, south, east, north."),
        "proj:transform": Column("list", "Affine transform of the patch, row by row."),
        "constellation": Column("text", "Satellites of the optical bands."),
        "sar:instrument_mode": Column("text", "Mode of Sentinel-1."),
        "sar:frequency_band": Column("text", "Radar band of Sentinel-1."),
        "sar:polarizations": Column("list", "Polarisations of Sentinel-1."),
        "sar:product_type": Column("text", "Product of Sentinel-1 before terrain correction."),
        "ml-aoi:split": Column("text", "The column split, as the STAC extension names it; empty for buffer."),
        "tile_id": Column("text", "The tile; the same square of ground in every year."),
        "year": Column("integer", "Year of the images."),
        "block": Column("text", "Geographic block; each has a forest of its own."),
        "split": Column("text", "train, val, test, or buffer (in no split)."),
        "row": Column("integer", "Row of the tile in the fishnet, from the north."),
        "col": Column("integer", "Column of the tile in the fishnet, from the west."),
        "released_id": Column("boolean", "Whether the id is that of the released SmallMinesDS; empty where that is not stated."),
        "mining_percent": Column("number", "Share of mining in the valid pixels of the mask, in %."),
        "mask_nodata_percent": Column("number", "Share of pixels of the mask with 255, in %."),
        "open_percent": Column("number", "Share of pixels whose label was left open, in %."),
        "unsupported_percent": Column("number", "Share of pixels with a class of the released masks but no Sentinel-2 data, in %."),
        "image_nodata_percent": Column("number", "Share of pixels without Sentinel-2 data, in %."),
        "s1_nodata_percent": Column("number", "Share of pixels without Sentinel-1 data, in %."),
        "dem_nodata_percent": Column("number", "Share of pixels without elevation, in %."),
        "clear_share": Column("number", "Share of the pixels with Sentinel-2 data that are free of cloud and shadow, 0 to 1."),
        **{
            f"share_{name}": Column("number", f"Share of the labelled pixels whose label was {PROVENANCE_MEANINGS[name]}, 0 to 1.")
            for name in PROVENANCES
        },
        "validated_share": Column("number", "Share of the labelled pixels that people have looked at."),
        "year_overall_accuracy": Column("number", "Estimated overall accuracy of the masks of the year, 0 to 1; empty where not measured."),
        "year_users_accuracy": Column("number", "Estimated user's accuracy of mining of the year, 0 to 1; empty where not measured."),
        "year_producers_accuracy": Column(
            "number", "Estimated producer's accuracy of mining of the year, 0 to 1; empty where not measured."
        ),
        "block_kappa": Column("number", "Lowest Cohen's κ of two people in the block and year, −1 to 1; empty where not measured."),
        "year_kappa": Column("number", "Lowest Cohen's κ of two people in the year, −1 to 1; empty where not measured."),
        "scenes": Column("list", "Sentinel-2 products with a pixel in the image."),
        "baselines": Column("list", "Their processing baselines."),
        "radiometry": Column("text", "Radiometry of the Sentinel-2 bands: dn_plus1000, dn_harmonised or native."),
        "radiometry_verdict": Column(
            "text",
            "What confirms that radiometry: proved (by dark pixels), declared (by the products' own metadata), undecided (by a product's "
            "name or a catalogue alone).",
        ),
        "image": Column("text", "Path of the image."),
        "mask": Column("text", "Path of the mask."),
        "image_sha256": Column("text", "SHA-256 of the image."),
        "mask_sha256": Column("text", "SHA-256 of the mask."),
        "geometry": Column("geometry", "Outline of the patch in degrees (WGS 84)."),
    }
)

RELEASED_COLUMNS = (f"share_{RELEASED}", "unsupported_percent")
"""Columns of an index with labels of a release only."""

SEGMENT_COLUMNS = (*(f"share_{name}" for name in PROVENANCES if name != RELEASED), "block_kappa", "year_kappa")
"""Columns of an index with labels of segments only."""

RELEASED_MASKS: Mapping[str, Column] = MappingProxyType(
    {
        "block": Column("text", "Geographic block; each is composited on its own."),
        "open_percent": Column("number", "Share of pixels with Sentinel-2 data where the released masks have no class, in %."),
    }
)
"""Columns of another meaning where the masks are those of a release."""


ORIGIN: Mapping[str, Column] = MappingProxyType(
    {
        "origin_run": Column("text", "Region: the run whose dataset the patch comes from."),
        "origin_tile_id": Column("text", "Id of the tile in that dataset."),
        "origin_block": Column("text", "Block of the tile in that dataset; the tag BLOCK of image and mask names it, too."),
    }
)
"""Columns of a merged index only."""

MERGED: Mapping[str, Column] = MappingProxyType(
    {
        "collection": Column("text", "Name of the merged dataset, id of the STAC collection."),
        "block": Column("text", "Region and geographic block; each has a forest of its own."),
        "row": Column("integer", "Row of the tile in the fishnet of its region, from the north."),
        "col": Column("integer", "Column of the tile in the fishnet of its region, from the west."),
        "year_overall_accuracy": Column(
            "number", "Estimated overall accuracy of the masks of region and year, 0 to 1; empty where not measured."
        ),
        "year_users_accuracy": Column(
            "number", "Estimated user's accuracy of mining of region and year, 0 to 1; empty where not measured."
        ),
        "year_producers_accuracy": Column(
            "number", "Estimated producer's accuracy of mining of region and year, 0 to 1; empty where not measured."
        ),
        "year_kappa": Column("number", "Lowest Cohen's κ of two people in region and year, −1 to 1; empty where not measured."),
    }
)
"""Columns of another meaning in a merged index."""


def masks_are_released(years: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether the masks of a dataset are those of a release, with nothing segmented or predicted.

    Args:
        years: of `labels.json` or `facts.json`.
    """
    return all("released" in year and "held_out" not in year["released"] for year in years.values())


def columns_left_out(years: Mapping[str, Mapping[str, Any]]) -> Collection[str]:
    """Return the columns that the index of a dataset does not have.

    Args:
        years: of `labels.json` or `facts.json`.
    """
    if masks_are_released(years):
        return SEGMENT_COLUMNS
    return () if any(RELEASED in year["provenance"] for year in years.values()) else RELEASED_COLUMNS


def columns_of(facts: Mapping[str, Any]) -> dict[str, Column]:
    """Return the columns that the index of a dataset has, with their meaning.

    Args:
        facts: as `facts.gather` returns them, or `merge_facts.merged_facts`.
    """
    if regions := facts.get("regions"):
        present = set().union(*(columns_of(region) for region in regions))
        columns = {name: column for name, column in {**COLUMNS, **MERGED}.items() if name in present}
        geometry = columns.pop("geometry")
        return {**columns, **ORIGIN, "geometry": geometry}
    left_out = columns_left_out(facts["years"])
    columns = {**COLUMNS, **(RELEASED_MASKS if masks_are_released(facts["years"]) else {})}
    return {name: column for name, column in columns.items() if name not in left_out}
