"""Write the coverage by the chosen scenes, as JSON and as a picture."""

from pathlib import Path

from smallmines.archive.coverage import coverage
from smallmines.archive.fetch import Cache
from smallmines.core.job import job
from smallmines.report.coverage import picture
from smallmines.settings.fetch import FETCH

with job(snakemake.log[0]):
    params, output = snakemake.params, snakemake.output
    manifests = dict(zip(params.names, snakemake.input.manifests, strict=True))
    settings = {sensor: FETCH[sensor](**values) for sensor, values in params.config.items()}
    coverage(manifests, snakemake.input.grid, Cache(Path(params.pixels), snakemake.resources.reading), settings, output.shares)
    picture(output.shares, snakemake.input.grid, output.picture)
