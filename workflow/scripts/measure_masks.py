"""Measure a block's masks, each and with its image."""

from smallmines.core.job import job
from smallmines.doctor.block_measures import measure_masks

with job(snakemake.log[0]):
    measure_masks(snakemake.input.masks, snakemake.input.images, snakemake.input.measured, snakemake.output[0])
