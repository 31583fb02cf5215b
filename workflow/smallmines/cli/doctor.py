"""The verb `smallmines doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smallmines.cli.console import plain_errors, read_config
from smallmines.cli.output import print_json

Folder = Annotated[
    Path, typer.Argument(help="The dataset's folder (ours, the release, or a look-alike), or one above it.", exists=True, file_okay=False)
]


def doctor(
    folder: Folder,
    config: Annotated[Path | None, typer.Option("--config", help="Configuration with limits of its own (section doctor).")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for doctor.json and doctor.html; empty: written nowhere.")] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Processes that read.")] = 2,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print doctor.json on standard output.")] = False,
) -> None:
    """Examine a dataset's folder: structure, radiometry, geometry, labels, leakage, documents, privacy. Exit status 1: errors."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from smallmines.config.doctor import Doctor
    from smallmines.doctor.examine import SEVERITIES, examine, line, summary, write
    from smallmines.doctor.folder import read_folder
    from smallmines.settings.doctor import Doctor as Limits
    from smallmines.settings.parameters import settings_of

    console = Console(soft_wrap=True, stderr=json)
    with plain_errors():
        limits = settings_of(Doctor() if config is None else read_config(config).doctor, Limits)
        dataset = read_folder(folder)
        pairs = len(dataset.pairs)
        if dataset.part:
            console.print(f"examining {dataset.part}", markup=False, highlight=False)
        columns = (TextColumn("reading pairs"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            bar = progress.add_task("", total=pairs)
            examined = examine(folder, limits, threads, lambda count: progress.update(bar, advance=count))
        colours = {"error": "red", "warning": "yellow", "note": "blue"}
        for finding in examined.findings:
            console.print(f"[{colours[finding.severity]}]{finding.severity}[/] ", end="")
            console.print(line(finding), markup=False, highlight=False)
        console.print(f"{pairs} pairs: " + ", ".join(f"{examined.count(severity)} {severity}s" for severity in SEVERITIES))
        if json:
            print_json(summary(examined))
        if out is not None:
            write(examined, dataset.root.resolve().name, out / "doctor.json", out / "doctor.html")
            console.print(f"written: {out / 'doctor.html'}", markup=False)
    raise typer.Exit(1 if examined.count("error") or (strict and examined.count("warning")) else 0)
