"""The verb `smallmines products`: whether the products of a run can be read."""

from __future__ import annotations

import typer

from smallmines.cli.console import ConfigPath, plain_errors, read_config
from smallmines.cli.output import Json, output


def products(config: ConfigPath, json: Json = False) -> None:
    """Read every product of a run and list those that are damaged. Exit status 1: some are."""
    from smallmines.core.errors import UserError
    from smallmines.core.files import remedy
    from smallmines.core.layout import Layout
    from smallmines.core.run_products import damaged

    with plain_errors():
        run = read_config(config).run
        results = Layout(run).results
        if not results.is_dir():
            raise UserError(f"products of the run {run} in {results}", "no such folder", "run the workflow first")
        rows = [{"file": str(path), "damage": reason, "do": remedy(path)} for path, reason in damaged(results)]
    with output(json) as out:
        out.table(f"Damaged products of run {run}: {len(rows)}", rows, "damaged")
    raise typer.Exit(1 if rows else 0)
