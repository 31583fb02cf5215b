"""Gather the versions of the software that the products were made with."""

from smallmines.archive.fetched import read_fetched
from smallmines.job import job
from smallmines.provenance import write_json
from smallmines.software import gathered

with job(snakemake.log[0]):
    products = {name: list(paths) for name, paths in snakemake.input.items() if name != "fetched"}
    pixels = {file for path in snakemake.input.fetched for item in read_fetched(path) for file in item["files"].values()}
    write_json(snakemake.output[0], gathered({"cached pixels": sorted(pixels), **products}))
