"""Cut a block's composites into image patches."""

from smallmines.core.job import job
from smallmines.dataset.patches import write_images
from smallmines.grid.lattice import read_lattice

with job(snakemake.log[0]):
    source, wild, given = snakemake.input, snakemake.wildcards, snakemake.params
    lattice = read_lattice(source.grid)
    write_images(source.s2, source.s1, source.dem, lattice, wild.year, wild.block, given.country, given.config, snakemake.output[0])
