"""Lay images and masks of the released dataset into a folder."""

from smallmines.archive.release_images import read_images
from smallmines.core.job import job
from smallmines.settings.released import Released

with job(snakemake.log[0]):
    params = snakemake.params
    release = snakemake.input.get("release")
    read_images(Released(**params.config), params.years, params.user_folder, snakemake.output[0], release)
