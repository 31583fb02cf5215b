"""SmallMinesDS as a library.

rasterio and odc.geo would import boto3 and dask: 0.3 s of every job. Nothing here uses these two through them (GDAL finds its keys itself).
"""

from smallmines.optional import without

with without("boto3", "dask"):
    import odc.geo.geobox  # noqa: F401
    import rasterio  # noqa: F401
