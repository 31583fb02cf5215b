"""Pack the dataset for the benchmark."""

from pathlib import Path

from smallmines.benchmark.packing import write_pack
from smallmines.core.job import job

with job(snakemake.log[0]):
    source = snakemake.input
    dataset = snakemake.params.dataset or Path(source.sums).parent
    write_pack(dataset, Path(snakemake.output[0]).parent, str(source.doctor) if source.doctor else None, snakemake.params.radiometry)
