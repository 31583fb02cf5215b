"""Write the page that a data user reads first."""

from smallmines.config import Publish
from smallmines.job import job
from smallmines.report.page import write_page

with job(snakemake.log[0]):
    source = snakemake.input
    about = Publish.model_validate(snakemake.params.about)
    write_page(source.facts, source.doctor, source.sums, source.plots, about, snakemake.output[0])
