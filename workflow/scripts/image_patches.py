"""Cut a block's composites into image patches."""

from smallmines.grid import read_lattice
from smallmines.job import job
from smallmines.patches import write_images

with job(snakemake.log[0]):
    source, wild, given = snakemake.input, snakemake.wildcards, snakemake.params
    lattice = read_lattice(source.grid)
    write_images(source.s2, source.s1, source.dem, lattice, wild.year, wild.block, given.country, given.config, snakemake.output[0])
