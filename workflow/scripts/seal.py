"""List the checksums of all published files."""

from pathlib import Path

from smallmines.core.job import job
from smallmines.dataset.seal import write_sums

with job(snakemake.log[0]):
    write_sums(Path(snakemake.output[0]).parent, snakemake.input.lists, snakemake.input.files)
