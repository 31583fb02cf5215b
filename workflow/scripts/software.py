"""Collect the versions of the software that made the products."""

from smallmines.core.files import write_json
from smallmines.core.job import job
from smallmines.core.software import gathered
from smallmines.sensors.manifest import Entry
from smallmines.sensors.manifest_files import read_fetched

with job(snakemake.log[0]):
    products = {name: list(paths) for name, paths in snakemake.input.items() if name != "fetched"}
    pixels = {file for path in snakemake.input.fetched for item in read_fetched(path, Entry).items for file in item.files.values()}
    write_json(snakemake.output[0], gathered({"cached pixels": sorted(pixels), **products}))
