"""Count what the scores of a row of the benchmark need."""

from pathlib import Path

from smallmines.benchmark.runs import score_row
from smallmines.core.job import job

with job(snakemake.log[0]):
    source, target = snakemake.input, snakemake.output
    score_row(Path(source.pack).parent, source.split, source.fitted, source.probabilities, target.counts, target.about)
