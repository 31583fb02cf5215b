"""Draw candidate points for the first samples of a block and year."""

from smallmines.core.job import job
from smallmines.labels.candidates import Inputs, make_candidates
from smallmines.settings.candidates import Candidates

with job(snakemake.log[0]):
    source, params, block = snakemake.input, snakemake.params, snakemake.wildcards.block
    inputs = Inputs(source.features, source.context[0] if source.context else None, source.grid)
    make_candidates(inputs, block, Candidates(**params.config), params.save_as, snakemake.output[0])
