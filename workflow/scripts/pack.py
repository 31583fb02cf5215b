"""Pack the dataset for the benchmark."""

from pathlib import Path

from smallmines.benchmark.packing import write_pack
from smallmines.core.job import job

with job(snakemake.log[0]):
    doctor = snakemake.input.doctor or None
    write_pack(snakemake.params.dataset, Path(snakemake.output[0]).parent, doctor[0] if isinstance(doctor, list) else doctor)
