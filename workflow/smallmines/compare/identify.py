"""What released patches tell about how they were made and the paper does not say: lattice, resampling, kernel, radiometry.

Each answer comes with its evidence, and is `undecided` where the pixels cannot tell.

* Resampling of the 20 m bands. A 10 m band made from 20 m pixels is a linear function of half as many numbers along each axis. For each
  method and each phase of the 20 m grid the patch is projected onto what that method can make; only the true one leaves nothing but
  the rounding to whole numbers. Bilinear and cubic can make the very same patches (of other 20 m pixels: cubic at a quarter pixel is
  bilinear after [−3, 38, −3] / 32); but only the true one leads back to 20 m pixels that are whole numbers.
* Elevation. Nearest repeats each 1″ pixel about three times; bilinear is straight between source pixels, so that about one second
  difference in three vanishes.
* Kernel of Sentinel-1. Speckle is smooth in its spectrum, a 3 × 3 mean is zero along known lines of it (the spectrum is the Fourier
  transform of the autocorrelation). For each kernel the spectrum without the kernel's own is held against a smooth one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallmines.compare.differences import read_image
from smallmines.compare.pairs import Patch
from smallmines.core.errors import UserError
from smallmines.core.product import PATCH_BANDS, S2_BANDS
from smallmines.sensors.radiometry import PROVES_NONE, SUGGESTS_OFFSET, quantile_of

Floats = NDArray[np.float64]

UNDECIDED = "undecided"
TILES = 200
"""Patches that are read, spread evenly over all."""

LEAST_TILES = 5
"""Patches that must be usable for an answer."""

BANDS_20M = ("B05", "B06", "B07", "B8A", "B11", "B12")
ROUNDING = 0.5
"""Residual in DN up to which a method explains a band: rounding to whole numbers leaves about 0.2."""

CLEARER = 3.0
"""How many times worse every other method must be."""

WHOLE = 0.03
"""Mean cosine of 2π · DN from which on recovered 20 m pixels count as whole numbers: 1 for whole ones, 0 for any."""

NEAREST_REPEATS, LEAST_DIFFERENT = (0.5, 0.8), 0.05
"""Of nearest: shares of equal neighbours (10 m pixels of 31 m ones: 0.68), least share of different values (0.10; rounded: fewer)."""

BILINEAR_REPEATS, STRAIGHT = 0.15, 0.2
"""Of bilinear: largest share of equal neighbours, least share of vanishing second differences."""

LEAST_RELIEF = 1.0
"""Standard deviation in m of a patch's elevation that can tell anything."""

PLAINER = 0.6
"""The residual of the true kernel is at most this part of that of any other."""

ROUGH = 0.85
"""Autocorrelation of neighbours up to which speckle without zeros is unfiltered; above it something else smoothed it."""


@dataclass(frozen=True)
class Answer:
    """One inferred key of the configuration.

    Attributes:
        key: as in the configuration, e.g. `sentinel1.kernel`.
        value: what to write there, or `UNDECIDED`.
        evidence: the numbers behind it, in words.
    """

    key: str
    value: Any
    evidence: str

    @property
    def decided(self) -> bool:
        """Whether the patches could tell."""
        return bool(self.value != UNDECIDED)


def identify(patches: Sequence[Patch], tell: Callable[[], None] = lambda: None) -> list[Answer]:
    """All answers from the images among `patches`: the lattice from every header, the rest from `TILES` images.

    Args:
        tell: called after each image that was read.

    Raises:
        UserError: there are no images.
    """
    from threadpoolctl import threadpool_limits

    images = [patch for patch in patches if patch.image is not None]
    if not images:
        raise UserError("images IMG_… to look at", "none", "name the folder of the released images")
    chosen = [images[number] for number in np.unique(np.linspace(0, len(images) - 1, min(TILES, len(images))).round().astype(int))]
    clues = Clues()
    with threadpool_limits(1):  # matrices this small are slower on several threads
        for patch in chosen:
            clues.add(read_image(patch)[0], patch.header.year)
            tell()
    return [*lattice(images), clues.radiometry(), clues.resampling(), clues.kernel(), clues.elevation()]


