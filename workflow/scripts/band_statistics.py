"""Measure the bands of a year's images."""

from smallmines.core.job import job
from smallmines.dataset.band_statistics import write_statistics

with job(snakemake.log[0]):
    source = snakemake.input
    write_statistics(source.sums.removesuffix(".sha256"), source.measured, snakemake.output[0])
