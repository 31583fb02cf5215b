"""Examine the published folder."""

from pathlib import Path

from smallmines.core.job import job
from smallmines.doctor.examine import examine, write
from smallmines.settings.doctor import Doctor

with job(snakemake.log[0]):
    folder, given = Path(snakemake.input.sums).parent, snakemake.params
    found = examine(folder, Doctor(**given.limits), snakemake.threads)
    write(found, given.title, snakemake.output.json, snakemake.output.page)
