"""The verbs `smallmines access` and `smallmines freeze`: the archives of a run, and its manifests kept in place of searches."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from smallmines.cli.console import ConfigPath, plain_errors, read_config
from smallmines.core.errors import UserError
from smallmines.core.layout import Layout


def access(config: ConfigPath) -> None:
    """Try every archive that the configuration names with one tiny read, and say what is missing and how to get it."""
    from rich.console import Console

    from smallmines.archive.access import try_providers
    from smallmines.core.redaction import redacted

    console, failed = Console(highlight=False, soft_wrap=True), False
    with plain_errors():
        for one in try_providers(read_config(config)):
            failed |= not one.works
            state = "[green]works[/green]" if one.works else "[red]FAILS[/red]"
            console.print(f"{one.sensor:3} {one.provider} ({one.role}): {state}, {one.seconds} s")
            console.print(f"    {redacted(one.found)}", markup=False)
            if one.do:
                console.print(f"    do: {one.do}", markup=False)
    if failed:
        sys.exit(1)


def freeze(
    config: ConfigPath, force: Annotated[bool, typer.Option("--force", help="Replace manifests that are kept already.")] = False
) -> None:
    """Keep a run's manifests in place of its searches (resources/user/<run>/manifests/): the catalogues may move on then."""
    from smallmines.core.files import written

    with plain_errors():
        run = read_config(config).run
        layout = Layout(run)
        found = sorted(layout.manifests.glob("*/*.json"))
        if not found:
            raise UserError(f"manifests in {layout.manifests}", "none", "run the workflow up to the searches first")
        kept = 0
        for path in found:
            target = layout.user.manifests / path.parent.name / path.name
            if target.is_file() and target.read_bytes() != path.read_bytes() and not force:
                raise UserError(f"no other manifest at {target}", "one that differs from the run's", "--force replaces it")
            with written(target) as beside:
                beside.write_bytes(path.read_bytes())
            kept += 1
    print(f"{kept} manifests kept in {layout.user.manifests}; delete one to search again")
