"""What the chosen scenes cover, as numbers and as a picture."""

from smallmines.archive.coverage import coverage
from smallmines.archive.fetch import Fetch
from smallmines.job import job
from smallmines.report.coverage import picture

with job(snakemake.log[0]):
    manifests = dict(zip(snakemake.params.names, snakemake.input.manifests, strict=True))
    settings = {sensor: Fetch(**one) for sensor, one in snakemake.params.config.items()}
    coverage(manifests, snakemake.input.grid, snakemake.params.pixels, settings, snakemake.output.shares)
    picture(snakemake.output.shares, snakemake.input.grid, snakemake.output.picture)
