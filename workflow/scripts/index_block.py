"""Compute the rows of a block for the dataset's index."""

from smallmines.core.job import job
from smallmines.dataset.index import BlockFiles, write_rows
from smallmines.grid.lattice import read_lattice

with job(snakemake.log[0]):
    source, wild = snakemake.input, snakemake.wildcards
    names = ("masks", "s2", "s1", "dem", "source", "clear_mask", "segments", "labels")
    files = BlockFiles(**{name: getattr(source, name) or None for name in names})
    write_rows(files, read_lattice(source.grid), wild.year, wild.block, snakemake.output[0])
