"""Examine the published folder."""

from pathlib import Path

from smallmines.core.job import job
from smallmines.dataset.measured import read_measured
from smallmines.doctor.examine import KEPT, examine, write
from smallmines.settings.doctor import Doctor

with job(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    kept = read_measured([*source.measured, *source.contradictions], KEPT)
    examined = examine(Path(source.sums).parent, Doctor(**params.limits), snakemake.threads, kept=kept)
    write(examined, params.title, snakemake.output.json, snakemake.output.page)
