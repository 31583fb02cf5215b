"""Templates of the pages that a run writes; they share one style."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from smallmines.dataset.documents import interval, number, sentence

if TYPE_CHECKING:
    import jinja2


def environment(folder: Path | None = None) -> jinja2.Environment:
    """Return the environment of the templates of this room and, where given, of another folder."""
    import jinja2

    folders = [Path(__file__).with_name("templates"), *([folder] if folder else [])]
    loader = jinja2.FileSystemLoader(folders)
    made = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    made.filters |= {"num": number, "interval": interval, "sentence": sentence}
    return made
