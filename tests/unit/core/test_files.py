"""Where people's files lie: only those that exist, and nothing that depends on how the run was called once they do."""

from __future__ import annotations

import os
import re
from types import SimpleNamespace

import pytest

from smallmines.core.errors import UserError
from smallmines.labels.user_files import UserFiles

PLACE = SimpleNamespace(year="2016", block="2")


def test_files_that_exist_and_the_command_where_none_does(tmp_path):
    files = UserFiles(str(tmp_path), "EPSG:32630", ("config/demo.yaml",))
    assert files.samples(PLACE) == files.events(PLACE) == []
    assert files.candidates_command(PLACE) == "snakemake annotate --configfile config/demo.yaml"
    assert UserFiles(str(tmp_path), "EPSG:32630").candidates_command(PLACE) == "snakemake annotate"
    assert files.sample_path(PLACE) == f"{tmp_path}/samples/2016/2"
    for name in (
        "samples/2016/2.gpkg",
        "samples/2016/2.csv",
        "samples/2016/2.old.CSV",
        "samples/2016/2.gpkg-wal",
        "samples/2016/22.csv",
        "samples/2016/1.csv",
        "events/2016/2/b.jsonl",
        "events/2016/2/a.jsonl",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert files.samples(PLACE) == []  # a plan keeps to what was there when it began
    files = UserFiles(str(tmp_path), "EPSG:32630", ("config/demo.yaml",))
    assert files.samples(PLACE) == [f"{tmp_path}/samples/2016/2.{suffix}" for suffix in ("csv", "gpkg", "old.CSV")]
    assert files.events(PLACE) == [f"{tmp_path}/events/2016/2/a.jsonl", f"{tmp_path}/events/2016/2/b.jsonl"]
    assert files.candidates_command(PLACE) == ""


def test_what_is_no_file_is_named_before_anything_waits_for_it(tmp_path):
    files = UserFiles(str(tmp_path), "EPSG:32630")
    events, samples, accuracy = (tmp_path / name for name in ("events/2016/2", "samples/2016", "accuracy/2016"))
    for folder in (events, samples, accuracy):
        folder.mkdir(parents=True)
    (events / "whole.jsonl").touch()
    files.require_files(["2016"], ["1", "2"])
    os.mkfifo(events / "pipe.jsonl")
    (events / "folder.jsonl").mkdir()
    (events / "loop.jsonl").symlink_to(events / "loop.jsonl")
    (samples / "2.gpkg").symlink_to("/nowhere")
    os.mkfifo(accuracy / "2.csv")
    files = UserFiles(str(tmp_path), "EPSG:32630")
    with pytest.raises(UserError) as raised:
        files.require_files(["2016"], ["1", "2"])
    for name in ("pipe.jsonl", "folder.jsonl", "loop.jsonl", "samples/2016/2.gpkg", "accuracy/2016/2.csv"):
        assert name in raised.value.found
    assert "whole" not in raised.value.found
    assert len(str(raised.value).split("\n")) == 3
    files.require_files(["2022"], ["2"])


@pytest.mark.parametrize("kind", ["accuracy", "prevalence", "change_before", "change_after"])
def test_a_pipe_in_the_place_of_any_sample_is_named(tmp_path, kind):
    for name in (f"{kind}/2022/1.csv", f"{kind}/2022/2/pipe.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True)
        os.mkfifo(tmp_path / name)
        with pytest.raises(UserError, match=re.escape(name)):
            UserFiles(str(tmp_path), "EPSG:32630").require_files(["2016", "2022"], ["1", "2"])
        (tmp_path / name).unlink()
