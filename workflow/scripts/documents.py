"""Write the dataset's documents."""

from pathlib import Path

from smallmines.core.files import read_json
from smallmines.core.job import job
from smallmines.dataset.documents import write_documents
from smallmines.dataset.facts import FactSources, gather
from smallmines.dataset.index import read_index
from smallmines.sensors.manifest_files import read_manifest
from smallmines.settings.publish import Documents

with job(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    about = Documents(**params.about)
    statistics = {year: read_json(path) for year, path in zip(params.windows, source.statistics, strict=True)}
    labels, splits, software = (read_json(path) for path in (source.label_quality, source.report, source.software))
    manifests = {(Path(path).parent.name, Path(path).stem): read_manifest(path) for path in source.manifests}
    sources = FactSources(read_index(source.index), labels, splits, statistics, params.windows, software, manifests)
    write_documents(gather(sources, about, params.run, params.country), about, Path(source.index).parent)
