"""SmallMinesDS as a library.

Folders of another installation of PROJ or GDAL are removed from the environment before rasterio is imported.

In a job of the workflow (the Snakefile sets SMALLMINES_JOB), rasterio and odc.geo are imported without boto3 and dask, which saves 0.3 s
per job. No job needs them there: GDAL reads its credentials itself.
"""

import os

from smallmines.core.environment import remove_foreign_folders

remove_foreign_folders()

if "SMALLMINES_JOB" in os.environ:
    from smallmines.core.optional import hide_packages

    with hide_packages("boto3", "dask"):
        import odc.geo.geobox  # noqa: F401
        import rasterio  # noqa: F401
