"""Draw training pixels from a pack, with bounded memory and a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallmines.benchmark.pack import Pack, Rows, chunks
from smallmines.core.errors import UserError
from smallmines.core.product import IMAGE_NODATA

CLASSES = (0, 1)


@dataclass(frozen=True)
class Pixels:
    """Training pixels.

    Attributes:
        x: (pixel, band) float32.
        y: (pixel,) uint8.
        drawn, there: by class value, pixels that were drawn and that there are.
    """

    x: NDArray[np.float32]
    y: NDArray[np.uint8]
    drawn: dict[int, int]
    there: dict[int, int]

    @property
    def odds(self) -> float:
        """Factor that turns the odds of mining among the drawn pixels into those among all; 1 where a class is missing."""
        if not all(self.drawn.get(value) for value in CLASSES):
            return 1.0
        return float(self.there[1] / self.there[0] / (self.drawn[1] / self.drawn[0]))


def reservoir(pack: Pack, rows: Rows, bands: tuple[str, ...], per_class: int, seed: int) -> Pixels:
    """Draw at most `per_class` pixels of each class, each pixel with the same chance; unknown pixels and gaps in a band are left out.

    Every pixel of the rows gets a random key, and those of the least keys stay: the result does not depend on the size of the chunks.
    Memory: twice the drawn pixels, and a chunk of tiles.

    Raises:
        UserError: no pixel is left.
    """
    rng = np.random.default_rng(seed)
    keys = {value: np.empty(0) for value in CLASSES}
    values = {value: np.empty((0, len(bands)), np.float32) for value in CLASSES}
    there = dict.fromkeys(CLASSES, 0)
    for part in chunks(rows):
        mask = pack.masks(part).ravel()
        key = rng.random(mask.size)
        image = np.moveaxis(pack.read(part, bands), 1, -1).reshape(-1, len(bands))
        usable = np.isfinite(image).all(axis=1)
        for value in CLASSES:
            own = usable & (mask == value)
            there[value] += int(own.sum())
            if len(keys[value]) == per_class:
                own &= key < keys[value].max()
            together = np.concatenate([keys[value], key[own]])
            least = np.sort(np.argpartition(together, per_class)[:per_class]) if len(together) > per_class else slice(None)
            keys[value] = together[least]
            values[value] = np.concatenate([values[value], image[own]])[least]
    if not any(there.values()):
        found = "none: all are unknown, or have a gap in a band"
        raise UserError(f"pixels of train with a class and all of {', '.join(bands)}", found, "leave out the row or the split")
    y = np.concatenate([np.full(len(values[value]), value, np.uint8) for value in CLASSES])
    return Pixels(np.concatenate([values[value] for value in CLASSES]), y, {value: len(values[value]) for value in CLASSES}, there)


def undersample(pack: Pack, rows: Rows, bands: tuple[str, ...], seed: int) -> Pixels:
    """Draw as the released scripts do: all pixels of the rarest value of the masks, as many of each other value, at random.

    Nothing is masked: gaps have −9999, and pixels with 255 are a class of their own where there are any. The draw is that of
    imbalanced-learn's `RandomUnderSampler(random_state=seed)` over the pixels of the rows in order.

    Memory: a byte a pixel, an index a pixel of the most frequent value, and the drawn pixels.
    """
    y = pack.masks(rows).ravel()
    classes, counts = np.unique(y, return_counts=True)
    number = int(counts.min())
    rarest = int(classes[np.argmin(counts)])
    random = np.random.RandomState(seed)
    places = []
    for value in classes:
        own = np.flatnonzero(y == value)
        places.append(own if value == rarest else own[random.choice(len(own), size=number, replace=False)])
    place = np.concatenate(places)
    order = np.argsort(place, kind="stable")
    x = np.empty((len(place), len(bands)), np.float32)
    size, begin = pack.side**2, 0
    for part in chunks(np.arange(len(rows))):
        last = (int(part[-1]) + 1) * size
        end = int(np.searchsorted(place[order], last))
        if end > begin:
            image = np.moveaxis(pack.read(rows[part], bands), 1, -1).reshape(-1, len(bands))
            x[order[begin:end]] = image[place[order[begin:end]] - int(part[0]) * size]
        begin = end
    x[~np.isfinite(x)] = IMAGE_NODATA
    there = {int(value): int(count) for value, count in zip(classes, counts, strict=True)}
    return Pixels(x, y[place], dict.fromkeys(there, number), there)
