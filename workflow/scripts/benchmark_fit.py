"""Fit a row of the benchmark."""

from pathlib import Path

from smallmines.benchmark.models import FitJob
from smallmines.benchmark.runs import fit_row
from smallmines.core.job import job
from smallmines.settings.benchmark import settings_of_row

with job(snakemake.log[0]):
    source, params, target = snakemake.input, snakemake.params, snakemake.output
    how = FitJob(int(snakemake.wildcards.seed), snakemake.threads, params.stop)
    fit_row(Path(source.pack).parent, source.split, settings_of_row(params.row), how, Path(target.model), Path(target.about))
