"""Verbs `smallmines config …`: write a configuration for a new region, check one, print the keys."""

from __future__ import annotations

import datetime as dt
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from smallmines.cli.console import ConfigPath, plain_errors, read_config
from smallmines.config.documentation import keys_table, schema, with_keys_table

app = typer.Typer(no_args_is_help=True, help="The configuration: write one for a new region, check one, print the keys.")


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Name of the run: small letters, digits, - and _.")],
    aoi: Annotated[Path, typer.Option("--aoi", help="The area of interest, a vector file in any CRS.", exists=True, dir_okay=False)],
    country: Annotated[str, typer.Option("--country", help="ISO 3166-1 alpha-2 code; default: from the attributes of the area.")] = "",
    year: Annotated[list[int] | None, typer.Option("--year", min=2015, help="An epoch; repeatable. Default: last year.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The file to write; default: config/NAME.yaml.")] = None,
) -> None:
    """Write a commented configuration for a new region: CRS, anchor, blocks and title are derived from the area."""
    from smallmines.preflight.new_region import Region, copy_commands, write_config

    target = out or Path("config") / f"{name}.yaml"
    region = Region(name, aoi, country.upper(), tuple(dict.fromkeys(year or [dt.date.today().year - 1])))
    with plain_errors():
        area = write_config(region, target)
    print(f"Written: {target} ({area.km2:.1f} km²). Look at `years` and `publish` in it. Then:")
    quoted = shlex.quote(str(target))
    commands = [
        *copy_commands(region),
        f"smallmines config check --config {quoted}",
        f"smallmines access --config {quoted}",
        f"snakemake --cores 16 annotate --configfile {quoted}",
    ]
    print("\n".join(f"  {command}" for command in commands))


@app.command("check")
def check(config: ConfigPath) -> None:
    """Check area, CRS, anchor, values left over from another run, catalogues and accounts. Exit status 1: errors."""
    from smallmines.preflight.check import boundaries_file, check_archives, check_area

    with plain_errors():
        settings = read_config(config)
        findings = [*check_area(settings), *check_archives(settings)]
    for finding in findings:
        print(f"{finding}\n")
    if settings.aoi.source == "geoboundaries" and not boundaries_file(settings).is_file():
        print("The boundaries are not downloaded yet: the area is not checked.")
    errors = sum(finding.severity == "error" for finding in findings)
    print(f"{config}: errors {errors}, warnings {len(findings) - errors}")
    raise typer.Exit(1 if errors else 0)


@app.command("keys")
def config_keys(
    out: Annotated[
        Path | None, typer.Option("--out", help="Replace the table in this document, between its markers.", exists=True, dir_okay=False)
    ] = None,
) -> None:
    """Print every key with its values, default and meaning, as Markdown."""
    _write(keys_table() if out is None else with_keys_table(out.read_text(encoding="utf-8")), out)


@app.command("schema")
def config_schema(out: Annotated[Path | None, typer.Option("--out", help="Write to this file.", dir_okay=False)] = None) -> None:
    """Print the JSON schema of the configuration."""
    _write(schema(), out)


def _write(text: str, out: Path | None) -> None:
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, encoding="utf-8")
