"""Collect the versions of the software that made the products."""

from smallmines.archive.pixel_cache import files_or_stubs
from smallmines.core.files import write_json
from smallmines.core.job import job
from smallmines.core.software import gathered

with job(snakemake.log[0]):
    products = {name: list(paths) for name, paths in snakemake.input.items() if name != "fetched"}
    pixels = {file for path in snakemake.input.fetched for file in files_or_stubs(path)}
    write_json(snakemake.output[0], gathered({"cached pixels": sorted(pixels), **products}))
