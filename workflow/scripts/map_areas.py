"""Write the areas of mining by unit and year."""

from smallmines.core.job import job
from smallmines.grid.lattice import read_lattice
from smallmines.map.areas import write_areas
from smallmines.map.estimates import samples_of_years
from smallmines.map.units import layers_of
from smallmines.settings.map import Areas

with job(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    lattice = read_lattice(source.grid)
    layers = layers_of(source.aoi[0], Areas(**params.config).units, str(lattice.geobox.crs))
    points = samples_of_years(source.design, source.references, params.years, lattice.geobox)
    masks = dict(zip(params.years, source.masks, strict=True))
    write_areas(layers, masks, points, lattice, snakemake.output[0])
