"""Assign the tiles to train, val and test."""

from smallmines.core.job import job
from smallmines.dataset.splits import write_splits
from smallmines.grid.lattice import read_lattice
from smallmines.settings.splits import Splits

with job(snakemake.log[0]):
    source, given = snakemake.input, snakemake.params
    keys = [(year, block) for year in given.years for block in given.blocks]
    masks = {} if source.frozen else dict(zip(keys, source.masks, strict=True))
    write_splits(masks, given.years, read_lattice(source.grid), Splits(**given.config), list(source.frozen), snakemake.output[0])
