"""Compare the dataset with the release."""

from pathlib import Path

from smallmines.compare.page import About, compare_with_release
from smallmines.core.job import job

with job(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    about = About(params.source, params.hold_out, params.seed, params.user_folder, params.title)
    dataset = Path(source.sums).parent
    compare_with_release(dataset, source.images, source.grid, source.get("release"), about, snakemake.threads, snakemake.output.page)
