"""Segment a block into a label raster: masking, OTB's three steps, canonical ids.

Labels are uint32, 1..n in row-major order of each segment's first pixel, 0 outside. The pixels of a segment are connected by
their sides (4-connectivity, as in OTB). No step loops over segments or pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core import raster
from smallmines.core.files import temporary_folder, write_json
from smallmines.core.log import logger
from smallmines.core.software import TAG, of_rasters
from smallmines.grid.lattice import read_lattice
from smallmines.segment import orfeo
from smallmines.settings.segmentation import Segmentation

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox


Labels = NDArray[np.uint32]


@dataclass(frozen=True)
class Outputs:
    """Paths of the label raster (uint32, nodata 0) and of the report (JSON: count, sizes, settings, backend)."""

    labels: str | Path
    report: str | Path


def segment(
    composite: str | Path, grid: str | Path, block: str, settings: Segmentation, threads: int, mem_mb: int, outputs: Outputs
) -> None:
    """Segment a block's Sentinel-2 composite.

    Pixels outside the block's own cells, or with a band at 0 (no data), are masked before OTB and 0 after it.

    Args:
        composite: uint16 bands named B02… on the block's grid, nodata 0.
        grid: `grid.json`.
        threads, mem_mb: what the job may use.

    Raises:
        UserError: OTB is missing or fails; the composite lacks a band or lies on another grid.
    """
    lattice = read_lattice(grid)
    geobox = lattice.block(block)
    limits = orfeo.resources(threads, mem_mb, len(settings.bands))
    target = Path(outputs.labels)
    with temporary_folder(target.with_name("otb")) as folder:
        image = folder / "image.tif"
        valid = masked_image(composite, geobox, lattice.own(block), settings.bands, image)
        backend, version = "none", "none"
        labels = np.zeros(valid.shape, np.uint32)
        if valid.any():
            otb = orfeo.find(settings.backend, threads)
            backend, version = otb.backend, otb.version
            logger.info("OTB %s by %s, %d threads, %d MB, tiles of %d px", version, backend, threads, limits.ram_mb, limits.tile_px)
            labels = mean_shift(image, valid, geobox, settings, otb, limits)
    sizes = np.bincount(labels.ravel())[1:]
    parameters = (
        f"mean shift, bands {' '.join(settings.bands)}, spatial radius {settings.spatial_radius} px, "
        f"range radius {settings.range_radius} DN, minimum size {settings.min_size} px"
    )
    raster.write(target, labels, geobox, 0, ["segment"], {"SEGMENTATION": parameters, TAG: of_rasters(otb=version)})
    report = {
        "block": block,
        "segments": len(sizes),
        "pixels": int(valid.sum()),
        "median_size_px": float(np.median(sizes)) if len(sizes) else None,
        "largest_size_px": int(sizes.max(initial=0)),
        "below_min_size": int((sizes < settings.min_size).sum()),
        "backend": backend,
        "settings": {key: value for key, value in asdict(settings).items() if key != "backend"},
    }
    write_json(outputs.report, report)
    logger.info("block %s: %d segments of median size %s px", block, report["segments"], report["median_size_px"])


def masked_image(composite: str | Path, geobox: GeoBox, own: NDArray[np.bool_], bands: Sequence[str], target: Path) -> NDArray[np.bool_]:
    """Write the bands that are segmented, with `orfeo.FAR` where a pixel is not `own` or any band of the composite is 0.

    Returns:
        True where a pixel is segmented, (row, column).

    Raises:
        UserError: the composite lacks a band or lies on another grid.
    """
    valid = own.copy()
    with raster.opened(composite) as source, raster.created(target, geobox, "uint16", None, bands) as image:
        raster.require_grid(source, geobox)
        chosen = [index - 1 for index in raster.band_indices(source, bands)]
        for window in raster.strips(own.shape):
            cube = source.read(window=window)
            with_data = valid[window.toslices()]
            with_data &= cube.min(axis=0) > 0
            image.write(np.where(with_data, cube[chosen], np.uint16(orfeo.FAR)), window=window)
    return valid


def mean_shift(
    image: Path, valid: NDArray[np.bool_], geobox: GeoBox, settings: Segmentation, otb: orfeo.Orfeo, limits: orfeo.Resources
) -> Labels:
    """Return the canonical labels of an image from `masked_image`; temporary files are written beside it.

    Labels are also made canonical before the merging: OTB numbers them by tile, and its merging decides ties by number.
    Masked regions keep labels there, since OTB does not treat 0 as a segment.
    """
    folder = image.parent
    smooth, position, split, numbered, merged = (folder / f"{name}.tif" for name in ("smooth", "position", "split", "numbered", "merged"))
    logger.info("smoothing")
    otb.run("MeanShiftSmoothing", orfeo.smoothing(image, smooth, position, settings, limits))
    image.unlink()
    logger.info("segmenting")
    otb.run("LSMSSegmentation", orfeo.segmentation(smooth, position, split, settings, limits))
    position.unlink()
    labels = raster.read(split)[0].astype(np.uint32, copy=False)
    split.unlink()
    if settings.min_size > 1:
        labels[~valid] = labels.max() + np.uint32(1)
        raster.write(numbered, pieces(labels), geobox, None, ["segment"])
        del labels
        logger.info("merging small segments")
        otb.run("LSMSSmallRegionsMerging", orfeo.merging(smooth, numbered, merged, settings, limits))
        labels = raster.read(merged)[0].astype(np.uint32, copy=False)
    labels[~valid] = 0
    return pieces(labels)


def pieces(labels: Labels) -> Labels:
    """Number the connected pieces (4-connectivity) of equal labels 1..n, row-major by first pixel; 0 stays 0.

    Labels are connected on a raster of twice the size, where a cell between two pixels is open when their labels agree.
    The result does not depend on the numbers in `labels`, only on where they are equal.
    """
    from scipy import ndimage

    height, width = labels.shape
    open_ = np.zeros((2 * height - 1, 2 * width - 1), bool)
    inside = labels != 0
    open_[::2, ::2] = inside
    open_[::2, 1::2] = (labels[:, 1:] == labels[:, :-1]) & inside[:, 1:]
    open_[1::2, ::2] = (labels[1:] == labels[:-1]) & inside[1:]
    connected = np.empty(open_.shape, np.uint32)
    count = ndimage.label(open_, output=connected)
    return ordered(connected[::2, ::2], int(count))


def ordered(labels: NDArray[Any], count: int) -> Labels:
    """Renumber labels 1..count, each of which occurs, row-major by first pixel; 0 stays 0."""
    flat = labels.ravel()
    first = np.zeros(count + 1, np.int64)
    first[flat[::-1]] = np.arange(flat.size - 1, -1, -1)  # the last assignment wins
    new = np.zeros(count + 1, np.uint32)
    new[1 + np.argsort(first[1:], kind="stable")] = np.arange(1, count + 1, dtype=np.uint32)
    renumbered: Labels = new[labels]
    return renumbered
