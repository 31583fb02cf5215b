"""Write the dataset's documents."""

from pathlib import Path

from smallmines.job import job
from smallmines.provenance import read_json
from smallmines.publish.documents import write_documents
from smallmines.publish.facts import gather
from smallmines.publish.index import read_index
from smallmines.settings.publish import Documents

with job(snakemake.log[0]):
    source, given = snakemake.input, snakemake.params
    about = Documents(**given.about)
    statistics = {year: read_json(path) for year, path in zip(given.windows, source.statistics, strict=True)}
    labels, splits, software = (read_json(path) for path in (source.quality, source.report, source.software))
    facts = gather(read_index(source.index), labels, splits, statistics, given.windows, software, about, given.run, given.country)
    write_documents(facts, about, Path(source.index).parent)
