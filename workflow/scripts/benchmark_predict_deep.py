"""Predict with a network of the benchmark."""

from pathlib import Path

from smallmines.benchmark.deep.model import pytorch
from smallmines.benchmark.runs import predict_row
from smallmines.core.job import job

with job(snakemake.log[0]):
    source = snakemake.input
    pytorch(snakemake.threads)
    predict_row(Path(source.pack).parent, source.split, source.model, snakemake.threads, snakemake.output[0])
