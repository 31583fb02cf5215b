"""Decide the label of each segment of a block and year."""

from smallmines.core.job import job
from smallmines.labels.decide import Inputs, decide

with job(snakemake.log[0]):
    source = snakemake.input
    released = next(iter(source.released), None)
    decide(Inputs(source.features, source.samples, source.decisions, source.probabilities, source.metrics, released), snakemake.output[0])
