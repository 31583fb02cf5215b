"""The structure of the library is the one that ARCHITECTURE.md states."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

WORKFLOW = Path(__file__).resolve().parents[2] / "workflow"
LIBRARY = WORKFLOW / "smallmines"
MODULES = sorted(path for path in LIBRARY.rglob("*.py"))
LONGEST_MODULE = 400
LONGEST_FUNCTION = 60
MOST_PARAMETERS = 7


def rooms() -> list[str]:
    """Rooms of the library as ARCHITECTURE.md lists them: each may import those above it."""
    text = (WORKFLOW.parent / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text[text.index("| room |") :].split("\n\n")[0]
    return [room for line in table.splitlines()[2:] for room in re.findall(r"`(\w+)/`", line.split("|")[1])]


def room_of(path: Path) -> str:
    """Room of a module; empty for the package's own `__init__`."""
    parts = path.relative_to(LIBRARY).parts
    return parts[0] if len(parts) > 1 else ""


@functools.cache
def nodes_of(path: Path) -> list[ast.AST]:
    """Nodes of the syntax tree of a module."""
    return list(ast.walk(ast.parse(path.read_bytes())))


def imported(path: Path) -> Iterator[str]:
    """Dotted names of what a module imports, with the name that it takes from there."""
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_room_is_in_the_table() -> None:
    assert sorted(rooms()) == sorted({room_of(path) for path in MODULES} - {""})


def test_a_room_imports_only_rooms_above_it() -> None:
    order = rooms()
    below = []
    for path in MODULES:
        for package, *names in (name.split(".") for name in imported(path)):
            assert package != "miniature", f"the library never imports the miniature: {path}"
            if (own := room_of(path)) and package == "smallmines" and names and order.index(names[0]) > order.index(own):
                below.append(f"{path}: {names[0]}")
    assert below == []


def test_modules_and_functions_stay_short() -> None:
    assert [path for path in MODULES if len(path.read_text(encoding="utf-8").splitlines()) > LONGEST_MODULE] == []
    assert [line for path in MODULES for line in long_functions(path)] == []


def long_functions(path: Path) -> list[str]:
    """Return the functions of a module that have too many lines or parameters."""
    long = []
    for node in nodes_of(path):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            described = len((ast.get_docstring(node) or "").splitlines())
            lines = (node.end_lineno or 0) - node.lineno + 1 - described
            parameters = len(node.args.args) + len(node.args.kwonlyargs)
            is_interface = room_of(path) == "cli" or path.name == "torchgeo.py"  # an option, or a keyword of a dataset, is a parameter
            if lines > LONGEST_FUNCTION or (parameters > MOST_PARAMETERS and not is_interface):
                long.append(f"{path}, {node.name}: {lines} lines, {parameters} parameters")
    return long


def test_typer_is_known_to_the_verbs_alone() -> None:
    assert [path for path in MODULES if room_of(path) != "cli" and any(name.split(".")[0] == "typer" for name in imported(path))] == []


def test_no_module_reads_parquet_through_pandas() -> None:
    """`pandas.read_parquet` opens the file in Python: one call in eight of a busy machine ended with SIGABRT, see `core.readable`."""
    users = [str(path) for path in MODULES if re.search(r"\b(pd|pandas)\.read_parquet\(", path.read_text())]
    assert users == []
