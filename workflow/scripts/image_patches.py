"""Cut a block's composites into image patches."""

from smallmines.core.job import job
from smallmines.dataset.patches import Composites, PatchSet, write_images
from smallmines.grid.lattice import read_lattice

with job(snakemake.log[0]):
    source, wild, params = snakemake.input, snakemake.wildcards, snakemake.params
    patches = PatchSet(read_lattice(source.grid), wild.year, wild.block, params.country, params.config)
    write_images(Composites(source.s2, source.s1, source.dem), patches, snakemake.output[0])
