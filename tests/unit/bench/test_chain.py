"""The measurement against the usual chains: resuming, tables, checks of equality."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from bench.chain import compare, strongest, table
from bench.chain.case import STAGES
from bench.chain.measure import cpu_of, measure
from bench.chain.records import Record, append, read_records
from bench.chain.run import Job, plan
from bench.chain.workflow import OTHER, figures, job_of, job_seconds, stage_of
from smallmines.composite.observations import near_cloud
from smallmines.sensors.scl import clear_mask


def record(size: int, chain: str, stage: str, wall: float, **more: object) -> Record:
    values = {
        "size": size,
        "chain": chain,
        "repetition": 1,
        "stage": stage,
        "code": "c",
        "wall": wall,
        "cpu": 2 * wall,
        "mb": 100,
        "status": 0,
    }
    return {**values, "load": 0.5, **more}


def chain_of(size: int, chain: str, wall: float) -> list[Record]:
    return [record(size, chain, stage, wall) for stage in STAGES]


# --- resuming ---------------------------------------------------------------------------------------------------------------


def test_records_survive_a_line_that_a_kill_cut(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    append(path, record(100, "naive", "mask", 3.0))
    with path.open("a", encoding="utf-8") as file:
        file.write('{"size": 100, "chain": "nai')
    append(path, record(100, "naive", "patches", 4.0))
    assert [r["wall"] for r in read_records(path)] == [3.0, 4.0]


def test_the_last_record_of_a_stage_counts(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    for record_ in (
        record(100, "naive", "mask", 3.0, status=1),
        record(100, "naive", "mask", 5.0),
        record(100, "naive", "mask", 7.0, code="d"),
    ):
        append(path, record_)
    assert [(r["wall"], r["code"]) for r in read_records(path)] == [(5.0, "c"), (7.0, "d")]


def test_no_records_are_no_error(tmp_path: Path) -> None:
    assert read_records(tmp_path / "none.jsonl") == []


def test_chains_take_turns_and_rasterstats_comes_last() -> None:
    jobs = list(plan([4, 9], 2, set(), {4}))
    assert [job for job in jobs if job.stage in ("all", "segment")] == [
        Job(4, "workflow", 1, "all"),
        Job(4, "strongest", 1, "segment"),
        Job(4, "naive", 1, "segment"),
        Job(4, "workflow", 2, "all"),
        Job(4, "strongest", 2, "segment"),
        Job(4, "naive", 2, "segment"),
        Job(9, "workflow", 1, "all"),
        Job(9, "strongest", 1, "segment"),
    ]
    assert [job.stage for job in jobs[-2:]] == ["features", "features_arrays"]
    without = list(plan([4, 9], 2, {"rasterstats"}, {4}))
    assert without == jobs[:-2]
    assert sum(job.stage == "features_exactextract" for job in without) == 2


# --- measuring --------------------------------------------------------------------------------------------------------------


def test_measure_counts_the_children_of_a_command(tmp_path: Path) -> None:
    child = "import time; block = bytearray(80_000_000); end = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    command = [
        sys.executable,
        "-c",
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True); print('done')",
    ]

    def part_of(process: psutil.Process) -> str | None:
        return "child" if "block" in "".join(process.cmdline()[2:3]) else None  # a process that has just ended has no command line

    measured = measure(command, tmp_path, os.environ, tmp_path / "log", part_of=part_of)
    assert measured.status == 0
    assert measured.cpu >= 0.5
    assert measured.wall >= 0.4
    assert measured.peak_mb >= 76
    assert (tmp_path / "log").read_text() == "done\n"
    assert 0 < cpu_of(measured.parts["child"]) <= measured.cpu + 0.02


def test_measure_ends_what_takes_too_long(tmp_path: Path) -> None:
    measured = measure([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, os.environ, tmp_path / "log", timeout=0.3)
    assert measured.status is None
    assert measured.wall < 30


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_bench_that_is_stopped_ends_its_stage(tmp_path: Path, number: signal.Signals) -> None:
    grandchild = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(120)'])"
    stage = f"import os, subprocess, sys; print(os.getpid(), flush=True); subprocess.run([sys.executable, '-c', {grandchild!r}])"
    bench = (
        "import os, signal, sys; from pathlib import Path; from bench.chain.measure import exit_when_terminated, measure; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); exit_when_terminated(); "
        f"measure([sys.executable, '-c', {stage!r}], Path('.'), os.environ, Path('log'))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", bench], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    tree: list[psutil.Process] = []
    until = time.monotonic() + 60
    while len(tree) < 3 and time.monotonic() < until:
        time.sleep(0.1)
        tree = psutil.Process(process.pid).children(recursive=True)
    try:
        assert len(tree) == 3, "stage, its child, and the child of that"
        assert (tmp_path / "log").read_text() == f"{tree[0].pid}\n"
        process.send_signal(number)
        assert process.wait(30) == (143 if number == signal.SIGTERM else -signal.SIGINT)
        assert psutil.wait_procs(tree, 10)[1] == []
    finally:
        for left in (process, *tree):
            with suppress(psutil.NoSuchProcess):
                left.kill()


@pytest.mark.parametrize(
    ("rule", "detail", "stage"),
    [
        ("fetch", "2022-1-s2", "composite_s2"),
        ("fetch", "static-1-dem", "composite_dem"),
        ("search", "2022-s1", "composite_s1"),
        ("describe", "2022-1", "features"),
        ("coverage", "coverage", OTHER),
        ("a_rule_of_tomorrow", "", OTHER),
    ],
)
def test_each_job_belongs_to_a_stage(rule: str, detail: str, stage: str) -> None:
    assert stage_of(rule, detail) == stage


def test_a_job_is_known_by_its_log_alone(tmp_path: Path) -> None:
    """The output of the whole command lies in a folder `logs` too, and every process of it has it open."""
    script = tmp_path / ".snakemake/scripts/tmpabc.fetch.py"
    script.parent.mkdir(parents=True)
    script.write_text("import time\nfile = open('logs/run/fetch/2022-1-s2.log', 'w')\ntime.sleep(1)\n")
    (tmp_path / "logs/run/fetch").mkdir(parents=True)
    command = [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, {str(script)!r}], check=True)"]
    measured = measure(command, tmp_path, os.environ, tmp_path / "9/logs/workflow-all.log", part_of=job_of)
    assert list(measured.parts) == ["fetch:2022-1-s2"]
    assert measured.parts["fetch:2022-1-s2"].last - measured.parts["fetch:2022-1-s2"].first >= 0.5


def test_job_seconds_come_from_the_logs(tmp_path: Path) -> None:
    logs = tmp_path / "logs" / "run"
    for name, seconds in (("grid.log", 1.5), ("fetch/2022-1-s2.log", 2.5), ("composite_s2/2022-1.log", 4.0)):
        (logs / name).parent.mkdir(parents=True, exist_ok=True)
        (logs / name).write_text(f"12:00:00 INFO block 1\n12:00:01 INFO took {seconds} s, at most 200 MB of memory\n")
    (logs / "composite_s2/2022-2.log").write_text("12:00:00 ERROR stopped\n")
    jobs = job_seconds(logs)
    assert jobs["composite_s2"] == [("composite_s2", 4.0, 200), ("fetch", 2.5, 200)]
    assert jobs[OTHER] == [("grid", 1.5, 200)]
    measured = measure([sys.executable, "-c", ""], tmp_path, os.environ, tmp_path / "log")
    stage = figures(measured, logs)["composite_s2"]
    assert stage == {"wall": None, "job": 6.5, "cpu": None, "mb": 200, "rules": ["composite_s2", "fetch"]}


# --- tables -----------------------------------------------------------------------------------------------------------------


def test_the_table_of_whole_chains() -> None:
    records = [record(100, "workflow", "all", 40.0), record(400, "workflow", "all", 100.0, mb=300)]
    records += [
        *chain_of(100, "strongest", 2.0),
        *chain_of(400, "strongest", 10.0),
        record(100, "strongest", "features_exactextract", 18.0),
    ]
    lines = table.whole(records)
    assert lines[2] == "| 100 tiles, s | 40.0 | – | 16.0 | 32.0 |"
    assert "| 400 tiles, MB | 300 | – | 100 | – |" in lines
    assert "| per further 100 tiles, s | 20.0 | – | 21.3 | – |" in lines
    assert "| fixed, s | 20.0 | – | -5.3 | – |" in lines
    assert "| 100 tiles, this workflow's time / the chain's | 1.00 | – | 2.50 | 1.25 |" in lines


def test_repetitions_are_averaged_and_listed() -> None:
    records = [record(100, "workflow", "all", 40.0), record(100, "workflow", "all", 50.0, repetition=2)]
    lines = table.whole(records)
    assert "| 100 tiles, s | 45.0 | – | – | – |" in lines
    assert "| 100 tiles, s, each time | 40.0, 50.0 | – | – | – |" in lines


def test_a_stage_that_was_measured_in_part_is_marked() -> None:
    records = [r for r in chain_of(100, "naive", 5.0) if r["stage"] != "features"]
    assert table.total_of(records, 100, "naive") is None
    records.append(record(100, "naive", "features", 10.0, status=1, done=2, total=20))
    assert table.whole(records)[2] == "| 100 tiles, s | – | about 135.0 | – | – |"
    records += [record(100, "workflow", "all", 40.0), record(100, "workflow", "all", 50.0, repetition=2)]
    assert "| 100 tiles, s, each time | 40.0, 50.0 | about 135.0 | – | – |" in table.whole(records)
    assert table.unfinished(records) == [
        "- naive, 100 tiles, `features`: 2 of 20 chunks of rasterstats took 10 s (20 CPU s), so all take about 100 s (200 CPU s)"
    ]


def test_a_stage_that_loses_is_reported() -> None:
    records = [
        *chain_of(100, "strongest", 2.0),
        record(100, "workflow", "mask", 5.0, job=4.5),
        record(100, "workflow", "segment", 1.0, job=0.5),
    ]
    lines = table.by_stage(records, 100)
    assert "| `mask` | 5.0 | 4.5 | 100 | – | – | 2.0 | 100 | 2.50 |" in lines
    assert "| `segment` | 1.0 | 0.5 | 100 | – | – | 2.0 | 100 | 0.50 |" in lines
    assert lines[-1] == "Of 100 tiles these stages take longer than in the strongest chain: `mask` 2.5 times."


def test_a_check_that_fails_is_shouted() -> None:
    checks = {100: [{"chain": "strongest", "what": "segments", "found": "3 of 9", "holds": False}]}
    assert table.outcomes(checks)[-1] == "| 100 | strongest | segments | 3 of 9 | DOES NOT HOLD |"


def test_tables_go_between_the_markers(tmp_path: Path) -> None:
    page = tmp_path / "chain.md"
    page.write_text(f"# Title\n{table.BEGIN}\nold\n{table.END}\nend \\1\n")
    table.insert(page, r"new \1")
    table.insert(page, r"newer \1")
    assert page.read_text() == f"# Title\n{table.BEGIN}\nnewer \\1\n{table.END}\nend \\1\n"
    page.write_text("# Title\n")
    with pytest.raises(SystemExit, match="found     none"):
        table.insert(page, "new")


# --- checks -----------------------------------------------------------------------------------------------------------------


def test_partitions_are_equal_up_to_the_numbers() -> None:
    a = np.array([[1, 1, 2], [3, 3, 2]])
    for b, same in (
        ([[9, 9, 4], [7, 7, 4]], [True, True, True]),
        ([[9, 9, 4], [7, 8, 4]], [True, True, False]),
        ([[9, 9, 4], [9, 9, 4]], [False, True, False]),
    ):
        numbers, found = compare.shared(a, np.array(b))
        assert (numbers.tolist(), found.tolist()) == ([1, 2, 3], same)


def test_the_largest_difference_notices_missing_values() -> None:
    a = np.array([1.0, np.nan, 3.0])
    assert compare.largest(a, np.array([1.5, np.nan, 3.0])) == 0.5
    assert compare.largest(a, np.array([1.0, 2.0, 3.0])) == float("inf")


def test_overlap_and_relative_difference() -> None:
    a, b = np.array([True, True, False]), np.array([True, False, True])
    assert compare.iou(a, b) == pytest.approx(1 / 3)
    assert compare.iou(~a & a, ~b & b) == 1
    assert compare.relative(np.array([100.0, 10.0]), np.array([101.0, 10.0])) == pytest.approx(0.01)


def test_the_expert_grades_clouds_as_the_workflow_does() -> None:
    margin = strongest.MARGIN
    classes = np.full((90, 80), 4, np.uint8)
    classes[30:50, 30:60], classes[60:62, 20:22], classes[70, 40], classes[:20, :20] = 9, 8, 11, 0
    grade, bright, share = strongest.graded(classes)
    inner = np.s_[margin:-margin, margin:-margin]
    near = near_cloud(classes, strongest.MASKED, strongest.DILATION, strongest.OPENING)[inner]
    clear = clear_mask(classes[inner], strongest.MASKED)
    expected = np.select([classes[inner] == 0, ~clear, near], [strongest.NONE, strongest.CLOUDY, strongest.NEAR], strongest.CLEAR)
    assert (grade == expected).all()
    assert set(np.unique(grade)) == {0, 1, 2, 3}
    assert bright.sum() == 20 * 30 + 4
    assert share == pytest.approx(clear[::8, ::8].mean())
