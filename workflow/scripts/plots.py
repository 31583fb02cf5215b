"""Draw the plots of the whole run."""

from smallmines.core.job import job
from smallmines.report.plots import plots

with job(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    names = [f"{year}, {block}" for year in params.years for block in params.blocks]
    sources = {name: getattr(source, name) for name in ("index", "blocks", "label_quality", "splits")}
    metrics = dict(zip(names, source.metrics, strict=True)) if source.metrics else {}
    statistics = dict(zip(params.years, source.statistics, strict=True))
    plots(sources, metrics, statistics, dict(snakemake.output.items()))
