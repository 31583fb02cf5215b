"""Draw the mask of a block and year from its labels."""

from smallmines.core.job import job
from smallmines.labels.mask import Inputs, make_mask

with job(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    inputs = Inputs(source.segments, source.clear_mask, source.labels, source.grid)
    make_mask(inputs, snakemake.wildcards.block, params.open_as, params.tags, snakemake.output[0])
