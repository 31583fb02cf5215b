"""Write the mosaics of a year by a model of the benchmark."""

from smallmines.core.files import read_json
from smallmines.core.job import job
from smallmines.grid.lattice import read_lattice
from smallmines.map.model_map import write_model_mosaics
from smallmines.map.styles import write_styles

with job(snakemake.log[0]):
    source, params, outputs = snakemake.input, snakemake.params, snakemake.output
    predictions = dict(zip(params.blocks, source.predictions, strict=True))
    threshold = int(read_json(source.score)["threshold"])
    write_model_mosaics(predictions, read_lattice(source.grid), snakemake.wildcards.year, params.model, threshold, outputs)
    write_styles(outputs.styles)
