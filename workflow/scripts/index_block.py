"""Compute the rows of a block for the dataset's index."""

from smallmines.core.job import job
from smallmines.dataset.index import BlockFiles, write_rows
from smallmines.grid.lattice import read_lattice

with job(snakemake.log[0]):
    source, wild = snakemake.input, snakemake.wildcards
    segments, labels = source.segments or None, source.labels or None
    files = BlockFiles(source.masks, source.s2, source.s1, source.dem, source.source, source.clear_mask, segments, labels)
    write_rows(files, read_lattice(source.grid), wild.year, wild.block, snakemake.output[0])
