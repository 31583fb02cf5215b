"""The verbs `smallmines config …`."""

from __future__ import annotations

import sys

import typer

from smallmines.config.documentation import keys_table, schema

app = typer.Typer(no_args_is_help=True, help="The configuration.")


@app.command("keys")
def config_keys() -> None:
    """Print every key with its values, default and meaning, as Markdown."""
    sys.stdout.write(keys_table())


@app.command("schema")
def config_schema() -> None:
    """Print the JSON schema of the configuration."""
    sys.stdout.write(schema())
