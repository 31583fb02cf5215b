"""Write the report of the run."""

from smallmines.core.job import job
from smallmines.report.page import Sources, write_page
from smallmines.settings.publish import Page

with job(snakemake.log[0]):
    source = snakemake.input
    names = ("facts", "doctor", "sums", "index", "points", "manifests", "metrics", "grid", "plots")
    sources = Sources(**{name: getattr(source, name) for name in names})
    write_page(sources, Page(**snakemake.params.about), snakemake.output[0])
