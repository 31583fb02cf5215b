"""Draw samples and labels from the released masks of a block and year."""

from smallmines.core.job import job
from smallmines.labels.released_labels import Inputs, Outputs, write_released_labels
from smallmines.settings.released import ReleasedSamples
from smallmines.settings.transfer import Transfer

with job(snakemake.log[0]):
    source, params, place, outputs = snakemake.input, snakemake.params, snakemake.wildcards, snakemake.output
    write_released_labels(
        Inputs(source.mask, source.segments, source.features, source.grid),
        place.year,
        place.block,
        ReleasedSamples(**params.config),
        params.seed,
        Transfer(**params.transfer),
        Outputs(outputs.samples, outputs.labels),
    )
