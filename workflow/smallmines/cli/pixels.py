"""The verb `smallmines pixels`: what the cache of pixels holds, and the removal of what no job reads any more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smallmines.cli.console import plain_errors
from smallmines.cli.output import Json, output
from smallmines.core.errors import UserError

if TYPE_CHECKING:
    from smallmines.archive.pixel_cache import CachedFile

Run = Annotated[str | None, typer.Option("--run", help="With --remove: the pixels of this run, once its composites are made.")]
Remove = Annotated[bool, typer.Option("--remove", help="Remove the pixels that no run lists, or with --run those of one run.")]


Items = Annotated[bool, typer.Option("--items", help="A row for each item in place of each run.")]


def pixels(run: Run = None, remove: Remove = False, items: Items = False, json: Json = False) -> None:
    """List the cached pixels by run or item, or remove those that no job reads any more. Nothing that is made runs again for it."""
    from smallmines.archive import pixel_cache

    with plain_errors():
        if run is not None and not remove:
            raise UserError("--run together with --remove", "--run alone", "add --remove, or leave --run out")
        if run is not None and run not in (runs := pixel_cache.runs_of()):
            raise UserError(
                "--run with a run in this folder that fetched pixels", run, f"name one of: {', '.join(runs)}" if runs else "leave --run out"
            )
        files = pixel_cache.cached_files()
        chosen = pixel_cache.removable(files, run)
        broken = pixel_cache.remove(chosen) if remove else []
    with output(json) as out:
        if not remove:
            out.table(f"Cached pixels: {_size(files)}", _by_item(files) if items else _by_run(files))
            return
        kept = [file for file in files if run in file.runs and file not in chosen]
        out.table("Removed", [{"run": run or "(none)", "files": len(chosen), "gb": _gb(chosen), "files_kept": len(kept)}])
        if kept:
            out.message(f"{len(kept)} files stay: other runs list them too, or composites are still to be made from them")
        if broken:
            first = broken[0].path
            out.message(
                f"{len(broken)} files could not be read, first {first}: no stub with their tags stays, and a run may ask for them again"
            )


def _by_item(files: Sequence[CachedFile]) -> list[dict[str, Any]]:
    groups: dict[str, list[CachedFile]] = {}
    for file in files:
        groups.setdefault(file.item, []).append(file)
    return [
        {"item": item, "files": len(group), "gb": _gb(group), "runs": ", ".join(sorted({run for file in group for run in file.runs}))}
        for item, group in groups.items()
    ]


def _by_run(files: Sequence[CachedFile]) -> list[dict[str, Any]]:
    """Return a row for each run, and one for the files that no run lists; a file of several runs is in the row of each."""
    from smallmines.archive.pixel_cache import removable

    rows = []
    for run in [*sorted({run for file in files for run in file.runs}), None]:
        listed = [file for file in files if (run in file.runs if run else not file.runs)]
        waiting = {path for file in listed for path in file.waiting if path.parents[3].name == run}
        row = {"files": len(listed), "gb": _gb(listed), "removable_gb": _gb(removable(files, run)), "composites_to_make": len(waiting)}
        rows.append({"run": run or "(none)", **row})
    return rows


def _gb(files: Iterable[CachedFile]) -> float:
    return sum(file.size for file in files) / 1e9


def _size(files: Iterable[CachedFile]) -> str:
    """Return the size of files in the unit that fits."""
    size = sum(file.size for file in files)
    number, unit = next((number, unit) for number, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if size >= number or unit == "kB")
    return f"{size / number:.1f} {unit}"
