"""Check people's samples and join them to segments."""

from smallmines.core.job import job
from smallmines.labels.check_samples import Inputs, Outputs, SampleFiles, check_samples
from smallmines.settings.samples import Samples

with job(snakemake.log[0]):
    source, params, outputs = snakemake.input, snakemake.params, snakemake.output
    check_samples(
        SampleFiles([*source.samples, *source.drawn], params.wanted, params.command),
        snakemake.wildcards.block,
        Samples(**params.config),
        Inputs(source.grid, source.segments, source.features),
        Outputs(outputs.samples, outputs.refused),
    )
