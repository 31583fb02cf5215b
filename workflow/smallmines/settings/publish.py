"""Keys of the rules `catalogue`, `page` and `documents`: what the published folder states about itself."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass


@dataclass(frozen=True)
class Catalogue:
    """Keys of `publish` that the rule `catalogue` reads."""

    authors: tuple[str, ...]
    doi: str | None
    license: str


@dataclass(frozen=True)
class Page(Catalogue):
    """Keys of `publish` that the rule `page` reads."""

    date: dt.date | None
    url: str | None
    attributions: tuple[str, ...]


@dataclass(frozen=True)
class Documents(Page):
    """Keys of `publish` that the rule `documents` reads."""

    title: str
    description: str
    contact: str
    funding: str
    version: str
    class_definition: str
