"""Join the masks, probabilities and provenances of all blocks of a year."""

from smallmines.core.job import job
from smallmines.grid.lattice import read_lattice
from smallmines.map.mosaics import BlockProducts, write_mosaics
from smallmines.map.styles import write_styles

with job(snakemake.log[0]):
    source, params, outputs = snakemake.input, snakemake.params, snakemake.output
    of_segments = zip(source.segments, source.labels, source.probabilities, strict=True) if source.segments else [()] * len(source.masks)
    files = [BlockProducts(mask, *others) for mask, others in zip(source.masks, of_segments, strict=True)]
    lattice, blocks = read_lattice(source.grid), dict(zip(params.blocks, files, strict=True))
    write_mosaics(blocks, lattice, snakemake.wildcards.year, {name: path for name, path in outputs.items() if path and name != "styles"})
    write_styles(outputs.styles)
