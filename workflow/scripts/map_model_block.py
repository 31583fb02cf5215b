"""Predict a block and year with a model of the benchmark."""

from pathlib import Path

from smallmines.benchmark.models import load
from smallmines.benchmark.on_map import files_of, image_model, predict_image
from smallmines.core.job import job

with job(snakemake.log[0]):
    fitted = load(snakemake.input.model)
    files = files_of(Path(snakemake.input.s2), image_model(fitted).bands)
    predict_image(fitted, files, snakemake.output[0], snakemake.threads)
