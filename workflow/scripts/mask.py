"""Draw the mask of a block and year from its labels."""

from smallmines.core.job import job
from smallmines.labels.mask import make_mask

given, asked = snakemake.input, snakemake.params
with job(snakemake.log[0]):
    block = snakemake.wildcards.block
    make_mask(given.segments, given.clear_mask, given.labels, given.grid, block, asked.open_as, asked.tags, snakemake.output[0])
