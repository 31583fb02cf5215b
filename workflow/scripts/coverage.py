"""What the chosen scenes cover, as numbers and as a picture."""

from pathlib import Path

from smallmines.archive.coverage import coverage
from smallmines.archive.fetch import Cache
from smallmines.core.job import job
from smallmines.report.coverage import picture
from smallmines.settings.fetch import FETCH

with job(snakemake.log[0]):
    given, made = snakemake.params, snakemake.output
    manifests = dict(zip(given.names, snakemake.input.manifests, strict=True))
    settings = {sensor: FETCH[sensor](**values) for sensor, values in given.config.items()}
    coverage(manifests, snakemake.input.grid, Cache(Path(given.pixels), snakemake.resources.reading), settings, made.shares)
    picture(made.shares, snakemake.input.grid, made.picture)
