"""Make the Sentinel-2 composite of a block."""

from smallmines.composite.sentinel2 import composite
from smallmines.core.job import job
from smallmines.settings.sentinel2 import Sentinel2

with job(snakemake.log[0]):
    composite(
        snakemake.wildcards.block,
        snakemake.input.grid,
        snakemake.input.fetched,
        Sentinel2(**snakemake.params.config),
        dict(snakemake.output.items()),
        snakemake.resources.minimum_coverage / 1e6,
    )
