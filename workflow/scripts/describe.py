"""Describe each segment of a block by a row of features."""

from smallmines.core.job import job
from smallmines.segment.features import describe

with job(snakemake.log[0]):
    describe(
        snakemake.input.labels,
        snakemake.input.s2,
        snakemake.input.clear_mask,
        snakemake.input.dem,
        snakemake.input.grid,
        snakemake.wildcards.block,
        snakemake.output[0],
    )
