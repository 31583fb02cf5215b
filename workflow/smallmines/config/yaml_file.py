"""Read a YAML file strictly: keys that stand twice, dates that do not exist and other defects are named with their line."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from smallmines.core.errors import UserError

LARGEST_FILE = 1_000_000
"""Size in bytes of the largest file that is read; configurations have 5 kB."""


OTHER_BASE = re.compile(r"[-+]?(0[0-9_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")
"""Numbers that YAML 1.1 reads to the base of 8 (0200 is 128) or 60 (1:30 is 90)."""


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader, but refuses keys that stand twice and numbers to another base, and names the line of each defect."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        first: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):  # PyYAML refuses the others
                if key in first:
                    raise yaml.constructor.ConstructorError(None, None, f"the key {str(key)[:60]!r} stands twice", key_node.start_mark)
                first.add(key)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float") and OTHER_BASE.fullmatch(node.value):
            problem = "a number with a leading 0 or a colon, which YAML reads to the base of 8 or 60"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:  # 29 February 2015, numbers of 5000 digits
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from None


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file (UTF-8).

    Raises:
        UserError: the file cannot be read, or is no YAML; names the line. No text of the file is repeated, since it may be a secret.
    """
    try:
        if not path.is_file():
            raise UserError(f"a configuration file at {path}", "a folder" if path.is_dir() else "no file", "name the file")
        if path.stat().st_size > LARGEST_FILE:
            raise UserError(f"a configuration file at {path}", f"{path.stat().st_size} bytes", "name the file of the run")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"a configuration file at {path}", error.strerror or type(error).__name__, "check name and rights") from None
    expected = f"YAML in {path}"
    try:
        return yaml.load(content.decode("utf-8-sig"), _StrictLoader)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(expected, f"line {line}: bytes that are no UTF-8", "save the file as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UserError(expected, f"{where}{plain(error.problem or error.context or 'a defect')}", _advice(error)) from None
    except yaml.reader.ReaderError as error:
        raise UserError(expected, f"a control character (code {error.character}) at position {error.position}", "remove it") from None
    except RecursionError:
        raise UserError(expected, "sections in sections without end", "write it as config/README.md describes") from None


def _advice(error: yaml.MarkedYAMLError) -> str:
    problem = str(error.problem)
    if "\\t" in problem:
        return "replace the tab by spaces"
    if "day is out of range" in problem or "month must be" in problem:
        return "correct the date"
    if "to the base of" in problem:
        return "write it without leading zeros, or in quotes where a text is meant"
    if "stands twice" in problem:
        return "remove one of them"
    return "correct this line; texts with : # { } [ ] & * ! | > ' \" % @ ` need quotes"


def plain(text: str, longest: int = 300) -> str:
    """Return a text on one line, shortened, with control characters written as escapes."""
    shown = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[:longest]}…"
