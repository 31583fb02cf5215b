"""Validate a configuration and explain what is wrong with it."""

from __future__ import annotations

import difflib
import reprlib
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from smallmines.config.secrets import secrets_in
from smallmines.config.section import Section
from smallmines.config.sections import Config, Year
from smallmines.config.yaml_file import plain, read_yaml
from smallmines.core.errors import UserError

MOST_PROBLEMS = 10
"""Wrong keys that a message names."""


def read_config(path: Path) -> Config:
    """Read and validate a configuration file.

    Raises:
        UserError: the file is not YAML, or not a configuration.
    """
    return parse_config(read_values(path))


def read_values(path: Path) -> dict[str, Any]:
    """Read a configuration file without validating its keys.

    Raises:
        UserError: the file is not YAML, or has no keys and values.
    """
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise UserError(
            f"keys and values in {path}", "nothing" if values is None else type(values).__name__, "write it as config/README.md describes"
        )
    return values


def parse_config(values: dict[str, Any]) -> Config:
    """Validate a configuration as read from YAML.

    Raises:
        UserError: secrets, or keys that are unknown or have a wrong value. The message names each of them, and for an unknown key the
            nearest known one. Secrets are not repeated.
    """
    if secrets := secrets_in(values):
        raise UserError(
            "a configuration without secrets: its values are copied into manifests, logs and reports",
            _listed(secrets),
            "remove them; keys and passwords belong into environment variables or credential files (docs/archives.md)",
        )
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        problems = [_explanation(details) for details in error.errors(include_url=False)]
        raise UserError(
            "a configuration as config/README.md describes it", _listed(problems), "correct these keys in the config file"
        ) from None


def _listed(problems: list[str]) -> str:
    more = f"; and {len(problems) - MOST_PROBLEMS} more" if len(problems) > MOST_PROBLEMS else ""
    return "; ".join(map(plain, problems[:MOST_PROBLEMS])) + more


def _explanation(details: ErrorDetails) -> str:
    path = ".".join(plain(str(part), 60) for part in details["loc"])
    if details["type"] != "extra_forbidden":
        message = details["msg"].removeprefix("Value error, ")
        shown = "" if details["type"] == "missing" or isinstance(details["input"], dict) else f" (found {reprlib.repr(details['input'])})"
        return f"{path}: {plain(message)}{shown}" if path else f"{plain(message)}{shown}"
    *section, key = details["loc"]
    nearest = difflib.get_close_matches(str(key)[:60], _section_at(section).model_fields, n=1, cutoff=0)
    return f"{path}: unknown key" + (f", the nearest known one is `{nearest[0]}`" if nearest else "")


def _section_at(path: list[int | str]) -> type[Section]:
    """Return the type of the section at a path of keys. Numbers are keys of `years`."""
    section: type[Section] = Config
    for key in path:
        field = section.model_fields.get(str(key))
        kind = field.annotation if field else Year
        section = kind if isinstance(kind, type) and issubclass(kind, Section) else Year
    return section
