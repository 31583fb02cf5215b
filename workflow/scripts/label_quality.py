"""Measure the quality of the labels of the dataset."""

from smallmines.core.job import job
from smallmines.labels.label_quality import by_place, write_quality
from smallmines.labels.released_agreement import ReleaseFiles

with job(snakemake.log[0]):
    source, params, outputs = snakemake.input, snakemake.params, snakemake.output
    places = [(year, block) for year in params.years for block in params.blocks]
    products = {name: list(getattr(source, name)) for name in ("features", "labels", "masks")}
    people = {name: list(getattr(source, name)) for name in ("events", "overlap", "design", "references")}
    counted = list(zip(places, source.agreement, strict=True)) if source.agreement else []
    agreement = {year: [path for place, path in counted if place[0] == year] for year in params.years}
    release = ReleaseFiles(source.release[0], agreement, source.grid or None) if source.release else None
    write_quality(by_place(places, products, people), params.seed, outputs.labels, outputs.points, release)
