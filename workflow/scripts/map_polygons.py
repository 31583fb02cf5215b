"""Write the mines of a year as polygons."""

from smallmines.core.job import job
from smallmines.grid.lattice import read_lattice
from smallmines.map.dates import ImageDates
from smallmines.map.polygons import MapFiles, write_mines
from smallmines.map.styles import write_styles
from smallmines.settings.map import Polygons

with job(snakemake.log[0]):
    source, params, outputs = snakemake.input, snakemake.params, snakemake.output
    lattice, year = read_lattice(source.grid), snakemake.wildcards.year
    sources, composites = (dict(zip(params.blocks, paths, strict=True)) for paths in (source.sources, source.composites))
    dates = ImageDates(lattice, sources, composites, source.manifest)
    files = MapFiles(source.mask, source.probability or None, source.provenance or None)
    write_mines(files, lattice, year, dates, Polygons(**params.config).smallest_mine_px, outputs.parquet, outputs.flatgeobuf)
    write_styles([outputs.style])
