"""The configuration's keys for people and editors, from its types: the table of config/README.md and the JSON schema."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from smallmines.config.sections import Config, Year


def schema() -> str:
    """The JSON schema of the configuration, as text."""
    return json.dumps(Config.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def keys_table() -> str:
    """Every key with its type, default and meaning, as the Markdown table of config/README.md."""
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


def _default(value: Any) -> str:
    if isinstance(value, BaseModel):
        return "see below"
    if value is None or value == ():
        return "empty"
    return f"`{list(value) if isinstance(value, tuple) else value}`".replace("'", "")


def _values(schema: dict[str, Any]) -> str:
    kinds = []
    for one in schema.get("anyOf", [schema]):
        if "enum" in one:
            kinds.append(", ".join(str(value) for value in one["enum"]))
        elif "const" in one:
            kinds.append(str(one["const"]))
        elif "$ref" in one:
            kinds.append("section")
        elif one.get("type") == "array":
            kinds.append(f"list of {_values(one['items'])}")
        elif one.get("type") == "object":
            kinds.append("section per year" if "$ref" in one.get("additionalProperties", {}) else "one per name")
        elif one.get("type") != "null":
            kinds.append(one.get("format", one.get("type", "")))
    return " or ".join(kinds)
