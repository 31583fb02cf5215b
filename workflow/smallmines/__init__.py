"""SmallMinesDS as a library.

rasterio and odc.geo import boto3 and dask wherever these are installed: 0.3 s of every job. Nothing here uses them through those two
(GDAL finds its keys itself), so they are kept from it; `import boto3` works as ever afterwards.
"""

import sys

_kept_out = [name for name in ("boto3", "dask") if name not in sys.modules]
sys.modules.update(dict.fromkeys(_kept_out))  # type: ignore[arg-type]  # None: an import raises ModuleNotFoundError
try:
    import odc.geo.geobox  # noqa: F401
    import rasterio  # noqa: F401
finally:
    for _name in _kept_out:
        del sys.modules[_name]
