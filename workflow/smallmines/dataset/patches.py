"""Cut the tiles of a block into patches: small GeoTIFFs in the form of the released dataset (`core.product`).

An image has 13 float32 bands (ten Sentinel-2 bands in DN, VV and VH in dB, elevation in m; nodata −9999), a mask one
uint8 band (0 not mining, 1 mining; nodata 255). A gap of Sentinel-1 or of the elevation never changes the mask.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError

from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import written
from smallmines.core.log import logger
from smallmines.core.product import CLASSES, IMAGE, IMAGE_NODATA, MASK, MASK_NODATA, S2_BANDS, PatchFormat, patch_name, patch_profile
from smallmines.grid.lattice import Lattice
from smallmines.sensors.radiometry import VERDICT_TAG


@dataclass(frozen=True)
class Composites:
    """Composites of a year and block, all on the block's grid."""

    s2: str | Path
    s1: str | Path
    dem: str | Path


@dataclass(frozen=True)
class PatchSet:
    """The patches of one kind, year and block.

    Attributes:
        config: digest of the settings that shaped the pixels, for the tag CONFIG.
    """

    lattice: Lattice
    year: str
    block: str
    country: str
    config: str

    @property
    def geobox(self) -> GeoBox:
        """Grid of the block."""
        return self.lattice.block(self.block)

    def tiles(self) -> Iterator[tuple[str, rasterio.windows.Window]]:
        """Yield id and window in the block's rasters of each tile of the block, row by row."""
        side = self.lattice.tile_size
        first_row, first_col, _, _ = self.lattice.windows[self.block]
        for tile in sorted(self.lattice.tiles_of(self.block), key=lambda tile: (tile.row, tile.col)):
            yield tile.tile_id, rasterio.windows.Window((tile.col - first_col) * side, (tile.row - first_row) * side, side, side)


def image_array(s2: NDArray[np.uint16], s1: NDArray[np.float32], dem: NDArray[np.float32]) -> NDArray[np.float32]:
    """Stack the composites into the 13 bands of an image.

    Args:
        s2: (10, row, column) DN, 0 = no data; where one band has none, all ten get none.
        s1: (2, row, column) dB, not finite = no data, each band for itself.
        dem: (1, row, column) m, not finite = no data.

    Returns:
        (13, row, column) float32, nodata −9999.
    """
    image = np.concatenate([s2.astype(np.float32), s1, dem]).astype(np.float32, copy=False)
    image[: len(s2), (s2 == 0).any(axis=0)] = IMAGE_NODATA
    image[~np.isfinite(image)] = IMAGE_NODATA
    return image


def write_images(composites: Composites, patches: PatchSet, folder: str | Path) -> int:
    """Write the images of a block's own tiles into `folder`, which is replaced; see `image_array`.

    Returns:
        Number of patches.

    Raises:
        UserError: a composite is missing, does not lie on the block's grid or has other bands.
    """
    box = patches.geobox
    with (
        _block_raster(composites.s2, box, len(S2_BANDS)) as s2,
        _block_raster(composites.s1, box, 2) as s1,
        _block_raster(composites.dem, box, 1) as dem,
        _replaced(folder) as beside,
    ):
        tags = {"CONFIG": patches.config, **_tags(s2, "S2_"), **_tags(s1, "S1_"), **_tags(dem, "DEM_")}
        tags |= {key: tags.pop(f"S2_{key}") for key in ("RADIOMETRY", VERDICT_TAG) if f"S2_{key}" in tags}
        arrays = (
            (tile_id, window, image_array(*(source.read(window=window) for source in (s2, s1, dem)))) for tile_id, window in patches.tiles()
        )
        return _write_patches(beside, IMAGE, patches, arrays, tags)


