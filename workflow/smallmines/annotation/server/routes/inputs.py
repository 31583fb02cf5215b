"""Read what a page sends: JSON bodies whose values have the expected types and lengths, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from smallmines.annotation.server.guard import Refusal

if TYPE_CHECKING:
    from starlette.requests import Request

UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
"""Form of the names that a page gives its batches."""

WRITER = re.compile(r"[A-Za-z0-9-]{8,64}")
"""Form of the name of a tab."""

SESSION = re.compile(r"[0-9a-f]{16}")
"""Form of the id of a session."""

TILE = re.compile(r"[A-Za-z0-9_-]{1,40}")
"""Form of the id of a tile."""

LONGEST_TEXT = 10_000
"""Letters of a text."""

MOST_TILES = 2_000
"""Tiles of a list."""

Choice = TypeVar("Choice", bound=str)


def wrong(expected: str, found: object) -> Refusal:
    """Return the refusal (422) of a value; at most 80 letters of it are repeated."""
    return Refusal(422, expected, f"{found!r:.80}", "reload the page; if it stays, tell the person who runs the server")


async def body_of(request: Request, *names: str) -> dict[str, Any]:
    """Return the JSON object of a request, which may have these members and no others.

    Raises:
        Refusal: it is no JSON object, or has other members.
    """
    try:
        value = json.loads(await request.body() or b"{}")
    except (ValueError, RecursionError):
        raise wrong("a JSON object", "something else") from None
    if not isinstance(value, dict):
        raise wrong("a JSON object", type(value).__name__)
    if strange := sorted(set(value) - set(names)):
        raise wrong(f"only {', '.join(names) or 'an empty object'}", ", ".join(strange[:5]))
    return value


def text_of(value: Mapping[str, Any], name: str, form: re.Pattern[str] | None = None, longest: int = LONGEST_TEXT) -> str:
    """Return a text of an object; empty where it is missing and no form is asked for.

    Raises:
        Refusal: it is no text, longer, or of another form.
    """
    text = value.get(name, "")
    text = "" if text is None else text
    if not isinstance(text, str) or len(text) > longest or (form and not form.fullmatch(text)):
        raise wrong(f"{name}: a text" + (f" of the form {form.pattern}" if form else f" of at most {longest} letters"), text)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        raise wrong(f"{name}: a text in Unicode", text.encode(errors="replace")) from None
    return text


def choice_of(value: Mapping[str, Any], name: str, allowed: Collection[Choice]) -> Choice:
    """Return a text that is one of several.

    Raises:
        Refusal: it is none of them.
    """
    text = value.get(name)
    for choice in allowed:
        if choice == text:
            return choice
    raise wrong(f"{name}: one of {', '.join(filter(None, allowed))}", text)


def flag_of(value: Mapping[str, Any], name: str) -> bool:
    """Return true or false; false where it is missing.

    Raises:
        Refusal: it is neither.
    """
    flag = value.get(name, False)
    if not isinstance(flag, bool):
        raise wrong(f"{name}: true or false", flag)
    return flag


def number_of(value: Mapping[str, Any], name: str, low: float, high: float) -> float:
    """Return a number from `low` to `high`.

    Raises:
        Refusal: it is none.
    """
    number = value.get(name)
    if isinstance(number, bool) or not isinstance(number, int | float) or not low <= number <= high:
        raise wrong(f"{name}: a number from {low:g} to {high:g}", number)
    return number


def whole_number_of(value: Mapping[str, Any], name: str, low: int, high: int) -> int:
    """Return a whole number from `low` to `high`.

    Raises:
        Refusal: it is none.
    """
    number = number_of(value, name, low, high)
    if not isinstance(number, int):
        raise wrong(f"{name}: a whole number", number)
    return number


def tiles_of(value: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return ids of tiles; none where the list is missing.

    Raises:
        Refusal: something else is among them.
    """
    tiles = value.get(name) or []
    if not isinstance(tiles, list) or len(tiles) > MOST_TILES or not all(isinstance(tile, str) and TILE.fullmatch(tile) for tile in tiles):
        raise wrong(f"{name}: a list of tiles", tiles)
    return tuple(dict.fromkeys(tiles))
