"""Write the change between two years: the map, its polygons, and what each tile holds of it."""

from smallmines.core.files import written
from smallmines.core.job import job
from smallmines.grid.lattice import read_lattice
from smallmines.map.change_map import YearFiles, pairs, write_change, write_change_areas
from smallmines.map.dates import ImageDates
from smallmines.settings.map import Change

with job(snakemake.log[0]):
    source, params, outputs, wildcards = snakemake.input, snakemake.params, snakemake.output, snakemake.wildcards
    lattice, years = read_lattice(source.grid), (wildcards.first, wildcards.last)
    by_block = {name: dict(zip(params.places, source[name], strict=True)) for name in ("clear_masks", "sources", "composites")}
    files = []
    for year, mask, manifest in zip(years, source.masks, source.manifests, strict=True):
        own = {name: {block: path for (of, block), path in paths.items() if of == year} for name, paths in by_block.items()}
        files.append(YearFiles(year, mask, own["clear_masks"], ImageDates(lattice, own["sources"], own["composites"], manifest)))
    write_change(*files, lattice, Change(**params.config), outputs.change)
    write_change_areas(outputs.change, *files, lattice, outputs.parquet, outputs.flatgeobuf)
    with written(outputs.pairs) as beside:
        pairs(outputs.change, years, source.splits, params.country, lattice).to_parquet(beside, index=False)
