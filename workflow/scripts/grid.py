"""Lay tiles and blocks over the area of interest."""

from smallmines.aoi import read_aoi
from smallmines.grid import make_grid
from smallmines.job import job
from smallmines.settings.aoi import Aoi
from smallmines.settings.grid import Grid

with job(snakemake.log[0]):
    aoi = read_aoi(list(snakemake.input.aoi), Aoi(**snakemake.params.aoi), snakemake.params.grid["crs"], snakemake.params.user_folder)
    make_grid(aoi, Grid.of(snakemake.params.grid), snakemake.output.fishnet, snakemake.output.blocks, snakemake.output.grid)
