"""Train the random forest of a block and year and predict every segment."""

from smallmines.core.job import job
from smallmines.labels.assistant import Inputs, Outputs, assist
from smallmines.labels.sampled_prevalence import SampleFiles
from smallmines.settings.assistant import Assistant

with job(snakemake.log[0]):
    blocks, outputs = snakemake.params.blocks, snakemake.output
    features = dict(zip(blocks, snakemake.input.features, strict=True))
    context = dict(zip(blocks, snakemake.input.context, strict=bool(snakemake.input.context)))
    samples = dict(zip(blocks, snakemake.input.samples, strict=True))
    files, segments, grid = snakemake.input.sample, snakemake.input.segments, snakemake.input.grid
    place, points = (snakemake.wildcards.year, snakemake.wildcards.block), snakemake.params.points
    sample = SampleFiles(*place, list(files), str(segments), grid, points) if segments else None
    assist(
        snakemake.wildcards.block,
        Inputs(features, context, samples, grid, sample),
        Assistant(**snakemake.params.config),
        snakemake.threads,
        Outputs(outputs.probabilities, outputs.metrics, outputs.model),
    )
