"""Compare the dataset with the release."""

from smallmines.compare.page import About, compare_with_release
from smallmines.core.job import job

with job(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    about = About(params.source, params.hold_out, params.seed, params.user_folder, params.title)
    compare_with_release(params.dataset, source.images, source.grid, source.get("release"), about, snakemake.threads, snakemake.output.page)
