"""Find secrets in a configuration: it is copied into manifests, logs and reports."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

USER = re.compile(r"//[^/\s?#]*@")
"""A user name, with or without a password, before the host of an address."""

PARAMETER = re.compile(r"[?&#;]\s*([^=?&#;\s/]{1,80})=")
"""The name of a parameter of an address."""

ASSIGNED = re.compile(r"(?i)\b(password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|secret[_-]?key)\s*=\s*\S")
"""A secret in a connection string such as `PG:host=… password=…`."""

NAMES = frozenset(
    {"sig", "signature", "sas", "token", "apitoken", "accesstoken", "key", "keyid", "apikey", "accesskey", "subscriptionkey"}
    | {"awsaccesskeyid", "googleaccessid", "secret", "clientsecret", "password", "passwd", "pwd", "pw", "pass", "credential"}
    | {"credentials", "auth", "authorization", "jwt", "bearer"}
)
"""Names of parameters, and parts of names between hyphens and underscores, whose values are secrets; in small letters."""

HUB_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{20,}")
"""A token of the Hugging Face Hub."""

DEEPEST = 30
"""Sections in sections; the configuration has four."""


def secrets_in(values: Any) -> list[str]:
    """Return where a configuration holds secrets, in words that do not repeat them.

    Args:
        values: as read from YAML; sections that refer to themselves are looked at once.
    """
    return [f"{path}: {kind}" for path, text in _texts(values) if (kind := _secret(text))]


def _texts(values: Any) -> Iterator[tuple[str, str]]:
    """Yield all texts with the path of their keys; a key is a text, too."""
    seen: set[int] = set()
    waiting: list[tuple[str, Any, int]] = [("", values, 0)]
    while waiting:
        path, value, depth = waiting.pop()
        if isinstance(value, str):
            yield path, value
        elif isinstance(value, Mapping | Sequence) and id(value) not in seen and depth < DEEPEST:
            seen.add(id(value))
            children = value.items() if isinstance(value, Mapping) else enumerate(value)
            for key, child in children:
                name = key if isinstance(key, str) and re.fullmatch(r"[\w-]{1,40}", key) else f"{key:d}" if isinstance(key, int) else "…"
                waiting.append((f"{path}.{name}" if path else name, child, depth + 1))
                if isinstance(key, str):
                    waiting.append((path or "a key", key, depth + 1))


def _secret(text: str) -> str:
    """Return what secret a text holds, or nothing."""
    if "//" in text and USER.search(text):
        return "a user name or password before the host of an address"
    for parameter in PARAMETER.finditer(text) if "=" in text else ():
        name = unquote(parameter[1])
        parts = re.split(r"[-_.]", name.lower())
        if NAMES & {*parts, "".join(parts)} or (parts[0] == "x" and parts[1:2] in (["amz"], ["goog"], ["ms"])):
            return f"the parameter {name} of an address"
    if HUB_TOKEN.search(text):
        return "a token of the Hugging Face Hub"
    assigned = ASSIGNED.search(text)
    return f"{assigned[1].lower()}=…" if assigned else ""
