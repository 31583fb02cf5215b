"""Examine the published folder."""

from pathlib import Path

from smallmines.config import Doctor
from smallmines.doctor.examine import examine, write
from smallmines.job import job

with job(snakemake.log[0]):
    folder, given = Path(snakemake.input.sums).parent, snakemake.params
    found = examine(folder, Doctor.model_validate(given.limits), snakemake.threads)
    write(found, given.title, snakemake.output.json, snakemake.output.page)
