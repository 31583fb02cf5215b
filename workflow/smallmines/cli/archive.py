"""Verbs `smallmines access` and `smallmines freeze`: try the archives of a run; keep its manifests in place of searches."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from smallmines.cli.console import ConfigPath, plain_errors, read_config
from smallmines.core.errors import UserError
from smallmines.core.layout import Layout


def access(config: ConfigPath) -> None:
    """Read a few pixels from every archive of the configuration. Exit status 1: one fails; what is missing and how to get it is printed."""
    from rich.console import Console

    from smallmines.archive.access import try_providers
    from smallmines.core.redaction import redacted

    console, failed = Console(highlight=False, soft_wrap=True), False
    with plain_errors():
        for attempt in try_providers(read_config(config)):
            failed |= not attempt.works
            state = "[green]works[/green]" if attempt.works else "[red]FAILS[/red]"
            console.print(f"{attempt.sensor:3} {attempt.provider} ({attempt.role}): {state}, {attempt.seconds} s")
            console.print(f"    {redacted(attempt.found)}", markup=False)
            if attempt.do:
                console.print(f"    do: {attempt.do}", markup=False)
    if failed:
        sys.exit(1)


def freeze(
    config: ConfigPath, force: Annotated[bool, typer.Option("--force", help="Replace manifests that are kept already and differ.")] = False
) -> None:
    """Copy the manifests of a run to resources/user/<run>/manifests/, where they replace searches: catalogues change with time."""
    from smallmines.core.files import written

    with plain_errors():
        run = read_config(config).run
        layout = Layout(run)
        manifests = sorted(layout.manifests.glob("*/*.json"))
        if not manifests:
            raise UserError(f"manifests in {layout.manifests}", "none", "run the workflow up to the searches first")
        for path in manifests:
            target = layout.user.manifests / path.parent.name / path.name
            if target.is_file() and target.read_bytes() != path.read_bytes() and not force:
                raise UserError(f"no other manifest at {target}", "one that differs from the run's", "--force replaces it")
            with written(target) as beside:
                beside.write_bytes(path.read_bytes())
    print(f"{len(manifests)} manifests kept in {layout.user.manifests}; delete one to search again")
