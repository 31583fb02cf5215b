"""Draw candidate points for the first labels of a block and year."""

from smallmines.config import Annotate
from smallmines.job import job
from smallmines.labels.candidates import make_candidates

given, asked = snakemake.input, snakemake.params
with job(snakemake.log[0]):
    make_candidates(given.features, given.grid, snakemake.wildcards.block, Annotate(**asked.config), asked.save_as, snakemake.output[0])