def lattice(patches: Sequence[Patch]) -> list[Answer]:
    """CRS, resolution, tile size and anchor (the north-west corner of all tiles) by the headers."""
    headers = [patch.header for patch in patches]
    forms = Counter((header.crs, header.resolution, header.width, header.height) for header in headers)
    (crs, resolution, width, height), usual = forms.most_common(1)[0]
    keys = ("grid.crs", "grid.resolution", "grid.tile_size", "grid.anchor")
    told = f"{usual} of {len(headers)} images: {width}×{height} px of {resolution[0]:g}×{resolution[1]:g} m in {crs}"
    if usual < len(headers) or width != height or resolution[0] != resolution[1]:
        return [Answer(key, UNDECIDED, told) for key in keys]
    side = width * resolution[0]
    left, top = np.array([header.left for header in headers]), np.array([header.top for header in headers])
    off = max(float(abs((x - x[0]) / side - ((x - x[0]) / side).round()).max()) for x in (left, top)) * side
    west, north = float(left.min()), float(top.max())
    anchor: Any = {"x": west, "y": north} if off < 1e-4 * side else UNDECIDED
    where = f"corner of the north-western tile; tiles lie on multiples of {side:g} m from it to {off:.2g} m; {order_of_ids(patches)}"
    values = (crs, float(resolution[0]), int(width), anchor)
    return [Answer(key, value, where if key == keys[3] else told) for key, value in zip(keys, values, strict=True)]


def order_of_ids(patches: Sequence[Patch]) -> str:
    """Whether the ids run row by row from the south-west, in words."""
    tiles = {patch.header.tile_id: patch.header for patch in patches}
    if not all(name.isdigit() for name in tiles):
        return "ids are no numbers"
    ordered = sorted(tiles.items(), key=lambda item: int(item[0]))
    places = [(header.top, header.left) for _, header in ordered]
    return f"ids run row by row from the south-west: {'yes' if places == sorted(places) else 'no'}"


