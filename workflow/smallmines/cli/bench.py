"""The verb `smallmines bench`: run time and memory of the jobs of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smallmines.cli.console import ConfigPath, plain_errors, read_config
from smallmines.cli.output import Json, output


def bench(
    config: ConfigPath,
    stages: Annotated[Path | None, typer.Option(help="Also print the stages of this file (see `make demo`).", exists=True)] = None,
    json: Json = False,
) -> None:
    """Print wall and processor time of each rule of a run, and the memory of its largest job."""
    from smallmines.report import run_times

    with plain_errors():
        settings = read_config(config)
        table = run_times.took(settings.run)
    table.loc[len(table)] = [
        "all",
        table["jobs"].sum(),
        table["seconds"].sum(),
        table["longest"].max(),
        table["cpu"].sum(),
        table["memory"].max(),
        table["start"].sum(skipna=False),
    ]
    table.columns = ["rule", "jobs", "seconds", "longest s", "cpu s", "memory MB", "start-up s"]
    with output(json) as out:
        rows = [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
        out.table(f"Run {settings.run}", rows, "rules", decimals=1)
        if stages:
            out.table("Stages, wall time", list(run_times.stages(stages)), "stages", decimals=0)
