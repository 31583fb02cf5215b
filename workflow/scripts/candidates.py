"""Draw candidate points for the first samples of a block and year."""

from smallmines.core.job import job
from smallmines.labels.candidates import make_candidates
from smallmines.settings.candidates import Candidates

with job(snakemake.log[0]):
    source, params, block = snakemake.input, snakemake.params, snakemake.wildcards.block
    make_candidates(source.features, source.grid, block, Candidates(**params.config), params.save_as, snakemake.output[0])
