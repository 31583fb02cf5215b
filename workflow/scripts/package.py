"""Pack the published folder into one archive."""

from smallmines.core.job import job
from smallmines.dataset.seal import write_archive

with job(snakemake.log[0]):
    write_archive(snakemake.input.sums, snakemake.params.name, snakemake.output[0])
