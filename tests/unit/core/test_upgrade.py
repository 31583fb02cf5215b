"""Records of runs of an earlier version: which are accepted, what moves, what is left."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smallmines.core import upgrade as module
from smallmines.core.errors import UserError
from smallmines.core.files import digest
from smallmines.core.rerun import code
from smallmines.core.upgrade import Earlier, Upgrade, upgrade

EARLIER = Earlier(
    "0" * 40,
    {"labels": "samples", "decide": "labels", "shift": "compare_years"},
    {"shift": "compare_years"},
    {
        rule: frozenset({f"'scripts/{old}.py 0123456789ab'", "'smallmines/raster.py 0123456789ab'"})
        for rule, old in (("samples", "labels"), ("labels", "decide"), ("compare_years", "shift"))
    },
    {rule: digest(code(rule)) for rule in ("samples", "labels", "compare_years")},
)


class Run:
    """A folder with products, logs and records."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.records = root / ".snakemake/metadata"
        self.records.mkdir(parents=True)

    def add(self, rule: str, product: str, log: str, digest: str = "0123456789ab", **values: Any) -> None:
        for path in (product, log):
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text(product)
        record = {
            "rule": rule,
            "input": ["results/r/shift/1.json", "a.tif"],
            "log": [log],
            "params": sorted([f"'scripts/{rule}.py {digest}'", f"'smallmines/raster.py {digest}'", "{'key': 1}"]),
            "code": f'        "../scripts/{rule}.py"\n',
            "record_format_version": 6,
            "input_checksums": {"results/r/shift/1.json": "sha256:1"},
        }
        name = base64.urlsafe_b64encode(product.encode()).decode()
        (self.records / name).write_text(json.dumps(record | values))

    def record(self, product: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.records / base64.urlsafe_b64encode(product.encode()).decode()).read_text())
        return content


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(module, "earlier_versions", lambda: [EARLIER])
    made = Run(tmp_path)
    made.add("labels", "results/r/people/2016/1/samples.parquet", "logs/r/labels/2016-1.log")
    made.add("decide", "results/r/labels/2016/1.parquet", "logs/r/decide/2016-1.log")
    made.add("shift", "results/r/shift/1.json", "logs/r/shift/1.log")
    made.add("shift", "results/other/shift/1.json", "logs/other/shift/1.log")
    return made


def test_products_logs_and_records_move_with_their_rules(run: Run) -> None:
    done = upgrade("r", run.root)
    assert done.accepted == {"samples": 1, "labels": 1, "compare_years": 1}
    assert done.left == {}
    assert (run.root / "results/r/compare_years/1.json").read_text() == "results/r/shift/1.json"
    assert (run.root / "logs/r/samples/2016-1.log").read_text() == "results/r/people/2016/1/samples.parquet"
    assert (run.root / "logs/r/labels/2016-1.log").read_text() == "results/r/labels/2016/1.parquet"
    record = run.record("results/r/labels/2016/1.parquet")
    assert record["rule"] == "labels"
    assert record["params"] == sorted(["{'key': 1}", *map(repr, code("labels"))])
    assert record["input"] == ["a.tif", "results/r/compare_years/1.json"]
    assert record["input_checksums"] == {"results/r/compare_years/1.json": "sha256:1"}
    assert record["log"] == ["logs/r/labels/2016-1.log"]
    assert record["code"] == '        "../scripts/labels.py"\n'
    assert run.record("results/r/people/2016/1/samples.parquet")["rule"] == "samples"
    assert not (run.records / base64.urlsafe_b64encode(b"results/r/shift/1.json").decode()).exists()
    assert run.record("results/other/shift/1.json")["rule"] == "shift", "another run is left alone"


def test_done_again_it_does_nothing(run: Run) -> None:
    upgrade("r", run.root)
    before = {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()}
    assert upgrade("r", run.root) == Upgrade({}, {}, {})
    assert {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()} == before


def test_other_code_is_left_and_nothing_moves(run: Run) -> None:
    for rule, product, log in (
        ("labels", "results/r/people/2016/1/samples.parquet", "logs/r/labels/2016-1.log"),
        ("decide", "results/r/labels/2016/1.parquet", "logs/r/decide/2016-1.log"),
        ("shift", "results/r/shift/1.json", "logs/r/shift/1.log"),
    ):
        run.add(rule, product, log, digest="ba9876543210")
    assert upgrade("r", run.root) == Upgrade({}, {"labels": 1, "decide": 1, "shift": 1}, {})
    assert (run.root / "results/r/shift/1.json").is_file()


