"""Fetch the pixels of a block, sensor and year into the cache."""

from pathlib import Path

from smallmines.archive.fetch import Cache, fetch
from smallmines.core.job import job
from smallmines.settings.fetch import FETCH

with job(snakemake.log[0]):
    sensor, params = snakemake.wildcards.sensor, snakemake.params
    fetch(
        sensor,
        snakemake.wildcards.block,
        snakemake.input.grid,
        snakemake.input.manifest,
        Cache(Path(params.pixels), params.reading),
        FETCH[sensor](**params.config),
        snakemake.output[0],
    )
