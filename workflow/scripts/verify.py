"""Check the published folder against its lists, its index and the grid."""

from smallmines.grid import read_lattice
from smallmines.job import job
from smallmines.publish.verify import verify

with job(snakemake.log[0]):
    source, given = snakemake.input, snakemake.params
    lattice = read_lattice(source.grid)
    verify(
        source.lists, source.index, lattice, given.years, given.country, snakemake.threads, given.run,
        source.quality, given.gates, snakemake.output[0],
    )  # fmt: skip
