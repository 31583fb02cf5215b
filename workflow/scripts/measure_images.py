"""Measure a block's images, each and with the year before."""

from smallmines.core.job import job
from smallmines.doctor.block_measures import first_scenes, measure_images
from smallmines.grid.lattice import read_lattice

with job(snakemake.log[0]):
    source = snakemake.input
    scenes = first_scenes(source.source, source.s2, read_lattice(source.grid), snakemake.wildcards.block)
    measure_images(source.images, source.before[0] if source.before else None, scenes, snakemake.output[0])
