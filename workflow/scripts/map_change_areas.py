"""State the areas of gain and loss between two years."""

from smallmines.core.job import job
from smallmines.grid.lattice import read_lattice
from smallmines.map.change_totals import SampleFiles, write_totals

with job(snakemake.log[0]):
    source, wildcards = snakemake.input, snakemake.wildcards
    sample = SampleFiles(list(source.designs), list(source.before), list(source.after))
    years = (wildcards.first, wildcards.last)
    write_totals(source.change, sample, years, read_lattice(source.grid), snakemake.output[0])
