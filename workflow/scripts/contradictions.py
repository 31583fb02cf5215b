"""Compare the labels of a year with its images by a forest of other tiles."""

from smallmines.core.job import job
from smallmines.doctor.labels import write_contradictions

with job(snakemake.log[0]):
    write_contradictions(snakemake.input.lists, snakemake.input.measured, snakemake.threads, snakemake.output[0])
