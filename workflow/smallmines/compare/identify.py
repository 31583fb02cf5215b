"""Infer from released patches how they were made, where the paper does not say it: lattice, resampling, kernel, radiometry.

Each answer has its evidence, and is `undecided` where the pixels do not decide it.

* Resampling of the 20 m bands. A 10 m band made from 20 m pixels is a linear function of half as many numbers along each axis. For each
  method and each phase of the 20 m grid the patch is projected onto the patches that the method can make; for the true method the
  residual is the rounding to whole numbers alone. Bilinear and cubic can make the same patches, from different 20 m pixels (cubic at
  a quarter pixel is bilinear after [−3, 38, −3] / 32), but only for the true method the recovered 20 m pixels are whole numbers.
* Elevation. Nearest repeats each 1″ pixel about three times; bilinear is linear between source pixels, so that about one second
  difference in three is 0.
* Kernel of Sentinel-1. Speckle has a smooth spectrum (the Fourier transform of the autocorrelation), and a 3 × 3 mean is zero along
  known lines of it. For each kernel the spectrum is divided by that of the kernel and compared with a smooth one.
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
from smallmines.compare.radiometry import levels_in_words, levels_of_image, offset_of_levels
from smallmines.core.errors import UserError
from smallmines.core.product import OFFSET, PATCH_BANDS, S2_BANDS

Floats = NDArray[np.float64]

UNDECIDED = "undecided"
TILES = 200
"""Maximum number of patches that are read, spread evenly over all."""

LEAST_TILES = 5
"""Minimum number of usable patches or bands for an answer."""

BANDS_20M = ("B05", "B06", "B07", "B8A", "B11", "B12")
ROUNDING = 0.5
"""Maximum residual in DN of a method that explains a band; rounding to whole numbers leaves about 0.2."""

CLEARER = 3.0
"""Minimum residual of every other method in units of `ROUNDING`, and minimum ratio of the two methods' integer scores."""

WHOLE = 0.03
"""Minimum mean cosine of 2π · DN of recovered 20 m pixels that count as whole numbers: 1 for whole numbers, 0 for arbitrary ones."""

NEAREST_REPEATS, LEAST_DIFFERENT = (0.5, 0.8), 0.05
"""For nearest: range of the share of equal neighbours (10 m pixels from 31 m ones: 0.68), and minimum share of distinct values (0.10;
fewer when rounded)."""

BILINEAR_REPEATS, STRAIGHT = 0.15, 0.2
"""For bilinear: maximum share of equal neighbours, minimum share of second differences that are nearly 0."""

LEAST_RELIEF = 1.0
"""Minimum standard deviation in m of the elevation of a usable patch."""

PLAINER = 0.6
"""Maximum ratio of the misfit of the true kernel to that of any other."""

ROUGH = 0.85
"""Maximum autocorrelation of neighbours in unfiltered speckle; above it another filter was applied."""


@dataclass(frozen=True)
class Answer:
    """One inferred key of the configuration.

    Attributes:
        key: as in the configuration, e.g. `sentinel1.kernel`.
        value: value of the key, or `UNDECIDED`.
        evidence: the numbers that decide it, in words.
    """

    key: str
    value: Any
    evidence: str

    @property
    def decided(self) -> bool:
        """Whether the patches decide the key."""
        return bool(self.value != UNDECIDED)


