"""Where people's files lie: only those that exist, and nothing that depends on how the run was called once they do."""

from __future__ import annotations

from types import SimpleNamespace

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
        "samples/2016/2.gpkg-wal",
        "samples/2016/1.csv",
        "events/2016/2/b.jsonl",
        "events/2016/2/a.jsonl",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert files.samples(PLACE) == [f"{tmp_path}/samples/2016/2.csv", f"{tmp_path}/samples/2016/2.gpkg"]
    assert files.events(PLACE) == [f"{tmp_path}/events/2016/2/a.jsonl", f"{tmp_path}/events/2016/2/b.jsonl"]
    assert files.candidates_command(PLACE) == ""
