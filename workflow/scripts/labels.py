"""Check people's samples and events and join them to segments."""

from smallmines.config import Assistant
from smallmines.job import job
from smallmines.labels.people import check

given, asked, made = snakemake.input, snakemake.params, snakemake.output
with job(snakemake.log[0]):
    check(
        list(given.samples), list(given.events), snakemake.wildcards.year, snakemake.wildcards.block, asked.wanted, asked.command,
        Assistant(**asked.config), given.grid, given.segments, given.features, made.samples, made.decisions, made.refused,
    )  # fmt: skip
