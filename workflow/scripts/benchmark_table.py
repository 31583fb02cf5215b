"""Write the table of the benchmark and its page."""

from pathlib import Path

from smallmines.benchmark.page import RowTitle, write_table
from smallmines.benchmark.table import scores_of
from smallmines.core.job import job

with job(snakemake.log[0]):
    folder, params = Path(snakemake.output.table).parent, snakemake.params
    rows = [RowTitle(*row) for row in params.rows]
    write_table(folder / "pack", scores_of(folder, params.fitted), rows, params.title, snakemake.output.table, snakemake.output.page)
