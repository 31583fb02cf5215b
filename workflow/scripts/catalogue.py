"""Write the dataset's static STAC catalogue."""

from smallmines.core.job import job
from smallmines.dataset.facts import read_facts
from smallmines.dataset.index import read_index
from smallmines.dataset.stac import write_catalogue
from smallmines.settings.publish import Catalogue

with job(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    about = Catalogue(**params.about)
    write_catalogue(read_index(source.index), params.windows, params.run, about, read_facts(source.facts), snakemake.output[0])
