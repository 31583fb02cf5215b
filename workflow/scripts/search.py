"""Choose the items of a sensor and year from the archive's catalogue."""

from datetime import date

from smallmines.archive.search import search
from smallmines.config import Elevation, Sentinel1, Sentinel2
from smallmines.job import job

with job(snakemake.log[0]):
    sensor = snakemake.wildcards.sensor
    settings = {"s2": Sentinel2, "s1": Sentinel1, "dem": Elevation}[sensor](**snakemake.params.config)
    windows = {year: (date.fromisoformat(first), date.fromisoformat(last)) for year, (first, last) in snakemake.params.windows.items()}
    archived = next(iter(snakemake.input.archived), None)
    search(sensor, snakemake.wildcards.year, windows, settings, snakemake.input.grid, snakemake.output[0], archived)
