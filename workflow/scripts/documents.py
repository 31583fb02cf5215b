"""Write the dataset's documents."""

from pathlib import Path

from smallmines.core.job import job
from smallmines.core.json_products import BandStatistics, LabelQuality, Software, SplitReport, read_product
from smallmines.dataset.documents import write_documents
from smallmines.dataset.facts import FactSources, composite_findings, gather
from smallmines.dataset.index import read_index
from smallmines.sensors.manifest_files import read_manifest
from smallmines.settings.publish import Documents

with job(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    about = Documents(**params.about)
    statistics = {year: read_product(path, dict[str, BandStatistics]) for year, path in zip(params.windows, source.statistics, strict=True)}
    labels, splits = read_product(source.label_quality, LabelQuality), read_product(source.report, SplitReport)
    software = read_product(source.software, Software)
    manifests = {(Path(path).parent.name, Path(path).stem): read_manifest(path) for path in source.manifests}
    findings = composite_findings(source.composites)
    sources = FactSources(read_index(source.index), labels, splits, statistics, params.windows, software, manifests, findings)
    write_documents(gather(sources, about, params.run, params.country), about, Path(source.index).parent)
