"""Describe the surroundings of each segment of a block by a row of context features."""

from smallmines.core.job import job
from smallmines.segment.context import Inputs, describe_context

with job(snakemake.log[0]):
    inputs = snakemake.input
    describe_context(
        Inputs(inputs.segments, inputs.features, inputs.s2, inputs.s1, inputs.grid),
        snakemake.wildcards.block,
        snakemake.output[0],
    )
