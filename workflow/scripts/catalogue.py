"""Write the dataset's static STAC catalogue."""

from smallmines.job import job
from smallmines.publish.facts import read_facts
from smallmines.publish.index import read_index
from smallmines.publish.stac import write_catalogue
from smallmines.settings.publish import Catalogue

with job(snakemake.log[0]):
    source, given = snakemake.input, snakemake.params
    about = Catalogue(**given.about)
    write_catalogue(read_index(source.index), given.windows, given.run, about, read_facts(source.facts), snakemake.output[0])
