"""Examine the published folder."""

from pathlib import Path

from smallmines.core.job import job
from smallmines.doctor.examine import examine, write
from smallmines.settings.doctor import Doctor

with job(snakemake.log[0]):
    folder, params = Path(snakemake.input.sums).parent, snakemake.params
    examined = examine(folder, Doctor(**params.limits), snakemake.threads)
    write(examined, params.title, snakemake.output.json, snakemake.output.page)
