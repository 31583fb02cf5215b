"""The verb `smallmines merge`: join finished datasets of several runs into one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smallmines.cli.console import plain_errors, read_config
from smallmines.core.errors import UserError

if TYPE_CHECKING:
    from smallmines.config.publish import Publish

NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def merge(
    datasets: Annotated[
        list[Path], typer.Argument(help="Folders results/<run>/dataset of two or more finished runs, in the order of their ids.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The new folder, e.g. results/<name>/dataset; must not exist or be empty.")],
    title: Annotated[str, typer.Option("--title", help="Title; default: those of the datasets, joined by `and`.")] = "",
    version: Annotated[str, typer.Option("--version", help="Version, three numbers; default: that of --config, or 1.0.0.")] = "",
    name: Annotated[
        str, typer.Option("--name", help="Name of the STAC collection; default: the folder's name, or that above a folder `dataset`.")
    ] = "",
    licence: Annotated[
        str, typer.Option("--license", help="SPDX identifier of the licence; needed where the datasets have different ones.")
    ] = "",
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Configuration whose section `publish` states title, authors, contact, DOI and the like."),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Files that are read or written at a time.")] = 2,
) -> None:
    """Join finished datasets into one: unique ids, the same splits, documents and seal made anew (docs/merging.md)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from smallmines.config.doctor import Doctor
    from smallmines.dataset.merge import Statement
    from smallmines.dataset.merge import merge as merge_folders
    from smallmines.settings.parameters import settings_of
    from smallmines.settings.publish import Documents

    with plain_errors():
        settings = None if config is None else read_config(config)
        publish = _publish(None if settings is None else settings.publish, title, version, licence)
        doctor = Doctor() if settings is None else settings.doctor
        statement = Statement(_name(out, name), settings_of(publish, Documents), licence or None, doctor.location_r2)
        columns = (TextColumn("{task.description:<16}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            bar = bars.add_task("")
            merged = merge_folders(
                datasets,
                out,
                statement,
                threads,
                lambda what, done, count: bars.update(bar, description=what, completed=done, total=count),
            )
    facts = merged.facts
    for region in facts["regions"]:
        print(f"{region['name']}: {region['tiles']} tiles, {', '.join(region['years'])}, {region['crs']}")
    print(f"{facts['patches']} pairs of {facts['tiles']} tiles; ids {facts['tile_ids']}")
    print("files: " + ", ".join(f"{count} {how}" for how, count in merged.files.items()))
    border = facts["border"]
    print(
        f"between regions: {border['touching']} pairs of tiles touch, {border['overlapping']} of them share ground; "
        f"{border['test_tiles']} tiles of test touch train of another region"
    )
    print(f"train and test: {facts['leakage']['judgement']}: {facts['split_reason']}")
    print(f"written: {out}; now: smallmines doctor {out}")


def _publish(publish: Publish | None, title: str, version: str, licence: str) -> Publish:
    """Return the statements of the configuration with those of the options in their place.

    Raises:
        UserError: an option has not the form that the configuration asks for.
    """
    import pydantic

    from smallmines.config.publish import Publish

    given = {key: value for key, value in (("title", title), ("version", version), ("license", licence)) if value}
    try:
        return Publish(**({} if publish is None else publish.model_dump()) | given)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UserError(f"an option --{first['loc'][0]} of its form", f"{first['input']!r}: {first['msg']}", "correct the option") from None


def _name(out: Path, name: str) -> str:
    """Return the name of the merged dataset.

    Raises:
        UserError: it is none, as names of runs are.
    """
    place = out.resolve()
    chosen = name or (place.parent.name if place.name == "dataset" else place.name).lower()
    if not NAME.fullmatch(chosen):
        raise UserError("a name of a-z, 0-9, _ and - that begins with a letter or digit", repr(chosen), "give one with --name")
    return chosen
