"""Measure the quality of the labels of the dataset."""

from smallmines.core.job import job
from smallmines.labels.label_quality import by_place, write_quality

with job(snakemake.log[0]):
    source, params, outputs = snakemake.input, snakemake.params, snakemake.output
    places = [(year, block) for year in params.years for block in params.blocks]
    products = {name: list(getattr(source, name)) for name in ("features", "labels", "masks")}
    people = {name: list(getattr(source, name)) for name in ("events", "overlap", "design", "references")}
    write_quality(by_place(places, products, people), params.seed, outputs.labels, outputs.points)
