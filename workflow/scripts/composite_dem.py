"""Composite a block's elevation tiles."""

from smallmines.composite.elevation import composite
from smallmines.core.job import job
from smallmines.settings.elevation import Elevation

with job(snakemake.log[0]):
    composite(
        snakemake.wildcards.block,
        snakemake.input.grid,
        snakemake.input.fetched,
        Elevation(**snakemake.params.config),
        snakemake.output.image,
        snakemake.output.stats,
    )