def identify(patches: Sequence[Patch], on_progress: Callable[[], None] = lambda: None) -> list[Answer]:
    """Return all answers from the images among `patches`: the lattice from every header, the others from `TILES` images.

    Args:
        on_progress: called after each image that was read.

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
            on_progress()
    return [*lattice(images), clues.radiometry(), clues.resampling(), clues.kernel(), clues.elevation()]


def lattice(patches: Sequence[Patch]) -> list[Answer]:
    """Infer CRS, resolution, tile size and anchor (the north-west corner of all tiles) from the headers."""
    headers = [patch.header for patch in patches]
    forms = Counter((header.crs, header.resolution, header.width, header.height) for header in headers)
    (crs, resolution, width, height), usual = forms.most_common(1)[0]
    keys = ("grid.crs", "grid.resolution", "grid.tile_size", "grid.anchor")
    form = f"{usual} of {len(headers)} images: {width}×{height} px of {resolution[0]:g}×{resolution[1]:g} m in {crs}"
    if usual < len(headers) or width != height or resolution[0] != resolution[1]:
        return [Answer(key, UNDECIDED, form) for key in keys]
    side = width * resolution[0]
    left, top = np.array([header.left for header in headers]), np.array([header.top for header in headers])
    off = max(float(abs((x - x[0]) / side - ((x - x[0]) / side).round()).max()) for x in (left, top)) * side
    west, north = float(left.min()), float(top.max())
    anchor: Any = {"x": west, "y": north} if off < 1e-4 * side else UNDECIDED
    corner = f"corner of the north-western tile; tiles lie on multiples of {side:g} m from it to {off:.2g} m; {order_of_ids(patches)}"
    values = (crs, float(resolution[0]), int(width), anchor)
    return [Answer(key, value, corner if key == keys[3] else form) for key, value in zip(keys, values, strict=True)]


def order_of_ids(patches: Sequence[Patch]) -> str:
    """Return whether the ids run row by row from the south-west, in words."""
    tiles = {patch.header.tile_id: patch.header for patch in patches}
    if not all(name.isdigit() for name in tiles):
        return "ids are no numbers"
    ordered = sorted(tiles.items(), key=lambda item: int(item[0]))
    places = [(header.top, header.left) for _, header in ordered]
    return f"ids run row by row from the south-west: {'yes' if places == sorted(places) else 'no'}"


class Clues:
    """Evidence collected from images, one at a time."""

    def __init__(self) -> None:
        """Start without images."""
        self.levels: dict[str, list[tuple[float, float, float]]] = {}
        self.residuals: list[Floats] = []
        self.integer_scores: list[Floats] = []
        self.constant: list[float] = []
        self.speckle: dict[str, list[Floats]] = {"power": [], "dB": []}
        self.repeats: list[tuple[float, float, float]] = []

    def add(self, image: Floats, year: str) -> None:
        """Add an image, (13, row, column), NaN = no data; bands with gaps are used for the radiometry only."""
        s2, s1, dem = image[: len(S2_BANDS)], image[len(S2_BANDS) : -1], image[-1]
        if (levels := levels_of_image(s2)) is not None:
            self.levels.setdefault(year, []).append(levels)
        if np.isfinite(s2).all():
            for name in BANDS_20M:
                band = s2[PATCH_BANDS.index(name)]
                if band.std() > 10:  # a flat band fits every method
                    self.residuals.append(residuals(band))
                    self.integer_scores.append(integer_score(band))
                    self.constant.append(constant_share(band))
        for band in s1:
            if np.isfinite(band).all() and band.std() > 0.1:
                power = 10 ** (band / 10)
                self.speckle["power"].append(spectrum(power / smoothed(power) - 1))
                self.speckle["dB"].append(spectrum(band - smoothed(band)))
        if np.isfinite(dem).all() and dem.std() > LEAST_RELIEF and (dem % 1 != 0).any():  # whole metres repeat by rounding
            self.repeats.append(repeats(dem))

    def radiometry(self) -> Answer:
        """Decide between `dn_plus1000` and `dn_harmonised` by dark ground and vegetation, whose levels show the offset."""
        key = "sentinel2.radiometry"
        if not self.levels:
            return Answer(key, UNDECIDED, "no Sentinel-2 pixels")
        by_year = {year: np.array(levels) for year, levels in sorted(self.levels.items())}
        offsets = {offset_of_levels(levels) for levels in by_year.values()}
        value = "dn_harmonised" if offsets == {0} else "dn_plus1000" if offsets == {OFFSET} else UNDECIDED
        return Answer(key, value, "; ".join(f"offset in {year}: {levels_in_words(levels)}" for year, levels in by_year.items()))

    def resampling(self) -> Answer:
        """Infer the resampling of the 20 m bands from the residual of each method."""
        key = "sentinel2.resampling_20m"
        if len(self.residuals) < LEAST_TILES:
            return Answer(key, UNDECIDED, f"{len(self.residuals)} 20 m bands without gaps and with detail: too few")
        residual, whole = np.median(self.residuals, axis=0), np.median(self.integer_scores, axis=0)
        places = residual.argmin(axis=1)
        nearest, smooth = (float(residual[number, place]) for number, place in enumerate(places))
        bilinear, cubic = whole[:, places[1]].tolist()
        value = UNDECIDED
        if nearest <= ROUNDING and smooth >= CLEARER * ROUNDING:
            value = "nearest"
        elif smooth <= ROUNDING and nearest >= CLEARER * ROUNDING and max(bilinear, cubic) >= max(WHOLE, CLEARER * min(bilinear, cubic)):
            value = "bilinear" if bilinear > cubic else "cubic"
        row, col = PHASES[int(places[0] if nearest < smooth else places[1])]
        evidence = (
            f"left unexplained in DN: by nearest {nearest:.2f}, by bilinear or cubic {smooth:.2f}; "
            f"wholeness of the 20 m pixels: if bilinear {bilinear:.2f}, if cubic {cubic:.2f}; "
            f"20 m pixels begin at row {row}, column {col}; {100 * float(np.median(self.constant)):.0f} % of 2×2 cells equal"
        )
        return Answer(key, value, evidence)

    def kernel(self) -> Answer:
        """Infer the 3×3 mean of Sentinel-1 from the zeros of its spectrum."""
        key = "sentinel1.kernel"
        if len(self.speckle["power"]) < LEAST_TILES:
            return Answer(key, UNDECIDED, f"{len(self.speckle['power'])} bands without gaps: too few")
        misfits = {
            f"{kernel} of {scale}": misfit(np.median(spectra, axis=0), kernel)
            for scale, spectra in self.speckle.items()
            for kernel in KERNELS
            if kernel != "none" or scale == "power"
        }
        by_kernel = {kernel: min(value for name, value in misfits.items() if name.startswith(kernel)) for kernel in KERNELS}
        best = min(by_kernel, key=lambda name: by_kernel[name])
        others = min(value for name, value in by_kernel.items() if name != best)
        covariance = np.fft.irfft2(np.median(self.speckle["power"], axis=0))
        lags = {(row, col): float(covariance[row, col] / covariance[0, 0]) for row, col in ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0))}
        evidence = (
            f"misfit of the speckle's spectrum: {', '.join(f'{name} {value:.2f}' for name, value in misfits.items())}; "
            f"autocorrelation {', '.join(f'{lag} {value:.2f}' for lag, value in lags.items())}"
        )
        clear = by_kernel[best] <= PLAINER * others and (best != "none" or max(lags.values()) <= ROUGH)
        return Answer(key, best if clear else UNDECIDED, evidence)

    def elevation(self) -> Answer:
        """Infer the resampling of the elevation from 1″ to 10 m from equal neighbours and zero second differences."""
        key = "elevation.resampling"
        if len(self.repeats) < LEAST_TILES:
            return Answer(key, UNDECIDED, f"{len(self.repeats)} patches without gaps and with relief in parts of a metre: too few")
        equal, straight, different = np.median(self.repeats, axis=0)
        evidence = (
            f"{100 * equal:.0f} % of neighbours equal, {100 * straight:.0f} % of second differences vanish, "
            f"{100 * different:.0f} % of the values differ"
        )
        if NEAREST_REPEATS[0] <= equal <= NEAREST_REPEATS[1] and different >= LEAST_DIFFERENT:
            return Answer(key, "nearest", evidence)
        return Answer(key, "bilinear" if equal <= BILINEAR_REPEATS and straight >= STRAIGHT else UNDECIDED, evidence)


METHODS = ("nearest", "bilinear", "cubic")
PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))


def kernel_weight(method: str, distance: Floats) -> Floats:
    """Return the weight of a source pixel at a distance in source pixels, as in GDAL's kernels for upsampling (cubic: a = −0.5)."""
    d = abs(distance)
    if method == "nearest":
        return (d < 0.5).astype(np.float64)
    if method == "bilinear":
        return np.maximum(1 - d, 0)
    near, far = (1.5 * d - 2.5) * d * d + 1, ((-0.5 * d + 2.5) * d - 4) * d + 2
    return np.where(d < 1, near, np.where(d < 2, far, 0.0))


