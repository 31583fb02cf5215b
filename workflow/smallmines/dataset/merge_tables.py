"""Tables of a merged dataset: ids of the tiles, index, splits, accuracy sample, label quality."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from smallmines.core.errors import UserError
from smallmines.core.product import KINDS, patch_path
from smallmines.dataset import stac
from smallmines.dataset.columns import ORIGIN, masks_are_released
from smallmines.dataset.index import COLUMNS, contract
from smallmines.dataset.merge_checks import places_of
from smallmines.dataset.merge_parts import Part
from smallmines.dataset.splits import COLUMNS as SPLIT_COLUMNS
from smallmines.grid.make import tile_ids
from smallmines.labels.accuracy import accuracy
from smallmines.labels.label_quality import POINTS
from smallmines.labels.tables import PROVENANCES

if TYPE_CHECKING:
    import geopandas as gpd

MEASURED = ("share_", "unsupported_percent")
"""Beginnings of columns that are 0, not empty, in a dataset whose index leaves them out."""


def new_ids(parts: Sequence[Part]) -> list[dict[str, str]]:
    """Return the tile id in the merged dataset by that in the part, for each part.

    One place has one id in all years and parts. Where every id stands for one place only, all stay as they are. Else all places are
    numbered anew, in the order of the parts and then of their ids, so that those of the first part usually stay as they are.
    """
    places = places_of(parts).sort_values(["part", "tile_id"], kind="stable").drop_duplicates(["part", "tile_id"])
    one_place_an_id = places.groupby("tile_id")["place"].nunique().max() == 1
    one_id_a_place = places.groupby("place")["tile_id"].nunique().max() == 1
    if one_place_an_id and one_id_a_place:
        names = places["tile_id"]
    else:
        order = pd.factorize(places["place"])[0]
        names = pd.Series(np.array(tile_ids(order.max() + 1))[order], places.index)
    renamed = places.assign(name=names)
    return [dict(zip(own["tile_id"], own["name"], strict=True)) for own in (renamed[renamed["part"] == n] for n in range(len(parts)))]


def merged_rows(part: Part, ids: Mapping[str, str], columns: Sequence[str]) -> gpd.GeoDataFrame:
    """Return the rows of a part in the merged index, on the part's own grid, without checksums of patches that are written anew.

    Args:
        ids: of the merged dataset by that in the part.
        columns: of the merged index, see `index_columns`.
    """
    index = part.index
    tile_id = index["tile_id"].map(ids)
    years = index["year"].astype(str)
    paths = {
        column: [patch_path(kind, part.country, tile, year) for tile, year in zip(tile_id, years, strict=True)]
        for kind, column in zip(KINDS, ("image", "mask"), strict=True)
    }
    released = index["released_id"].astype("boolean")
    absent = {name: 0.0 if name.startswith(MEASURED) else np.nan for name in columns if name not in index and name not in ORIGIN}
    rows = index.assign(
        tile_id=tile_id,
        block=part.name + "-" + index["block"],
        released_id=released.where(~released.fillna(False) | (tile_id == index["tile_id"]), False),
        **paths,
        **absent,
        origin_run=part.name,
        origin_tile_id=index["tile_id"],
        origin_block=index["block"],
    )
    return rows[[*columns, "geometry"]].sort_values(["year", "tile_id"], ignore_index=True)


def index_columns(parts: Sequence[Part]) -> list[str]:
    """Return the columns of the merged index before the geometry: all that a part has, and those of the origin."""
    return [*(name for name in COLUMNS if any(name in part.index for part in parts)), *ORIGIN]


def flat_index(regions: Sequence[gpd.GeoDataFrame], windows: Sequence[stac.Windows], run: str) -> gpd.GeoDataFrame:
    """Return the merged index as stac-geoparquet, by year and tile; each row has CRS and dates of its region, the geometry is in degrees.

    Args:
        regions: as `merged_rows` returns them, with checksums.
        windows: of each region.

    Raises:
        UserError: a tile and year stands twice.
    """
    import geopandas as gpd

    tables = [stac.flat(rows, own, run) for rows, own in zip(regions, windows, strict=True)]
    table = gpd.GeoDataFrame(pd.concat(tables, ignore_index=True), crs=tables[0].crs)
    if twice := table[table.duplicated(["tile_id", "year"])]["id"].tolist():
        raise UserError("each tile and year once", f"{len(twice)} twice, e.g. {twice[0]}", "merge each dataset once")
    contract().validate(table)
    return table.sort_values(["year", "tile_id"], ignore_index=True)


def merged_splits(parts: Sequence[Part], ids: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Return the splits and folds of all parts, as they are, by year and tile."""
    tables = [part.splits.assign(tile_id=part.splits["tile_id"].map(own)) for part, own in zip(parts, ids, strict=True)]
    return pd.concat(tables, ignore_index=True)[SPLIT_COLUMNS].sort_values(["year", "tile_id"], ignore_index=True)


