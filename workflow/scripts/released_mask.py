"""Paste the released masks on the grid of a block and year."""

from smallmines.core.job import job
from smallmines.labels.released import write_released_mask

with job(snakemake.log[0]):
    source, place = snakemake.input, snakemake.wildcards
    write_released_mask(source.release, source.grid, place.year, place.block, snakemake.params.tags, snakemake.output[0])