@cache
def upsampling_matrix(method: str, phase: int, size: int) -> tuple[Floats, Floats]:
    """Return the matrix that upsamples 20 m pixels, which begin at pixel `phase`, to `size` 10 m pixels, and its pseudoinverse."""
    at = (np.arange(size) + 0.5 - phase) / 2 - 0.5
    source = np.arange(np.floor(at.min()) - 2, np.ceil(at.max()) + 3)
    matrix = kernel_weight(method, at[:, np.newaxis] - source[np.newaxis])
    matrix = matrix[:, abs(matrix).sum(axis=0) > 0]
    return matrix, np.asarray(np.linalg.pinv(matrix), np.float64)


def residuals(band: Floats) -> Floats:
    """Return the median absolute residual of nearest, and of bilinear (or cubic), by phase, in the units of the band, (2, phase).

    The median, since a mosaic changes from one date to another at 10 m pixels, which no method explains.
    """
    by_phase = np.empty((2, len(PHASES)))
    for number, method in enumerate(METHODS[:2]):
        rows, cols = (
            [matrix @ inverse for matrix, inverse in (upsampling_matrix(method, phase, size) for phase in (0, 1))] for size in band.shape
        )
        along_columns = [projection @ band for projection in rows]
        for place, (row, col) in enumerate(PHASES):
            by_phase[number, place] = np.median(abs(band - along_columns[row] @ cols[col].T))
    return by_phase


