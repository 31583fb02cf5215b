"""Digests of a rule's code for Snakemake's params, so that an edit reruns exactly the rules whose code it changes.

A rule carries `params: *code("<rule>")`: one "path digest" string for its script, for each module of this package that the script
reaches by import, and for each data file that such a module names. Digests are computed from the syntax tree, so comments, docstrings,
formatting and the words of messages do not count, see `canonical`. This module imports only the standard library, and its digests are
the same for every Python from 3.11 on.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import functools
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

WORKFLOW = Path(__file__).resolve().parents[2]
PACKAGE = "smallmines"

FROZEN = {"search": 1, "fetch": 1, "splits": 1}
"""Rules with a number, raised by hand, in place of a digest: an upgrade must neither query archives again nor move tiles between splits.
The number of `fetch` is also the reading version in the names of cached pixels."""

OUTSIDE = frozenset({"core/errors.py", "core/log.py", "core/job.py"})
"""Modules that no product depends on. Other modules may use their names only to raise errors, to log and to run a job;
tests/unit/core/test_rerun.py checks that."""

FRAME = "core/environment.py"
"""Module that every job runs first. Products depend on what it sets, so it counts for every rule."""

ERROR = "UserError"
LOGGER = "logger"
LOGGING = frozenset({"debug", "info", "warning", "error", "exception", "log"})

MOST_KEPT = 50
"""Files of digests in the user's cache, one for each content of the code; a file has 80 kB."""

_SKIPPED_FIELDS = frozenset({"type_comment", "kind"})


def code(rule: str) -> list[str]:
    """Return the digests of a rule's code as params, sorted by path; for a rule in `FROZEN`, its number."""
    if rule in FROZEN:
        return [f"{rule} {FROZEN[rule]}"]
    return reached_code(rule)


def reached_code(rule: str) -> list[str]:
    """Return the digests of the code that a rule reaches, frozen or not."""
    kept = _kept_codes()
    return kept[rule] if rule in kept else _computed_code(rule)


@functools.cache
def _kept_codes() -> dict[str, list[str]]:
    """Return the digests of all rules, from the user's cache if they are there for the present content of the code."""
    path = _cache_file()
    with contextlib.suppress(OSError, ValueError, TypeError):
        if path is not None:
            return dict(json.loads(path.read_text(encoding="utf-8")))
    codes = {script.stem: _computed_code(script.stem) for script in sorted((WORKFLOW / "scripts").glob("*.py"))}
    if path is not None and path == _cache_file():  # no file was edited meanwhile
        with contextlib.suppress(OSError):
            _keep(path, json.dumps(codes))
    return codes


