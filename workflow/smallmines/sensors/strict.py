"""Strict reading of JSON files that earlier steps or people wrote: what is missing or of another type is named."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from smallmines.core.errors import UserError

IDENTIFIER = re.compile(r"[A-Za-z0-9._-]{1,200}")
"""Ids of items become names of folders: other characters, `.` and `..` are refused. The longest ids of the archives have 71 characters
(Sentinel-1 RTC of the Planetary Computer), and file systems allow 255 bytes."""

T = TypeVar("T")


def is_identifier(value: object) -> bool:
    """Return whether a value can be the id of an item."""
    return isinstance(value, str) and bool(IDENTIFIER.fullmatch(value)) and value not in (".", "..")


def read_object(path: str | Path, what: str, do: str) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        what: what the file is, for the message.
        do: what to do where it cannot be read.

    Raises:
        UserError: no file, no JSON, or another value than an object.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_no_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{what}, a JSON file, at {path}", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}", do) from error
    if not isinstance(content, dict):
        raise UserError(f"{what}, a JSON object, in {path}", f"a {type(content).__name__}", do)
    return content


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def record(kind: Callable[..., T], values: Any, where: str) -> T:
    """Make a dataclass from the keys that it names; other keys are ignored, a missing key with a default takes it.

    Args:
        where: the place in the file, for the message.

    Raises:
        ValueError: a key is missing or its value has another type; names place, expectation and value.
    """
    import pydantic

    if not isinstance(values, Mapping):
        raise ValueError(f"{where} is {_short(values)} instead of an object")
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    chosen = {name: value for name, value in values.items() if name in names}
    try:
        _adapter(kind).validate_json(json.dumps(chosen), strict=True)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join([where, *map(str, first["loc"])])
        value = "missing" if first["type"] == "missing" else f"{_short(first['input'])}: {first['msg']}"
        raise ValueError(f"{place} is {value}") from None
    return kind(**chosen)


@functools.cache
def _adapter(kind: Any) -> Any:
    import pydantic

    return pydantic.TypeAdapter(kind)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
