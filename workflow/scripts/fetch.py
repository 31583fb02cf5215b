"""Bring a block's pixels of one sensor and year into the cache."""

from smallmines.archive.fetch import Fetch, fetch
from smallmines.job import job

with job(snakemake.log[0]):
    fetch(
        snakemake.wildcards.sensor,
        snakemake.wildcards.block,
        snakemake.input.grid,
        snakemake.input.manifest,
        snakemake.params.pixels,
        Fetch(**snakemake.params.config),
        snakemake.output[0],
    )
