"""The verbs as they are typed: tables, exit codes, and what a dry run leaves alone."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import typer
import yaml
from typer.testing import CliRunner

from miniature.cli import app as miniature
from place import decide_again, edit, make_place, read_truth
from smallmines.annotation import checkin
from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.server import rerun
from smallmines.cli import version
from smallmines.cli.main import app
from smallmines.core import raster
from smallmines.core.files import write_json
from smallmines.labels import tables
from smallmines.report import planned_jobs
from smallmines.report.planned_jobs import PlannedJob


@pytest.fixture
def block_year(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BlockYear:
    """A made-up run in the present folder, with samples, a forest's settings, masks and `made.yaml`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    block_year = make_place(Path())
    config = block_year.config.model_dump(mode="json", exclude_defaults=True)
    config["years"] = {2016: {"start": "2016-01-01", "end": "2016-01-31"}}
    config["grid"]["blocks"] = 1
    Path("made.yaml").write_text(yaml.safe_dump(config))
    own = block_year.features().iloc[::5]
    truth = np.r_[0, read_label(block_year)][own["segment"]]
    samples = pd.DataFrame({"segment": own["segment"], "label": truth.astype("int8"), "subclass": "", "tile_id": own["tile_id"], "who": ""})
    tables.write("results/made/people/2016/1/samples.parquet", samples.reset_index(drop=True), "samples")
    forest = {"n_estimators": 20, "max_depth": 8, "min_samples_split": 5}
    write_json("results/made/assistant/2016/1/metrics.json", {"threshold": 0.5, "forest": forest})
    labels = decide_again(block_year)
    lut = np.r_[255, labels["label"].to_numpy(int) % 256].astype(np.uint8)
    raster.write("results/made/masks/2016/1.tif", lut[block_year.segments()], block_year.lattice.block("1"), 255, ["mining"])
    return block_year


def read_label(block_year: BlockYear) -> np.ndarray:
    """Which segments are mined."""
    segments = block_year.segments()
    return np.bincount(segments.ravel(), read_truth(block_year).ravel())[1:] > 0


def call(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(words), catch_exceptions=True)
    text = done.output + (str(done.exception) if isinstance(done.exception, SystemExit) else "")
    assert done.exit_code == code, text
    return text


def test_sample_check_in_and_accuracy(block_year: BlockYear) -> None:
    where = ("--config", "made.yaml", "--year", "2016", "--block", "1", "--annotator", "A01")
    assert "no accuracy sample was drawn" in call("labels", "accuracy", "--config", "made.yaml")
    assert "Would be checked out" in call("labels", "sample", *where, "--dry-run")
    assert not (block_year.user / "accuracy").exists()
    assert "accuracy" in call("labels", "sample", *where)
    copy = block_year.user / "work/A01/2016-1-accuracy.gpkg"
    edit(copy, "UPDATE segments SET label = 'not_mining', evidence = 'x', evidence_date = '2016-01-01'")
    output = call("labels", "checkin", "--config", "made.yaml", "--no-plan", str(copy))
    assert "reference" in output
    output = call("labels", "accuracy", "--config", "made.yaml", "--json", "accuracy.json")
    assert "producer's accuracy of not_mining" in output
    assert json.loads(Path("accuracy.json").read_text())["2016"]["mining_ha"]["value"] == 0
    for year, block in (("2016", "9"), ("1999", "1")):
        other = ("--config", "made.yaml", "--year", year, "--block", block, "--annotator", "A01")
        assert f"{year}, block {block}" in call("labels", "sample", *other, code=1)
    assert "annotators" in call("labels", "sample", *where[:-1], "B77", code=1)


