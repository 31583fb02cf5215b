"""Check people's samples and join them to segments."""

from smallmines.core.job import job
from smallmines.labels.check_samples import check_samples
from smallmines.settings.samples import Samples

given, asked, made = snakemake.input, snakemake.params, snakemake.output
with job(snakemake.log[0]):
    check_samples(
        list(given.samples), asked.wanted, asked.command, snakemake.wildcards.block, Samples(**asked.config),
        given.grid, given.segments, given.features, made.samples, made.refused,
    )  # fmt: skip
