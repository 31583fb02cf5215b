"""Write the mosaics and mines of a year by a model of the benchmark."""

from smallmines.core.files import read_json
from smallmines.core.job import job
from smallmines.grid.lattice import read_lattice
from smallmines.map.dates import ImageDates
from smallmines.map.model_map import write_model_mosaics
from smallmines.map.polygons import MapFiles, write_mines
from smallmines.map.styles import write_styles
from smallmines.settings.map import Polygons

with job(snakemake.log[0]):
    source, params, outputs = snakemake.input, snakemake.params, snakemake.output
    lattice, year = read_lattice(source.grid), snakemake.wildcards.year
    predictions, sources, composites = (
        dict(zip(params.blocks, paths, strict=True)) for paths in (source.predictions, source.sources, source.composites)
    )
    threshold = int(read_json(source.score)["threshold"])
    write_model_mosaics(predictions, lattice, year, params.model, threshold, outputs)
    dates, files = ImageDates(lattice, sources, composites, source.manifest), MapFiles(outputs.mask, outputs.probability)
    write_mines(files, lattice, year, dates, Polygons(**params.config).smallest_mine_px, outputs.parquet, outputs.flatgeobuf)
    write_styles(outputs.styles)
