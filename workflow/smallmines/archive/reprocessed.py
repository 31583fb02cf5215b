"""Several products of one tile of one datatake: reprocessings of each other, or complementary parts of the tile.

Archives keep a scene in several processings, and deliver a tile in two products where the satellite sent it to two ground stations.
What decides is the ground: a product is superseded if better processings together show what it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallmines.archive.choice import ABSENT_FILE, NO_DATA, Area, Rejected
from smallmines.core.log import logger
from smallmines.sensors.footprint import pixels_under
from smallmines.sensors.manifest import Item

TOLERANCE = 0.01
"""Largest share of a product's pixels that better processings may lack and still supersede it. Of two pairs of a product in baselines 02.14
and 05.00 (T32TMT, 2 and 5 March 2020) the newer footprint lacks 0.3 % and 0.0 % of the older one."""


@dataclass(frozen=True)
class Product:
    """Identity of a Sentinel-2 item. Of two items of one datatake and tile the higher baseline is better, then the later processing.

    Attributes:
        datatake: platform and sensing start.
        tile: MGRS tile with a leading T.
        baseline: processing baseline as an integer (05.00 is 500).
        processed: time of processing, up to 14 digits; empty where it is unknown.
    """

    datatake: str
    tile: str
    baseline: int
    processed: str


def drop_reprocessed(
    items: Sequence[Item],
    products: Mapping[str, Product],
    area: Area,
    pixels_of: Callable[[Item], NDArray[np.bool_] | None],
    rejected: Rejected,
) -> tuple[list[Item], list[str]]:
    """Reject items that better processings of the same datatake and tile supersede.

    Args:
        items: in any order.
        products: identity by item id.
        area: the area of the run; what lies outside it does not count.
        pixels_of: returns where an item has data, (row, column) on the area's grid; None where its file is not there.
        rejected: receives the reasons.

    Returns:
        The other items in their order, and a note on each tile that is made of several products.
    """
    groups: dict[tuple[str, str], list[Item]] = {}
    for item in items:
        groups.setdefault((products[item.id].datatake, products[item.id].tile), []).append(item)
    notes = []
    for (datatake, tile), members in groups.items():
        if len(members) == 1:
            continue
        kept = _best(sorted(members, key=lambda item: order_of(products[item.id], item.id)), products, area, pixels_of, rejected)
        if len(kept) > 1:
            names = ", ".join(item.id for item in kept)
            notes.append(f"{tile} of {datatake} comes in {len(kept)} complementary products, the first with data wins: {names}")
            logger.info(notes[-1])
    return [item for item in items if item.id not in rejected], notes


def order_of(product: Product, name: str) -> tuple[int, int, str]:
    """Sort key of the products of one datatake and tile, the best first."""
    return -product.baseline, -int(product.processed or 0), name


def _best(
    members: Sequence[Item],
    products: Mapping[str, Product],
    area: Area,
    pixels_of: Callable[[Item], NDArray[np.bool_] | None],
    rejected: Rejected,
) -> list[Item]:
    """Return the items that show ground which no better one shows.

    Args:
        members: items of one datatake and tile, the best first.
    """
    kept: list[Item] = []
    first: list[NDArray[np.bool_]] = []  # the pixels that each kept item is the first to show
    shown = np.zeros(area.cells.shape, bool)
    for item in members:
        data = pixels_of(item)
        pixels = (pixels_under(item.geometry, area.geobox) if data is None else data) & area.cells
        new = pixels & ~shown
        if not pixels.any():
            rejected[item.id] = NO_DATA
        elif kept and new.sum() <= TOLERANCE * pixels.sum():
            better = [other for other, own in zip(kept, first, strict=True) if (own & pixels).sum() > TOLERANCE * pixels.sum()]
            rejected[item.id] = _reason(item, better, products)
        elif data is None:
            rejected[item.id] = f"{ABSENT_FILE}: the archive does not hold this processing of {products[item.id].tile}"
        else:
            kept.append(item)
            first.append(new)
            shown |= pixels
    return kept


def _reason(item: Item, better: Sequence[Item], products: Mapping[str, Product]) -> str:
    """Return which products supersede an item, and why."""
    own, best = products[item.id], products[better[0].id]
    if best.baseline > own.baseline:
        why = f"baseline {_dotted(best.baseline)} instead of {_dotted(own.baseline)}"
    elif best.processed != own.processed:
        why = f"processed {best.processed or 'later'} instead of {own.processed or 'at an unknown time'}"
    else:
        why = "the same processing"
    return f"superseded by {' and '.join(other.id for other in better)}: {why}, and the same ground"


def _dotted(baseline: int) -> str:
    return f"{baseline // 100:02d}.{baseline % 100:02d}"
