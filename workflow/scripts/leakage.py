"""Report what the splits leak."""

from smallmines.core.job import job
from smallmines.dataset.index import read_index
from smallmines.dataset.splits import write_leakage
from smallmines.settings.splits import Splits

with job(snakemake.log[0]):
    params = snakemake.params
    write_leakage(read_index(snakemake.input.index), Splits(**params.config), params.frozen, snakemake.output[0])
