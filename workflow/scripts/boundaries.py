"""Download administrative boundaries and keep the named units."""

from smallmines.aoi import download_boundaries
from smallmines.config import Aoi
from smallmines.job import job

with job(snakemake.log[0]):
    download_boundaries(Aoi(**snakemake.params.aoi), snakemake.output[0])
