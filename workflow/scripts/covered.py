"""Check that the chosen scenes cover every block, before anything is downloaded."""

from smallmines.archive.coverage import require_coverage
from smallmines.core.job import job

with job(snakemake.log[0]):
    require_coverage(snakemake.input[0], snakemake.params.minimum, snakemake.output[0])
