"""Cut a block's mask into mask patches."""

from smallmines.core.job import job
from smallmines.dataset.patches import PatchSet, write_masks
from smallmines.grid.lattice import read_lattice

with job(snakemake.log[0]):
    source, wild, params = snakemake.input, snakemake.wildcards, snakemake.params
    patches = PatchSet(read_lattice(source.grid), wild.year, wild.block, params.country, params.config)
    write_masks(source.mask, patches, snakemake.output[0])
