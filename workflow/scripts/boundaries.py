"""Download administrative boundaries and keep the named units."""

from smallmines.core.job import job
from smallmines.grid.boundaries import download_boundaries
from smallmines.settings.aoi import Boundaries

with job(snakemake.log[0]):
    download_boundaries(Boundaries(**snakemake.params.config), snakemake.output[0])
