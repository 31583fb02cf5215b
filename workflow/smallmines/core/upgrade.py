"""Takes a run over from an earlier version: products that have moved are moved, and what Snakemake recorded is brought up to date.

A change of code that changes no product still changes the digests of rules, so that Snakemake would make everything again. For each
earlier version that can be taken over, a file in workflow/upgrades/ lists the digests of its rules that make the same products today, and
today's digests for which that was shown. The records of these rules get today's digests. All others are left, so that their jobs run
again: those of other code, and those of rules whose code on disk is not the one that was shown to make the same products.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smallmines.core.errors import UserError
from smallmines.core.files import digest, read_json, write_json, written
from smallmines.core.rerun import FROZEN, WORKFLOW, code

FORMAT = 6
"""Version of Snakemake's records that is understood here."""

CODE = re.compile(r"'(?:scripts|smallmines)/\S+ [0-9a-f]{12}'")
"""A digest of code among the recorded parameters of a job, see `smallmines.core.rerun.code`."""

JOURNAL = ".snakemake/smallmines-upgrade-{run}.json"
"""File with the moves that an interrupted upgrade of a run has planned."""

UNREADABLE = "(unreadable record)"


@dataclass(frozen=True)
class Earlier:
    """An earlier version whose runs can be taken over.

    Attributes:
        commit: that the digests are of.
        renamed: today's name of each of its rules that has another one.
        moved: today's folder below results/<run>/ of each folder that has moved.
        code: digests of each rule that makes the same products today, by its name today.
        today: digest of the code that was shown to make them, by rule.
        world: digests of the code of the miniature, where it makes the same world today; else empty.
    """

    commit: str
    renamed: Mapping[str, str]
    moved: Mapping[str, str]
    code: Mapping[str, frozenset[str]]
    today: Mapping[str, str]
    world: tuple[str, ...] = ()

    @staticmethod
    def read(path: Path) -> Earlier:
        """Read a file of workflow/upgrades/."""
        content = read_json(path)
        rules = {rule: frozenset(map(repr, lines)) for rule, lines in content["code"].items()}
        return Earlier(content["commit"], content["renamed"], content["moved"], rules, content["today"], tuple(content.get("world", ())))

    def rule(self, name: str) -> str:
        """Today's name of a rule."""
        return self.renamed.get(name, name)

    def made(self, name: str, digests: frozenset[str]) -> bool:
        """Whether this version's rule of that name made a product with these digests, and the code on disk would make the same."""
        rule = self.rule(name)
        return bool(digests) and digests == self.code.get(rule) and self.today.get(rule) == digest(code(rule))

    def path(self, path: str, run: str) -> str:
        """Today's place of a product or log of a run."""
        for folder, moved in self.moved.items():
            if path.startswith(start := f"results/{run}/{folder}/"):
                return f"results/{run}/{moved}/{path.removeprefix(start)}"
        for folder in ("logs", "benchmarks"):
            for old, new in self.renamed.items():
                if re.match(re.escape(start := f"{folder}/{run}/{old}") + "[/.]", path):
                    return f"{folder}/{run}/{new}{path.removeprefix(start)}"
        return path


def earlier_versions() -> list[Earlier]:
    """All versions that can be taken over."""
    return [Earlier.read(path) for path in sorted((WORKFLOW / "upgrades").glob("*.json"))]


@dataclass(frozen=True)
class Upgrade:
    """Number of records by rule that were accepted and that stay as they are, and paths that were moved."""

    accepted: Mapping[str, int]
    left: Mapping[str, int]
    moved: Mapping[str, str]


@dataclass(frozen=True)
class Record:
    """Snakemake's record of a product that an earlier version made and that this version would make alike.

    Attributes:
        product: its path, from the root.
        file: of the record.
        content: of the record.
        version: that made the product.
    """

    product: str
    file: Path
    content: Mapping[str, Any]
    version: Earlier

    def today(self, run: str) -> dict[str, Any]:
        """Return the content as this version would have recorded it."""
        rule = self.version.rule(self.content["rule"])
        parameters = [value for value in self.content["params"] if not CODE.fullmatch(value)]
        checksums = self.content["input_checksums"] or {}
        return {
            **self.content,
            "rule": rule,
            "params": sorted([*parameters, *map(repr, code(rule))]),
            "code": (self.content["code"] or "").replace(f"scripts/{self.content['rule']}.py", f"scripts/{rule}.py") or None,
            "input": sorted(self.version.path(path, run) for path in self.content["input"]),
            "log": sorted(self.version.path(path, run) for path in self.content["log"]),
            "input_checksums": {self.version.path(path, run): checksum for path, checksum in checksums.items()},
        }


def upgrade(run: str, root: str | Path = ".") -> Upgrade:
    """Take over the products of a run that an earlier version made. Done again, or after it was interrupted, it does what is left.

    No product is opened, no event, sample or cached pixel touched.

    Args:
        run: name of the run.
        root: folder with results/ and .snakemake/.

    Raises:
        UserError: nothing was run here, a run is going on, records of another form, or a folder that would be moved onto another.
    """
    root = Path(root)
    records, left = _read(run, root)
    kept = _kept_folders(run, records, left)
    left |= {record.product: record.content["rule"] for record in records if record.product.startswith(kept)}
    changes = [(record, record.today(run)) for record in records if record.product not in left]
    changes = [
        (record, content)
        for record, content in changes
        if content != record.content or record.version.path(record.product, run) != record.product
    ]
    journal = root / JOURNAL.format(run=run)
    moved = _move(root, journal, _planned_moves(run, root, journal, changes, kept))
    for record, content in changes:
        target = root / ".snakemake/metadata" / _name(record.version.path(record.product, run))
        target.parent.mkdir(parents=True, exist_ok=True)
        with written(target) as beside:
            beside.write_text(json.dumps(content), encoding="utf-8")
        if target != record.file:
            record.file.unlink()
    journal.unlink(missing_ok=True)
    return Upgrade(Counter(content["rule"] for _, content in changes), Counter(left.values()), moved)


