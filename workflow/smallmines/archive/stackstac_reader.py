"""Read Sentinel-2 through stackstac, as an option; pixels are equal to those of `read.read_on_grid`."""

from __future__ import annotations

from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox
from rasterio.env import getenv, hasenv

from smallmines.archive.read import Source
from smallmines.core.crs import DEGREES, reproject_shapes


def cube_of(source: Source, geobox: GeoBox, chunk: int = 1024) -> Any:
    """Return a source of the same CRS on `geobox`, nearest: a lazy xarray.DataArray (y, x) in the source's dtype, 0 outside.

    All options are explicit: the defaults of stackstac shift the grid by half a pixel, convert digital numbers to float64, and missing
    files to nodata. Values are read with the GDAL settings of the caller.
    """
    import shapely
    import stackstac

    epsg = geobox.crs.epsg
    box = geobox.boundingbox
    ring = reproject_shapes(shapely.box(*box.bbox), str(geobox.crs), DEGREES).item()
    item = {
        "type": "Feature",
        "id": "item",
        "bbox": list(ring.bounds),
        "properties": {"datetime": "2000-01-01T00:00:00Z", "proj:epsg": epsg},
        "assets": {"band": {"href": source.name, "proj:transform": list(source.transform[:6]), "proj:shape": list(source.shape)}},
    }
    cube = stackstac.stack(
        [item],
        assets=["band"],
        epsg=epsg,
        resolution=abs(geobox.transform.a),
        bounds=tuple(box.bbox),
        snap_bounds=False,
        dtype=np.dtype(source.dtypes[0]),
        fill_value=np.dtype(source.dtypes[0]).type(0),
        rescale=False,
        xy_coords="center",
        chunksize=chunk,
        errors_as_nodata=(),
        properties=False,
        band_coords=False,
        gdal_env=stackstac.DEFAULT_GDAL_ENV.updated(always=getenv() if hasenv() else {}),
    )
    if cube.shape[-2:] != tuple(geobox.shape):
        raise AssertionError(f"stackstac made {cube.shape[-2:]}, not {tuple(geobox.shape)}")
    return cube[0, 0]
