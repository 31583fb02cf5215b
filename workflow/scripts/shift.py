"""Hold the Sentinel-2 composites of a block's years against each other."""

from smallmines.job import job
from smallmines.shift import compare_years

with job(snakemake.log[0]):
    compare_years(snakemake.params.years, snakemake.input.s2, snakemake.input.clearness, snakemake.input.fetched, snakemake.output[0])
