"""Write the part of the map that is given away."""

from smallmines.core.job import job
from smallmines.map.public import write_public
from smallmines.settings.map import Public

with job(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    mines = dict(zip(params.years, source.mines, strict=True)) if source.mines else {}
    write_public(source.areas, mines, Public(**params.config), params.published, params.title, snakemake.output[0])