def integer_score(band: Floats) -> Floats:
    """Score how near the recovered 20 m pixels are to integers: mean cosine of 2π · DN for bilinear and cubic, by phase, (2, phase)."""
    by_phase = np.empty((2, len(PHASES)))
    for number, method in enumerate(METHODS[1:]):
        for place, (row, col) in enumerate(PHASES):
            source = upsampling_matrix(method, row, band.shape[0])[1] @ band @ upsampling_matrix(method, col, band.shape[1])[1].T
            by_phase[number, place] = np.cos(2 * np.pi * source[4:-4, 4:-4]).mean()  # the edges are known from one side only
    return by_phase


def constant_share(band: Floats) -> float:
    """Return the share of 2×2 cells of equal pixels, the largest of the four phases."""

    def share(row: int, col: int) -> float:
        part = band[row:, col:]
        part = part[: part.shape[0] // 2 * 2, : part.shape[1] // 2 * 2]
        first = part[::2, ::2]
        return float(((part[1::2, ::2] == first) & (part[::2, 1::2] == first) & (part[1::2, 1::2] == first)).mean())

    return max(share(*phase) for phase in PHASES)


def repeats(dem: Floats) -> tuple[float, float, float]:
    """Return the shares of equal neighbours, of second differences below 2 % of the median slope, and of distinct values."""
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
    """Return the scene without its speckle: a wide Gaussian mean."""
    from scipy import ndimage

    return np.asarray(ndimage.gaussian_filter(band, 8, mode="nearest"))


@cache
def window(shape: tuple[int, int]) -> Floats:
    """Return a Hann window."""
    return np.outer(np.hanning(shape[0]), np.hanning(shape[1]))


def spectrum(speckle: Floats) -> Floats:
    """Return the power spectrum of a patch, its mean 1, (row, column // 2 + 1)."""
    power = abs(np.fft.rfft2((speckle - speckle.mean()) * window(speckle.shape))) ** 2
    return np.asarray(power / power.mean())


@cache
def response(kernel: str, shape: tuple[int, int]) -> Floats:
    """Return the expected `spectrum` of white noise after a kernel, window included, (row, column // 2 + 1)."""
    leak = abs(np.fft.fft2(window(shape))) ** 2
    transfer = abs(np.fft.fft2(KERNELS[kernel], shape)) ** 2
    blurred = np.fft.ifft2(np.fft.fft2(leak / leak.sum()) * np.fft.fft2(transfer)).real
    return np.asarray(blurred[:, : shape[1] // 2 + 1])


def misfit(power: Floats, kernel: str) -> float:
    """Return the root mean square difference between the logarithm of a spectrum divided by that of a kernel and a smooth one.

    The smooth one is a quadratic in the cosines of the two frequencies. The lowest frequencies show the scene, the highest are
    weakened by bilinear resampling: both are left out.
    """
    rows, cols = power.shape[0], 2 * (power.shape[1] - 1)
    fy, fx = np.meshgrid(2 * np.pi * np.fft.fftfreq(rows), 2 * np.pi * np.fft.rfftfreq(cols), indexing="ij")
    used = (np.hypot(fx, fy) > np.pi / 4) & (np.maximum(abs(fx), abs(fy)) < 0.9 * np.pi)
    y, x = np.cos(fy[used]), np.cos(fx[used])
    smooth = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    ratio = np.log(power[used]) - np.log(response(kernel, (rows, cols))[used])
    return float(np.sqrt(np.mean((ratio - smooth @ np.linalg.lstsq(smooth, ratio, rcond=None)[0]) ** 2)))


def as_config(answers: Iterable[Answer]) -> str:
    """Return the decided answers as YAML of a configuration, the others as comments with their evidence."""
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
    """Yield key, value and evidence of each answer as a row of text."""
    for answer in answers:
        yield {"key": answer.key, "found": str(answer.value), "by": answer.evidence}