def test_long_names_of_records_are_found_again() -> None:
    product = "results/" + "x" * 300 + "/1.tif"
    name = module._name(product)
    assert len(name.parts) > 1
    assert name.parts[0].startswith("@")
    assert base64.urlsafe_b64decode("".join(part.removeprefix("@") for part in name.parts)).decode() == product


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda run: (run.root / ".snakemake/locks").mkdir() or (run.root / ".snakemake/locks/0.input.lock").touch(), "locks"),
        (lambda run: run.add("shift", "results/r/shift/1.json", "logs/r/shift/1.log", record_format_version=7), "version 7"),
        (lambda run: run.records.rename(run.root / "gone"), "records of a finished run"),
    ],
)
def test_refusals_change_nothing(run: Run, spoil: Any, words: str) -> None:
    spoil(run)
    with pytest.raises(UserError, match=words):
        upgrade("r", run.root)
    assert (run.root / "results/r/shift/1.json").is_file()


def test_code_on_disk_that_is_not_the_shown_one_is_left(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has edited the rule since: nobody knows what it would make."""
    edited = replace(EARLIER, today=dict(EARLIER.today) | {"labels": "another"})
    monkeypatch.setattr(module, "earlier_versions", lambda: [edited])
    done = upgrade("r", run.root)
    assert done.accepted == {"samples": 1, "compare_years": 1}
    assert done.left == {"decide": 1}
    assert "scripts/decide.py 0123456789ab" in str(run.record("results/r/labels/2016/1.parquet")["params"])


def test_a_folder_with_a_product_of_other_code_stays(run: Run) -> None:
    run.add("shift", "results/r/shift/2.json", "logs/r/shift/2.log", digest="ba9876543210")
    done = upgrade("r", run.root)
    assert done.accepted == {"samples": 1, "labels": 1}
    assert done.left == {"shift": 2}
    assert sorted(path.name for path in (run.root / "results/r/shift").iterdir()) == ["1.json", "2.json"]
    assert run.record("results/r/shift/1.json")["rule"] == "shift"
    assert not (run.root / "results/r/compare_years").exists()


def test_a_folder_is_never_moved_onto_another(run: Run) -> None:
    run.add("compare_years", "results/r/compare_years/1.json", "logs/r/compare_years/1.log", digest="000000000000")
    before = {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"one of results/r/shift and results/r/compare_years"):
        upgrade("r", run.root)
    assert {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("text", ['{"rec', "", "[]", "{}", '{"rule": "mask", "params": null}'])
def test_a_damaged_record_is_left_and_hinders_no_other(run: Run, text: str) -> None:
    (run.records / base64.urlsafe_b64encode(b"results/r/masks/2016/1.tif").decode()).write_text(text)
    for name in ("README.txt", "!!stray", "Zm9v@"):
        (run.records / name).write_text("no record")
    done = upgrade("r", run.root)
    assert done.accepted == {"samples": 1, "labels": 1, "compare_years": 1}
    assert done.left == {module.UNREADABLE: 1}


@pytest.mark.parametrize("steps", range(1, 12))
@pytest.mark.parametrize("lacking", [None, "logs/r/labels"])
def test_an_upgrade_that_is_interrupted_anywhere_is_finished_by_the_next(
    run: Run, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, steps: int, lacking: str | None
) -> None:
    if lacking:
        shutil.rmtree(run.root / lacking)
    whole = tmp_path_factory.mktemp("whole") / "run"
    shutil.copytree(run.root, whole)
    upgrade("r", whole)
    left = [steps]

    def counted(real: Any) -> Any:
        def step(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt
            return real(*arguments, **options)

        return step

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(Path, "rename", counted(Path.rename))
        patch.setattr(Path, "unlink", counted(Path.unlink))
        patch.setattr(module.os, "replace", counted(os.replace))
        upgrade("r", run.root)
    upgrade("r", run.root)

    def files(root: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file() and not path.name.startswith(".")
        }

    assert files(run.root) == files(whole)


def test_what_one_run_has_planned_is_nothing_for_another(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            upgrade("r", run.root)
    done = upgrade("other", run.root)
    assert done.moved == {f"{folder}/other/shift": f"{folder}/other/compare_years" for folder in ("results", "logs")}
    assert (run.root / "results/other/compare_years/1.json").is_file()
    assert (run.root / "results/r/shift/1.json").is_file()
    assert upgrade("r", run.root).accepted == {"samples": 1, "labels": 1, "compare_years": 1}
