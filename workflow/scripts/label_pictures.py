"""Draw the pictures of a block that need labels."""

from smallmines.core.job import job
from smallmines.grid.lattice import read_lattice
from smallmines.report.pictures import label_pictures

with job(snakemake.log[0]):
    sources, wild = dict(snakemake.input.items()), snakemake.wildcards
    label_pictures(
        sources, read_lattice(sources["grid"]), wild.year, wild.block, {name: path for name, path in snakemake.output.items() if path}
    )