def merged_points(parts: Sequence[Part]) -> pd.DataFrame:
    """Return the accuracy samples of all parts: blocks and strata with the region's name, and the CRS of x and y."""
    tables = [
        part.points.assign(block=part.name + "-" + part.points["block"], stratum=part.name + "-" + part.points["stratum"], crs=part.crs)
        for part in parts
    ]
    with_rows = [table for table in tables if len(table)] or tables[:1]
    return pd.concat(with_rows, ignore_index=True)[[*POINTS, "crs"]]


def merged_labels(parts: Sequence[Part], points: pd.DataFrame) -> dict[str, Any]:
    """Return the content of `labels.json`.

    Shares of the area are weighted by the regions' areas, counts are summed, agreements of two people are listed with their region. The
    accuracy of a year is estimated anew where every region of the year has one: the strata of all are those of a sample of the whole.
    All else is not known of the whole; `regions` has the document of each part as it is.

    Args:
        points: as `merged_points` returns them.
    """
    years = sorted({year for part in parts for year in part.labels["years"]})
    document: dict[str, Any] = {
        "years": {year: _year([part for part in parts if year in part.labels["years"]], year, points) for year in years},
        "regions": {part.name: part.labels for part in parts},
    }
    releases = [part.labels.get("released") for part in parts]
    return {**document, "released": releases[0]} if releases[0] and all(release == releases[0] for release in releases) else document


def _year(parts: Sequence[Part], year: str, points: pd.DataFrame) -> dict[str, Any]:
    own = [part.labels["years"][year] for part in parts]
    areas = np.array([_area(part, year) for part in parts])

    def pooled(shares: Sequence[float]) -> float:
        return round(float(np.average(shares, weights=areas)), 6)

    named = [name for name in PROVENANCES if any(name in values["provenance"] for values in own)]
    nothing = {"area_share": 0.0}
    provenance = {
        name: {
            key: sum(values["provenance"].get(name, {}).get(key, 0) for values in own)
            for key in ("segments", "pixels")
            if any(key in values["provenance"].get(name, {}) for values in own)
        }
        | {"area_share": pooled([values["provenance"].get(name, nothing)["area_share"] for values in own])}
        for name in named
    }
    looks = sorted({name for values in own for name in values.get("looks", {})})
    doubtful = sum(values.get("doubtful_evidence", 0) for values in own)
    return {
        "provenance": provenance,
        "validated_share": pooled([values["validated_share"] for values in own]),
        "open_share": pooled([values["open_share"] for values in own]),
        "looks": {name: sum(values.get("looks", {}).get(name, 0) for values in own) for name in looks},
        **({"doubtful_evidence": doubtful} if doubtful else {}),
        "agreement": {
            "year": [_of_region(pair, part.name) for part, values in zip(parts, own, strict=True) for pair in values["agreement"]["year"]],
            "blocks": {
                f"{part.name}-{block}": [_of_region(pair, part.name) for pair in pairs]
                for part, values in zip(parts, own, strict=True)
                for block, pairs in values["agreement"]["blocks"].items()
            },
        },
        **_accuracy(parts, year, points),
        **_released(own),
    }


def _area(part: Part, year: str) -> float:
    """Return the area in ha that shares of a region and year are of: with Sentinel-2 data, or all where masks are released ones."""
    rows = part.index[part.index["year"] == int(year)]
    shares = 100 - rows["image_nodata_percent"] * (not masks_are_released(part.labels["years"]))
    return float(shares.sum() / 100 * part.tile_size**2 * float(part.facts["resolution_m"]) ** 2 / 1e4)


def _of_region(pair: Mapping[str, Any], region: str) -> dict[str, Any]:
    """Return an agreement of two people whose codes are those of a region: A01 of two regions may be two people."""
    return {**pair, "people": [f"{region} {person}" for person in pair["people"]]}


def _accuracy(parts: Sequence[Part], year: str, points: pd.DataFrame) -> dict[str, Any]:
    """Estimate the accuracy of a year over all regions, or say what is missing for it."""
    own = {part.name: part.labels["years"][year] for part in parts}
    if lacking := [name for name, values in own.items() if values["accuracy"] is None]:
        reasons = "; ".join(f"{name}: {own[name].get('accuracy_lacks', 'none')}" for name in lacking)
        return {"accuracy": None, "accuracy_lacks": reasons}
    rows = points[points["year"] == year]
    estimates = asdict(accuracy(rows, float(parts[0].facts["resolution_m"]) ** 2 / 1e4))
    rounded = json.loads(json.dumps(estimates), parse_float=lambda text: round(float(text), 6), parse_constant=lambda _: None)
    blocks = [f"{name}-{block}" for name, values in own.items() for block in values["accuracy"]["blocks"]]
    return {"accuracy": {"blocks": blocks, **rounded, "points": sum(values["accuracy"]["points"] for values in own.values())}}


def _released(own: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a year says about the release where the labels of all regions come from one; IoU are only known of each region."""
    if not all("released" in values for values in own):
        return {}
    counts = {key: sum(values["released"][key] for values in own) for key in ("tiles_without_mask", "masks_without_tile")}
    held_out = any("held_out" in values["released"] for values in own)
    return {"released": {**counts, **({"held_out": {}, "others": {}} if held_out else {})}}
