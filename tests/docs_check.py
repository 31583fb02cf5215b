"""Checks the commands in README.md and docs/ against a finished demo.

    python tests/docs_check.py [--write] [FOLDER]

A `console` block holds commands, each after `$ `, and what they print. They are run in FOLDER (default: this repository, after
`make demo`), and the output is compared line by line; a line `…` stands for any number of lines. Of `bash` blocks, each verb of
`smallmines` and `miniature` and its options must exist, and each target of `make`; each call of `snakemake` is planned for the
demo. With --write the console blocks get what their commands print.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "workflow"))
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "config/README.md",
    "envs/README.md",
    *sorted(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md")),
)
COLUMNS = "100"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Command:
    """A command of a document, and what it prints there (None: not stated)."""

    document: str
    words: tuple[str, ...]
    output: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return f"{self.document}: {' '.join(self.words)}"


def commands(document: str, text: str) -> Iterator[Command]:
    """Commands of the blocks `bash` and `console` of a document."""
    for kind, body in BLOCK.findall(text):
        if kind == "console":
            for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                first, *lines = part.rstrip("\n").split("\n")
                yield Command(document, tuple(shlex.split(first)), tuple(lines))
        elif kind == "bash":
            for line in body.splitlines():
                for part in re.split(r" && | \| ", line):
                    words = shlex.split(part, comments=True)
                    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                        words = words[1:]
                    if words and words[0] in ("smallmines", "miniature", "snakemake", "make"):
                        yield Command(document, tuple(words))


def matches(expected: tuple[str, ...], printed: tuple[str, ...]) -> bool:
    """Whether lines are the expected ones, apart from white space; `…` stands for any number of lines."""
    if not expected or expected == ("…",):
        return bool(expected) or not printed
    if expected[0] == "…":
        return any(matches(expected[1:], printed[start:]) for start in range(len(printed) + 1))
    return bool(printed) and expected[0].split() == printed[0].split() and matches(expected[1:], printed[1:])


def problems_of_verb(command: Command) -> list[str]:
    """Verbs and options of `smallmines` or `miniature` that do not exist."""
    import typer

    from miniature.cli import app as miniature
    from smallmines.cli.main import app as smallmines

    program, *words = command.words
    verb: Any = typer.main.get_command(smallmines if program == "smallmines" else miniature)
    while hasattr(verb, "commands") and words and not words[0].startswith("-"):
        name, *words = words
        if name not in verb.commands:
            return [f"{command}: no verb {name}"]
        verb = verb.commands[name]
    options = {option for parameter in verb.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    words = words[: words.index(">")] if ">" in words else words
    return [f"{command}: no option {word}" for word in words if word.startswith("--") and word not in options]


def problems_of_make(command: Command) -> list[str]:
    """Targets of `make` that do not exist."""
    targets = set(re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    return [f"{command}: no target {word}" for word in command.words[1:] if re.fullmatch(r"[\w-]+", word) and word not in targets]


def environment() -> dict[str, str]:
    """Environment of the commands: this Python's programs first, a fixed width of the terminal."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | {"PATH": path, "PYTHONPATH": str(REPOSITORY / "workflow"), "COLUMNS": COLUMNS, "TERM": "dumb", "NO_COLOR": "1"}


def problems_of_plan(command: Command, folder: Path) -> list[str]:
    """What `snakemake -n` says to the words of a command, with the configuration of the demo."""
    words = list(command.words)
    for option in ("--workflow-profile", "--configfile", "--cores"):
        if option in words:
            del words[words.index(option) : words.index(option) + 2]
    words = [word for word in words if word != "-n"]
    command_line = [*words, "-n", "--cores", "2", "--configfile", "config/demo.yaml"]
    done = subprocess.run(command_line, cwd=folder, env=environment(), text=True, capture_output=True, check=False)
    return [] if done.returncode == 0 else [f"{command}: {(done.stdout + done.stderr).strip()[-400:]}"]


def printed_by(command: Command, folder: Path) -> tuple[str, ...]:
    """Lines that a command prints, without space at their ends and without empty ones at the end."""
    done = subprocess.run(list(command.words), cwd=folder, env=environment(), text=True, capture_output=True, check=False)
    return tuple(line.rstrip() for line in (done.stdout + done.stderr).rstrip().split("\n"))


def problems_of_output(command: Command, folder: Path) -> list[str]:
    """How the output of a command differs from what the document says."""
    printed = printed_by(command, folder)
    return [] if matches(command.output or (), printed) else [f"{command} prints\n" + "\n".join(printed)]


def write(folder: Path) -> None:
    """Put what their commands print into the console blocks of all documents."""
    for document in DOCUMENTS:
        path = REPOSITORY / document
        if not path.is_file():
            continue

        def block(match: re.Match[str], document: str = document) -> str:
            if match[1] != "console":
                return match[0]
            parts = [
                f"$ {shlex.join(command.words)}\n" + "".join(f"{line}\n" for line in printed_by(command, folder))
                for command in commands(document, match[0])
            ]
            return "```console\n" + "".join(parts) + "```"

        path.write_text(BLOCK.sub(block, path.read_text(encoding="utf-8")), encoding="utf-8")


def check(folder: Path, planning: bool = True) -> list[str]:
    """All problems of all documents."""
    problems: list[str] = []
    planned: set[tuple[str, ...]] = set()
    for document in DOCUMENTS:
        path = REPOSITORY / document
        for command in commands(document, path.read_text(encoding="utf-8") if path.is_file() else ""):
            if command.output is not None:
                problems += problems_of_output(command, folder)
            elif command.words[0] in ("smallmines", "miniature"):
                problems += problems_of_verb(command)
            elif command.words[0] == "make":
                problems += problems_of_make(command)
            elif planning and command.words not in planned:
                planned.add(command.words)
                problems += problems_of_plan(command, folder)
    return problems


def main(words: list[str]) -> None:
    """The command."""
    folder = next((Path(word) for word in words if not word.startswith("--")), REPOSITORY)
    if not (folder / "results/demo/report.html").is_file():
        sys.exit(f"expected  a finished demo in {folder}\nfound     no results/demo/report.html\ndo        run `make demo` first")
    if "--write" in words:
        write(folder)
    problems = check(folder)
    print("\n".join(problems) or "all commands do what the documents say")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main(sys.argv[1:])
