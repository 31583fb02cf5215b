"""Takes a run over from an earlier version: products that have moved are moved, and what Snakemake recorded is brought up to date.

A change of code that changes no product still changes the digests of rules, so that Snakemake would make everything again. For each
earlier version that can be taken over, a file in workflow/upgrades/ lists the digests of its rules, and which of them make the same
products today. The records of these rules get today's digests; all others are left, so that their jobs run again.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smallmines.core.errors import UserError
from smallmines.core.files import read_json, written
from smallmines.core.rerun import FROZEN, WORKFLOW, code

FORMAT = 6
"""Version of Snakemake's records that is understood here."""

CODE = re.compile(r"'(?:scripts|smallmines)/\S+ [0-9a-f]{12}'")
"""A digest of code among the recorded parameters of a job, see `smallmines.core.rerun.code`."""


@dataclass(frozen=True)
class Earlier:
    """An earlier version whose runs can be taken over.

    Attributes:
        commit: that the digests are of.
        renamed: today's name of each of its rules that has another one.
        moved: today's folder below results/<run>/ of each folder that has moved.
        code: digests of each rule that makes the same products today, by its name today.
        world: digests of the code of the miniature, where it makes the same world today; else empty.
    """

    commit: str
    renamed: Mapping[str, str]
    moved: Mapping[str, str]
    code: Mapping[str, frozenset[str]]
    world: tuple[str, ...] = ()

    @staticmethod
    def read(path: Path) -> Earlier:
        """Read a file of workflow/upgrades/."""
        content = read_json(path)
        rules = {rule: frozenset(map(repr, lines)) for rule, lines in content["code"].items()}
        return Earlier(content["commit"], content["renamed"], content["moved"], rules, tuple(content.get("world", ())))

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
    """What was done: records by rule that were accepted, records by rule that stay as they are, and folders that were moved."""

    accepted: Mapping[str, int]
    left: Mapping[str, int]
    moved: Mapping[str, str]


def upgrade(run: str, root: str | Path = ".") -> Upgrade:
    """Take over the products of a run that an earlier version made. Done again, it does nothing.

    No product is opened, no event, sample or cached pixel touched.

    Args:
        run: name of the run.
        root: folder with results/ and .snakemake/.

    Raises:
        UserError: nothing was run here, a run is going on, or records of another form.
    """
    root = Path(root)
    records = root / ".snakemake/metadata"
    if not records.is_dir():
        raise UserError(f"the records of a finished run in {records}", "none", "run this where the workflow was run")
    if any((root / ".snakemake/locks").glob("*")):
        raise UserError("no run that is going on", f"locks in {root}/.snakemake/locks", "wait until it ends, or snakemake --unlock")
    versions = earlier_versions()
    of_run = [
        (product, place) for product, place in _records(records) if re.match(rf"(results|resources/automatic)/{re.escape(run)}/", product)
    ]
    accepted: Counter[str] = Counter()
    left: Counter[str] = Counter()
    pending: list[tuple[Path, Path, dict[str, Any]]] = []
    used: dict[str, Earlier] = {}
    for product, place in of_run:
        record = json.loads(place.read_text(encoding="utf-8"))
        if record.get("record_format_version") != FORMAT:
            raise UserError(
                f"records of Snakemake of version {FORMAT}",
                f"version {record.get('record_format_version')} for {product}",
                "install the packages of requirements.lock (make setup)",
            )
        digests = frozenset(filter(CODE.fullmatch, record["params"]))
        version = next((version for version in versions if digests and digests == version.code.get(_rule(record, version))), None)
        if version is None:
            if digests and digests != frozenset(map(repr, code(record["rule"]) if _is_rule(record["rule"]) else [])):
                left[record["rule"]] += 1
            continue
        rule = _rule(record, version)
        used[version.commit] = version
        others = [value for value in record["params"] if value not in digests]
        new = record | {
            "rule": rule,
            "params": sorted([*others, *map(repr, code(rule))]),
            "code": (record["code"] or "").replace(f"scripts/{record['rule']}.py", f"scripts/{rule}.py") or None,
            "input": sorted(version.path(path, run) for path in record["input"]),
            "log": sorted(version.path(path, run) for path in record["log"]),
            "input_checksums": {version.path(path, run): checksum for path, checksum in (record["input_checksums"] or {}).items()},
        }
        target = records / _name(version.path(product, run))
        if new == record and target == place:
            continue
        pending.append((place, target, new))
        accepted[rule] += 1
    moved = {old: new for version in used.values() for old, new in _move_folders(version, run, root)}
    for place, target, record in pending:
        target.parent.mkdir(parents=True, exist_ok=True)
        with written(target) as beside:
            beside.write_text(json.dumps(record), encoding="utf-8")
        if target != place:
            place.unlink()
    return Upgrade(dict(accepted), dict(left), moved)


def _rule(record: Mapping[str, Any], version: Earlier) -> str:
    rule: str = record["rule"]
    return version.renamed.get(rule, rule)


def _is_rule(name: str) -> bool:
    return name not in FROZEN and (WORKFLOW / f"scripts/{name}.py").is_file()


def _records(folder: Path) -> Iterator[tuple[str, Path]]:
    """Each product with a record, and the file of the record: base64 of its path, cut into folders `@…` where it is long."""
    for place in sorted(folder.rglob("*")):
        if place.is_file() and not place.name.startswith("."):
            name = "".join(part.removeprefix("@") for part in place.relative_to(folder).parts)
            yield base64.urlsafe_b64decode(name).decode(), place


def _name(product: str) -> Path:
    """The file of the record of a product, below the folder of the records; see `_records`."""
    name = base64.urlsafe_b64encode(product.encode()).decode()
    length = os.pathconf("/", "PC_NAME_MAX") - 1
    parts = [name[start : start + length] for start in range(0, len(name), length)]
    return Path(*(f"@{part}" for part in parts[:-1]), parts[-1])


def _move_folders(version: Earlier, run: str, root: Path) -> Iterator[tuple[str, str]]:
    """Rename the folders of products, logs and run times that have another name today, the last in a chain of names first."""
    for old, new in version.moved.items():
        yield from _moved(root, f"results/{run}/{old}", f"results/{run}/{new}")
    chain = sorted(version.renamed.items(), key=lambda names: names[1] in version.renamed)
    for folder in ("logs", "benchmarks"):
        for old, new in chain:
            for suffix in ("", ".log", ".tsv"):
                yield from _moved(root, f"{folder}/{run}/{old}{suffix}", f"{folder}/{run}/{new}{suffix}")


def _moved(root: Path, old: str, new: str) -> Iterator[tuple[str, str]]:
    if (root / old).exists() and not (root / new).exists():
        (root / old).rename(root / new)
        yield old, new
