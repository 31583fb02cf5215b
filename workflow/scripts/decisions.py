"""Check people's events and find the decision that counts for each segment."""

from smallmines.job import job
from smallmines.labels.people import check_events

given, made, where = snakemake.input, snakemake.output, snakemake.wildcards
with job(snakemake.log[0]):
    check_events(list(given.events), where.year, where.block, given.features, made.decisions, made.refused)
