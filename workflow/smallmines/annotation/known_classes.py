"""Classes that are known of the pixels of a window: from masks, or from the samples of people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from smallmines.archive.read import read_on_grid
from smallmines.core.crs import transformer
from smallmines.core.errors import UserError
from smallmines.core.files import only_file
from smallmines.core.layout import UserFolder

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

UNKNOWN = -1
NO_CLASS = 255
MASK_VALUES = "name a raster with 1 = mining, 0 = not, 255 or nodata = not known"


def classes_of_mask(path: str | Path, geobox: GeoBox, needed: bool = True) -> NDArray[np.int8]:
    """Return 1 where a mask is mining, 0 where it is 0 and `UNKNOWN` elsewhere, on the grid of a window (row, column).

    Args:
        needed: whether a mask without a class in the window is refused.

    Raises:
        UserError: the file is no raster of one band, has no known CRS, lies elsewhere, or has values that mean nothing.
    """
    try:
        with rasterio.open(path) as source:
            if source.crs is None:
                raise UserError(f"a CRS in {path}", "none", "write it with its CRS")
            if source.count != 1:
                raise UserError(f"one band in {path}", f"{source.count}", "write the mask alone into a file")
            transformer(str(geobox.crs), source.crs.to_wkt())
            empty = -1 if source.dtypes[0] == "int8" else NO_CLASS
            mask = read_on_grid(source, geobox, "nearest", empty)
            no_class = [value for value in (empty, NO_CLASS, source.nodata) if value is not None]
    except RasterioError as error:
        raise UserError(f"a mask at {path}", str(error), MASK_VALUES) from None
    other = np.setdiff1d(mask[np.isfinite(mask)], [0, 1, *no_class])
    if len(other):
        raise UserError(f"values 0 and 1 in {path}", f"also {', '.join(f'{value:g}' for value in other[:5])}", MASK_VALUES)
    classes = np.select([mask == 1, mask == 0], [1, 0], UNKNOWN).astype(np.int8)
    if needed and (classes == UNKNOWN).all():
        raise UserError(f"a mask over the window in {path}", "no pixel with 0 or 1 there", "name another mask, or move the window")
    return classes


def classes_of_samples(folder: UserFolder, year: str, block: str, geobox: GeoBox) -> NDArray[np.int8]:
    """Return the classes of the pixels with samples, `UNKNOWN` elsewhere and where there is no sample file (row, column).

    A polygon gives those pixels a class whose centres it holds, and the pixel of a point of its surface. Pixels of both classes are
    `UNKNOWN`: the order of samples means nothing.
    """
    import shapely
    from rasterio.features import rasterize

    from smallmines.labels.samples import LABELS, SUFFIXES, read_samples

    nothing = np.full(tuple(geobox.shape), UNKNOWN, np.int8)
    paths = only_file(folder.samples(year, block).parent, block, SUFFIXES)
    if len(paths) != 1:
        return nothing
    samples = read_samples(paths[0], str(geobox.crs))
    classes = np.array([LABELS[name] for name in samples.table["label"]], np.int8)
    shapes = np.concatenate([samples.geometry, shapely.point_on_surface(samples.geometry)])
    shape = tuple(geobox.shape)
    mining, other = (
        rasterize(own, out_shape=shape, transform=geobox.affine, dtype="uint8") > 0 if len(own) else np.zeros(shape, bool)
        for own in (shapes[np.tile(classes, 2) == value] for value in (1, 0))
    )
    return np.select([mining & ~other, other & ~mining], [1, 0], UNKNOWN).astype(np.int8)
