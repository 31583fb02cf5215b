"""Check the published folder against its lists, its index, its seal and the grid."""

from smallmines.core.job import job
from smallmines.dataset.verify import Expected, VerifiedFiles, verify
from smallmines.grid.lattice import read_lattice

with job(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    files = VerifiedFiles(source.lists, source.index, source.label_quality, source.measured)
    expected = Expected(read_lattice(source.grid), params.years, params.country)
    verify(files, expected, params.gates, params.run, snakemake.threads, snakemake.output[0])
