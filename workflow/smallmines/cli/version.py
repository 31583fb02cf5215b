"""The option `--version` of both programs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

REPOSITORY = Path(__file__).resolve().parents[3]


def version_text() -> str:
    """Return "smallmines 0.1.0", and in a clone of the repository ", commit 0123456789ab", with " and changes" where files differ."""
    try:
        text = f"smallmines {version('smallmines')}"
    except PackageNotFoundError:
        text = "smallmines, not installed"
    commit = _git("rev-parse", "--short=12", "HEAD")
    if not commit:
        return text
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return f"{text}, commit {commit}" + (" and changes" if changed else "")


def _git(*words: str) -> str:
    import subprocess

    if not (REPOSITORY / ".git").exists():
        return ""
    try:
        return subprocess.run(["git", "-C", str(REPOSITORY), *words], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _print_version(wanted: bool) -> None:
    if wanted:
        print(version_text())
        raise typer.Exit


def version_option(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print version and commit.")] = False,
) -> None:
    """Add `--version` to a program, as the callback of its app."""
