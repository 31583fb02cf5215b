"""Report and judge what the splits leak."""

from smallmines.core.job import job
from smallmines.dataset.index import read_index
from smallmines.dataset.splits import write_leakage
from smallmines.settings.splits import Splits

with job(snakemake.log[0]):
    params = snakemake.params
    source = snakemake.input
    write_leakage(read_index(source.index), Splits(**params.config), params.limit, list(source.frozen), snakemake.output[0])
