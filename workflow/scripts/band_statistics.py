"""Measure the bands of a year's images."""

from smallmines.core.job import job
from smallmines.dataset.facts import write_statistics

with job(snakemake.log[0]):
    write_statistics(snakemake.input[0].removesuffix(".sha256"), snakemake.output[0])
