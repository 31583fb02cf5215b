"""Write the change between two years: the map, its polygons, a picture, and what each tile holds of it."""

from smallmines.core.job import job
from smallmines.grid.lattice import read_lattice
from smallmines.map.change_map import write_change, write_change_areas, write_pairs, year_files
from smallmines.map.picture import write_change_picture
from smallmines.map.styles import write_styles
from smallmines.settings.map import Change

with job(snakemake.log[0]):
    source, params, outputs, wildcards = snakemake.input, snakemake.params, snakemake.output, snakemake.wildcards
    lattice, years = read_lattice(source.grid), (wildcards.first, wildcards.last)
    by_block = {name: dict(zip(params.places, source[name], strict=True)) for name in ("clear_masks", "sources", "composites")}
    of_years = zip(years, source.masks, source.manifests, strict=True)
    first, last = (year_files(lattice, year, mask, manifest, by_block) for year, mask, manifest in of_years)
    write_change(first, last, lattice, Change(**params.config), outputs.change)
    write_change_areas(outputs.change, first, last, lattice, outputs.parquet, outputs.flatgeobuf)
    write_pairs(outputs.change, years, source.splits, params.country, lattice, outputs.pairs)
    write_change_picture(years, last.dates.composites, outputs.parquet, source.aoi[0], lattice, outputs.picture)
    write_styles(outputs.styles)
