"""Write the dataset as Parquet shards for Hugging Face."""

from pathlib import Path

from smallmines.core.job import job
from smallmines.publish.huggingface import Sources, write_shards
from smallmines.settings.splits import Splits

with job(snakemake.log[0]):
    source = snakemake.input
    sources = Sources(Path(source.sums).parent, list(source.statistics))
    write_shards(sources, Splits(**snakemake.params.config), Path(snakemake.output.sums).parent)
