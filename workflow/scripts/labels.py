"""Decide the label of each segment of a block and year."""

from smallmines.core.job import job
from smallmines.labels.decide import decide

with job(snakemake.log[0]):
    source = snakemake.input
    decide(source.features, source.samples, source.decisions, source.probabilities, source.metrics, snakemake.output[0])
