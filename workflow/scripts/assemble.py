"""Hard-link the patches of all blocks into the published folder of a year."""

from smallmines.grid import read_lattice
from smallmines.job import job
from smallmines.publish.assemble import assemble

with job(snakemake.log[0]):
    folders = dict(zip(snakemake.params.blocks, snakemake.input.patches, strict=True))
    year, kind = snakemake.wildcards.year, snakemake.wildcards.kind
    assemble(folders, read_lattice(snakemake.input.grid), year, kind, snakemake.params.country, snakemake.output[0])
