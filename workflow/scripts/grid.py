"""Lay tiles and blocks over the area of interest."""

from smallmines.core.job import job
from smallmines.grid.aoi import read_aoi
from smallmines.grid.make import make_grid
from smallmines.settings.aoi import Aoi
from smallmines.settings.grid import Grid

with job(snakemake.log[0]):
    aoi = read_aoi(list(snakemake.input.aoi), Aoi(**snakemake.params.aoi), snakemake.params.grid["crs"], snakemake.params.user_folder)
    make_grid(aoi, Grid.of(snakemake.params.grid), snakemake.output.fishnet, snakemake.output.blocks, snakemake.output.grid)
