"""Search the archive for the items of a sensor and year."""

from datetime import date

from smallmines.archive.search import search
from smallmines.core.job import job
from smallmines.settings.search import SEARCH, UNSET

with job(snakemake.log[0]):
    sensor = snakemake.wildcards.sensor
    settings = SEARCH[sensor](**UNSET | snakemake.params.config)
    windows = {year: (date.fromisoformat(first), date.fromisoformat(last)) for year, (first, last) in snakemake.params.windows.items()}
    archived = next(iter(snakemake.input.archived), None)
    search(sensor, snakemake.wildcards.year, windows, settings, snakemake.input.grid, snakemake.output[0], archived)
