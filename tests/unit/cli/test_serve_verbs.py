"""`smallmines labels serve`: what it refuses to serve, and the tokens that `labels serve token` gives."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from place import make_place
from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.server.access import Access
from smallmines.annotation.server.edits import disk
from smallmines.annotation.server.edits.journal import Journal
from smallmines.cli.main import app


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BlockYear:
    """A made-up run in the present folder, and `made.yaml`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    place = make_place(Path())
    Path("made.yaml").write_text(yaml.safe_dump(place.config.model_dump(mode="json", exclude_defaults=True)))
    return place


def typed(*words: str) -> Result:
    return CliRunner().invoke(app, ["labels", "serve", *words])


def refused(*words: str) -> str:
    done = typed(*words)
    assert done.exit_code == 1, done.output
    text = str(done.exception) if not done.output.strip() else done.output
    assert "Traceback" not in text
    return text


def test_without_a_configuration_it_says_so(place: BlockYear) -> None:
    assert "no --config" in refused()
    assert "no --config" in refused("token", "A01")
    assert typed("--help").exit_code == 0


def test_a_port_in_use_is_named(place: BlockYear) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        text = refused("--config", "made.yaml", "--port", str(port))
    assert f"a free port {port}" in text
    assert f"--port {port + 1}" in text


def test_a_second_server_of_the_run_is_refused(place: BlockYear) -> None:
    journal = Journal.open(place.user)
    try:
        assert "server" in refused("--config", "made.yaml", "--port", "18997")
    finally:
        journal.close()


def test_a_journal_on_a_network_disk_is_refused(place: BlockYear, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "file_system", lambda path: "nfs4")
    text = refused("--config", "made.yaml", "--port", "18997")
    assert "nfs4" in text
    assert "--journal" in text


def test_a_run_without_labels_says_what_to_run_first(place: BlockYear) -> None:
    place.layout.labels("2016", "1").unlink()
    text = refused("--config", "made.yaml")
    assert "no year and block of run made has labels yet" in text
    assert "snakemake masks" in text


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--host", "10.0.0.5"], "no token in force"),
        (["--public-url", "https://labels.lab.org"], "no token in force"),
        (["--host", "0.0.0.0"], "without --public-url"),
        (["--host", "no host of this machine"], "--host"),
        (["--public-url", "labels.lab.org"], "--public-url as https://"),
        (["--public-url", "https://lab.org/labels"], "without a folder"),
    ],
    ids=str,
)
def test_nothing_is_opened_to_others_without_tokens(place: BlockYear, words: list[str], text: str) -> None:
    assert text in refused("--config", "made.yaml", *words)
    assert not (place.user / "browser/journal.sqlite").exists()


def test_a_token_is_printed_once_and_can_be_revoked(place: BlockYear) -> None:
    done = typed("token", "A01", "--config", "made.yaml", "--public-url", "https://labels.lab.org/")
    assert done.exit_code == 0
    link = done.stdout.strip()
    assert link.startswith("https://labels.lab.org/#token=")
    access = Access(place.user)
    assert access.login(link.partition("=")[2], 1.0) is not None
    assert typed("token", "A01", "--config", "made.yaml", "--revoke").stdout == "A01: 1 tokens revoked\n"
    assert access.login(link.partition("=")[2], 1.0) is None


def test_tokens_are_for_people_of_the_run(place: BlockYear) -> None:
    assert "one of labels.annotators" in refused("token", "A09", "--config", "made.yaml")
    assert typed("token", "J01", "--config", "made.yaml", "--role", "adjudicator").exit_code == 0
    assert "a role" in refused("token", "J01", "--config", "made.yaml", "--role", "owner")
    assert "code of a person" in refused("token", "a@b", "--config", "made.yaml", "--role", "lead")
