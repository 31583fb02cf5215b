"""Rules that the digests of code (`smallmines.core.rerun`) rely on: each function yields breaches in a module's syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from smallmines.core.rerun import ERROR, LOGGER, LOGGING, OUTSIDE

OUTSIDE_MODULES = {f"smallmines.{name.removesuffix('.py').replace('/', '.')}" for name in OUTSIDE}
DYNAMIC = {"importlib", "import_module", "__import__", "exec", "eval", "compile", "runpy", "pkgutil", "globals", "imp"}
SELF_READING = {"__doc__", "getdoc", "getsource", "getsourcelines", "getcomments", "inspect", "__loader__", "__spec__", "co_consts"}
CHANGING = {"append", "add", "extend", "insert", "pop", "popitem", "remove", "discard", "update", "setdefault", "clear", "write", "unlink"}
"""Methods that change their object; messages must not call them."""


def breaches(tree: ast.Module, is_script: bool = False) -> list[str]:
    """Return all breaches of a module, with their lines."""
    all_breaches = [*_outside_names(tree, is_script), *_messages(tree), *_dynamic(tree)]
    return sorted({f"line {getattr(node, 'lineno', 0)}: {breach}" for node, breach in all_breaches})


def _parents(tree: ast.Module) -> dict[ast.AST, ast.AST]:
    return {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}


def _outside_names(tree: ast.Module, is_script: bool) -> Iterator[tuple[ast.AST, str]]:
    """Names of modules outside the digest that are used for more than raising, catching, logging and running a job."""
    parents = _parents(tree)
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in OUTSIDE_MODULES:
                    yield node, f"imports {alias.name} as a module"
        elif isinstance(node, ast.ImportFrom):
            if whole := {f"{node.module}.{alias.name}" for alias in node.names} & OUTSIDE_MODULES:
                yield node, f"imports {', '.join(whole)} as a module"
            if node.module in OUTSIDE_MODULES:
                names |= {alias.asname or alias.name: alias.name for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in names:
            use = {ERROR: _is_error_use, LOGGER: _is_log_use, "job": _is_frame_use}.get(names[node.id])
            if use is None or not use(node, parents) or (names[node.id] == "job" and not is_script):
                yield node, f"uses {node.id}, which the digest does not cover, for more than an error, a log line or the frame of a job"


def _is_error_use(node: ast.Name, parents: dict[ast.AST, ast.AST]) -> bool:
    """Return whether a name is in a `raise`, the type of a handler, an annotation, `isinstance`, `suppress`, or a returned error."""
    child: ast.AST = node
    while (parent := parents.get(child)) is not None:
        if isinstance(parent, ast.Raise):
            return True
        if isinstance(parent, ast.ExceptHandler):
            return child is parent.type
        if isinstance(parent, (ast.AnnAssign, ast.arg)) and child is parent.annotation:
            return True
        if isinstance(parent, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return child is parent.returns
        if isinstance(parent, ast.Call) and child in parent.args and isinstance(parent.func, ast.Name):
            return parent.func.id in ("isinstance", "suppress")
        if isinstance(parent, ast.Return) and isinstance(child, ast.Call) and child.func is node:
            function = parent
            while not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                function = parents[function]
            return isinstance(function.returns, ast.Name) and function.returns.id == node.id
        child = parent
    return False


def _is_log_use(node: ast.Name, parents: dict[ast.AST, ast.AST]) -> bool:
    """Return whether a name is the logger of a logging call that is a statement."""
    method = parents[node]
    call = parents.get(method)
    return (
        isinstance(method, ast.Attribute)
        and method.attr in LOGGING
        and isinstance(call, ast.Call)
        and call.func is method
        and isinstance(parents.get(call), ast.Expr)
    )


def _is_frame_use(node: ast.Name, parents: dict[ast.AST, ast.AST]) -> bool:
    """Return whether a name is used as `with job(…):`."""
    call = parents[node]
    return isinstance(call, ast.Call) and isinstance(parents.get(call), ast.withitem)


def _messages(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Messages with side effects."""
    for node in ast.walk(tree):
        logs = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == LOGGER
        if logs or isinstance(node, ast.Raise):
            for part in ast.walk(node):
                if isinstance(part, (ast.NamedExpr, ast.Yield, ast.YieldFrom, ast.Await)):
                    yield part, "assigns or yields in a message"
                if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr in CHANGING:
                    yield part, f"calls {part.func.attr}() in a message"


def _dynamic(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Imports that cannot be traced, and code that reads itself."""
    parents = _parents(tree)
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Name):
            names = [node.id]
        elif isinstance(node, ast.Attribute) and not (node.attr == "compile" and ast.unparse(node.value) == "re"):
            names = [node.attr]
        elif isinstance(node, ast.Import):
            names = [part for alias in node.names for part in alias.name.split(".")]
        elif isinstance(node, ast.ImportFrom) and node.module != "importlib.metadata":  # versions of installed packages
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value] if node.value in ("__doc__",) else []
        for name in names:
            if name in DYNAMIC:
                yield node, f"{name}: what is imported or run cannot be followed"
            elif name in SELF_READING:
                yield node, f"{name}: depends on what the digest leaves out"
            elif name == "__file__" and not _names_a_neighbour(node, parents):
                yield node, '__file__ may only be used as Path(__file__).with_name("…")'


def _names_a_neighbour(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Return whether `__file__` is used as `Path(__file__).with_name("<constant>")`, which the digest finds."""
    path = parents[node]
    method = parents.get(path)
    call = parents.get(method) if method is not None else None
    return (
        isinstance(path, ast.Call)
        and isinstance(method, ast.Attribute)
        and method.attr == "with_name"
        and isinstance(call, ast.Call)
        and len(call.args) == 1
        and isinstance(call.args[0], ast.Constant)
    )
