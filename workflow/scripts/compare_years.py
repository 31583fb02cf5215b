"""Compare the Sentinel-2 composites of a block between years."""

from smallmines.composite.compare_years import compare_years
from smallmines.core.job import job

with job(snakemake.log[0]):
    compare_years(snakemake.params.years, snakemake.input.s2, snakemake.input.clear_mask, snakemake.input.fetched, snakemake.output[0])
