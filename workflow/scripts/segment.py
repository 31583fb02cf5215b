"""Segment a block's Sentinel-2 composite with Orfeo ToolBox."""

from smallmines.core.job import job
from smallmines.segment.segmentation import Outputs, segment
from smallmines.settings.segmentation import Segmentation

with job(snakemake.log[0]):
    segment(
        snakemake.input.s2,
        snakemake.input.grid,
        snakemake.wildcards.block,
        Segmentation(**snakemake.params.config),
        snakemake.threads,
        snakemake.resources.mem_mb,
        Outputs(snakemake.output.labels, snakemake.output.report),
    )
