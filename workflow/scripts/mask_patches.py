"""Cut a block's mask into mask patches."""

from smallmines.grid import read_lattice
from smallmines.job import job
from smallmines.patches import write_masks

with job(snakemake.log[0]):
    source, wild, given = snakemake.input, snakemake.wildcards, snakemake.params
    write_masks(source.mask, read_lattice(source.grid), wild.year, wild.block, given.country, given.config, snakemake.output[0])
