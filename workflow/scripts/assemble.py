"""Hard-link the patches of all blocks into the published folder of a year."""

from smallmines.core.job import job
from smallmines.dataset.assemble import assemble
from smallmines.grid.lattice import read_lattice

with job(snakemake.log[0]):
    folders = dict(zip(snakemake.params.blocks, snakemake.input.patches, strict=True))
    year, kind = snakemake.wildcards.year, snakemake.wildcards.kind
    lattice, measured = read_lattice(snakemake.input.grid), snakemake.input.measured
    assemble(folders, lattice, year, kind, snakemake.params.country, snakemake.output[0], measured)
