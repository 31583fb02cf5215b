"""Write the dataset's index."""

from smallmines.core.job import job
from smallmines.dataset.index import IndexSources, write_index
from smallmines.grid.lattice import read_lattice

with job(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    keys = [(year, block) for year in params.years for block in params.blocks]
    rows = dict(zip(keys, source.rows, strict=True))
    sources = IndexSources(rows, source.lists, source.fishnet, source.label_quality, source.splits)
    write_index(sources, read_lattice(source.grid), params.country, params.windows, params.run, snakemake.output[0])
