"""The share of the area that each Sentinel-2 datatake sees through haze, where the products have no aerosol optical thickness."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallmines.archive.choice import Area
from smallmines.archive.providers import AOT
from smallmines.archive.signing import ABSENT
from smallmines.core.errors import UserError
from smallmines.core.log import logger
from smallmines.core.product import OFFSET
from smallmines.sensors.haze import BANDS, LEAST_DATES, hazy
from smallmines.sensors.manifest import Item, Sentinel2Datatake
from smallmines.sensors.scl import SCL, clear_mask
from smallmines.settings.search import SearchSentinel2

MOST = 24
"""Most datatakes that are compared, the clearest first: the composite uses a few, and each costs three coarse reads per item."""


def with_hazy_shares(
    datatakes: Sequence[Sentinel2Datatake],
    items: Mapping[str, Item],
    has_offset: Callable[[Item], bool],
    numbers: Callable[[Item, str], NDArray[Any]],
    settings: SearchSentinel2,
    area: Area,
) -> list[Sentinel2Datatake]:
    """Return the datatakes with `hazy_share`, on every 8th pixel, if an item lacks the optical thickness and there are three dates.

    Args:
        items: by id.
        has_offset: whether the digital numbers of an item carry the +1000 offset.
        numbers: reads a band of an item on the area's grid.
    """
    compared = sorted((take for take in datatakes if take.clear_share > 0), key=lambda take: (-take.clear_share, take.date, take.datatake))[
        :MOST
    ]
    if len(compared) < LEAST_DATES or all(AOT in items[name].hrefs for take in compared for name in take.items):
        return list(datatakes)
    seen = [_observe([items[name] for name in take.items], has_offset, numbers, settings, area) for take in compared]
    bands = {band: np.stack([values[band] for values, _ in seen]) for band in BANDS}
    hazy_pixels = hazy(bands, np.stack([mask for _, mask in seen]))
    shares = {take.datatake: area.share(part) for take, part in zip(compared, hazy_pixels, strict=True)}
    for name, share in shares.items():
        logger.info("%s: hazy against the other dates on %.1f %% of the area", name, 100 * share)
    return [replace(take, hazy_share=shares.get(take.datatake)) for take in datatakes]


def _observe(
    items: Sequence[Item],
    has_offset: Callable[[Item], bool],
    numbers: Callable[[Item, str], NDArray[Any]],
    settings: SearchSentinel2,
    area: Area,
) -> tuple[dict[str, NDArray[np.int32]], NDArray[np.bool_]]:
    """Return the bands `BANDS` of a datatake without offset, and where it is clear, (row, column); where items overlap the first wins."""
    shape = tuple(area.geobox.shape)
    seen, clear = np.zeros(shape, bool), np.zeros(shape, bool)
    bands = {band: np.zeros(shape, np.int32) for band in BANDS}
    for item in items:
        try:
            values = {band: numbers(item, band) for band in (*BANDS, *((SCL,) if settings.clouds == "scl" else ()))}
        except UserError as error:
            if not ABSENT.search(error.found):  # a temporary failure must not change the choice
                raise
            logger.warning("the haze of %s is not known: %s", item.id, error.found)
            continue
        offset = OFFSET if has_offset(item) else 0
        valid = np.all([values[band] > offset for band in BANDS], axis=0)
        classes = values[SCL].astype(np.uint8) if SCL in values else valid.astype(np.uint8)
        fresh = ~seen & (classes > 0)
        for band, target in bands.items():
            np.copyto(target, values[band].astype(np.int32) - offset, where=fresh)
        np.copyto(clear, clear_mask(classes, settings.masked_classes if SCL in values else ()) & valid, where=fresh)
        seen |= fresh
    return bands, clear
