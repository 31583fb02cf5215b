"""Spectra of patches for the shifts: radar and slopes on the image, the mask on the image, a year on the year before."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core.product import IMAGE_NODATA, PATCH_BANDS, S2
from smallmines.dataset.patch_measures import LEAST_VALID
from smallmines.doctor.phase_correlation import Complex, Floats, centred, cross_power, spectrum

B04, B08, VH, DEM = (PATCH_BANDS.index(name) for name in ("B04", "B08", "VH", "DEM"))

OF_IMAGE = ("radar", "slope east", "slope south")
"""Kinds of spectra that an image gives alone."""

KINDS = (*OF_IMAGE, "mask", "years")

LEAST_EDGE = 60
"""Minimum number of pixels on the edge of mines for a mask to be correlated."""


def covered(image: NDArray[Any]) -> float:
    """Return the share of the pixels of a (band, row, column) image with all Sentinel-2 bands."""
    valid = ((image[S2] != IMAGE_NODATA) & np.isfinite(image[S2])).all(axis=0)
    return float(valid.mean()) if valid.size else 0.0


def of_image(image: NDArray[Any], share: float) -> dict[str, Complex]:
    """Return the spectra of `OF_IMAGE`: radar on vegetation, slopes on near infrared, as far as there are enough data.

    Args:
        image: (band, row, column).
        share: as `covered` returns it.
    """
    spectra: dict[str, Complex] = {}
    if share < LEAST_VALID or min(image.shape[1:]) < 2:
        return spectra
    valid = {band: _valid(image[band]) for band in (B04, B08, VH, DEM)}
    filled = {band: np.where(valid[band], image[band], 0).astype(np.float64) for band in valid}
    if valid[VH].mean() >= LEAST_VALID:
        green = centred(filled[B08] - filled[B04], valid[B08] & valid[B04])
        spectra["radar"] = cross_power(spectrum(green), spectrum(centred(filled[VH], valid[VH])))
    if valid[DEM].mean() >= LEAST_VALID:
        near = spectrum(centred(filled[B08], valid[B08]))
        down, right = np.gradient(np.where(valid[DEM], filled[DEM], filled[DEM][valid[DEM]].mean()))
        for kind, slope in (("slope east", right), ("slope south", down)):
            spectra[kind] = cross_power(near, spectrum(slope - slope.mean()))
    return spectra


def of_mask(red_near: NDArray[Any], share: float, mining: NDArray[np.bool_]) -> Complex | None:
    """Return the spectrum of the edges of a mask on those of its image, None without enough data or edges.

    Args:
        red_near: (B04 and B08, row, column) of the image.
        share: as `covered` returns it.
        mining: (row, column).
    """
    if share < LEAST_VALID or mining.shape != red_near.shape[1:] or min(mining.shape) < 2:
        return None
    edges = _steepness(mining.astype(np.float64))
    if (edges > 0).sum() < LEAST_EDGE:
        return None
    red, near = ((np.where(valid := _valid(band), band, 0).astype(np.float64), valid) for band in red_near)
    green = centred(near[0] - red[0], near[1] & red[1])
    return cross_power(spectrum(centred(_steepness(green), near[1])), spectrum(edges - edges.mean()))


def of_years(before: NDArray[Any], after: NDArray[Any]) -> Complex | None:
    """Return the spectrum of the near infrared of two years, (B04 and B08, row, column) each, None without enough data on one grid."""
    if before.shape != after.shape:
        return None
    both = []
    for near in (before[1], after[1]):
        valid = _valid(near)
        if valid.mean() < LEAST_VALID:
            return None
        both.append(spectrum(centred(near.astype(np.float64), valid)))
    return cross_power(*both)


def alike(before: NDArray[Any], after: NDArray[Any]) -> float:
    """Return the correlation of red of two years, (B04 and B08, row, column) each; NaN where there is too little to compare."""
    if before.shape != after.shape:
        return float("nan")
    valid = (before[0] != IMAGE_NODATA) & (after[0] != IMAGE_NODATA)
    first, second = (image[0][valid].astype(np.float64) for image in (before, after))
    if valid.sum() > 100 and first.std() > 0 and second.std() > 0:
        return float(np.corrcoef(first, second)[0, 1])
    return float("nan")


def _valid(band: NDArray[Any]) -> NDArray[np.bool_]:
    valid: NDArray[np.bool_] = (band != IMAGE_NODATA) & np.isfinite(band)
    return valid


def _steepness(values: Floats) -> Floats:
    down, right = np.gradient(values)
    steepness: Floats = np.hypot(down, right)
    return steepness
