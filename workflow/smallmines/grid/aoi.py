"""Read the area of interest (AOI) from a file, or download administrative units from geoBoundaries by name."""

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
"""Maximum relative difference from `aoi.expected_area_km2`."""

TIMEOUT = 60
"""Seconds without an answer after which a download fails."""

RETRIES = 4
"""Retries of a download on 429 and 5xx."""


def read_aoi(files: list[str], aoi: Aoi, crs: str, user_folder: str) -> gpd.GeoDataFrame:
    """Read the AOI and check its area.

    Args:
        files: the AOI files that exist; there must be exactly one.
        aoi: keys of `aoi`.
        crs: CRS in which the area is measured.
        user_folder: folder for `aoi.*`, for the message.

    Raises:
        UserError: no file or several, unreadable, empty, no CRS, or more than 1 % off the expected area.
    """
    import geopandas as gpd

    from smallmines.grid.make import polygon

    place = aoi.path or f"{user_folder}/aoi.gpkg (or .geojson, .shp, .parquet, .kml, .fgb)"
    if len(files) != 1:
        raise UserError(
            f"one area of interest at {place}",
            ", ".join(files) or "none",
            "put the file there, or name administrative units with aoi.source: geoboundaries; for the miniature run `make demo`",
        )
    try:
        area = gpd.read_parquet(files[0]) if files[0].endswith(".parquet") else gpd.read_file(files[0])
    except Exception as error:  # the drivers raise several types, all of them mean that the file cannot be read
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
    """Download the administrative units of a country from geoBoundaries and write the named ones as GeoJSON.

    The release is a commit, so the same names always give the same polygons.

    Raises:
        UserError: no answer, an answer that is no GeoJSON, or names that are unknown or ambiguous; lists candidates.
    """
    import requests
    from requests.adapters import HTTPAdapter, Retry

    layer = f"geoBoundaries-{aoi.country}-{aoi.level}"
    url = f"{aoi.base_url.rstrip('/')}/{aoi.release}/releaseData/gbOpen/{aoi.country}/{aoi.level}/{layer}.geojson"
    logger.info("downloading %s", url)
    session = requests.Session()
    retry = Retry(total=RETRIES, backoff_factor=1, status_forcelist=(429, 500, 502, 503, 504))
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
    """Return the features whose `shapeName` is one of `names`, in the order of `names`.

    Args:
        features: GeoJSON features.
        names: exact names.
        where: country and level, for the message.

    Raises:
        UserError: no feature, or more than one, has a name; lists candidates.
    """
    by_name: dict[str, list[dict[str, Any]]] = {}
    for feature in features:
        by_name.setdefault(str(feature["properties"].get("shapeName", "")), []).append(feature)
    problems = []
    for name in names:
        matches = by_name.get(name, [])
        if not matches:
            candidates = difflib.get_close_matches(name, by_name, n=5, cutoff=0.4) or sorted(by_name)[:10]
            problems.append(f"`{name}` is not there; near: {', '.join(candidates)}")
        elif len(matches) > 1:
            ids = ", ".join(str(feature["properties"].get("shapeID", "?")) for feature in matches)
            problems.append(f"`{name}` is the name of {len(matches)} units: {ids}")
    if problems:
        raise UserError(f"each of aoi.names exactly once in {where}", "; ".join(problems), "correct aoi.names, or supply a file")
    return [by_name[name][0] for name in names]
