"""Decide the label of each segment of a block and year."""

from smallmines.core.job import job
from smallmines.labels.decide import decide

given = snakemake.input
with job(snakemake.log[0]):
    decide(given.features, given.samples, given.decisions, given.probabilities, given.metrics, snakemake.output[0])