@pytest.mark.parametrize(("kinds", "target"), [(["change_before", "change_after"], "change "), (["change_after", "review"], "")], ids=str)
def test_after_a_check_in_the_jobs_that_follow_from_it_are_listed(
    kinds: list[str], target: str, block_year: BlockYear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The map of change is none of what `snakemake` alone makes."""

    def check_in(user: Path, path: Path, *_: object) -> SimpleNamespace:
        about = SimpleNamespace(annotator="A01", kind=path.stem)
        return SimpleNamespace(
            about=about, events=(1,), counts={}, checked_in_before=0, stale=0, warnings=(), open_elsewhere=False, file=None, kept=None
        )

    monkeypatch.setattr(checkin, "checkin", check_in)
    monkeypatch.setattr(rerun.subprocess, "run", lambda command, **_: SimpleNamespace(returncode=1, stdout=" ".join(command), stderr=""))
    told = call("labels", "checkin", "--config", "made.yaml", *(f"{kind}.gpkg" for kind in kinds))
    assert f"see what is to be made again: snakemake {target}--configfile made.yaml --dry-run" in told


def test_the_prevalence_sample_is_asked_for_first(block_year: BlockYear) -> None:
    where = ("--config", "made.yaml", "--year", "2016", "--block", "1", "--annotator", "A01")
    assert "FIRST" not in call("labels", "checkout", *where)
    assert "assistant.prevalence is estimate: set it to sample" in call("labels", "sample", "--for", "prevalence", "--dry-run", *where)
    assert "Prevalence samples" not in call("labels", "status", "--config", "made.yaml")
    config = yaml.safe_load(Path("made.yaml").read_text()) | {"assistant": {"prevalence": "sample", "prevalence_points": 50}}
    Path("made.yaml").write_text(yaml.safe_dump(config))
    told = call("labels", "checkout", *where)
    first = "FIRST label the prevalence sample of 2016, block 1 (it has not been drawn), and run the workflow"
    assert told.count(first) == 2
    assert told.startswith(first)
    assert "labels sample --for prevalence --config … --year 2016 --block 1" in told
    assert first in call("labels", "status", "--config", "made.yaml")
    told = call("labels", "sample", "--for", "prevalence", *where)
    assert "50 segments in" in told
    assert "assistant.prevalence is" not in told
    Path("made.yaml").write_text(yaml.safe_dump(config | {"assistant": {"prevalence": "sample", "prevalence_points": 300}}))
    other = "2016, block 1 has 50 pixels and is drawn once: assistant.prevalence_points 300 does not change it; set it back to 50"
    assert other in call("labels", "status", "--config", "made.yaml")
    assert other in call("labels", "sample", "--for", "prevalence", *where)
    Path("made.yaml").write_text(yaml.safe_dump(config))
    assert "drawn once" not in call("labels", "status", "--config", "made.yaml")
    assert "drawn once" not in call("labels", "sample", "--for", "prevalence", *where)
    copy = block_year.user / "work/A01/2016-1-prevalence.gpkg"
    edit(copy, "UPDATE segments SET label = 'not_mining', evidence = 'x', evidence_date = '2016-01-01'")
    call("labels", "checkin", "--config", "made.yaml", "--no-plan", str(copy))
    assert "FIRST run the workflow: the prevalence sample of 2016, block 1 is labelled" in call("labels", "checkout", *where)
    done = CliRunner().invoke(app, ["labels", "status", "--config", "made.yaml", "--json"])
    assert json.loads(done.stdout)["prevalence_samples"] == [{"year": 2016, "block": "1", "drawn": 50, "looked_at": 50, "settled": 50}]
    assert "none: A01 has labelled all" in call("labels", "sample", "--for", "prevalence", *where, code=1)
    assert "'area'" in call("labels", "sample", "--for", "area", *where, code=2)


def test_the_status_lists_blocks_without_labels_too(block_year: BlockYear) -> None:
    """A block and year whose workflow has not run has dashes, and the verb says what comes first; it stops at none."""
    assert "FIRST" not in call("labels", "status", "--config", "made.yaml")
    config = yaml.safe_load(Path("made.yaml").read_text())
    config["grid"]["blocks"], config["years"][2022] = 2, {"start": "2022-01-01", "end": "2022-01-31"}
    Path("made.yaml").write_text(yaml.safe_dump(config))
    told = call("labels", "status", "--config", "made.yaml")
    assert "FIRST run the workflow up to the masks: there are no labels yet of 2016, block 2; 2022, blocks 1, 2.\n  snakemake masks" in told
    assert len(re.findall(r"^ *(?:2016|2022) +[12] +–", told, re.MULTILINE)) == 3
    done = CliRunner().invoke(app, ["labels", "status", "--config", "made.yaml", "--json"])
    rows = json.loads(done.stdout)["labels"]
    segments = len(block_year.features())
    assert [(row["year"], row["block"], row["segments"]) for row in rows] == [
        (2016, "1", segments),
        (2016, "2", None),
        (2022, "1", None),
        (2022, "2", None),
    ]
    assert {tuple(row) for row in rows} == {tuple(rows[0])}, "the same columns"
    assert rows[0]["validated"] == pytest.approx(0.2, abs=0.001), "every fifth segment is a sample"
    assert set(list(rows[1].values())[2:]) == {None}
    Path("results/made/segments/2016/1/features.parquet").unlink()
    assert "no labels yet of 2016, blocks 1, 2; 2022" in call("labels", "status", "--config", "made.yaml")


def test_rounds(block_year: BlockYear) -> None:
    assert "no round yet" in call("labels", "rounds", "--config", "made.yaml")
    call("labels", "checkout", "--config", "made.yaml", "--year", "2016", "--block", "1", "--annotator", "A01")
    copy = block_year.user / "work/A01/2016-1.gpkg"
    edit(copy, "UPDATE segments SET label = prediction")
    call("labels", "checkin", "--config", "made.yaml", "--no-plan", str(copy))
    assert "2016, block 1: enough: the last round changed nothing" in call("labels", "rounds", "--config", "made.yaml")


def test_rows_as_json(block_year: BlockYear) -> None:
    where = ("--config", "made.yaml")

    def rows(*words: str) -> Any:
        done = CliRunner().invoke(app, list(words))
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    status = rows("labels", "status", *where, "--json")
    assert status["copies"] == []
    assert [(row["year"], row["block"], row["open"]) for row in status["labels"]] == [(2016, "1", 0)]
    reasons = rows("labels", "checkout", *where, "--year", "2016", "--block", "1", "--annotator", "A01", "--json")
    assert {row["reason"] for row in reasons} >= {"uncertainty", "audit"}
    copy = block_year.user / "work/A01/2016-1.gpkg"
    edit(copy, "UPDATE segments SET label = prediction")
    checked = rows("labels", "checkin", *where, "--no-plan", str(copy), "--json")
    assert checked["copies"][0]["confirmed"] == sum(row["segments"] for row in reasons)
    assert rows("labels", "agreement", *where, "--json", "-") == []
    assert rows("labels", "accuracy", *where, "--json", "-") == {"2016": None}
    assert rows("labels", "rounds", *where, "--json")[0]["corrected_share"] is None
    moved = rows("labels", "transfer", *where, "--json")[0]
    assert (moved["year"], moved["kept"], moved["withdrawn"]) == (2016, checked["copies"][0]["confirmed"], 0)
    assert "tiles_and_years" in rows("splits", "make", *where, "--dry-run", "--json")["splits"][0]
    assert not Path("-").exists()


def test_a_check_in_of_several_copies_tells_faults_and_doubts(block_year: BlockYear) -> None:
    """Three lines for the faulty copy, the other is checked in all the same; doubts go to standard error."""
    copies = [block_year.user / f"work/{who}/2016-1.gpkg" for who in ("A01", "A02")]
    for who, copy, label, day in zip(("A01", "A02"), copies, ("mine", "mining"), ("2016-02-01", "1970-01-01"), strict=True):
        call("labels", "checkout", "--config", "made.yaml", "--year", "2016", "--block", "1", "--annotator", who)
        edit(copy, "UPDATE segments SET label = ?, evidence = 'x', evidence_date = ? WHERE fid = 1", label, day)
    done = CliRunner().invoke(app, ["labels", "checkin", "--config", "made.yaml", "--no-plan", "--json", *map(str, copies)])
    assert done.exit_code == 1
    document, end = json.JSONDecoder().raw_decode(done.stdout)
    assert [row["annotator"] for row in document["copies"]] == ["A02"]
    assert done.stderr.startswith(f"{copies[1].relative_to(block_year.root)}: row 1: the evidence is of 1970-01-01")
    fault = done.stdout[end:].strip().split("\n")  # the runner adds the message of the exit here
    assert [line.split()[0] for line in fault] == ["expected", "found", "do"]
    assert "row 1: label is 'mine'" in fault[1]
    assert len(list((block_year.user / "events/2016/1").iterdir())) == 1


def test_import_polygons(block_year: BlockYear) -> None:
    words = ("labels", "import-polygons", "--config", "made.yaml")
    assert "labels.external" in call(*words, code=1)
    config = yaml.safe_load(Path("made.yaml").read_text())
    entry = {"path": "mines.gpkg", "class_column": "type", "classes": {"pit": "mining"}, "date_column": "day", "points": 3}
    Path("made.yaml").write_text(yaml.safe_dump(config | {"labels": config["labels"] | {"external": [entry]}}))
    box = block_year.lattice.block("1").boundingbox
    square = shapely.box(box.left + 20, box.top - 80, box.left + 80, box.top - 20)
    gpd.GeoDataFrame({"type": ["pit"], "day": ["2016-01-20"]}, geometry=[square], crs=block_year.config.grid.crs).to_file("mines.gpkg")
    assert "Would be imported" in call(*words, "--dry-run")
    assert not (block_year.user / "samples").exists()
    assert "Imported" in call(*words, "--year", "2016")
    table = pd.read_csv(block_year.user / "samples/2016/1.csv")
    assert table["label"].tolist() == ["mining"] * 3
    assert "there are samples already" in call(*words)


def test_import_masks(block_year: BlockYear) -> None:
    truth = np.where(block_year.segments() > 0, read_truth(block_year) ^ (block_year.segments() % 50 == 7), 255).astype(np.uint8)
    raster.write("release/MASK_0001_2016.tif", truth, block_year.lattice.block("1"), 255, ["mask"])
    words = ("labels", "import-masks", "--config", "made.yaml", "release", "--samples", "30")
    assert "Would be imported" in call(*words, "--dry-run")
    assert not block_year.user.exists()
    assert "Imported" in call(*words)
    assert len(pd.read_csv(block_year.user / "samples/2016/1.csv")) == 60
    assert len(list((block_year.user / "events/2016/1").iterdir())) == 1
    assert "there are samples already" in call(*words)
    assert "MASK_" in call("labels", "import-masks", "--config", "made.yaml", "results/made/grid", code=1)
    Path("results/made/grid/grid.json").unlink()
    assert "up to the segments first" in call(*words, code=1)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (".", "a file in the place of"),
        ("a_file/lineage.csv", "a folder in the place of"),
        ("a_file/deeper/lineage.csv", "a folder in the place of"),
    ],
)
def test_a_table_goes_to_a_new_folder_or_is_refused_in_three_lines(block_year: BlockYear, place: str, expected: str) -> None:
    words = ("labels", "transfer", "--config", "made.yaml", "--lineage")
    call(*words, "new/folder/lineage.csv")
    assert pd.read_csv("new/folder/lineage.csv").empty
    assert sorted(path.name for path in Path("new/folder").iterdir()) == ["lineage.csv"]
    Path("a_file").write_text("")
    text = call(*words, place, code=1)
    assert f"expected  {expected}" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("seed", ["-1", "4294967296"])
def test_a_seed_that_numpy_does_not_take_is_refused(block_year: BlockYear, seed: str) -> None:
    assert "--seed" in call("splits", "make", "--config", "made.yaml", "--dry-run", "--seed", seed, code=2)


def test_splits(block_year: BlockYear) -> None:
    assert "run the workflow first" in call("splits", "show", "--config", "made.yaml", code=1)
    assert "run the workflow first" in call("splits", "freeze", "--config", "made.yaml", code=1)
    frozen = block_year.user / "splits.csv"
    assert "leakage: twins 0.0" in call("splits", "make", "--config", "made.yaml", "--dry-run")
    assert not frozen.exists()
    call("splits", "make", "--config", "made.yaml")
    first = frozen.read_text()
    assert "none" in call("splits", "make", "--config", "made.yaml")
    assert "→" in call("splits", "make", "--config", "made.yaml", "--seed", "5")
    assert frozen.read_text() != first
    assert [path.read_text() for path in block_year.user.glob("splits-*.csv")] == [first]
    splits = Path("results/made/dataset/splits.csv")
    splits.parent.mkdir()
    published = "".join(line.rsplit(",", 1)[0] + "\n" for line in first.splitlines())
    splits.write_text(published)
    assert first.splitlines()[1].split(",")[4].startswith("spatial_block seed=0 rows=")
    assert "no other splits" in call("splits", "freeze", "--config", "made.yaml", code=1)
    frozen.unlink()
    call("splits", "freeze", "--config", "made.yaml")
    assert frozen.read_text() == published, "no report says how they were made"
    frozen.unlink()
    Path("results/made/splits.json").write_text('{"source": "spatial_block"}')
    call("splits", "freeze", "--config", "made.yaml")
    assert frozen.read_text() == first
    call("splits", "freeze", "--config", "made.yaml")
    frozen.write_text(first.replace(",", ";"))
    assert "semicolons in line 1" in call("splits", "freeze", "--config", "made.yaml", code=1)
    assert "semicolons in line 1" in call("splits", "make", "--config", "made.yaml", code=1)


def test_products_names_what_is_damaged(block_year: BlockYear) -> None:
    results = Path("results/made")
    assert "Damaged products of run made: 0" in call("products", "--config", "made.yaml")
    path = results / "segments/2016/1/segments.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    answer, _ = json.JSONDecoder().raw_decode(call("products", "--config", "made.yaml", "--json", code=1))
    assert [row["file"] for row in answer["damaged"]] == [str(path)]
    assert answer["damaged"][0]["damage"] == "segments is missing"


def test_config_new_and_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SHARED_CREDENTIALS_FILE", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    square = shapely.box(-70, -13, -69.9, -12.9)
    gpd.GeoDataFrame(geometry=[square], crs="EPSG:4326").to_file("area.gpkg")
    words = ("config", "new", "peru", "--aoi", "area.gpkg")
    assert "--country PE" in call(*words, code=1)
    lines = call(*words, "--country", "PE", "--year", "2023", "--year", "2021").splitlines()
    assert lines[0].startswith("Written: config/peru.yaml (120.0 km²)")
    assert [line.strip() for line in lines[1:]] == [
        "mkdir -p resources/user/peru",
        "cp area.gpkg resources/user/peru/aoi.gpkg",
        "smallmines config check --config config/peru.yaml",
        "smallmines access --config config/peru.yaml",
        "snakemake --cores 16 annotate --configfile config/peru.yaml",
    ]
    assert "it exists" in call(*words, "--country", "PE", code=1)
    check = ("config", "check", "--config", "config/peru.yaml")
    assert "errors 1, warnings 2" in call(*check, code=1)
    Path("resources/user/peru").mkdir(parents=True)
    Path("area.gpkg").rename("resources/user/peru/aoi.gpkg")
    output = call(*check)
    assert "errors 0, warnings 2" in output
    assert "warning\nexpected  an account for cdse (sentinel2)\nfound     neither AWS_ACCESS_KEY_ID" in output
    call("config", "new", "this-year", "--aoi", "resources/user/peru/aoi.gpkg", "--country", "PE", "--out", "other.yaml")
    assert list(yaml.safe_load(Path("other.yaml").read_text())["years"]) == [dt.date.today().year - 1]


def test_config_keys_and_schema_are_written(tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    document.write_text("before\n<!-- keys -->\nold\n<!-- /keys -->\nafter\n")
    call("config", "keys", "--out", str(document))
    table = call("config", "keys")
    assert document.read_text() == f"before\n<!-- keys -->\n{table}<!-- /keys -->\nafter\n"
    call("config", "schema", "--out", str(tmp_path / "schema.json"))
    assert (tmp_path / "schema.json").read_text() == call("config", "schema")


@pytest.mark.parametrize("program", [app, miniature])
def test_version(program: typer.Typer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = CliRunner().invoke(program, ["--version"])
    assert done.exit_code == 0
    assert re.fullmatch(r"smallmines \d+\.\d+\.\d+(, commit [0-9a-f]{12}( and changes)?)?\n", done.output)
    monkeypatch.setattr(version, "REPOSITORY", tmp_path)
    assert re.fullmatch(r"smallmines \d+\.\d+\.\d+\n", CliRunner().invoke(program, ["--version"]).output)


def verbs_with_config(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All verbs that take `--config`, with the words that call them."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from verbs_with_config(command, (*words, name))
        elif any("--config" in param.opts for param in command.params):
            yield (*words, name), command


def required(command: Any) -> list[str]:
    """A value for each option and argument that a verb must have."""
    values = {"year": "2016", "block": "1"}
    words: list[str] = []
    for param in command.params:
        if param.required and "--config" not in param.opts:
            option = param.opts[0].startswith("-")
            words += [param.opts[0], values.get(str(param.name), "A01")] if option else ["."]
    return words


VERBS = dict(verbs_with_config(typer.main.get_command(app)))


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_verb_refuses_a_wrong_configuration_in_three_lines(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    secret = "https://me:Zt7Qw9Kp@host/catalog.json"
    needed = [*required(VERBS[words]), *(["."] if words == ("compare",) else [])]  # whose second folder is optional
    for number, (content, reason) in enumerate(
        {
            "run: x\nrun: x\n": "line 2, column 1: the key 'run' stands twice",
            "run: x\nyears: {2015: {start: 2015-01-01, end: 2015-02-29}}\n": "line 2, column 40: day is out of range for month",
            "run: x\nyears: {2015: {start: 2015-01-01, end: 2015-02-28}}\ngrid: {crs: 'EPSG:abc'}\n": "grid.crs: no CRS that PROJ knows",
            f"run: x\nsentinel2: {{catalogue: '{secret}'}}\n": "sentinel2.catalogue: a user name or password",
        }.items()
    ):
        Path(f"{number}.yaml").write_text(content)
        done = CliRunner().invoke(app, [*words, *needed, "--config", f"{number}.yaml"])
        assert (done.exit_code, type(done.exception)) == (1, SystemExit), done.output
        lines = done.output.splitlines()
        assert [line[:10] for line in lines] == ["expected  ", "found     ", "do        "], done.output
        assert reason in lines[1]
        assert "Zt7Qw9Kp" not in done.output


def test_a_configuration_that_is_no_file(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "no.yaml", "no file"), (tmp_path, "a folder")):
        assert f"found     {reason}\n" in call("config", "check", "--config", str(path), code=1)


def test_the_plan_says_where_its_picture_is_and_what_makes_missing_jobs_run(block_year: BlockYear, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = [PlannedJob(f"{rule}/1", rule, (), 1, 0, {}) for rule in ("mask", "labels", "mask")]
    monkeypatch.setattr(planned_jobs, "planned_jobs", lambda config: plan[:1])
    path = Path("benchmarks/made/mask/1.tsv")
    path.parent.mkdir(parents=True)
    path.write_text("s\tcpu_time\n2.0\t1.5\n")
    printed = call("bench", "--config", "made.yaml", "--plan", "--picture", "plan.png")
    assert "critical path 2 s, all jobs 2 s" in printed
    assert printed.splitlines()[-1] == "written: plan.png"
    assert Path("plan.png").stat().st_size > 1000
    monkeypatch.setattr(planned_jobs, "planned_jobs", lambda config: [*plan, PlannedJob("labels/2", "labels", (), 1, 0, {})])
    refused = call("bench", "--config", "made.yaml", "--plan", code=1)
    assert refused.splitlines()[-2:] == [
        "found     no benchmark file of 2 of 4 jobs, first labels/1",
        "do        let snakemake finish it; where it has nothing to do, add --forcerun labels",
    ]


def test_pixels_lists_and_removes_what_no_run_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("resources/automatic/pixels/item/B02-1.tif")
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(5_000_000))
    row = {"run": "(none)", "files": 1, "gb": 0.005, "removable_gb": 0.005, "composites_to_make": 0}
    assert json.loads(call("pixels", "--json")) == [row]
    assert json.loads(call("pixels", "--items", "--json")) == [{"item": "item", "files": 1, "gb": 0.005, "runs": ""}]
    assert "--run together with --remove" in call("pixels", "--run", "made", code=1)
    for runs, remedy in (((), "leave --run out"), (("made", "other"), "name one of: made, other")):
        for run in runs:
            Path(f"results/{run}/fetched").mkdir(parents=True)
        refused = call("pixels", "--remove", "--run", "nosuch", code=1)
        assert refused.splitlines()[1:3] == ["found     nosuch", f"do        {remedy}"]
    assert json.loads(call("pixels", "--remove", "--run", "made", "--json")) == [{"run": "made", "files": 0, "gb": 0, "files_kept": 0}]
    assert path.is_file()
    assert call("pixels").splitlines()[0] == "Cached pixels: 5.0 MB"
    for size, text in ((0, "0.0 kB"), (2_340, "2.3 kB"), (2_340_000_000, "2.3 GB")):
        os.truncate(path, size)
        assert call("pixels").splitlines()[0] == f"Cached pixels: {text}"
    os.truncate(path, 5_000_000)
    assert json.loads(call("pixels", "--remove", "--json")) == [{"run": "(none)", "files": 1, "gb": 0.005, "files_kept": 0}]
    assert not path.exists()
