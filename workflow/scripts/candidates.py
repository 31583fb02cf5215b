"""Draw candidate points for the first labels of a block and year."""

from smallmines.core.job import job
from smallmines.labels.candidates import make_candidates
from smallmines.settings.candidates import Candidates

given, asked = snakemake.input, snakemake.params
with job(snakemake.log[0]):
    make_candidates(given.features, given.grid, snakemake.wildcards.block, Candidates(**asked.config), asked.save_as, snakemake.output[0])
