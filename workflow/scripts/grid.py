"""Lay tiles and blocks over the area of interest."""

from smallmines.core.job import job
from smallmines.grid.area import read_area
from smallmines.grid.make import check_size, make_grid
from smallmines.settings.aoi import Aoi
from smallmines.settings.grid import Grid

with job(snakemake.log[0]):
    aoi, grid = Aoi(**snakemake.params.aoi), Grid.of(snakemake.params.grid)
    area = read_area(list(snakemake.input.aoi), aoi.path, snakemake.params.user_folder)
    make_grid(area, grid, snakemake.output.fishnet, snakemake.output.blocks, snakemake.output.grid)
    check_size(area, grid.crs, aoi.expected_area_km2)
