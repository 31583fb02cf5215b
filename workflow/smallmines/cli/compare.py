"""The verb `smallmines compare`: compare a dataset with another, or with published tables; infer how released patches were made."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smallmines.cli.console import plain_errors, read_config
from smallmines.cli.output import Json, output
from smallmines.core.errors import UserError
from smallmines.core.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from smallmines.compare.origin import Record


def compare(
    ours: Annotated[Path, typer.Argument(help="Our dataset, e.g. results/<run>/dataset.", exists=True, file_okay=False)],
    published: Annotated[
        Path | None, typer.Argument(help="The other: a folder with its patches at any depth, or only its split tables.", exists=True)
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Configuration of our run, from which imported labels are known."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder of table, figures and maps; default: compare, or results/<run>/compare.")
    ] = None,
    identify: Annotated[
        bool,
        typer.Option(
            "--identify", help="Compare nothing: infer from the patches named last how they were made, and print that as a configuration."
        ),
    ] = False,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Patches that are read at a time.")] = 2,
    json: Json = False,
) -> None:
    """Measure the differences between a dataset and a published one, tile by tile; patches are joined by location, not by number."""
    with plain_errors():
        if identify:
            _identify(published or ours)
            return
        if published is None:
            raise UserError("two datasets", "one", "name the published one too, or ask with --identify how this one was made")
        from smallmines.compare.run import compare_folders

        layout = None if config is None else Layout(read_config(config).run)
        folder = folder or (Path("compare") if layout is None else layout.comparison)
        with output(json) as out:
            result = compare_folders(ours, published, _record(config), folder, threads, _progress)
            for table in result.tables:
                out.table(table.title, table.rows, table.name)
            for message in result.messages:
                out.message(message)


def _record(config: Path | None) -> Record:
    """Return where the labels of a run come from, as far as it is known."""
    from smallmines.compare.origin import read_record, released_record

    if config is None:
        return read_record(None)
    cfg = read_config(config)
    layout = Layout(cfg.run)
    if cfg.labels.source == "people" or not layout.release.is_file():
        return read_record(layout.user.path)
    hold_out = cfg.released.hold_out if cfg.labels.source == "released_samples" else 0.0
    return released_record(layout.release, layout.grid, hold_out, cfg.labels.seed)


def _identify(folder: Path) -> None:
    from smallmines.compare.identify import TILES, as_config, evidence, identify
    from smallmines.compare.pairs import find_patches

    patches = find_patches(folder) if folder.is_dir() else []
    with _progress("examining", min(TILES, sum(patch.image is not None for patch in patches))) as step:
        answers = identify(patches, step)
    for row in evidence(answers):
        print(f"# {row['key']}: {row['found']}: {row['by']}", file=sys.stderr)
    sys.stdout.write(as_config(answers))


@contextmanager
def _progress(text: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a transient progress bar on standard error; yield a function that advances it."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(text, total=total)
        yield lambda: bar.advance(task)
