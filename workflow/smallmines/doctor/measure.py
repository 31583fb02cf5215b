"""One pass over all patches: numbers of each pair, pixels for the forest and the ground that stays, sums of spectra for the shifts.

A tile's years are read together, so that they can be held against each other; memory is that of one tile a process, and the sums.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from smallmines.core.product import PATCH_BANDS
from smallmines.core.raster import geobox_of
from smallmines.dataset.patches import IMAGE_NODATA, MASK_NODATA
from smallmines.settings.doctor import Doctor

Floats = NDArray[np.float64]

S2, VH, DEM = slice(0, 10), 11, 12
B02, B04, B08, B8A, B11 = 0, 2, 6, 7, 8
BANDS = len(PATCH_BANDS)

SAMPLE = 64
"""Pixels of a patch that are kept, on a regular grid."""

LEAST_VALID = 0.8
"""Share of a patch with data from which it is correlated."""

LEAST_EDGE = 60
"""Pixels of the edge of mines from which a mask is correlated."""

LEAST_LINE = 64
"""Pixels of a line from which it is looked at for stripes."""

CHUNK = 24
"""Tiles of one task of a process."""


@dataclass
class Spectra:
    """Sums of normalised cross-power spectra (Kuglin & Hines 1975) by what is held against what, and where.

    Attributes:
        sums: by (kind, group): complex (side, side // 2 + 1).
        counts: how many patches are in each sum.
    """

    sums: dict[tuple[str, str], NDArray[np.complex128]] = field(default_factory=dict)
    counts: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, key: tuple[str, str], cross: NDArray[np.complex128], count: int = 1) -> None:
        """Add to a sum; a spectrum of another shape than the first is left out."""
        if key not in self.sums:
            self.sums[key], self.counts[key] = np.zeros_like(cross), 0
        if self.sums[key].shape == cross.shape:
            self.sums[key] += cross
            self.counts[key] += count

    def merge(self, other: Spectra) -> None:
        """Add all sums of another."""
        for key, cross in other.sums.items():
            self.add(key, cross, other.counts[key])


@dataclass
class Measured:
    """What the pass found.

    Attributes:
        table: a row per pair, see `measure_pair`.
        pixels: SAMPLE rows per pair with an image of all bands: tile, year, place, mask (float, NaN without), and the bands by name (NaN
            without data).
        changes: per tile and successive years: tile, before, after, mined, lost (px mining before; of these, not mining after), alike
            (correlation of the near infrared).
        spectra: see `Spectra`.
    """

    table: pd.DataFrame
    pixels: pd.DataFrame
    changes: pd.DataFrame
    spectra: Spectra


def measure(
    root: Path,
    pairs: pd.DataFrame,
    groups: Mapping[tuple[str, int], str],
    limits: Doctor,
    threads: int = 1,
    tell: Callable[[int], None] = lambda count: None,
) -> Measured:
    """Read and measure all pairs.

    Args:
        pairs: as in `folder.Folder`.
        groups: by tile and year the group whose shifts are measured together.
        tell: called with the number of pairs done since the last call.
    """
    tiles: list[tuple[str, list[Any]]] = [(str(tile), rows.to_dict("records")) for tile, rows in pairs.groupby("tile", sort=True)]
    tasks: list[Task] = [(root, tiles[start : start + CHUNK], groups, limits) for start in range(0, len(tiles), CHUNK)]
    rows: list[dict[str, Any]] = []
    pixels: list[pd.DataFrame] = []
    changes: list[dict[str, Any]] = []
    spectra = Spectra()
    for part_rows, part_pixels, part_changes, part_spectra in _mapped(tasks, threads):
        rows += part_rows
        pixels += part_pixels
        changes += part_changes
        spectra.merge(part_spectra)
        tell(len(part_rows))
    columns = ["tile", "before", "after", "mined", "lost", "alike"]
    return Measured(
        pd.DataFrame(rows).sort_values(["year", "tile"], ignore_index=True),
        pd.concat(pixels, ignore_index=True) if pixels else pd.DataFrame(columns=["tile", "year", "place", "mask", *PATCH_BANDS]),
        pd.DataFrame(changes, columns=columns),
        spectra,
    )


Task = tuple[Path, list[tuple[str, list[dict[str, Any]]]], Mapping[tuple[str, int], str], Doctor]
Part = tuple[list[dict[str, Any]], list[pd.DataFrame], list[dict[str, Any]], Spectra]


def _mapped(tasks: Sequence[Task], threads: int) -> Iterator[Part]:
    """The parts in the order of the tasks, so that sums are the same whatever the number of processes."""
    if threads <= 1 or len(tasks) <= 1:
        yield from map(_measure_tiles, tasks)
        return
    with ProcessPoolExecutor(threads, mp_context=multiprocessing.get_context("fork")) as pool:
        yield from pool.map(_measure_tiles, tasks)


def _measure_tiles(task: Task) -> Part:
    root, tiles, groups, limits = task
    rows: list[dict[str, Any]] = []
    pixels: list[pd.DataFrame] = []
    changes: list[dict[str, Any]] = []
    spectra = Spectra()
    for tile, records in tiles:
        seen: list[tuple[int, NDArray[np.float32] | None, NDArray[np.uint8] | None]] = []
        for record in records:
            row, image, mask = measure_pair(root, record, limits)
            rows.append(row)
            whole = image if image is not None and len(image) == BANDS else None
            flat = mask[0] if mask is not None and len(mask) == 1 else None
            if whole is not None:
                pixels.append(sample(tile, record["year"], whole, flat))
                same = flat if flat is not None and flat.shape == whole.shape[1:] else None
                correlate(whole, same, groups[tile, record["year"]], spectra)
            seen.append((record["year"], whole, flat))
        for one, other in pairwise(seen):
            changes.append({"tile": tile, **_change(one, other)})
            if one[1] is not None and other[1] is not None and one[1].shape == other[1].shape:
                _correlate_years(one, other, groups[tile, other[0]], spectra)
    return rows, pixels, changes, spectra


def measure_pair(
    root: Path, record: Mapping[str, Any], limits: Doctor
) -> tuple[dict[str, Any], NDArray[np.float32] | None, NDArray[np.uint8] | None]:
    """Numbers of a pair, and its arrays where they can be read.

    Returns:
        A row: tile, year, image, mask; of each file `<kind>_error`, _count, _dtype, _nodata, _crs, _transform, _shape, _bands, _tags
        (the tags' text); of the image `hash`, partial (pixels with Sentinel-2 in some bands only), fraction (valid Sentinel-2 values that
        are not whole), nonfinite, wrapped, and by band n_, mean_, sd_, low_ (0.1 percentile), median_, high_, plateau_ (pixels at the
        greatest value); stripe_row, stripe_col (greatest of the Sentinel-2 bands, DN), cloud (share); of the mask mining,
        background, none, other, specks, holes (px), strange (values); of both `unsupported` (a class without Sentinel-2 data), unused
        (Sentinel-2 data without a class).
    """
    row: dict[str, Any] = {key: record[key] for key in ("tile", "year", "image", "mask")}
    image, mask = (_open(root, record[kind], kind, row) for kind in ("image", "mask"))
    if image is not None and len(image) == BANDS:
        _measure_image(image.astype(np.float32, copy=False), row)
    if mask is not None and len(mask) == 1:
        _measure_mask(mask[0], row, limits)
        if image is not None and len(image) == BANDS and image.shape[1:] == mask.shape[1:]:
            gap = (image[S2] == IMAGE_NODATA).any(axis=0)
            row["unsupported"] = int((gap & (mask[0] != MASK_NODATA)).sum())
            row["unused"] = int((~gap & (mask[0] == MASK_NODATA)).sum())
    return row, image, mask


def _open(root: Path, name: str | None, kind: str, row: dict[str, Any]) -> NDArray[Any] | None:
    row[f"{kind}_error"] = ""
    if name is None:
        return None
    try:
        with rasterio.open(root / name) as source:
            geobox = geobox_of(source)
            row[f"{kind}_count"], row[f"{kind}_dtype"] = source.count, " ".join(sorted(set(source.dtypes)))
            row[f"{kind}_nodata"], row[f"{kind}_crs"] = source.nodata, str(geobox.crs) if geobox.crs else ""
            row[f"{kind}_transform"], row[f"{kind}_shape"] = tuple(geobox.transform)[:6], tuple(geobox.shape)
            row[f"{kind}_bands"] = tuple(one or "" for one in source.descriptions)
            row[f"{kind}_tags"] = " ".join(f"{key}={value}" for key, value in sorted(source.tags().items()))
            array: NDArray[Any] = source.read()
    except (RasterioError, ValueError) as error:
        row[f"{kind}_error"] = str(error) or type(error).__name__
        return None
    return array


def _measure_image(image: NDArray[np.float32], row: dict[str, Any]) -> None:
    flat = image.reshape(BANDS, -1)
    row["hash"] = hashlib.blake2b(np.ascontiguousarray(image[S2]).tobytes(), digest_size=12).hexdigest()
    finite = np.isfinite(flat)
    gap = (flat == IMAGE_NODATA) | ~finite
    row["nonfinite"] = int((~finite).sum())
    row["wrapped"] = int((np.abs(flat - (65536 + IMAGE_NODATA)) < 0.5).sum())
    row["partial"] = int((gap[S2].any(axis=0) & ~gap[S2].all(axis=0)).sum())
    whole = flat[S2][~gap[S2]]
    row["fraction"] = float((whole != np.floor(whole)).mean()) if whole.size else 0.0
    for band, name in enumerate(PATCH_BANDS):
        values = flat[band][~gap[band]].astype(np.float64)
        row[f"n_{name}"] = values.size
        if not values.size:
            continue
        ordered = np.sort(values)
        at = (len(ordered) - 1) * np.array([0.001, 0.5, 0.999])
        low, median, high = ordered[at.round().astype(int)].tolist()
        row |= {
            f"mean_{name}": values.mean(),
            f"sd_{name}": values.std(),
            f"low_{name}": low,
            f"median_{name}": median,
            f"high_{name}": high,
        }
        row |= {f"min_{name}": ordered[0], f"max_{name}": ordered[-1], f"plateau_{name}": int((ordered == ordered[-1]).sum())}
    valid = ~gap[S2].any(axis=0).reshape(image.shape[1:])
    row["stripe_row"], row["stripe_col"] = (
        stripes(image[S2], valid) if valid.mean() >= LEAST_VALID and min(valid.shape) >= LEAST_LINE else (0.0, 0.0)
    )
    row["cloud"] = cloud(flat[S2][:, valid.ravel()]) if valid.any() else 0.0


def stripes(bands: NDArray[np.float32], valid: NDArray[np.bool_]) -> tuple[float, float]:
    """How much lines differ from the lines two beside them, along rows and along columns: the greatest of the bands, in their unit.

    The median over the line of the difference, so that things on the ground, which are short, count little.
    """
    found = []
    cube = np.where(valid, bands, np.nan).astype(np.float32)
    for axis in (1, 2):
        lines = np.moveaxis(cube, axis, 1)
        middle = lines[:, 2:-2] - (lines[:, :-4] + lines[:, 4:]) / 2
        with np.errstate(invalid="ignore"):
            medians = np.nanmedian(middle, axis=2)
        found.append(float(np.nanquantile(np.abs(medians), 0.95, axis=1).max(initial=0)))
    return found[0], found[1]


def cloud(pixels: NDArray[np.float32]) -> float:
    """Share of bright, white pixels, as clouds are in all bands: (10, pixel) DN with or without the offset.

    White: blue no darker than 0.8 of the near infrared above the darkest value, and shortwave infrared bright as well.
    """
    base = 1000.0 if np.quantile(pixels.min(axis=0), 0.01) >= 900 else 0.0
    blue, near, short = (pixels[band] - base for band in (B02, B8A, B11))
    return float(((blue > 2500) & (blue > 0.8 * near) & (short > 1500)).mean())


def _measure_mask(mask: NDArray[Any], row: dict[str, Any], limits: Doctor) -> None:
    from scipy.ndimage import label

    row["mining"], row["background"], row["none"] = (int((mask == value).sum()) for value in (1, 0, MASK_NODATA))
    row["other"] = int(mask.size - row["mining"] - row["background"] - row["none"])
    row["strange"] = " ".join(map(str, np.setdiff1d(mask, (0, 1, MASK_NODATA))[:5].tolist()))
    for name, value in (("specks", 1), ("holes", 0)):
        parts, count = label(mask == value, np.ones((3, 3)) if value else None)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)
        sizes[0] = limits.speck_px
        sizes[np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))] = limits.speck_px  # may go on next door
        row[name] = int(sizes[sizes < limits.speck_px].sum())


def sample(tile: str, year: int, image: NDArray[np.float32], mask: NDArray[np.uint8] | None) -> pd.DataFrame:
    """Pixels on a regular grid of a patch, the same places in every year."""
    height, width = image.shape[1:]
    across = int(np.sqrt(SAMPLE))
    y, x = (((np.arange(across) + 0.5) * size / across).astype(int) for size in (height, width))
    rows, columns = (one.ravel() for one in np.meshgrid(y, x, indexing="ij"))
    values = image[:, rows, columns].astype(np.float32)
    values[~np.isfinite(values) | (values == IMAGE_NODATA)] = np.nan
    labels = np.full(len(rows), np.nan)
    if mask is not None and mask.shape == image.shape[1:]:
        labels = np.where(np.isin(mask[rows, columns], (0, 1)), mask[rows, columns], np.nan)
    return pd.DataFrame(dict(zip(PATCH_BANDS, values, strict=True))).assign(tile=tile, year=year, place=np.arange(len(rows)), mask=labels)


def correlate(image: NDArray[np.float32], mask: NDArray[np.uint8] | None, group: str, spectra: Spectra) -> None:
    """Add a pair to the spectra of its group: radar on vegetation, slopes on near infrared, edges of the mask on edges of the image."""
    valid = (image != IMAGE_NODATA) & np.isfinite(image)
    if valid[S2].all(axis=0).mean() < LEAST_VALID:
        return
    filled = np.where(valid, image, 0).astype(np.float64)
    green = _centred(filled[B08] - filled[B04], valid[B08] & valid[B04])
    green_spectrum = _spectrum(green)
    if valid[VH].mean() >= LEAST_VALID:
        spectra.add(("radar", group), _cross(green_spectrum, _spectrum(_centred(filled[VH], valid[VH]))))
    if valid[DEM].mean() >= LEAST_VALID:
        near = _spectrum(_centred(filled[B08], valid[B08]))
        height = np.where(valid[DEM], filled[DEM], filled[DEM][valid[DEM]].mean())
        down, right = np.gradient(height)
        for kind, slope in (("slope east", right), ("slope south", down)):
            spectra.add((kind, group), _cross(near, _spectrum(slope - slope.mean())))
    if mask is not None:
        edges = _gradient((mask == 1).astype(np.float64))
        if (edges > 0).sum() >= LEAST_EDGE:
            spectra.add(("mask", group), _cross(_spectrum(_centred(_gradient(green), valid[B08])), _spectrum(edges - edges.mean())))


Seen = tuple[int, NDArray[np.float32] | None, NDArray[np.uint8] | None]


def _correlate_years(one: Seen, other: Seen, group: str, spectra: Spectra) -> None:
    spectrum = []
    for _, image, _ in (one, other):
        assert image is not None
        valid = (image[B08] != IMAGE_NODATA) & np.isfinite(image[B08])
        if valid.mean() < LEAST_VALID:
            return
        spectrum.append(_spectrum(_centred(image[B08].astype(np.float64), valid)))
    spectra.add((f"years {one[0]} {other[0]}", group), _cross(*spectrum))


def _change(one: Seen, other: Seen) -> dict[str, Any]:
    """See `Measured.changes`."""
    (before, image, mask), (after, later_image, later_mask) = one, other
    found: dict[str, Any] = {"before": before, "after": after, "mined": 0, "lost": 0, "alike": np.nan}
    if mask is not None and later_mask is not None and mask.shape == later_mask.shape:
        mined = (mask == 1) & (later_mask != MASK_NODATA)
        found |= {"mined": int(mined.sum()), "lost": int((mined & (later_mask == 0)).sum())}
    if image is not None and later_image is not None and image.shape == later_image.shape:
        both = (image[B04] != IMAGE_NODATA) & (later_image[B04] != IMAGE_NODATA)
        a, b = image[B04][both].astype(np.float64), later_image[B04][both].astype(np.float64)
        if both.sum() > 100 and a.std() > 0 and b.std() > 0:
            found["alike"] = float(np.corrcoef(a, b)[0, 1])
    return found


def _centred(values: Floats, valid: NDArray[np.bool_]) -> Floats:
    """Values less their mean, 0 where there is none."""
    centred: Floats = np.where(valid, values - (values[valid].mean() if valid.any() else 0.0), 0.0)
    return centred


def _gradient(values: Floats) -> Floats:
    down, right = np.gradient(values)
    steepness: Floats = np.hypot(down, right)
    return steepness


def _spectrum(values: Floats) -> NDArray[np.complex128]:
    taper = np.outer(np.hanning(values.shape[0]), np.hanning(values.shape[1]))
    return np.fft.rfft2((values - values.mean()) * taper)


def _cross(first: NDArray[np.complex128], second: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """The phase of the second relative to the first, at every frequency."""
    cross = np.conj(first) * second
    return cross / np.maximum(np.abs(cross), 1e-12)


@dataclass(frozen=True)
class Shift:
    """By how many pixels the second lies below and right of the first.

    Attributes:
        significance: the peak over the scatter of the surface away from it.
        distinct: the peak over the greatest value away from it.
    """

    down: float
    right: float
    significance: float
    distinct: float

    @property
    def size(self) -> float:
        """Length in pixels."""
        return float(np.hypot(self.down, self.right))


def shift_of(cross: NDArray[np.complex128], count: int, signed: bool = False) -> Shift:
    """The shift of a sum of normalised cross-power spectra, to a part of a pixel by parabolas.

    Args:
        count: number of spectra in the sum.
        signed: the peak may be a trough as well, as where light falls on slopes from a side that is not known.
    """
    height, width = cross.shape[0], 2 * (cross.shape[1] - 1)
    rows, cols = np.fft.fftfreq(height), np.fft.rfftfreq(width)
    low = np.exp(-((rows[:, None] ** 2 + cols[None] ** 2) / (2 * 0.15**2)))
    low[0, 0] = 0
    surface = np.fft.irfft2(cross / max(count, 1) * low, s=(height, width))
    seen = np.abs(surface) if signed else surface
    top, left = np.unravel_index(int(seen.argmax()), seen.shape)
    far = np.ones(seen.shape, bool)
    far[np.ix_(np.arange(top - 8, top + 9) % height, np.arange(left - 8, left + 9) % width)] = False
    scatter = surface[far].std()
    place = []
    for at, line in ((int(top), seen[:, left]), (int(left), seen[top])):
        before, here, after = (float(line[(at + step) % len(line)]) for step in (-1, 0, 1))
        bend = before - 2 * here + after
        part = 0.0 if bend == 0 else 0.5 * (before - after) / bend
        place.append((at if at <= len(line) // 2 else at - len(line)) + part)
    peak, other = float(seen[top, left]), float(seen[far].max(initial=0))
    return Shift(place[0], place[1], peak / float(scatter) if scatter else 0.0, peak / other if other > 0 else 0.0)
