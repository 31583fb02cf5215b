"""`smallmines publish huggingface` against the Hub on loopback: what is sent, what is kept, what is refused, interruptions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hub_uploads import READER, WRITER, Hub, serving
from typer.testing import CliRunner

from sharded import make_dataset, make_shards
from smallmines.archive import hub as client
from smallmines.cli.main import app
from smallmines.core.errors import UserError
from smallmines.core.files import sha256
from smallmines.publish import upload
from smallmines.publish.huggingface import write_sums
from smallmines.publish.sealed_folder import LocalFile, sealed_files
from smallmines.publish.upload import Sender

pytestmark = pytest.mark.loopback

REPOSITORY = "mines/ghana"
SHARDS = {"data/default-train/00000.parquet": 60_000, "data/default-test/00000.parquet": 30_000, "sample/train/00000.parquet": 20_000}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty Hub, and a token that may write."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    client.library()
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    monkeypatch.setenv("HF_TOKEN", WRITER)
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.01")
    monkeypatch.setenv("COLUMNS", "200")
    with serving(Hub()) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sealed shards beside the dataset that they are made of."""
    run = tmp_path / "results/x"
    (run / "dataset").mkdir(parents=True)
    (run / "dataset/SHA256SUMS").write_text("")
    shards = run / "huggingface"
    random = np.random.default_rng(0)
    for name, size in SHARDS.items():
        (shards / name).parent.mkdir(parents=True, exist_ok=True)
        (shards / name).write_bytes(random.bytes(size))
    (shards / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n# Mines\n")
    (shards / "made_from.json").write_text(json.dumps({"sha256sums": sha256(run / "dataset/SHA256SUMS"), "rows": 3}) + "\n")
    write_sums(shards)
    return shards


def run(*words: str, folder: Path | None = None, repository: str = REPOSITORY) -> tuple[int, str]:
    """Run the verb; return exit status and output."""
    place = ["--folder", str(folder)] if folder else []
    done = CliRunner().invoke(app, ["publish", "huggingface", "--repo", repository, *place, *words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    code = done.exit_code
    text = done.output if not isinstance(done.exception, SystemExit) else f"{done.output}{done.exception.code if code != 0 else ''}"
    return code, text


def refused(folder: Path, *words: str, repository: str = REPOSITORY) -> str:
    code, text = run(*words, folder=folder, repository=repository)
    assert code != 0
    lines = text.strip().splitlines()[-3:]
    assert [line.split()[0] for line in lines] == ["expected", "found", "do"], text
    assert WRITER not in text
    return text


def content(hub: Hub, repository: str = REPOSITORY) -> dict[str, bytes]:
    return {path: file.content for path, file in hub.repositories[repository].items() if path != ".gitattributes"}


def of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_new_repository_gets_the_folder_with_the_card_and_the_seal_last(hub: Hub, folder: Path) -> None:
    code, text = run(folder=folder)
    assert code == 0, text
    assert content(hub) == of(folder)
    assert {path for path, file in hub.repositories[REPOSITORY].items() if file.lfs} == set(SHARDS)
    assert len(hub.commits[REPOSITORY]) == 3, "the first of the Hub, the data, card and seal"
    assert hub.received == sum(SHARDS.values())
    assert f"published: {REPOSITORY} at {hub.commits[REPOSITORY][-1]}, 6 files" in text
    assert "as maker" in text
    assert REPOSITORY not in hub.private
    assert WRITER not in text


def test_a_second_time_sends_nothing(hub: Hub, folder: Path) -> None:
    run(folder=folder)
    hub.asked.clear()
    assert run(folder=folder)[0] == 0
    assert hub.count("POST") == hub.count("PUT") == 0
    assert len(hub.commits[REPOSITORY]) == 3


def test_a_private_repository_is_private(hub: Hub, folder: Path) -> None:
    assert run("--private", folder=folder)[0] == 0
    assert hub.private == {REPOSITORY}


def test_large_files_go_in_parts(hub: Hub, folder: Path) -> None:
    hub.part_size = 25_000
    assert run(folder=folder)[0] == 0
    assert content(hub) == of(folder)
    assert hub.count("PUT /storage") == 3 + 2 + 1


def test_a_dry_run_lists_and_sends_nothing_also_without_a_token(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    code, text = run("--dry-run", "--json", folder=folder)
    assert code == 0
    files = json.loads(text[text.index("{\n") : text.rindex("}") + 1])["files"]
    assert {row["file"]: row["bytes"] for row in files} == {name: len(value) for name, value in of(folder).items()}
    assert {row["on_the_hub"] for row in files} == {"nothing"}
    assert hub.repositories == {}
    hub.create(REPOSITORY, {"README.md": (folder / "README.md").read_bytes()})
    code, text = run("--dry-run", folder=folder)
    assert code == 0
    assert "5 of 6 files would be sent, 0.1 MB" in text
    assert [line.split()[-2:] for line in text.splitlines() if line.startswith("README.md")] == [["the", "same"]]
    hub.create(REPOSITORY, {"their.csv": b"1"})
    text = refused(folder, "--dry-run")
    assert "only there" in text
    assert hub.count("POST") == 0


def test_other_content_is_refused_and_stays(hub: Hub, folder: Path) -> None:
    hub.create(REPOSITORY, {"their.csv": b"1,2", "README.md": b"# Theirs"})
    text = refused(folder)
    assert "1 files that are not in the folder, e.g. their.csv" in text
    assert "1 files with other bytes, e.g. README.md" in text
    assert content(hub) == {"their.csv": b"1,2", "README.md": b"# Theirs"}
    assert len(hub.commits[REPOSITORY]) == 1


def test_with_replace_other_content_goes_in_the_last_commit(hub: Hub, folder: Path) -> None:
    hub.create(REPOSITORY, {"their.csv": b"1,2", "README.md": b"# Theirs"})
    code, text = run("--replace", folder=folder)
    assert code == 0, text
    assert content(hub) == of(folder)
    assert ".gitattributes" in hub.repositories[REPOSITORY]
    hub.create(REPOSITORY, {**of(folder), "their.csv": b"1,2"})
    assert run("--replace", folder=folder)[0] == 0
    assert content(hub) == of(folder), "also where nothing is to be added"


def test_an_interrupted_upload_goes_on(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hub breaks down before the second commit of three; the next run sends the rest alone."""
    monkeypatch.setattr(upload, "BATCH_FILES", 2)
    monkeypatch.setattr(upload, "ATTEMPTS", 1)
    hub.fail["POST /api/datasets/mines/ghana/commit"] = [0, 500]
    text = refused(folder)
    assert "goes on where it was" in text
    there = content(hub)
    assert set(there) == {"data/default-test/00000.parquet", "data/default-train/00000.parquet"}
    before = hub.received
    assert before == sum(SHARDS.values()), "the bytes of the second commit are there"
    code, text = run(folder=folder)
    assert code == 0, text
    assert content(hub) == of(folder)
    assert hub.received == before, "and are not sent again"


def test_a_commit_whose_answer_is_lost_is_made_once(hub: Hub, folder: Path) -> None:
    hub.lost_commits = 1
    code, text = run(folder=folder)
    assert code == 0, text
    assert content(hub) == of(folder)
    assert len(hub.commits[REPOSITORY]) == 3


PLACES = ("GET /api/whoami", "POST /api/repos", "GET /api/datasets", "POST /datasets", "PUT /storage", "POST /api/datasets")


@pytest.mark.parametrize("place", PLACES)
def test_failures_that_pass_are_waited_for(hub: Hub, folder: Path, place: str) -> None:
    hub.fail[place] = [503, -1, 503]
    code, text = run(folder=folder)
    assert code == 0, text
    assert content(hub) == of(folder)


def test_a_commit_of_somebody_else_meanwhile_stops_it(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = upload.next_batch

    def next_batch(files: Sequence[LocalFile]) -> list[LocalFile]:
        hub.commit(REPOSITORY)
        return own(files)

    monkeypatch.setattr(upload, "next_batch", next_batch)
    assert "another commit came meanwhile" in refused(folder)
    assert content(hub) == {}


def test_tokens(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    assert "no HF_TOKEN" in refused(folder)
    monkeypatch.setenv("HF_TOKEN", "hf_WrongWrongWrongWrongWrongWrong")
    text = refused(folder)
    assert "HF_TOKEN is not accepted" in text
    assert "WrongWrong" not in text
    monkeypatch.setenv("HF_TOKEN", READER)
    text = refused(folder)
    assert "status 403" in text
    assert "don't have the rights to create" in text
    hub.create(REPOSITORY)
    assert "write access" in refused(folder)
    assert content(hub) == {}


def test_a_card_that_the_hub_does_not_take_is_told(hub: Hub, folder: Path) -> None:
    (folder / "README.md").write_text("---\ntags: [mining]\n---\n# Mines\n")
    write_sums(folder)
    assert 'found     "license" is required' in refused(folder)
    assert hub.repositories == {}, "before anything is sent"


def test_names_of_repositories(hub: Hub, folder: Path) -> None:
    assert "name the owner too" in refused(folder, repository="ghana")
    assert "a repository owner/name" in refused(folder, repository="mines//ghana")
    assert hub.asked == []


def test_a_folder_that_is_not_as_sealed_is_refused(hub: Hub, folder: Path) -> None:
    shard = folder / next(iter(SHARDS))
    before = shard.read_bytes()
    shard.write_bytes(b"changed")
    assert "files as" in refused(folder)
    shard.write_bytes(before)
    (folder / "notes.txt").write_text("mine")
    assert "not in the list, e.g. notes.txt" in refused(folder)
    (folder / "notes.txt").unlink()
    (folder.parent / "dataset/SHA256SUMS").write_text("of another state\n")
    assert "run snakemake huggingface again" in refused(folder)
    (folder / "SHA256SUMS").unlink()
    assert "a sealed folder" in refused(folder)
    assert hub.count("POST") == 0


def test_a_dataset_must_be_verified(tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    (dataset / "facts.json").write_text("{}\n")
    write_sums(dataset)
    with pytest.raises(UserError, match="a verified dataset"):
        sealed_files(dataset)
    verified = tmp_path / "verify.json"
    verified.write_text("{}\n")
    assert [file.name for file in sealed_files(dataset)] == ["facts.json", "SHA256SUMS"]
    os.utime(verified, (0, 0))
    with pytest.raises(UserError, match="made after the seal"):
        sealed_files(dataset)
    (dataset / "facts.json").write_text('{"regions": []}\n')
    write_sums(dataset)
    assert len(sealed_files(dataset)) == 2, "a merged dataset has no verify.json"


def test_commits_are_limited_in_files_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    def batches(*sizes: int) -> list[list[int]]:
        files = [LocalFile(Path(), f"{number}", size, "") for number, size in enumerate(sizes)] + [LocalFile(Path(), "README.md", 7, "")]
        made = []
        while files:
            made.append([file.size for file in upload.next_batch(files)])
            files = files[len(made[-1]) :]
        return made

    assert batches() == [[7]]
    large = 100_000_000
    assert batches(6 * large, 3 * large, 2 * large, 20 * large) == [[6 * large, 3 * large], [2 * large], [20 * large], [7]]
    assert [len(batch) for batch in batches(*[1] * 1200)] == [500, 500, 200, 1]
    assert [len(batch) for batch in batches(*[9_000_000] * 24)] == [11, 11, 2, 1], "small files are a part of the commit itself"


def test_offline_it_is_said_at_once(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "offline" in refused(folder)
    assert hub.asked == []


def test_one_of_config_and_folder(hub: Hub, folder: Path) -> None:
    code, text = run()
    assert code != 0
    assert "one of --config and --folder" in text


LOADING = """
import sys, datasets
for name in (None, "paper_histogram", "sample"):
    rows = datasets.load_dataset(sys.argv[1], name, split="test", cache_dir=sys.argv[2])
    print(name, rows.num_rows, rows[0]["thumbnail"].size, len(rows[0]["image"]))
first = next(iter(datasets.load_dataset(sys.argv[1], split="train", streaming=True)))
print(first["id"], first["overlay"].mode)
"""


@pytest.mark.heavy
def test_what_was_published_is_loaded_from_the_hub_in_one_line(hub: Hub, tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)
    shards = make_shards(dataset, tmp_path / "huggingface")
    Sender(REPOSITORY).send(sealed_files(shards), False, lambda line: None)
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LOADING, REPOSITORY, str(tmp_path / "cache")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    lines = done.stdout.splitlines()
    assert lines[0].startswith("None 10 (32, 32)")
    assert [line.split()[0] for line in lines[:3]] == ["None", "paper_histogram", "sample"]
    assert lines[3].endswith("RGB")
