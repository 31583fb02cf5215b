"""The keys of the configuration as a JSON schema and as the table of config/README.md, from the types of the sections."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from smallmines.config.sections import Config, Year

MARKERS = ("<!-- keys -->\n", "<!-- /keys -->\n")
"""Lines before and after the table in a document."""


def schema() -> str:
    """Return the JSON schema of the configuration as text."""
    return json.dumps(Config.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def keys_table() -> str:
    """Return a Markdown table of all keys with values, default and meaning."""
    lines = ["| key | values | default | meaning |", "| --- | --- | --- | --- |"]

    def add(model: type[BaseModel], path: str) -> None:
        properties = model.model_json_schema()["properties"]
        for name, field in model.model_fields.items():
            default = "required" if field.is_required() else _default(field.get_default(call_default_factory=True))
            lines.append(f"| `{path}{name}` | {_values(properties[name])} | {default} | {field.description} |")
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                add(field.annotation, f"{path}{name}.")
            elif name == "years":
                add(Year, f"{path}{name}.<year>.")

    add(Config, "")
    return "\n".join(lines) + "\n"


def with_keys_table(document: str) -> str:
    """Return a document with the present table between its `MARKERS`."""
    before, begin, rest = document.partition(MARKERS[0])
    _, end, after = rest.partition(MARKERS[1])
    return f"{before}{begin}{keys_table()}{end}{after}" if begin and end else document


def _default(value: Any) -> str:
    if isinstance(value, BaseModel):
        return "see below"
    if value is None or value == ():
        return "empty"
    return f"`{list(value) if isinstance(value, tuple) else value}`".replace("'", "")


def _values(schema: dict[str, Any]) -> str:
    kinds = []
    for option in schema.get("anyOf", [schema]):
        if "enum" in option:
            kinds.append(", ".join(str(value) for value in option["enum"]))
        elif "const" in option:
            kinds.append(str(option["const"]))
        elif "$ref" in option:
            kinds.append("section")
        elif option.get("type") == "array":
            kinds.append(f"list of {_values(option['items'])}")
        elif option.get("type") == "object":
            kinds.append("section per year" if "$ref" in option.get("additionalProperties", {}) else "one per name")
        elif option.get("type") != "null":
            kinds.append(option.get("format", option.get("type", "")))
    return " or ".join(kinds)
