"""Validate a configuration and explain what is wrong with it."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from smallmines.config.section import Section
from smallmines.config.sections import Config, Year
from smallmines.core.errors import UserError


def read_config(path: Path) -> Config:
    """Read and validate a configuration file.

    Raises:
        UserError: the file is not YAML, or not a configuration.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"YAML in {path}", " ".join(str(error).split()), "correct the file") from None
    if not isinstance(values, dict):
        raise UserError(
            f"keys and values in {path}", "nothing" if values is None else type(values).__name__, "write it as config/README.md describes"
        )
    return parse_config(values)


def parse_config(values: dict[str, Any]) -> Config:
    """Validate a configuration as read from YAML.

    Raises:
        UserError: keys that are unknown or have a wrong value. The message names each of them, and for an unknown key the nearest
            known one.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        lines = [_explanation(details) for details in error.errors()]
        raise UserError(
            "a configuration as config/README.md describes it", "; ".join(lines), "correct these keys in the config file"
        ) from None


def _explanation(details: ErrorDetails) -> str:
    path = ".".join(str(part) for part in details["loc"])
    if details["type"] != "extra_forbidden":
        return f"{path}: {details['msg']} (found {details['input']!r})"
    *section, key = details["loc"]
    nearest = difflib.get_close_matches(str(key), _section_at(section).model_fields, n=1, cutoff=0)
    return f"{path}: unknown key" + (f", the nearest known one is `{nearest[0]}`" if nearest else "")


def _section_at(path: list[int | str]) -> type[Section]:
    """Return the type of the section at a path of keys. Numbers are keys of `years`."""
    section: type[Section] = Config
    for key in path:
        field = section.model_fields.get(str(key))
        kind = field.annotation if field else Year
        section = kind if isinstance(kind, type) and issubclass(kind, Section) else Year
    return section
