"""Assign the tiles to train, val and test."""

from smallmines.config import Splits
from smallmines.grid import read_lattice
from smallmines.job import job
from smallmines.publish.splits import write_splits

with job(snakemake.log[0]):
    source, given, made = snakemake.input, snakemake.params, snakemake.output
    masks = dict(zip([(year, block) for year in given.years for block in given.blocks], source.masks, strict=True))
    lattice, settings = read_lattice(source.grid), Splits(**given.config)
    write_splits(masks, lattice, settings, list(source.frozen), made.splits, made.report)