class Clues:
    """What images add up to, one at a time."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self.histograms: dict[str, NDArray[np.int64]] = {}
        self.residuals: list[Floats] = []
        self.wholeness: list[Floats] = []
        self.constant: list[float] = []
        self.speckle: dict[str, list[Floats]] = {"power": [], "dB": []}
        self.repeats: list[tuple[float, float, float]] = []

    def add(self, image: Floats, year: str) -> None:
        """Look at one image, (13, row, column), NaN = no data; bands with gaps say nothing about neighbours and are left out there."""
        s2, s1, dem = image[: len(S2_BANDS)], image[len(S2_BANDS) : -1], image[-1]
        for counts, band in zip(self.histograms.setdefault(year, np.zeros((len(s2), 65536), np.int64)), s2, strict=True):
            known = band[np.isfinite(band)]
            counts += np.bincount(known.clip(0, 65535).round().astype(np.int64), minlength=65536)
        if np.isfinite(s2).all():
            for name in BANDS_20M:
                band = s2[PATCH_BANDS.index(name)]
                if band.std() > 10:  # a flat band fits every method
                    self.residuals.append(residuals(band))
                    self.wholeness.append(wholeness(band))
                    self.constant.append(constant_share(band))
        for band in s1:
            if np.isfinite(band).all() and band.std() > 0.1:
                power = 10 ** (band / 10)
                self.speckle["power"].append(spectrum(power / smoothed(power) - 1))
                self.speckle["dB"].append(spectrum(band - smoothed(band)))
        if np.isfinite(dem).all() and dem.std() > LEAST_RELIEF and (dem % 1 != 0).any():  # whole metres repeat by rounding
            self.repeats.append(repeats(dem))

    def radiometry(self) -> Answer:
        """`dn_plus1000` or `dn_harmonised`, by the darkest pixels."""
        key = "sentinel2.radiometry"
        darkest = {}
        for year, histograms in sorted(self.histograms.items()):
            if lowest := [value for value in (quantile_of(counts) for counts in histograms) if value is not None]:
                darkest[year] = min(lowest)
        if not darkest:
            return Answer(key, UNDECIDED, "no Sentinel-2 pixels")
        told = f"darkest 0.1-percentile of the ten bands: {', '.join(f'{value} in {year}' for year, value in darkest.items())} "
        told += f"(below {PROVES_NONE}: no offset; from {SUGGESTS_OFFSET}: +1000)"
        values = {
            "dn_harmonised" if one < PROVES_NONE else "dn_plus1000" if one >= SUGGESTS_OFFSET else UNDECIDED for one in darkest.values()
        }
        return Answer(key, values.pop() if len(values) == 1 else UNDECIDED, told)

    def resampling(self) -> Answer:
        """How the 20 m bands came to 10 m, by what each method leaves unexplained."""
        key = "sentinel2.resampling_20m"
        if len(self.residuals) < LEAST_TILES:
            return Answer(key, UNDECIDED, f"{len(self.residuals)} 20 m bands without gaps and with detail: too few")
        left, whole = np.median(self.residuals, axis=0), np.median(self.wholeness, axis=0)
        places = left.argmin(axis=1)
        nearest, smooth = (float(left[number, place]) for number, place in enumerate(places))
        bilinear, cubic = whole[:, places[1]].tolist()
        value = UNDECIDED
        if nearest <= ROUNDING and smooth >= CLEARER * ROUNDING:
            value = "nearest"
        elif smooth <= ROUNDING and nearest >= CLEARER * ROUNDING and max(bilinear, cubic) >= max(WHOLE, CLEARER * min(bilinear, cubic)):
            value = "bilinear" if bilinear > cubic else "cubic"
        row, col = PHASES[int(places[0] if nearest < smooth else places[1])]
        told = (
            f"left unexplained in DN: by nearest {nearest:.2f}, by bilinear or cubic {smooth:.2f}; "
            f"wholeness of the 20 m pixels: if bilinear {bilinear:.2f}, if cubic {cubic:.2f}; "
            f"20 m pixels begin at row {row}, column {col}; {100 * float(np.median(self.constant)):.0f} % of 2×2 cells equal"
        )
        return Answer(key, value, told)

    def kernel(self) -> Answer:
        """The 3×3 mean of Sentinel-1, by the zeros of its spectrum."""
        key = "sentinel1.kernel"
        if len(self.speckle["power"]) < LEAST_TILES:
            return Answer(key, UNDECIDED, f"{len(self.speckle['power'])} bands without gaps: too few")
        misfits = {
            f"{kernel} of {scale}": misfit(np.median(seen, axis=0), kernel)
            for scale, seen in self.speckle.items()
            for kernel in KERNELS
            if kernel != "none" or scale == "power"
        }
        by_kernel = {kernel: min(value for name, value in misfits.items() if name.startswith(kernel)) for kernel in KERNELS}
        best = min(by_kernel, key=lambda name: by_kernel[name])
        others = min(value for name, value in by_kernel.items() if name != best)
        found = np.fft.irfft2(np.median(self.speckle["power"], axis=0))
        lags = {(row, col): float(found[row, col] / found[0, 0]) for row, col in ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0))}
        told = (
            f"misfit of the speckle's spectrum: {', '.join(f'{name} {value:.2f}' for name, value in misfits.items())}; "
            f"autocorrelation {', '.join(f'{lag} {value:.2f}' for lag, value in lags.items())}"
        )
        clear = by_kernel[best] <= PLAINER * others and (best != "none" or max(lags.values()) <= ROUGH)
        return Answer(key, best if clear else UNDECIDED, told)

    def elevation(self) -> Answer:
        """How the elevation came from 1″ to 10 m, by repeated and by straight values."""
        key = "elevation.resampling"
        if len(self.repeats) < LEAST_TILES:
            return Answer(key, UNDECIDED, f"{len(self.repeats)} patches without gaps and with relief in parts of a metre: too few")
        equal, straight, different = np.median(self.repeats, axis=0)
        told = (
            f"{100 * equal:.0f} % of neighbours equal, {100 * straight:.0f} % of second differences vanish, "
            f"{100 * different:.0f} % of the values differ"
        )
        if NEAREST_REPEATS[0] <= equal <= NEAREST_REPEATS[1] and different >= LEAST_DIFFERENT:
            return Answer(key, "nearest", told)
        return Answer(key, "bilinear" if equal <= BILINEAR_REPEATS and straight >= STRAIGHT else UNDECIDED, told)


METHODS = ("nearest", "bilinear", "cubic")
PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))


def weight(method: str, distance: Floats) -> Floats:
    """Weight of a source pixel at a distance in source pixels, as GDAL has it when it enlarges (cubic: a = −0.5)."""
    d = abs(distance)
    if method == "nearest":
        return (d < 0.5).astype(np.float64)
    if method == "bilinear":
        return np.maximum(1 - d, 0)
    near, far = (1.5 * d - 2.5) * d * d + 1, ((-0.5 * d + 2.5) * d - 4) * d + 2
    return np.where(d < 1, near, np.where(d < 2, far, 0.0))


@cache
def operator(method: str, phase: int, size: int) -> tuple[Floats, Floats]:
    """What makes `size` pixels of 10 m from the 20 m pixels that begin at pixel `phase`, and what leads back (least squares)."""
    at = (np.arange(size) + 0.5 - phase) / 2 - 0.5
    source = np.arange(np.floor(at.min()) - 2, np.ceil(at.max()) + 3)
    made = weight(method, at[:, np.newaxis] - source[np.newaxis])
    made = made[:, abs(made).sum(axis=0) > 0]
    return made, np.asarray(np.linalg.pinv(made), np.float64)


def residuals(band: Floats) -> Floats:
    """What nearest, and bilinear (or cubic), cannot explain of a band, by phase; median over its pixels in its units, (2, phase).

    The median, since a mosaic changes from one date to another at 10 m pixels, and no method explains these.
    """
    found = np.empty((2, len(PHASES)))
    for number, method in enumerate(METHODS[:2]):
        rows, cols = ([made @ back for made, back in (operator(method, phase, size) for phase in (0, 1))] for size in band.shape)
        above = [one @ band for one in rows]
        for place, (row, col) in enumerate(PHASES):
            found[number, place] = np.median(abs(band - above[row] @ cols[col].T))
    return found


def wholeness(band: Floats) -> Floats:
    """Mean cosine of 2π times the 20 m pixels that a band leads back to by bilinear and by cubic, by phase, (2, phase)."""
    found = np.empty((2, len(PHASES)))
    for number, method in enumerate(METHODS[1:]):
        for place, (row, col) in enumerate(PHASES):
            back = operator(method, row, band.shape[0])[1] @ band @ operator(method, col, band.shape[1])[1].T
            found[number, place] = np.cos(2 * np.pi * back[4:-4, 4:-4]).mean()  # ends are known from one side only
    return found


def constant_share(band: Floats) -> float:
    """Largest share over the four phases of 2×2 cells of equal pixels."""

    def share(row: int, col: int) -> float:
        part = band[row:, col:]
        part = part[: part.shape[0] // 2 * 2, : part.shape[1] // 2 * 2]
        first = part[::2, ::2]
        return float(((part[1::2, ::2] == first) & (part[::2, 1::2] == first) & (part[1::2, 1::2] == first)).mean())

    return max(share(*phase) for phase in PHASES)


def repeats(dem: Floats) -> tuple[float, float, float]:
    """Shares of equal neighbours, of second differences below 2 % of the median slope (along rows and columns), of different values."""
    slopes = [np.diff(dem, axis=axis) for axis in (0, 1)]
    equal = float(np.mean([(slope == 0).mean() for slope in slopes]))
    bends = np.concatenate([abs(np.diff(slope, axis=axis)).ravel() for axis, slope in enumerate(slopes)])
    steep = float(np.median(np.concatenate([abs(slope).ravel() for slope in slopes])))
    straight = float((bends < 0.02 * steep).mean()) if steep > 0 else 1.0
    return equal, straight, len(np.unique(dem)) / dem.size


KERNELS = {
    "none": np.array([[1.0]]),
    "plus": np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]]) / 5,
    "box": np.ones((3, 3)) / 9,
}


def smoothed(band: Floats) -> Floats:
    """The scene without its speckle: a wide Gaussian mean."""
    from scipy import ndimage

    return np.asarray(ndimage.gaussian_filter(band, 8, mode="nearest"))


@cache
def window(shape: tuple[int, int]) -> Floats:
    """Hann window."""
    return np.outer(np.hanning(shape[0]), np.hanning(shape[1]))


def spectrum(speckle: Floats) -> Floats:
    """Power spectrum of a patch, its mean 1, (row, column // 2 + 1)."""
    power = abs(np.fft.rfft2((speckle - speckle.mean()) * window(speckle.shape))) ** 2
    return np.asarray(power / power.mean())


@cache
def response(kernel: str, shape: tuple[int, int]) -> Floats:
    """Spectrum of white noise after a kernel, as `spectrum` sees it: through the window, (row, column // 2 + 1)."""
    leak = abs(np.fft.fft2(window(shape))) ** 2
    own = abs(np.fft.fft2(KERNELS[kernel], shape)) ** 2
    seen = np.fft.ifft2(np.fft.fft2(leak / leak.sum()) * np.fft.fft2(own)).real
    return np.asarray(seen[:, : shape[1] // 2 + 1])


def misfit(seen: Floats, kernel: str) -> float:
    """How far the logarithm of a spectrum without a kernel's is from a smooth one; root mean square.

    The smooth one is a quadratic in the cosines of the two frequencies. The lowest frequencies show the scene, the highest what
    bilinear resampling took: neither counts.
    """
    rows, cols = seen.shape[0], 2 * (seen.shape[1] - 1)
    fy, fx = np.meshgrid(2 * np.pi * np.fft.fftfreq(rows), 2 * np.pi * np.fft.rfftfreq(cols), indexing="ij")
    used = (np.hypot(fx, fy) > np.pi / 4) & (np.maximum(abs(fx), abs(fy)) < 0.9 * np.pi)
    y, x = np.cos(fy[used]), np.cos(fx[used])
    smooth = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    own = np.log(seen[used]) - np.log(response(kernel, (rows, cols))[used])
    return float(np.sqrt(np.mean((own - smooth @ np.linalg.lstsq(smooth, own, rcond=None)[0]) ** 2)))


def as_config(answers: Iterable[Answer]) -> str:
    """The decided answers as the YAML of a configuration; the others as comments with their evidence."""
    import yaml

    values: dict[str, Any] = {}
    open_questions = []
    for answer in answers:
        section, name = answer.key.split(".")
        if not answer.decided:
            open_questions.append(f"# {answer.key}: undecided ({answer.evidence})\n")
        elif (section, answer.value) == ("sentinel1", "none"):
            open_questions.append(f"# {answer.key}: none, which this workflow does not offer ({answer.evidence})\n")
        else:
            values.setdefault(section, {})[name] = answer.value
    text: str = yaml.safe_dump(values, sort_keys=False) if values else ""
    return text + "".join(open_questions)


def evidence(answers: Iterable[Answer]) -> Iterator[dict[str, str]]:
    """Rows for people: key, value, evidence."""
    for answer in answers:
        yield {"key": answer.key, "found": str(answer.value), "by": answer.evidence}
