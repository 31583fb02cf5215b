"""Make the Sentinel-1 composite of a block."""

from smallmines.composite.sentinel1 import composite
from smallmines.core.job import job
from smallmines.settings.sentinel1 import Sentinel1

with job(snakemake.log[0]):
    composite(
        snakemake.wildcards.block,
        snakemake.input.grid,
        snakemake.input.fetched,
        Sentinel1(**snakemake.params.config),
        dict(snakemake.output.items()),
        snakemake.resources.minimum_coverage / 1e6,
    )
