"""Measure what the labels of the dataset are worth."""

from smallmines.core.job import job
from smallmines.labels.label_quality import by_place, write_quality

with job(snakemake.log[0]):
    source, given, made = snakemake.input, snakemake.params, snakemake.output
    places = [(year, block) for year in given.years for block in given.blocks]
    products = {name: list(getattr(source, name)) for name in ("features", "labels", "masks")}
    people = {name: list(getattr(source, name)) for name in ("events", "overlap", "design", "references")}
    write_quality(by_place(places, products, people), given.seed, made.labels, made.points)
