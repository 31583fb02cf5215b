"""What `fetch` leaves for the composites: the list of a block's cached files. It knows nothing of archives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from smallmines.core.errors import UserError
from smallmines.core.files import read_json


def item_files(fetched: Sequence[Mapping[str, Any]]) -> list[str]:
    """All cached files of fetched items that are missing; for a message before work starts."""
    return [path for item in fetched for path in item["files"].values() if not Path(path).is_file()]


def read_fetched(path: str | Path) -> list[dict[str, Any]]:
    """The items of `fetched/<year>/<block>/<sensor>.json`.

    Raises:
        UserError: a cached file is gone.
    """
    items: list[dict[str, Any]] = read_json(path)["items"]
    if missing := item_files(items):
        raise UserError(
            f"the pixels listed in {path}", f"{len(missing)} missing, first {missing[0]}", f"delete {path} and run again to fetch them"
        )
    return items


def read_scenes(path: str | Path) -> list[dict[str, Any]]:
    """All items of the year by index, those that miss the block too; see `fetch`."""
    scenes: list[dict[str, Any]] = read_json(path)["scenes"]
    return scenes


def stand_in(path: str | Path) -> dict[str, str]:
    """Tags that say which provider stood in for the one that was asked first, and the edition where the provider states one."""
    known = read_json(path)
    fallback, edition = known.get("fallback"), known.get("edition")
    tags = {"FALLBACK": f"{known['provider']} instead of {fallback['instead_of']}: {fallback['differs']}"} if fallback else {}
    return tags | ({"EDITION": str(edition)} if edition else {})


def provider_in(path: str | Path) -> str:
    """Where the pixels of a `fetched` list come from."""
    return str(read_json(path)["provider"])
