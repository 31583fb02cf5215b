"""Which items of an archive a year is made of: the manifest.

It is the record of that choice, with the chosen and the rejected and the reasons. It is made for the whole area at once, so
that blocks agree, and no later step asks the catalogue again.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smallmines.archive.catalogue import Item, by_id, read_catalogue
from smallmines.archive.choice import Rejected, Windows, area_of, choose_sentinel1, choose_sentinel2, outside
from smallmines.archive.providers import BANDS, SCL, provider_of
from smallmines.archive.read import touches
from smallmines.config import Elevation, Sentinel1, Sentinel2
from smallmines.grid import read_lattice
from smallmines.job import UserError
from smallmines.provenance import write_json

logger = logging.getLogger("smallmines")


def search(
    sensor: str, year: str, windows: Windows, settings: Sentinel2 | Sentinel1 | Elevation, grid: str | Path, output: str | Path
) -> None:
    """Write the manifest of a sensor and year.

    Args:
        sensor: s2, s1 or dem.
        year: the epoch, or `static` for dem.
        windows: first and last day by year; all years for s1, whose orbit is one for all of them.
        grid: `grid/grid.json`.
        output: `manifests/<year>/<sensor>.json`.

    Raises:
        UserError: no catalogue, or nothing in it that can be used.
    """
    provider = provider_of(sensor, settings.provider)
    address = settings.catalogue or provider.catalogue
    items = read_catalogue(address, provider)
    lattice = read_lattice(grid)
    area = area_of(lattice)
    rejected = Rejected()
    needed = [*BANDS[sensor], *([SCL] if isinstance(settings, Sentinel2) and settings.clouds == "scl" else [])]
    if sensor != "dem":
        items = rejected.sieve(items, lambda item: outside(item, windows))
    items = rejected.sieve(items, lambda item: None if touches(item.geometry, lattice.geobox) else "does not touch the cells of the area")
    items = rejected.sieve(items, lambda item: _missing(item, needed))
    extra: dict[str, Any] = {}
    if isinstance(settings, Sentinel2):
        chosen, extra = choose_sentinel2(items, provider, settings, area, rejected)
    elif isinstance(settings, Sentinel1):
        chosen, extra = choose_sentinel1(items, provider, settings, windows, year, area, rejected)
    else:
        chosen = [{"id": item.id, "datatake": item.id, "rank": rank} for rank, item in enumerate(by_id(items), 1)]
    known = {item.id: item for item in items}
    for index, entry in enumerate(chosen, 1):
        item = known[entry["id"]]
        entry |= {
            "index": index,
            "datetime": item.datetime,
            "geometry": item.geometry,
            "hrefs": {band: item.hrefs[band] for band in needed},
        }
    manifest = {
        "sensor": sensor,
        "provider": settings.provider,
        "catalogue": address,
        "query": {
            "collection": provider.collection,
            "year": year,
            "windows": {name: [str(first), str(last)] for name, (first, last) in windows.items()},
            "settings": settings.model_dump(mode="json", exclude_unset=True),
        },
        "chosen": chosen,
        "rejected": [{"id": name, "reason": rejected[name]} for name in sorted(rejected)],
        **extra,
    }
    logger.info("%s %s: %d items chosen, %d rejected", sensor, year, len(chosen), len(rejected))
    if not chosen:
        reasons = Counter(re.sub(r"\d+(\.\d+)?", "n", reason.split(":")[0]) for reason in rejected.values())
        found = "; ".join(f"{count} × {reason}" for reason, count in reasons.most_common()) or "an empty collection"
        do = "widen the dates, relax the limits, or add items to the catalogue"
        raise UserError(f"{sensor} items for {year} over the area in {address}", found, do)
    write_json(output, manifest)


def _missing(item: Item, needed: Sequence[str]) -> str | None:
    missing = [band for band in needed if band not in item.hrefs]
    return f"bands missing: {', '.join(missing)}" if missing else None