def _cache_file() -> Path | None:
    """Return the file of the user's cache that is named after the content of the code and the Python version; None without a home."""
    folders = (WORKFLOW / "scripts", WORKFLOW / PACKAGE)
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file() and path.parent.name != "__pycache__")
    content = hashlib.sha256(repr(sys.version_info[:2]).encode())
    for path in paths:
        content.update(f"{path.relative_to(WORKFLOW).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return cache / "smallmines/code" / f"{content.hexdigest()}.json"


def _keep(path: Path, text: str) -> None:
    """Write a file of the cache, beside it and then renamed; keep the newest files alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
    files = sorted(path.parent.iterdir(), key=lambda file: file.stat().st_mtime_ns)
    for file in files[:-MOST_KEPT]:
        file.unlink(missing_ok=True)


def _computed_code(rule: str) -> list[str]:
    """Return what `reached_code` does, computed."""
    modules = sources(rule)
    with_texts = frozenset[Path]().union(*(modules_whose_messages_reach_products(path) for path in modules))
    files = {path: digest_of(tree_of(path), path in with_texts) for path in modules} | {
        path: hashlib.sha256(path.read_bytes()).hexdigest()[:12] for module in modules for path in data_files(module)
    }
    return [f"{path.relative_to(WORKFLOW).as_posix()} {digest}" for path, digest in sorted(files.items())]


def sources(rule: str) -> list[Path]:
    """Return a rule's script and all modules of this package that it reaches by import, also inside functions, sorted by path.

    Modules in `OUTSIDE` are left out, and so is what only they import.
    """
    return sorted(_reached([WORKFLOW / "scripts" / f"{rule}.py", WORKFLOW / PACKAGE / FRAME]))


def _reached(start: Iterable[Path]) -> set[Path]:
    """Return some modules and all modules that they import, directly or not."""
    seen: set[Path] = set()
    waiting = list(start)
    while waiting:
        path = waiting.pop()
        if path not in seen and not _is_outside(path):
            seen.add(path)
            waiting.extend(imports(path))
    return seen


@functools.cache
def imports(path: Path) -> tuple[Path, ...]:
    """Return the modules of this package that a module imports, with the non-empty `__init__` modules that run before them."""
    return tuple(sorted({module for _, dotted in _imported_names(path) for module in _modules(dotted)}))


@functools.cache
def _modules(dotted: str) -> tuple[Path, ...]:
    """Return the module of this package with a dotted name, after the non-empty `__init__` modules above it."""
    parts = dotted.split(".")
    if parts[0] != PACKAGE:
        return ()
    paths = [WORKFLOW.joinpath(*parts[:length]) for length in range(1, len(parts) + 1)]
    above = [init for path in paths if (init := path / "__init__.py").is_file() and tree_of(init).body]
    module = paths[-1].with_suffix(".py")
    return (*above, *([module] if module.is_file() else []))


@functools.cache
def _imported_names(path: Path) -> tuple[tuple[str, str], ...]:
    """Return the imports of a module: name in the module, and dotted name; relative imports are resolved."""
    return tuple(_imports_of(path))


def _imports_of(path: Path) -> Iterator[tuple[str, str]]:
    """Yield what `_imported_names` returns."""
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from ((alias.asname or alias.name.split(".")[0], alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                folder = path.parents[node.level - 1].relative_to(WORKFLOW)
                base = ".".join([*folder.parts, *([base] if base else [])])
            for alias in node.names:
                yield alias.asname or alias.name, base
                yield alias.asname or alias.name, f"{base}.{alias.name}"


@functools.cache
def data_files(path: Path) -> tuple[Path, ...]:
    """Return the data files beside a module that it names in a string, sorted: a file, or all files of a folder that is no package."""
    beside = {entry.name: entry for entry in path.parent.iterdir() if entry.suffix != ".py" and not list(entry.glob("*.py"))}
    if not beside:
        return ()
    strings = {node.value for node in nodes_of(path) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    named = (beside[first] for string in strings if (first := string.split("/")[0]) in beside)
    return tuple(sorted(file for entry in named for file in (entry.rglob("*") if entry.is_dir() else [entry]) if file.is_file()))


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """Return the syntax tree of a module (cached)."""
    return ast.parse(path.read_bytes())


@functools.cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """Return all nodes of the syntax tree of a module (cached)."""
    return tuple(ast.walk(tree_of(path)))


def _is_outside(path: Path) -> bool:
    return path.is_relative_to(WORKFLOW / PACKAGE) and path.relative_to(WORKFLOW / PACKAGE).as_posix() in OUTSIDE


@functools.cache
def digest_of(tree: ast.Module, with_texts: bool = False) -> str:
    """Return 12 hex digits of the SHA-256 of a module's canonical form."""
    return hashlib.sha256(canonical(tree, with_texts).encode()).hexdigest()[:12]


def canonical(tree: ast.AST, with_texts: bool = False) -> str:
    """Return a syntax tree as text, the same for every Python from 3.11 on and for every formatting.

    Left out are positions, comments, docstrings and other strings that stand alone, `pass`, empty fields, and the literal words in
    messages of raised `UserError`s and of logging calls. The values in such messages count.

    Args:
        with_texts: keep the words of raised errors, for modules whose errors are written into a product.
    """
    parts: list[str] = []
    _write(tree, parts, with_texts, in_message=False)
    return "".join(parts)


def _write(node: object, parts: list[str], with_texts: bool, in_message: bool) -> None:
    """Append the canonical form of a node, list or value to `parts`; inside a message, without the words."""
    if isinstance(node, list):
        statements = [item for item in node if not _has_no_effect(item)]
        parts.append("[")
        for item in statements:
            _write(item, parts, with_texts, in_message)
        parts.append("]")
    elif isinstance(node, ast.JoinedStr):
        parts.append("(JoinedStr")
        for item in _joined(node):
            _write(item, parts, with_texts, in_message)
        parts.append(")")
    elif isinstance(node, ast.Constant):
        is_word = in_message and isinstance(node.value, str)
        parts.append("" if is_word else f"(Constant {type(node.value).__name__} {node.value!r})")
    elif isinstance(node, ast.AST):
        in_message = in_message or _is_logging(node) or (_raises_user_error(node) and not with_texts)
        parts.append(f"({type(node).__name__}")
        for name, value in ast.iter_fields(node):
            if name in _SKIPPED_FIELDS or value is None or value == [] or _is_empty_format(name, value):
                continue
            parts.append(f" {name}=")
            _write(value, parts, with_texts, in_message)
        parts.append(")")
    else:
        parts.append(f" {node!r}")


def _has_no_effect(node: object) -> bool:
    """Return whether a statement is `pass` or a string that stands alone."""
    return isinstance(node, ast.Pass) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )


