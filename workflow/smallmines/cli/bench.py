"""Verb `smallmines bench`: time and memory of the jobs of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smallmines.cli.console import ConfigPath, plain_errors, read_config, show


def bench(
    config: ConfigPath,
    stages: Annotated[Path | None, typer.Option(help="Also print the stages in this file, see `make demo`.", exists=True)] = None,
) -> None:
    """Print for each rule of a run its wall time, processor time and the largest memory of a job."""
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
    ]
    table.columns = ["rule", "jobs", "seconds", "longest s", "cpu s", "memory MB"]
    show(f"Run {settings.run}", [{str(key): value for key, value in row.items()} for row in table.to_dict("records")], decimals=1)
    if stages:
        show("Stages, wall time", list(run_times.stages(stages)), decimals=0)
