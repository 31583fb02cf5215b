"""Fit a row of the benchmark."""

from pathlib import Path

from smallmines.benchmark.runs import fit_row
from smallmines.core.job import job
from smallmines.settings.benchmark import settings_of_row

with job(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    settings, seed = settings_of_row(params.row), int(snakemake.wildcards.seed)
    fit_row(Path(source.pack).parent, source.split, settings, seed, snakemake.threads, params.stop, snakemake.output[0])
