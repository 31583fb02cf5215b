"""Compare forest, masks and segments of a block and year with the released masks."""

from smallmines.core.job import job
from smallmines.labels.released_agreement import Inputs, write_agreement
from smallmines.settings.released import ReleasedSamples

with job(snakemake.log[0]):
    params = snakemake.params
    inputs = Inputs(**{str(name): path for name, path in snakemake.input.items()})
    write_agreement(inputs, snakemake.wildcards.block, ReleasedSamples(**params.config), params.seed, snakemake.output[0])
