"""Check people's events and find the decision in force for each segment."""

from smallmines.core.job import job
from smallmines.labels.decisions import Outputs, check_events
from smallmines.settings.transfer import Transfer

with job(snakemake.log[0]):
    source, outputs, wildcards = snakemake.input, snakemake.output, snakemake.wildcards
    check_events(
        list(source.events),
        wildcards.year,
        wildcards.block,
        source.features,
        source.segments,
        Transfer(**snakemake.params.config),
        Outputs(outputs.decisions, outputs.lineage, outputs.review),
    )
