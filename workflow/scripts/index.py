"""Write the dataset's index."""

from smallmines.core.job import job
from smallmines.dataset.index import BlockFiles, IndexSources, write_index
from smallmines.grid.lattice import read_lattice

with job(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    keys = [(year, block) for year in params.years for block in params.blocks]
    names = ("masks", "s2", "s1", "source", "clear_mask", "segments", "labels")
    products = zip(*(getattr(source, name) or [None] * len(keys) for name in names), strict=True)
    dem = dict(zip(params.blocks, source.dem, strict=True))
    files = {key: BlockFiles(**dict(zip(names, some, strict=True)), dem=dem[key[1]]) for key, some in zip(keys, products, strict=True)}
    sources = IndexSources(files, source.lists, source.fishnet, source.label_quality, source.splits)
    write_index(sources, read_lattice(source.grid), params.country, params.windows, params.run, snakemake.output[0])
