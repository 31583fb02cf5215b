"""SmallMinesDS as a library.

In a job of the workflow (the Snakefile sets SMALLMINES_JOB), rasterio and odc.geo are imported without boto3 and dask, which they would
import wherever these are installed: 0.3 s of every job. No job uses them through those two, since GDAL finds its keys itself;
`import boto3` works as ever afterwards.
"""

import os
import sys

if "SMALLMINES_JOB" in os.environ:
    _kept_out = [name for name in ("boto3", "dask") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(_kept_out))  # type: ignore[arg-type]  # None: an import raises ModuleNotFoundError
    try:
        import odc.geo.geobox  # noqa: F401
        import rasterio  # noqa: F401
    finally:
        for _name in _kept_out:
            del sys.modules[_name]
