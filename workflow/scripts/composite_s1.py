"""Composite a block's Sentinel-1 scenes."""

from smallmines.config import Sentinel1
from smallmines.job import job
from smallmines.sentinel1 import composite

with job(snakemake.log[0]):
    composite(
        snakemake.wildcards.block,
        snakemake.input.grid,
        snakemake.input.fetched,
        Sentinel1(**snakemake.params.config),
        snakemake.output.image,
        snakemake.output.stats,
    )
