"""Write the page that a data user reads first."""

from smallmines.core.job import job
from smallmines.report.page import write_page
from smallmines.settings.publish import Page

with job(snakemake.log[0]):
    source = snakemake.input
    about = Page(**snakemake.params.about)
    write_page(source.facts, source.doctor, source.sums, source.plots, about, snakemake.output[0])
