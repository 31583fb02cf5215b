"""Download administrative units from geoBoundaries by name: an area of interest without a file."""

from __future__ import annotations

import difflib
import json
from typing import Any

from smallmines.core.errors import UserError
from smallmines.core.files import written
from smallmines.core.log import logger
from smallmines.settings.aoi import Boundaries

TIMEOUT = 60
"""Seconds without an answer after which a download fails."""

RETRIES = 4
"""Retries of a download on 429 and 5xx."""


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
