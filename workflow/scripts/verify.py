"""Check the published folder against its lists, its index and the grid."""

from smallmines.core.job import job
from smallmines.dataset.verify import verify
from smallmines.grid.lattice import read_lattice

with job(snakemake.log[0]):
    source, given = snakemake.input, snakemake.params
    lattice = read_lattice(source.grid)
    verify(
        source.lists, source.index, lattice, given.years, given.country, snakemake.threads, given.run,
        source.label_quality, given.gates, snakemake.output[0],
    )  # fmt: skip