def write_masks(mask: str | Path, patches: PatchSet, folder: str | Path) -> int:
    """Write the masks of a block's own tiles into `folder`, which is replaced: windows of the block's mask.

    Args:
        mask: (1, row, column) uint8 of the block: 0, 1, 255 = no data.

    Returns:
        Number of patches.

    Raises:
        UserError: the mask is missing, does not lie on the block's grid, or holds another value.
    """
    classes = ", ".join(f"{value} {name}" for value, name in enumerate(CLASSES))
    with _block_raster(mask, patches.geobox, 1) as source, _replaced(folder) as beside:
        tags = {**_tags(source, ""), "CONFIG": patches.config, "CLASSES": f"{classes}, {MASK_NODATA} nodata"}
        arrays = ((tile_id, window, _mask_array(source, window)) for tile_id, window in patches.tiles())
        return _write_patches(beside, MASK, patches, arrays, tags)


def _mask_array(source: rasterio.DatasetReader, window: rasterio.windows.Window) -> NDArray[np.uint8]:
    values: NDArray[np.uint8] = source.read(window=window)
    if not np.isin(values, (0, 1, MASK_NODATA)).all():
        raise UserError("a mask of 0, 1 and 255", f"{np.unique(values).tolist()} in {source.name}", "delete the mask and run again")
    return values


def _write_patches(
    folder: Path,
    form: PatchFormat,
    patches: PatchSet,
    arrays: Iterator[tuple[str, rasterio.windows.Window, NDArray[Any]]],
    tags: Mapping[str, str],
) -> int:
    """Write a patch for each tile id, window and (band, row, column) array; return their number."""
    count = 0
    for tile_id, window, array in arrays:
        own = {"TILE_ID": tile_id, "YEAR": patches.year, "BLOCK": patches.block, **tags}
        geobox = raster.window_geobox(patches.geobox, window)
        path = folder / patch_name(form.kind, patches.country, tile_id, patches.year)
        profile = patch_profile(geobox.shape.y)
        raster.write(path, array, geobox, form.nodata, form.bands, dict(sorted(own.items())), form.units, **profile)
        count += 1
    logger.info("%d patches %s of %s, block %s", count, form.kind, patches.year, patches.block)
    return count


@contextmanager
def _block_raster(path: str | Path, geobox: GeoBox, count: int) -> Iterator[rasterio.DatasetReader]:
    """Open a block's raster; refuse it unless it lies on `geobox` and has `count` bands."""
    with raster.opened(path) as source:
        raster.require_grid(source, geobox)
        if source.count != count:
            raise UserError(f"{count} bands in {path}", f"{source.count}", "delete the file and run again")
        yield source


@contextmanager
def _replaced(folder: str | Path) -> Iterator[Path]:
    """Yield a new folder beside `folder`, which it replaces when the block ends well."""
    with written(folder) as beside:
        beside.mkdir(parents=True)
        yield beside
        shutil.rmtree(folder, ignore_errors=True)


def _tags(source: rasterio.DatasetReader, prefix: str) -> dict[str, str]:
    """Return a composite's own tags, their keys with the prefix."""
    return {f"{prefix}{key}": value for key, value in source.tags().items() if key != "AREA_OR_POINT"}


@dataclass(frozen=True)
class PatchForm:
    """Form of a patch as it lies on disk.

    Attributes:
        bands, units: descriptions and units of the bands, "" where there is none.
        dtypes: the different data types of the bands, sorted.
    """

    geobox: GeoBox
    bands: tuple[str, ...]
    units: tuple[str, ...]
    dtypes: tuple[str, ...]
    nodata: float | None
    tags: Mapping[str, str]


@dataclass(frozen=True)
class PatchFile:
    """Content of a patch as it lies on disk, whatever its form.

    Attributes:
        form: None where the file cannot be opened.
        array: (band, row, column), nodata not masked; None where the pixels cannot be read.
        error: why form or array is None, else "".
    """

    form: PatchForm | None
    array: NDArray[Any] | None
    error: str = ""


def read_patch(path: Path) -> PatchFile:
    """Read a patch in whatever form it has, as `verify` and the doctor do."""
    form = None
    try:
        with rasterio.open(path) as source:
            bands, units = (tuple(text or "" for text in texts) for texts in (source.descriptions, source.units))
            dtypes = tuple(sorted(set(source.dtypes)))
            form = PatchForm(raster.geobox_of(source), bands, units, dtypes, source.nodata, source.tags())
            return PatchFile(form, source.read())
    except (RasterioError, ValueError) as error:
        return PatchFile(form, None, str(error) or type(error).__name__)
