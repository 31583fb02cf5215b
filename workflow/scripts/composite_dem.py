"""Make the elevation of a block."""

from smallmines.composite.elevation import composite
from smallmines.core.job import job
from smallmines.settings.elevation import Elevation

with job(snakemake.log[0]):
    composite(
        snakemake.wildcards.block,
        snakemake.input.grid,
        snakemake.input.fetched,
        Elevation(**snakemake.params.config),
        dict(snakemake.output.items()),
        snakemake.resources.minimum_coverage / 1e6,
    )
