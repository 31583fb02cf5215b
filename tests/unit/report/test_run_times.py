"""What jobs took: their own last line, and the table over a run."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from smallmines.core.errors import UserError
from smallmines.core.job import TOOK, job
from smallmines.report.run_times import jobs, stages, took

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def test_a_job_tells_its_time_and_the_memory_of_its_programs_too(tmp_path: Path) -> None:
    busy = "import time; x = bytearray(400 * 2**20); time.sleep(1)\nwhile time.process_time() < 0.7: pass"
    began = time.process_time()
    with job(tmp_path / "a.log"):
        subprocess.run([sys.executable, "-c", busy], check=True)
    summary = TOOK.search((tmp_path / "a.log").read_text())
    assert summary is not None
    assert 1 <= float(summary[1]) < 30
    assert int(summary[2]) > 400
    assert float(summary[3]) >= began + 0.65  # of this process since its start, and of the program
    assert summary[4] == "1"
    with job(tmp_path / "b.log"):
        block = np.ones(50 * 2**20, np.uint8)  # gone before the watcher's next look, but the kernel knows
        del block
        time.sleep(0.01)
    again = TOOK.search((tmp_path / "b.log").read_text())
    assert again is not None
    assert int(again[2]) > 50


def test_the_table_sums_jobs_of_a_rule(tmp_path: Path) -> None:
    lines = {
        "mask/2016-1": (2.0, "took 1.0 s, at most 300 MB of memory, 2.5 s of processor time on 1 threads\n"),
        "mask/2016-2": (3.5, "took 1.5 s, at most 500 MB of memory, 4.0 s of processor time on 4 threads\n"),
        "grid": (1.0, "took 0.2 s, at most 200 MB of memory\n"),  # the log of an earlier version
        "seal": (1.0, "killed\n"),
    }
    for name, (seconds, line) in lines.items():
        for kind, text in (("benchmarks", f"{HEADER}{seconds}\t0:00:01\t9\t9\t9\t9\t0\t0\t50\t1.5\n"), ("logs", line)):
            path = tmp_path / kind / "demo" / f"{name}.{'tsv' if kind == 'benchmarks' else 'log'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    table = took("demo", tmp_path).set_index("rule")
    assert table.loc["mask"].to_dict() == {"jobs": 2, "seconds": 5.5, "longest": 3.5, "cpu": 6.5, "memory": 500, "start": 3.0}
    assert table.loc["grid"].to_dict() == {"jobs": 1, "seconds": 1.0, "longest": 1.0, "cpu": 1.5, "memory": 200, "start": 0.8}
    assert math.isnan(table.loc["seal", "start"])
    assert math.isnan(table.loc["seal", "memory"])
    threads = jobs("demo", tmp_path).set_index("benchmark")["threads"]
    assert threads.fillna(0).to_dict() == {"mask/2016-1.tsv": 1, "mask/2016-2.tsv": 4, "grid.tsv": 0, "seal.tsv": 0}


def test_an_empty_benchmark_file_is_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "benchmarks/demo/mask"
    folder.mkdir(parents=True)
    whole = f"{HEADER}2.0\t0:00:02\t9\t9\t9\t9\t0\t0\t50\t1.5\n"
    for name, text in (("1", whole), ("2", ""), ("3", HEADER), ("4", whole[:20]), ("5", "\0" * 40)):
        (folder / f"{name}.tsv").write_text(text)
    assert jobs("demo", tmp_path)[["benchmark", "seconds", "cpu"]].to_numpy().tolist() == [["mask/1.tsv", 2.0, 1.5]]
    assert [record.getMessage().split(" is left out: no benchmark file of Snakemake (")[0] for record in caplog.records] == [
        str(folder / f"{name}.tsv") for name in "2345"
    ]
    (folder / "1.tsv").unlink()
    with pytest.raises(UserError, match="run the workflow first"):
        took("demo", tmp_path)


def test_no_benchmarks_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run the workflow first"):
        took("demo", tmp_path)


def test_a_stage_ends_where_the_next_begins(tmp_path: Path) -> None:
    (tmp_path / "stages.tsv").write_text("world\t100\nfirst run\t130\nend\t331\n")
    assert stages(tmp_path / "stages.tsv") == [
        {"stage": "world", "seconds": 30},
        {"stage": "first run", "seconds": 201},
        {"stage": "all", "seconds": 231},
    ]