def _is_logging(node: ast.AST) -> bool:
    """Return whether a node calls a method of the logger."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in LOGGING
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == LOGGER
    )


def _raises_user_error(node: ast.AST) -> bool:
    """Return whether a node raises a new `UserError`."""
    return (
        isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name) and node.exc.func.id == ERROR
    )


def _joined(node: ast.JoinedStr) -> Iterator[ast.expr]:
    """Yield the parts of an f-string, adjacent literals joined and empty ones dropped, which Python versions do differently."""
    words = ""
    for item in node.values:
        if isinstance(item, ast.Constant):
            words += str(item.value)
            continue
        if words:
            yield ast.Constant(words)
        words = ""
        yield item
    if words:
        yield ast.Constant(words)


def _is_empty_format(name: str, value: object) -> bool:
    """Return whether a field is the empty format of `{x:}`, which only some Python versions keep."""
    return name == "format_spec" and isinstance(value, ast.JoinedStr) and not list(_joined(value))


@functools.cache
def modules_whose_messages_reach_products(path: Path) -> frozenset[Path]:
    """Return the modules whose error messages a module may write into a product, because it catches their errors and uses them.

    These are the modules of the imported functions that the `try` block calls, and all that they import. If the block calls anything
    but imported and built-in functions, the module itself and all that it imports are among them.
    """
    modules: set[Path] = set()
    origins: dict[str, set[Path]] = {}
    for name, dotted in _imported_names(path):
        origins.setdefault(name, set()).update(_modules(dotted))
    for node in nodes_of(path):
        if isinstance(node, (ast.Try, ast.TryStar)) and any(_uses_error(handler) for handler in node.handlers):
            for part in (part for statement in node.body for part in ast.walk(statement) if isinstance(part, ast.Call)):
                name = _called(part.func)
                modules |= origins[name] if name in origins else set() if name in dir(builtins) else {path}
    return frozenset(_reached(modules))


def _called(function: ast.expr) -> str:
    """Return the first name of a called expression: `a` for `a(…)` and `a.b(…)`; empty if there is none."""
    while isinstance(function, ast.Attribute):
        function = function.value
    return function.id if isinstance(function, ast.Name) else ""


def _uses_error(handler: ast.ExceptHandler) -> bool:
    """Return whether a handler uses a caught `UserError` other than to raise or to log."""
    if handler.name is None or not _may_catch_user_errors(handler):
        return False
    return any(_reads(statement, handler.name) for statement in handler.body)


def _may_catch_user_errors(handler: ast.ExceptHandler) -> bool:
    """Return whether a handler catches `UserError` or one of its base classes."""
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(not isinstance(kind, ast.Name) or kind.id in (ERROR, "Exception", "BaseException") for kind in kinds)


def _reads(node: ast.AST, name: str) -> bool:
    """Return whether a statement reads the variable `name` outside `raise` and logging."""
    if isinstance(node, ast.Raise) or _is_logging(node):
        return False
    if isinstance(node, ast.Name) and node.id == name:
        return True
    return any(_reads(child, name) for child in ast.iter_child_nodes(node))
