"""Write Cloud-Optimized GeoTIFFs (COG) of one uint8 band; writes are atomic, and the bytes depend on nothing but the pixels and tags."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import rasterio
import rasterio.shutil
from odc.geo.geobox import GeoBox
from rasterio.io import DatasetWriter

from smallmines.core.files import temporary_folder
from smallmines.core.raster import require_whole

TILE = 512
"""Side of a COG's internal tiles in pixels. Overviews are added until one tile holds the whole raster."""


@dataclass(frozen=True)
class Form:
    """Form of a COG.

    Attributes:
        band: name of the band.
        nodata: of the band.
        overviews: how pixels are joined in overviews; pixels without data do not count.
        tags: dataset tags, none of which may depend on time or place of the run.
        colours: (red, green, blue, alpha) by value, 0 to 255; none where empty.
    """

    band: str
    nodata: int
    overviews: Literal["mode", "average"]
    tags: Mapping[str, str]
    colours: Mapping[int, tuple[int, int, int, int]] = field(default_factory=dict)


@contextmanager
def created_cog(path: str | Path, geobox: GeoBox, form: Form) -> Iterator[DatasetWriter]:
    """Create a COG on `geobox`: the pixels are written in any order, and those not written are nodata.

    GDAL's driver copies from a finished raster, so the pixels go to a temporary GeoTIFF beside the target first. Copying uses one thread.

    Raises:
        OSError: the end of the file could not be written.
    """
    with temporary_folder(path) as folder:
        pixels, cog = folder / "pixels.tif", folder / "cog.tif"
        with rasterio.open(
            pixels,
            "w",
            driver="GTiff",
            height=geobox.shape.y,
            width=geobox.shape.x,
            count=1,
            dtype="uint8",
            nodata=form.nodata,
            crs=str(geobox.crs),
            transform=geobox.transform,
            tiled=True,
            blockxsize=TILE,
            blockysize=TILE,
            compress="deflate",
            zlevel=1,
            sparse_ok=True,
            BIGTIFF="IF_SAFER",
        ) as target:
            if form.colours:
                target.write_colormap(1, dict(form.colours))
            target.descriptions = (form.band,)
            target.update_tags(**form.tags)
            yield target
        rasterio.shutil.copy(
            pixels,
            cog,
            driver="COG",
            blocksize=TILE,
            compress="deflate",
            level=9,
            predictor="NO",
            overviews="IGNORE_EXISTING",
            overview_resampling=form.overviews,
            num_threads=1,
            BIGTIFF="IF_SAFER",
        )
        require_whole(cog)
        os.replace(cog, path)
