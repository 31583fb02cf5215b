"""Split the pack for the benchmark."""

from pathlib import Path

from smallmines.benchmark.runs import write_split
from smallmines.core.job import job

with job(snakemake.log[0]):
    params = snakemake.params
    write_split(Path(snakemake.input.pack).parent, snakemake.wildcards.split, params.seed, params.released, snakemake.output[0])
