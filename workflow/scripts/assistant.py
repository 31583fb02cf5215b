"""Train the random forest of a block and year and predict every segment."""

from smallmines.core.job import job
from smallmines.labels.assistant import Outputs, assist
from smallmines.settings.assistant import Assistant

with job(snakemake.log[0]):
    blocks, outputs = snakemake.params.blocks, snakemake.output
    features = dict(zip(blocks, snakemake.input.features, strict=True))
    samples = dict(zip(blocks, snakemake.input.samples, strict=True))
    assist(
        snakemake.wildcards.block,
        features,
        samples,
        Assistant(**snakemake.params.config),
        snakemake.threads,
        Outputs(outputs.probabilities, outputs.metrics, outputs.model),
    )
