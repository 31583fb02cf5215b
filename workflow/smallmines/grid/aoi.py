"""The area of interest: from a file people give, or administrative units of geoBoundaries by name."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

from smallmines.core.errors import UserError
from smallmines.core.files import written
from smallmines.core.log import logger
from smallmines.settings.aoi import Aoi, Boundaries

if TYPE_CHECKING:
    import geopandas as gpd

AREA_TOLERANCE = 0.01
"""Largest relative difference from `aoi.expected_area_km2`."""

TIMEOUT = 60
"""Seconds without an answer after which a download is given up."""


def read_aoi(files: list[str], aoi: Aoi, crs: str, user_folder: str) -> gpd.GeoDataFrame:
    """Read the AOI and hold it against the expected area.

    Args:
        files: the AOI files found; exactly one is wanted.
        crs: CRS in which the area is measured.
        user_folder: where people put `aoi.*`, for the message.

    Raises:
        UserError: no file or several, unreadable, empty, no CRS, or more than 1 % off the expected area.
    """
    import geopandas as gpd

    from smallmines.grid.make import polygon

    wanted = aoi.path or f"{user_folder}/aoi.gpkg (or .geojson, .shp, .parquet, .kml, .fgb)"
    if len(files) != 1:
        raise UserError(
            f"one area of interest at {wanted}",
            ", ".join(files) or "none",
            "put the file there, or name administrative units with aoi.source: geoboundaries; for the miniature run `make demo`",
        )
    try:
        area = gpd.read_parquet(files[0]) if files[0].endswith(".parquet") else gpd.read_file(files[0])
    except Exception as error:  # the drivers raise several kinds, all of them "this file cannot be read"
        raise UserError(f"an area of interest GDAL can read at {files[0]}", str(error), "check the file") from error
    if area.empty:
        raise UserError(f"polygons in {files[0]}", "no features", "check the file")
    km2 = polygon(area, crs).area / 1e6
    logger.info("area of interest: %s, %d features, %.1f km²", files[0], len(area), km2)
    if aoi.expected_area_km2 and abs(km2 / aoi.expected_area_km2 - 1) > AREA_TOLERANCE:
        raise UserError(
            f"{aoi.expected_area_km2:.1f} km² within {AREA_TOLERANCE:.0%} (aoi.expected_area_km2)",
            f"{km2:.1f} km² in {files[0]}",
            "check names and release; or supply the boundaries as a file (aoi.source: file, aoi.path: …); or correct expected_area_km2",
        )
    return area


def download_boundaries(aoi: Boundaries, target: str) -> None:
    """Download the units of one level of a country from geoBoundaries and keep the named ones, as GeoJSON.

    The release is a commit, so that the same names give the same polygons for ever.

    Raises:
        UserError: no answer, not the expected kind of answer, or names that are unknown or ambiguous (with candidates).
    """
    import requests
    from requests.adapters import HTTPAdapter, Retry

    layer = f"geoBoundaries-{aoi.country}-{aoi.level}"
    url = f"{aoi.base_url.rstrip('/')}/{aoi.release}/releaseData/gbOpen/{aoi.country}/{aoi.level}/{layer}.geojson"
    logger.info("downloading %s", url)
    session = requests.Session()
    retry = Retry(total=4, backoff_factor=1, status_forcelist=(429, 500, 502, 503, 504))
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    try:
        answer = session.get(url, timeout=TIMEOUT)
        answer.raise_for_status()
        features = answer.json()["features"]
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"boundaries of {aoi.country} {aoi.level} at {url}",
            f"{type(error).__name__}: {error}",
            "check the network, aoi.country, aoi.level and aoi.release; or supply a file (aoi.source: file, aoi.path: …)",
        ) from error
    kept = select_units(features, aoi.names, f"{aoi.country} {aoi.level}")
    with written(target) as beside:
        beside.write_text(json.dumps({"type": "FeatureCollection", "name": layer, "features": kept}), encoding="utf-8")
    logger.info("kept %d of %d units", len(kept), len(features))


def select_units(features: list[dict[str, Any]], names: tuple[str, ...], where: str) -> list[dict[str, Any]]:
    """The features whose `shapeName` is exactly one of `names`, in the order of `names`.

    Raises:
        UserError: a name that no feature has, or more than one; candidates are listed.
    """
    known: dict[str, list[dict[str, Any]]] = {}
    for feature in features:
        known.setdefault(str(feature["properties"].get("shapeName", "")), []).append(feature)
    wrong = []
    for name in names:
        found = known.get(name, [])
        if not found:
            near = difflib.get_close_matches(name, known, n=5, cutoff=0.4) or sorted(known)[:10]
            wrong.append(f"`{name}` is not there; near: {', '.join(near)}")
        elif len(found) > 1:
            ids = ", ".join(str(one["properties"].get("shapeID", "?")) for one in found)
            wrong.append(f"`{name}` is the name of {len(found)} units: {ids}")
    if wrong:
        raise UserError(f"each of aoi.names exactly once in {where}", "; ".join(wrong), "correct aoi.names, or supply a file")
    return [known[name][0] for name in names]
