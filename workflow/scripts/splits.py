"""Assign the tiles to train, val and test."""

from smallmines.core.job import job
from smallmines.dataset.splits import write_splits
from smallmines.grid.lattice import read_lattice
from smallmines.settings.splits import Splits

with job(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    keys = [(year, block) for year in params.years for block in params.blocks]
    masks = {} if source.frozen else dict(zip(keys, source.masks, strict=True))
    write_splits(masks, params.years, read_lattice(source.grid), Splits(**params.config), list(source.frozen), snakemake.output[0])
