"""Check people's events and find the decision that counts for each segment."""

from smallmines.core.job import job
from smallmines.labels.decisions import check_events
from smallmines.settings.transfer import Transfer

given, made, where = snakemake.input, snakemake.output, snakemake.wildcards
with job(snakemake.log[0]):
    settings = Transfer(**snakemake.params.config)
    tables = (made.decisions, made.lineage, made.review)
    check_events(list(given.events), where.year, where.block, given.features, given.segments, settings, *tables)
