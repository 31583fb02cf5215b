"""Write the dataset's documents."""

from pathlib import Path

from smallmines.config import Publish
from smallmines.job import job
from smallmines.provenance import read_json
from smallmines.publish.documents import write_documents
from smallmines.publish.facts import gather
from smallmines.publish.index import read_index

with job(snakemake.log[0]):
    source, given = snakemake.input, snakemake.params
    about = Publish.model_validate(given.about)
    statistics = {year: read_json(path) for year, path in zip(given.windows, source.statistics, strict=True)}
    labels, splits = read_json(source.quality), read_json(source.report)
    facts = gather(read_index(source.index), labels, splits, statistics, given.windows, about, given.run, given.country)
    write_documents(facts, about, Path(source.index).parent)
