"""Draw the map of a year."""

from smallmines.core.job import job
from smallmines.grid.lattice import read_lattice
from smallmines.map.picture import write_picture

with job(snakemake.log[0]):
    source, composites = snakemake.input, dict(zip(snakemake.params.blocks, snakemake.input.composites, strict=True))
    write_picture(snakemake.wildcards.year, composites, source.mines, source.aoi[0], read_lattice(source.grid), snakemake.output[0])