def _read(run: str, root: Path) -> tuple[list[Record], dict[str, str]]:
    """Read the records of a run.

    Returns:
        The records that can be taken over, and the rule of each product that is neither of them nor of this version.
    """
    folder = root / ".snakemake/metadata"
    if not folder.is_dir():
        raise UserError(f"the records of a finished run in {folder}", "none", "run this where the workflow was run")
    if any((root / ".snakemake/locks").glob("*")):
        raise UserError("no run that is going on", f"locks in {root}/.snakemake/locks", "wait until it ends, or snakemake --unlock")
    versions = earlier_versions()
    records: list[Record] = []
    left: dict[str, str] = {}
    for product, file in _record_files(folder):
        if not re.match(rf"(results|resources/automatic)/{re.escape(run)}/", product):
            continue
        content = _content(file)
        if content is None:
            left[product] = UNREADABLE
            continue
        if content["record_format_version"] != FORMAT:
            raise UserError(
                f"records of Snakemake of version {FORMAT}",
                f"version {content['record_format_version']} for {product}",
                "install the packages of requirements.lock (make setup)",
            )
        digests = frozenset(filter(CODE.fullmatch, content["params"]))
        if version := next((version for version in versions if version.made(content["rule"], digests)), None):
            records.append(Record(product, file, content, version))
        elif digests and digests != _digests(content["rule"]):
            left[product] = content["rule"]
    return records, left


def _kept_folders(run: str, records: list[Record], left: Mapping[str, str]) -> tuple[str, ...]:
    """Return the folders that would move but hold a product that is left: they stay, and their products are made again elsewhere."""
    folders = {f"results/{run}/{folder}/" for record in records for folder in record.version.moved}
    return tuple(sorted(folder for folder in folders if any(product.startswith(folder) for product in left)))


def _digests(rule: str) -> frozenset[str]:
    """Digests that a record of a rule of this version has; empty where there is no such rule."""
    exists = rule not in FROZEN and (WORKFLOW / f"scripts/{rule}.py").is_file()
    return frozenset(map(repr, code(rule))) if exists else frozenset()


def _content(file: Path) -> dict[str, Any] | None:
    """Return the content of a record; None where it is damaged."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None
    if not isinstance(content, dict) or not isinstance(content.get("rule"), str) or "record_format_version" not in content:
        return None
    lists = [content.get(key) for key in ("params", "input", "log")]
    are_texts = all(isinstance(values, list) and all(isinstance(value, str) for value in values) for values in lists)
    return content if are_texts and {"code", "input_checksums"} <= set(content) else None


def _record_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield each product with a record, and the file of the record: base64 of its path, cut into folders `@…` where it is long."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.name.startswith("."):
            name = "".join(part.removeprefix("@") for part in file.relative_to(folder).parts)
            try:
                yield base64.b64decode(name, altchars=b"-_", validate=True).decode(), file
            except (binascii.Error, UnicodeDecodeError):  # no record of Snakemake
                continue


def _name(product: str) -> Path:
    """Return the file of the record of a product, below the folder of the records; see `_record_files`."""
    name = base64.urlsafe_b64encode(product.encode()).decode()
    length = os.pathconf("/", "PC_NAME_MAX") - 1
    parts = [name[start : start + length] for start in range(0, len(name), length)]
    return Path(*(f"@{part}" for part in parts[:-1]), parts[-1])


def _planned_moves(
    run: str, root: Path, journal: Path, changes: list[tuple[Record, dict[str, Any]]], kept: tuple[str, ...]
) -> list[tuple[str, str]]:
    """Return old and new path of each folder of products, logs and run times that gets another name, in an order without collisions.

    Raises:
        UserError: a folder of products exists under both names.
    """
    if journal.is_file():
        return [(old, new) for old, new in read_json(journal)]
    moves: list[tuple[str, str]] = []
    for version in {record.version.commit: record.version for record, _ in changes}.values():
        for old, new in version.moved.items():
            source, target = f"results/{run}/{old}", f"results/{run}/{new}"
            if f"{source}/" in kept or not (root / source).exists():
                continue
            if (root / target).exists():
                raise UserError(f"one of {source} and {target}", "both", f"delete {target}, which another version has made, and try again")
            moves.append((source, target))
        # A name that another rule gives up comes after that rule.
        renamed = sorted(version.renamed.items(), key=lambda names: names[1] in version.renamed)
        for folder in ("logs", "benchmarks"):
            for old, new in renamed:
                paths = [(f"{folder}/{run}/{old}{suffix}", f"{folder}/{run}/{new}{suffix}") for suffix in ("", ".log", ".tsv")]
                moves += [(source, target) for source, target in paths if (root / source).exists()]
    return moves


def _move(root: Path, journal: Path, moves: list[tuple[str, str]]) -> dict[str, str]:
    """Move what is planned, after the plan is written down; return what was moved."""
    if moves:
        write_json(journal, moves)
    moved = {}
    for old, new in moves:
        if (root / old).exists() and not (root / new).exists():
            (root / old).rename(root / new)
            moved[old] = new
    return moved
