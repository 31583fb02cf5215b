"""What a product was made from: code digests for Snakemake's params, content digests, atomic writing.

A rule carries `params: *code("<rule>")`: one "path hash" string for its script and for each module of this
package that the script reaches. An edited module then reruns exactly the rules that use it, and a touch or a
fresh clone reruns nothing.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WORKFLOW = Path(__file__).resolve().parents[1]
FROZEN = {"search": 1, "fetch": 1, "splits": 1}
"""Rules that an upgrade must not run again, since archives would be asked and tiles moved under people's hands: a number raised by hand
stands for their code."""


def code(rule: str) -> list[str]:
    """Digests of the sources of a rule, as params: the script and every module of this package it reaches, sorted by path."""
    if rule in FROZEN:
        return [f"{rule} {FROZEN[rule]}"]
    return [f"{path.relative_to(WORKFLOW).as_posix()} {_digest_of_source(path)}" for path in sources(rule)]


def sources(rule: str) -> list[Path]:
    """The script of a rule and every module of this package reached from it by import, in functions too."""
    seen: set[Path] = set()
    todo = [WORKFLOW / "scripts" / f"{rule}.py"]
    while todo:
        path = todo.pop()
        if path not in seen:
            seen.add(path)
            todo.extend(_imports(path))
    return sorted(seen)


@functools.cache
def _imports(path: Path) -> tuple[Path, ...]:
    found: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.split(".")[0] == "smallmines":
                module = WORKFLOW.joinpath(*name.split(".")).with_suffix(".py")
                if module.is_file():
                    found.add(module)
    return tuple(sorted(found))


@functools.cache
def _digest_of_source(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def digest(value: Any) -> str:
    """Sixteen hex digits of the SHA-256 of a JSON-able value, keys sorted."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def written(target: str | Path) -> Iterator[Path]:
    """A path beside `target` with its suffix; renamed to `target` when the block ends well, removed when it does not."""
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    try:
        yield beside
        os.replace(beside, target)
    finally:
        if beside.is_dir():
            shutil.rmtree(beside)
        beside.unlink(missing_ok=True)


def write_json(target: str | Path, value: Any) -> None:
    """Write a JSON file (UTF-8, sorted keys, indented) at once or not at all."""
    with written(target) as beside:
        beside.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """The value in a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def split_tag(text: str) -> list[str]:
    """The entries of a tag that lists several."""
    return [part for part in re.split(r"[\s,;]+", text) if part]
