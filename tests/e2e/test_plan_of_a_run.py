"""What `smallmines bench --plan` says of a finished run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workspace import Workspace, job_counts

pytestmark = pytest.mark.e2e


@pytest.mark.heavy
def test_the_simulated_run_takes_as_long_as_the_real_one(miniature: Workspace, tmp_path: Path) -> None:
    picture = tmp_path / "plan.png"
    text = miniature.smallmines("bench", "--config", miniature.config, "--cores", "2", "--picture", str(picture), "--json")
    told = json.loads(text[text.index("{") : text.rindex("}") + 1])
    every = {row["rule"]: row for row in told["rules"]}
    planned = job_counts(miniature.snakemake("-n", "--forceall"))
    assert {rule: row["jobs"] for rule, row in every.items() if rule != "all"} == planned

    path = [row["job"] for row in told["critical_path"]]
    assert path[0] == "grid"
    assert path[-1] in ("page", "verify", "doctor")
    assert [job.split("/")[0] for job in path if job.startswith(("segment/", "assistant/", "mask/"))] == ["segment", "assistant", "mask"]
    assert (
        len({job.split("/")[1].rsplit("-s")[0] for job in path if job.startswith(("fetch/2", "composite_s2/", "segment/", "mask/"))}) == 1
    )

    ran, *simulated = told["cores"]
    assert [row["cores"] for row in simulated] == [2, 4, 16, 64]
    assert [row["mem_mb"] for row in simulated] == [16000, 16000, 64000, 256000]
    assert simulated[0]["seconds"] == pytest.approx(ran["seconds"], rel=0.2)
    seconds = [row["seconds"] for row in simulated]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[-1] == pytest.approx(sum(row["seconds"] for row in told["critical_path"]), rel=0.1)
    assert sum(row["cpu s"] for rule, row in every.items() if rule != "all") == pytest.approx(every["all"]["cpu s"])
    assert 0 < every["all"]["start-up s"] < every["all"]["seconds"]
    assert picture.stat().st_size > 20_000
