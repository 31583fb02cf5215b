"""Compare checksums of every product of the small miniature with those in the repository.

`run` makes the miniature, `check` lists products that differ, `explain` shows how, and `accept` records changes with their reason. See
docs/golden.md.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated

import typer
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests"))

from content import Content, compare, read, together  # noqa: E402

from workspace import SAME_ARITHMETIC, Workspace  # noqa: E402

RECORD = Path(__file__).with_name("products.json")
LOG = Path(__file__).with_name("accepted.yaml")

RULES = {
    "world": ("world/archive/**", "world/truth/**", "world/user/**"),
    "grid": ("grid/*",),
    "search": ("manifests/*/*.json",),
    "coverage": ("coverage/coverage.json", "pictures/coverage.png"),
    "covered": ("coverage/sufficient.json",),
    "fetch": ("fetched/*/*/*.json", "pixels/*"),
    "composite_s2": tuple(f"composites/*/*/{name}" for name in ("s2.tif", "s2_source.tif", "clear.tif", "s2.json")),
    "composite_s1": ("composites/*/*/s1.tif", "composites/*/*/s1.json"),
    "composite_dem": ("composites/static/*/dem.tif", "composites/static/*/dem.json"),
    "compare_years": ("compare_years/*.json",),
    "segment": ("segments/*/*/segments.tif", "segments/*/*/segments.json"),
    "describe": ("segments/*/*/features.parquet",),
    "candidates": ("candidates/*/*.gpkg",),
    "samples": ("people/*/*/samples.parquet", "people/*/*/refused_samples.csv"),
    "decisions": tuple(f"people/*/*/{name}" for name in ("decisions.parquet", "lineage.csv", "review.csv")),
    "assistant": tuple(f"assistant/*/*/{name}" for name in ("probabilities.parquet", "metrics.json", "model.joblib")),
    "labels": ("labels/*/*.parquet",),
    "mask": ("masks/*/*.tif",),
    "image_patches": ("patches/*/*/IMAGE/*.tif",),
    "mask_patches": ("patches/*/*/MASK/*.tif",),
    "measure_images": ("measured/*/*/IMAGE.parquet",),
    "measure_masks": ("measured/*/*/MASK.parquet",),
    "contradictions": ("measured/*/contradictions.parquet",),
    "index_block": ("indexed/*/*.parquet",),
    "assemble": ("dataset/*/*.sha256", "dataset/*/IMAGE/*.tif", "dataset/*/MASK/*.tif"),
    "label_quality": ("dataset/labels.json", "dataset/accuracy_points.csv"),
    "splits": ("dataset/splits.csv",),
    "leakage": ("splits.json",),
    "index": ("dataset/index.parquet",),
    "band_statistics": ("statistics/*.json",),
    "software": ("software.json",),
    "documents": tuple(f"dataset/{name}" for name in ("README.md", "DATASHEET.md", "LICENSE", "croissant.json", "facts.json")),
    "catalogue": ("dataset/stac/collection.json", "dataset/stac/*/*.json"),
    "seal": ("dataset/SHA256SUMS",),
    "verify": ("verify.json",),
    "doctor": ("doctor.json", "doctor.html"),
    "pictures": tuple(f"pictures/*/*/{name}.png" for name in ("rgb", "s1", "hillshade", "segments", "source", "seams", "steps")),
    "label_pictures": ("pictures/*/*/probability.png", "pictures/*/*/mask.png"),
    "plots": tuple(
        f"pictures/{name}.png"
        for name in ("location", "class_share", "change", "radiometry", "metrics", "labels", "splits", "examples", "overview_*")
    ),
    "page": ("report.html",),
}
"""Patterns of the products of each rule, in the order of the workflow. `world` is `miniature make`, which makes the inputs."""

NOT_PRODUCTS = {".snakemake_timestamp": "Snakemake's mark in a folder that is an output, empty"}
"""Names of files under results/ that are not products, with the reason."""

WITHOUT_OTB = frozenset(
    (
        "world",
        "grid",
        "search",
        "coverage",
        "covered",
        "fetch",
        "composite_s2",
        "composite_s1",
        "composite_dem",
        "compare_years",
        "image_patches",
        "measure_images",
        "band_statistics",
    )
)
"""Rules whose products do not depend on Orfeo ToolBox."""


@dataclass(frozen=True)
class Product:
    """One product: a file, or the files of one scene of the archive or the pixel cache.

    Attributes:
        rule: rule that makes it.
        files: paths by name within the product; a single file has the name "".
    """

    rule: str
    files: dict[str, Path] = field(default_factory=dict)

    def content(self, name: str) -> Content:
        """Return the content of all files of the product called `name`."""
        if list(self.files) == [""]:
            return read(self.files[""], name)
        return together({part: read(path, f"{name}/{part}") for part, path in sorted(self.files.items())})


def rules_of(name: str) -> list[str]:
    """Return the rules whose patterns match the name of a product: exactly one for every product."""
    return [rule for rule, patterns in RULES.items() if any(_matches(name, pattern) for pattern in patterns)]


def _matches(name: str, pattern: str) -> bool:
    if pattern.endswith("/**"):
        return name.startswith(pattern[:-2])
    return name.count("/") == pattern.count("/") and PurePosixPath(name).match(pattern)


def products(results: Path) -> dict[str, Product]:
    """Return the products of a finished run by name: files under results/<run>, its world, and the pixels of its blocks.

    Raises:
        ValueError: a file belongs to no rule of `RULES`, or to several.
    """
    folder, run = results.resolve().parents[1], results.resolve().name
    files_of = {name: {"": path} for name, path in _files(results)}
    world = {"archive": f"resources/automatic/{run}/archive", "truth": f"resources/automatic/{run}/truth", "user": f"resources/user/{run}"}
    for part, place in world.items():
        for name, path in _files(folder / place):
            collection, _, file = name.rpartition("/")
            grouped = part == "archive" and "/" in collection  # one product per item, which has up to 14 files
            files_of.setdefault(f"world/{part}/{collection if grouped else name}", {})[file if grouped else ""] = path
    for _, path in _files(results / "fetched"):
        fetched = json.loads(path.read_text(encoding="utf-8"))
        for item in fetched["items"]:
            files = {f"block {fetched['block']} {band}.tif": folder / file for band, file in item["files"].items()}
            files_of.setdefault(f"pixels/{item['id']}", {}).update(files)
    rules = {name: rules_of(name) for name in files_of}
    wrong = [f"{name} ({', '.join(of) or 'no rule'})" for name, of in rules.items() if len(of) != 1]
    if wrong:
        raise ValueError(f"not of exactly one rule in RULES of {Path(__file__).name}: {'; '.join(wrong)}")
    return {name: Product(rules[name][0], files_of[name]) for name in sorted(files_of)}


def _files(folder: Path) -> list[tuple[str, Path]]:
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name not in NOT_PRODUCTS)
    return sorted((path.relative_to(folder).as_posix(), path) for path in paths)


Checksums = dict[str, dict[str, str]]
"""Checksum of each product by rule and name."""


def checksums(results: Path) -> Checksums:
    """Return the checksums of all products of a finished run."""
    by_rule: Checksums = {rule: {} for rule in RULES}
    for name, product in products(results).items():
        by_rule[product.rule][name] = product.content(name).checksum()
    return {rule: names for rule, names in by_rule.items() if names}


@dataclass(frozen=True)
class Machine:
    """Properties of a machine that pixels may depend on besides the code and the locked libraries.

    Attributes:
        otb: version of Orfeo ToolBox.
        arithmetic: instruction sets that numpy uses in the miniature's environment, kernel of OpenBLAS, C library.
    """

    otb: str
    arithmetic: str

    @staticmethod
    def here() -> Machine:
        """Return the properties of this machine."""
        done = subprocess.run(
            [sys.executable, "-c", ARITHMETIC], env=os.environ | SAME_ARITHMETIC, text=True, capture_output=True, check=True
        )
        return Machine(_otb_version(), f"{done.stdout.strip()}, {' '.join(platform.libc_ver())}")


ARITHMETIC = """
import numpy, threadpoolctl
numpy.ones((2, 2)) @ numpy.ones((2, 2))
kernels = sorted({library["architecture"] for library in threadpoolctl.threadpool_info() if library["internal_api"] == "openblas"})
print("numpy", *numpy.show_config(mode="dicts")["SIMD Extensions"]["found"], "OpenBLAS", *kernels)
"""


def _otb_version() -> str:
    root = os.environ.get("OTB_ROOT")
    command = shutil.which("otbcli_MeanShiftSmoothing", path=f"{root}/bin" if root else None)
    if command is None:
        return "none"
    done = subprocess.run([command, "-version"], text=True, capture_output=True, check=False)
    return (done.stdout + done.stderr).strip().rpartition("version ")[2] or "unknown"


@dataclass(frozen=True)
class Record:
    """Content of products.json: checksums, and the machine that made the products."""

    machine: Machine
    rules: Checksums

    @staticmethod
    def read(path: Path = RECORD) -> Record:
        """Read the record of the repository."""
        document = json.loads(path.read_text(encoding="utf-8"))
        return Record(Machine(**document["machine"]), document["rules"])

    def write(self, path: Path = RECORD) -> None:
        """Write the record, one product per line."""
        document = {"machine": vars(self.machine), "rules": self.rules}
        path.write_text(json.dumps(document, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Finding:
    """A product that differs from the record, is missing, or is new."""

    name: str
    rule: str
    kind: str

    def __str__(self) -> str:
        return f"{self.kind:8} {self.rule:15} {self.name}"


def findings(recorded: Checksums, found: Checksums) -> list[Finding]:
    """Return the products that differ, are missing or are new, in the order of the workflow."""
    listed = []
    for rule in dict.fromkeys((*RULES, *recorded)):
        old, new = recorded.get(rule, {}), found.get(rule, {})
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                listed.append(Finding(name, rule, "new" if name not in old else "missing" if name not in new else "differs"))
    return listed


def incomparable(finding: Finding, recorded: Machine, here: Machine) -> bool:
    """Return whether the machine may explain a difference: other arithmetic can change all products, another OTB those after it."""
    otb = here.otb != recorded.otb and finding.rule not in WITHOUT_OTB
    return finding.kind == "differs" and (otb or here.arithmetic != recorded.arithmetic)


class Refusal(Exception):
    """An action that is refused, with the reason."""


def accept(
    found: Checksums,
    reason: str,
    rules: Sequence[str],
    here: Machine,
    new_machine: bool = False,
    record: Path = RECORD,
    log: Path = LOG,
) -> dict[str, int]:
    """Record the checksums of products that changed, and the reason.

    Args:
        rules: rules whose products may have changed; none: all rules.
        new_machine: record this machine's OTB and arithmetic, too.

    Returns:
        Number of products that changed, by rule.

    Raises:
        Refusal: no reason, a rule without a change, a change in another rule, or another machine than the record's.
    """
    if not reason.strip():
        raise Refusal("expected a reason: --reason '…'")
    recorded = Record.read(record) if record.exists() else Record(here, {})
    if here != recorded.machine and not new_machine:
        raise Refusal(f"the record was made with {vars(recorded.machine)}, this machine has {vars(here)}: see --new-machine")
    changed = Counter(finding.rule for finding in findings(recorded.rules, found))
    unnamed = sorted(set(changed) - set(rules)) if rules else []
    if unnamed:
        raise Refusal(f"products of rules that were not named changed, too: {', '.join(f'{rule} ({changed[rule]})' for rule in unnamed)}")
    unchanged = sorted(set(rules) - set(changed))
    if unchanged or not changed:
        raise Refusal(f"nothing changed in: {', '.join(unchanged) or 'any rule'}")
    _log(log, reason, dict(changed))
    Record(here, found).write(record)
    return dict(changed)


def _log(path: Path, reason: str, changed: dict[str, int]) -> None:
    entry = {"date": datetime.datetime.now(datetime.UTC).date().isoformat(), "reason": reason.strip(), "products": changed}
    with path.open("a", encoding="utf-8") as file:
        yaml.safe_dump([entry], file, sort_keys=False, allow_unicode=True, width=140)


def recorded_commit(record: Path = RECORD) -> str:
    """Return the commit that last changed the record.

    Raises:
        Refusal: git does not know it, or the record has changes that are not committed.
    """
    if _git("status", "--porcelain", "--", str(record)):
        raise Refusal(f"{record.name} has changes that are not committed: commit them, or give --against")
    commit = _git("log", "-1", "--format=%H", "--", str(record))
    if not commit or _git("rev-parse", "--is-shallow-repository") == "true":
        raise Refusal(f"the commit that last changed {record.name} is not in this clone: fetch the whole history, or give --against")
    return commit


@contextmanager
def reference(commit: str) -> Iterator[Path]:
    """Make the products of the miniature with the code of a commit, in a temporary folder that is removed when the block ends."""
    with tempfile.TemporaryDirectory(prefix="golden-") as temporary:
        tree, folder = Path(temporary) / "commit", Path(temporary) / "run"
        _git("worktree", "add", "--detach", str(tree), commit)
        try:
            folder.mkdir()
            _say(f"making the reference, commit {commit[:10]}: about 2.5 minutes of CPU time")
            yield Workspace.miniature(tree, folder, os.cpu_count() or 1).results
        finally:
            _git("worktree", "remove", "--force", str(tree))


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=REPOSITORY, text=True, capture_output=True, check=False)
    if done.returncode:
        raise Refusal(f"git {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()


def explanations(results: Path, other: Path, names: Sequence[str] | None = None) -> Iterator[str]:
    """Yield a line for each product, of `names` or of all, that differs from that of another run."""
    new, old = products(results), products(other)
    for name in names if names is not None else sorted({*old, *new}, key=lambda name: (list(RULES).index((old | new)[name].rule), name)):
        rule = (old | new)[name].rule
        if name not in old or name not in new:
            yield f"{rule:15} {name}: {'new' if name in new else 'missing'}"
            continue
        before, after = old[name].content(name), new[name].content(name)
        if before.checksum() != after.checksum():
            yield f"{rule:15} {name}: {compare(before, after)}"


def _say(text: str) -> None:
    typer.echo(text, err=True)


app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
Results = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder of the miniature's products, results/small.")]


@app.command("run")
def run_verb(folder: Annotated[Path, typer.Argument(help="New folder.")]) -> None:
    """Make the miniature with the code of this working tree, in a new folder."""
    folder.mkdir(parents=True)
    typer.echo(str(Workspace.miniature(REPOSITORY, folder.resolve(), os.cpu_count() or 1).results))


@app.command("check")
def check_verb(results: Results) -> None:
    """Which products differ from the record, are missing or are new; exit status 1 where one is."""
    record, here = Record.read(), Machine.here()
    listed = findings(record.rules, checksums(results))
    other = [finding for finding in listed if incomparable(finding, record.machine, here)]
    wrong = [finding for finding in listed if finding not in other]
    for finding in wrong:
        typer.echo(str(finding))
    if other:
        typer.echo(f"not comparable: {len(other)} products, made with {here}, recorded with {record.machine}")
        typer.echo("`explain` compares them with what the recorded commit makes on this machine")
    total = sum(map(len, record.rules.values()))
    typer.echo(f"{len(wrong)} findings, {total} products recorded")
    raise typer.Exit(bool(wrong))


@app.command("explain")
def explain_verb(
    results: Results,
    against: Annotated[Path | None, typer.Option(exists=True, file_okay=False, help="results/small of another run.")] = None,
) -> None:
    """How the products differ: elements that differ and the largest difference.

    Without --against, the commit that last changed the record is run in a temporary folder.
    """
    if against is not None:
        lines = list(explanations(results, against))
    else:
        names = [finding.name for finding in findings(Record.read().rules, checksums(results))]
        if not names:
            typer.echo("nothing differs from the record")
            return
        with reference(recorded_commit()) as other:
            lines = list(explanations(results, other, names))
            same = len(names) - len(lines)
        if same:
            typer.echo(f"{same} products differ from the record, but not from the reference made here: this machine rounds otherwise")
    for line in lines:
        typer.echo(line)
    typer.echo(f"{len(lines)} products differ")


@app.command("accept")
def accept_verb(
    results: Results,
    reason: Annotated[str, typer.Option(help="Why the products change, for accepted.yaml.")],
    rule: Annotated[list[str] | None, typer.Option(help="Rule whose products may change; again for more. Default: all rules.")] = None,
    new_machine: Annotated[
        bool, typer.Option("--new-machine", help="From now on, hold products against this machine's OTB and arithmetic.")
    ] = False,
) -> None:
    """Take over the checksums of products that changed, and log the reason."""
    for name, number in accept(checksums(results), reason, rule or [], Machine.here(), new_machine).items():
        typer.echo(f"{name:15} {number} products accepted")


def main() -> None:
    """Run a verb; refusals are printed without a traceback."""
    try:
        app()
    except Refusal as refusal:
        _say(str(refusal))
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
