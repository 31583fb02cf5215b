"""Train the random forest of a block and year and predict every segment."""

from smallmines.core.job import job
from smallmines.labels.forest import assist
from smallmines.settings.assistant import Assistant

given, made, blocks = snakemake.input, snakemake.output, snakemake.params.blocks
with job(snakemake.log[0]):
    features, samples = (dict(zip(blocks, paths, strict=True)) for paths in (given.features, given.samples))
    assist(
        snakemake.wildcards.block, features, samples, Assistant(**snakemake.params.config), snakemake.threads,
        made.probabilities, made.metrics, made.model,
    )  # fmt: skip
