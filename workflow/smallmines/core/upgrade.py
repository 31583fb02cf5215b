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

JOURNAL = ".snakemake/smallmines-upgrade.json"
"""Moves that an interrupted upgrade has planned."""

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
    """Snakemake's record of a product: its path, the file of the record, the content and the version that made it, if known."""

    product: str
    file: Path
    content: Mapping[str, Any]
    version: Earlier | None

    @property
    def digests(self) -> frozenset[str]:
        """Digests of code among the parameters."""
        return frozenset(filter(CODE.fullmatch, self.content["params"]))

    def today(self, run: str) -> dict[str, Any]:
        """Return the content as this version would have recorded it."""
        assert self.version is not None
        old, version = self.content, self.version
        rule = version.rule(old["rule"])
        others = [value for value in old["params"] if value not in self.digests]
        return {
            **old,
            "rule": rule,
            "params": sorted([*others, *map(repr, code(rule))]),
            "code": (old["code"] or "").replace(f"scripts/{old['rule']}.py", f"scripts/{rule}.py") or None,
            "input": sorted(version.path(path, run) for path in old["input"]),
            "log": sorted(version.path(path, run) for path in old["log"]),
            "input_checksums": {version.path(path, run): checksum for path, checksum in (old["input_checksums"] or {}).items()},
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
    known = [record for record in records if record.version is not None]
    versions = {record.version.commit: record.version for record in known if record.version is not None}
    folders = {folder: moved for version in versions.values() for folder, moved in version.moved.items()}
    # A folder moves as a whole: with a product of other code in it, it stays, and its products are made again in the new place.
    kept = {folder for folder in folders if any(record.product.startswith(f"results/{run}/{folder}/") for record in left)}
    stays = [record for record in known if any(record.product.startswith(f"results/{run}/{folder}/") for folder in kept)]
    changes = [(record, record.today(run)) for record in known if record not in stays]
    changes = [
        (record, content)
        for record, content in changes
        if record.version and (content != record.content or record.version.path(record.product, run) != record.product)
    ]
    moved = _move(root, _moves(list(versions.values()), run, root, kept) if changes else {})
    for record, content in changes:
        assert record.version is not None
        target = root / ".snakemake/metadata" / _name(record.version.path(record.product, run))
        target.parent.mkdir(parents=True, exist_ok=True)
        with written(target) as beside:
            beside.write_text(json.dumps(content), encoding="utf-8")
        if target != record.file:
            record.file.unlink()
    (root / JOURNAL).unlink(missing_ok=True)
    accepted = Counter(content["rule"] for _, content in changes)
    return Upgrade(dict(accepted), dict(Counter(record.content["rule"] for record in [*left, *stays])), moved)


def _read(run: str, root: Path) -> tuple[list[Record], list[Record]]:
    """Return the records of a run, and those among them that are neither of this version nor of one that can be taken over."""
    folder = root / ".snakemake/metadata"
    if not folder.is_dir():
        raise UserError(f"the records of a finished run in {folder}", "none", "run this where the workflow was run")
    if any((root / ".snakemake/locks").glob("*")):
        raise UserError("no run that is going on", f"locks in {root}/.snakemake/locks", "wait until it ends, or snakemake --unlock")
    versions = earlier_versions()
    records, left = [], []
    for product, place in _records(folder):
        if not re.match(rf"(results|resources/automatic)/{re.escape(run)}/", product):
            continue
        content = _content(place)
        if content is None:
            left.append(Record(product, place, {"rule": UNREADABLE, "params": []}, None))
            continue
        if content["record_format_version"] != FORMAT:
            raise UserError(
                f"records of Snakemake of version {FORMAT}",
                f"version {content['record_format_version']} for {product}",
                "install the packages of requirements.lock (make setup)",
            )
        digests = frozenset(filter(CODE.fullmatch, content["params"]))
        version = next((version for version in versions if version.made(content["rule"], digests)), None)
        record = Record(product, place, content, version)
        records.append(record)
        if version is None and digests and digests != _digests(content["rule"]):
            left.append(record)
    return records, left


def _digests(rule: str) -> frozenset[str]:
    """Digests that a record of a rule of this version has; empty where there is no such rule."""
    exists = rule not in FROZEN and (WORKFLOW / f"scripts/{rule}.py").is_file()
    return frozenset(map(repr, code(rule))) if exists else frozenset()


def _content(place: Path) -> dict[str, Any] | None:
    """Return the content of a record; None where it is damaged."""
    try:
        content = json.loads(place.read_text(encoding="utf-8"))
    except ValueError:
        return None
    if not isinstance(content, dict):
        return None
    lists = all(
        isinstance(content.get(key), list) and all(isinstance(value, str) for value in content[key]) for key in ("params", "input", "log")
    )
    return content if lists and isinstance(content.get("rule"), str) and "record_format_version" in content else None


def _records(folder: Path) -> Iterator[tuple[str, Path]]:
    """Each product with a record, and the file of the record: base64 of its path, cut into folders `@…` where it is long."""
    for place in sorted(folder.rglob("*")):
        if place.is_file() and not place.name.startswith("."):
            name = "".join(part.removeprefix("@") for part in place.relative_to(folder).parts)
            try:
                yield base64.b64decode(name, altchars=b"-_", validate=True).decode(), place
            except (binascii.Error, UnicodeDecodeError):  # no record
                continue


def _name(product: str) -> Path:
    """The file of the record of a product, below the folder of the records; see `_records`."""
    name = base64.urlsafe_b64encode(product.encode()).decode()
    length = os.pathconf("/", "PC_NAME_MAX") - 1
    parts = [name[start : start + length] for start in range(0, len(name), length)]
    return Path(*(f"@{part}" for part in parts[:-1]), parts[-1])


def _moves(versions: list[Earlier], run: str, root: Path, kept: set[str]) -> dict[str, str]:
    """Plan which folders of products, logs and run times get another name, in the order in which no one is in another's way.

    Raises:
        UserError: a folder of products exists under both names.
    """
    if (root / JOURNAL).is_file():
        return dict(read_json(root / JOURNAL))
    moves: dict[str, str] = {}
    for version in versions:
        for old, new in version.moved.items():
            source, target = f"results/{run}/{old}", f"results/{run}/{new}"
            if old in kept or not (root / source).exists():
                continue
            if (root / target).exists():
                raise UserError(f"one of {source} and {target}", "both", f"delete {target}, which another version has made, and try again")
            moves[source] = target
        chain = sorted(version.renamed.items(), key=lambda names: names[1] in version.renamed)
        places = [
            (f"{folder}/{run}/{{}}{suffix}", old, new)
            for folder in ("logs", "benchmarks")
            for old, new in chain
            for suffix in ("", ".log", ".tsv")
        ]
        moves |= {place.format(old): place.format(new) for place, old, new in places if (root / place.format(old)).exists()}
    return moves


def _move(root: Path, moves: dict[str, str]) -> dict[str, str]:
    """Move what is planned, first writing the plan down; return what was moved."""
    if moves:
        write_json(root / JOURNAL, [[old, new] for old, new in moves.items()])
    done = {}
    for old, new in moves.items():
        if (root / old).exists() and not (root / new).exists():
            (root / old).rename(root / new)
            done[old] = new
    return done
