"""Describe each segment of a block by a row of features."""

from smallmines.job import job
from smallmines.segments import describe

with job(snakemake.log[0]):
    describe(
        snakemake.input.labels,
        snakemake.input.s2,
        snakemake.input.sky,
        snakemake.input.dem,
        snakemake.input.grid,
        snakemake.wildcards.block,
        snakemake.output[0],
    )
