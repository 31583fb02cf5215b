"""The journal of edits: acknowledged after the commit, each batch once, undone by its inverse; where it may lie, and who may write."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from browser_edits import EVIDENCE, Page, batch_of, labelled, new_uuid, now_ms
from place import copied, make_place
from smallmines.annotation.server.edits import disk, journal, journal_file, store
from smallmines.annotation.server.edits.batch import parse
from smallmines.annotation.server.edits.journal import Acknowledgement, Conflict, Journal, JournalFull, OtherContent
from smallmines.annotation.server.edits.session import open_session
from smallmines.core.errors import UserError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    block_year = make_place(tmp_path_factory.mktemp("made"))
    return block_year, block_year.table()


@pytest.fixture
def place(made, tmp_path):
    """A block and year of one test."""
    block_year, _ = made
    return copied(block_year, tmp_path / "root")


@pytest.fixture
def page(place):
    """A page on which A01 labels his queue."""
    with contextlib.closing(Journal.open(place.user)) as journal:
        yield Page(journal, open_session(place, "A01"))


def rows(journal: Journal, table: str = "batches") -> int:
    with journal.reading() as file:
        return int(file.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


# --- batches --------------------------------------------------------------------------------------------------------------


def test_a_batch_is_on_the_disk_when_it_is_acknowledged(page):
    first = page.send(labelled([1, 2, 3], "mining", "bulk"), labelled([4], "unsure"))
    assert first == Acknowledgement(page.sent[0], 1, 2, 2)
    with contextlib.closing(sqlite3.connect(page.journal.path)) as file:  # as another process sees it
        assert file.execute("SELECT uuid, edits, handed FROM batches").fetchall() == [(page.sent[0], 2, None)]
    assert page.labels == {1: "mining", 2: "mining", 3: "mining", 4: "unsure"}
    assert page.journal.decision(page.session, 4)["label"] == "unsure"
    assert page.journal.decision(page.session, 1)["form"]["evidence"] == "Planet"
    assert page.journal.decision(page.session, 5) is None


def test_a_batch_sent_again_is_acknowledged_again_and_added_once(page):
    batch = batch_of(labelled([1], "mining"))
    first = page.journal.append(page.session, batch, now_ms())
    page.send(labelled([1], "unsure"))
    again = page.journal.append(page.session, batch, now_ms() + 5000)
    assert (again.uuid, again.seq, again.edits, again.pending) == (first.uuid, first.seq, 1, 2)
    assert page.labels == {1: "unsure"}
    assert rows(page.journal) == 2
    for other in (labelled([2], "mining"), labelled([1], "mining", note="more"), labelled([1], "unsure")):
        with pytest.raises(OtherContent, match="acknowledged with other content"):
            page.journal.append(page.session, batch_of(other, name=batch.uuid), now_ms())
    assert rows(page.journal) == 2


def test_the_last_edit_of_a_segment_counts_whatever_the_clock_says(page):
    page.send(labelled([1, 2], "mining"), at=now_ms())
    page.send(labelled([2, 3], "unsure"), labelled([3], "mining"), at=1000)
    assert page.labels == {1: "mining", 2: "unsure", 3: "mining"}
    page.send(labelled([1], ""), at=500)
    assert page.labels == {2: "unsure", 3: "mining"}


def test_a_new_server_reads_what_the_last_one_acknowledged(page, place):
    page.send(labelled([1, 2], "mining"), {"tile": "0002", "status": "done", "form": {}})
    page.journal.close()
    with contextlib.closing(Journal.open(place.user)) as journal:
        state = journal.state(open_session(place, "A01"))
        assert (state.labels, state.done, state.pending) == ({1: "mining", 2: "mining"}, ("0002",), 2)
        assert state.label.dtype == np.uint8
        assert len(state.label) == len(page.session.keys) + 1
    with pytest.raises(JournalFull, match="it is ending"):
        page.send(labelled([1], "unsure"))


def test_people_and_kinds_have_labels_of_their_own(page, place):
    page.send(labelled([1], "mining"))
    other = Page(page.journal, open_session(place, "A02"))
    assert (other.labels, page.journal.pending(other.session), page.journal.pending(page.session)) == ({}, 0, 1)
    tiles = Page(page.journal, open_session(place, "A01", tiles=("0002",)))
    tiles.send(labelled([2], "unsure"))
    assert tiles.labels == page.labels == {1: "mining", 2: "unsure"}
    assert page.journal.pending(tiles.session) == page.journal.pending(page.session) == 2


def test_many_at_once_are_all_added(page):
    """Several batches share a commit; each has its place."""
    got: list[Acknowledgement] = []

    def write(first: int) -> None:
        for number in range(first, first + 20):
            got.append(page.journal.append(page.session, batch_of(labelled([number + 1], "unsure")), now_ms()))

    threads = [threading.Thread(target=write, args=(20 * number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ack.seq for ack in got) == list(range(1, 101))
    assert page.labels == dict.fromkeys(range(1, 101), "unsure")
    assert page.journal.pending(page.session) == max(ack.pending for ack in got) == 100


# --- faults ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (labelled([1], "mine"), "label is 'mine', not mining, not_mining, unsure"),
        (labelled([1], "mining", confidence="very"), "confidence is 'very', not sure, likely, guess"),
        (labelled([1], "MISS", evidence=""), "a correction without evidence (its own, or its task's)"),
        (labelled([1], "MISS", evidence_date="1.2.2016"), "evidence_date is '1.2.2016', not a day as 2022-01-31"),
        (labelled([10**6], "unsure"), "segment 1000000: is not to be labelled in this session"),
        ({"tile": "9999", "status": "done", "form": {}}, "tile 9999: no tile of the block"),
    ],
    ids=["label", "confidence", "evidence", "date", "segment", "tile"],
)
def test_faults_are_named_with_the_words_of_a_check_in_and_nothing_is_kept(page, edit, words):
    other = {"mining": "not_mining", "not_mining": "mining"}[page.session.predicted[0]]
    if edit.get("label") == "MISS":
        edit = {**edit, "label": other}
    with pytest.raises(UserError) as raised:
        page.send(labelled([2], "unsure"), edit)
    assert words in raised.value.found
    assert (rows(page.journal), page.labels) == (0, {})


def test_a_confirmation_needs_no_evidence_and_a_brush_names_the_segments_that_do(page):
    predicted = page.session.predicted[:40]
    mines = [int(number) + 1 for number in np.flatnonzero(predicted == "mining")]
    others = [int(number) + 1 for number in np.flatnonzero(predicted == "not_mining")]
    page.send({"segments": mines, "label": "mining", "look": "bulk"})
    with pytest.raises(UserError) as raised:
        page.send({"segments": [*mines, *others[:2]], "label": "mining", "look": "bulk"})
    assert raised.value.found.startswith(f"segments {others[0]}, {others[1]}: a correction without evidence")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"uuid": "1"}, "uuid is no UUID"),
        ({"edits": []}, "edits is no list"),
        ({"edits": [5]}, "an edit is no object"),
        ({"edits": [{"segments": [1]}]}, "no 'label'"),
        ({"edits": [{"segments": [0], "label": ""}]}, "segments is no list of ids"),
        ({"edits": [{"segments": [True], "label": ""}]}, "segments is no list of ids"),
        ({"edits": [{"segments": [1.5], "label": ""}]}, "segments is no list of ids"),
        ({"edits": [{"segments": [], "label": ""}]}, "segments is no list of ids"),
        ({"edits": [{"segments": [1], "label": "", "look": "task"}]}, "look is not one of single, bulk"),
        ({"edits": [{"segments": [1], "label": "", "form": {"annotator": "B"}}]}, "form has other fields"),
        ({"edits": [{"segments": [1], "label": "", "form": {"note": 5}}]}, "note is no text"),
        ({"edits": [{"segments": [1], "label": "", "form": {"note": "x" * 10_001}}]}, "note has 10001 characters, more than 10000"),
        ({"edits": [{"segments": [1], "label": "", "form": {"note": "\ud800"}}]}, "half a character"),
        ({"edits": [{"tile": "0002", "status": "doing"}]}, "an edit about a tile names"),
        ({"edits": [{"tile": "0002", "status": "done", "segments": [1]}]}, "an edit about a tile names"),
    ],
    ids=map(str, range(15)),
)
def test_what_is_no_batch_is_refused(change, words):
    with pytest.raises(UserError) as raised:
        parse({"uuid": new_uuid(), "edits": [labelled([1], "unsure")], **change})
    assert words in raised.value.found


# --- undo -----------------------------------------------------------------------------------------------------------------


def test_undo_brings_back_labels_and_forms_and_redo_the_undone(page):
    page.send(labelled([1, 2, 3], "mining", reason="pits"))
    page.send(labelled([2], "unsure", "bulk", note="cloud"))
    page.send(labelled([1, 2, 3, 4], "not_mining", "bulk"))
    undone = page.undo()
    assert page.labels == {1: "mining", 2: "unsure", 3: "mining"}
    assert page.journal.decision(page.session, 1)["form"] == {**EVIDENCE, "reason": "pits", "confidence": "", "note": ""}
    assert page.journal.decision(page.session, 2)["form"]["note"] == "cloud"
    page.undo(undone.uuid)
    assert page.labels == dict.fromkeys([1, 2, 3, 4], "not_mining")
    assert undone.pending == 3 + undone.edits
    assert undone.edits == 3


def test_undo_within_a_batch_of_several_edits_of_one_segment(page):
    page.send(labelled([5], "unsure"))
    page.send(labelled([5], "mining"), labelled([5, 6], ""), labelled([6], "mining"))
    page.undo()
    assert page.labels == {5: "unsure"}


def test_undo_again_with_the_same_uuid_adds_nothing(page):
    page.send(labelled([1], "mining"))
    name = new_uuid()
    first = page.journal.undo(page.session, name, page.sent[0], now_ms())
    page.send(labelled([1], "unsure"))
    assert page.journal.undo(page.session, name, page.sent[0], now_ms()).seq == first.seq
    assert page.labels == {1: "unsure"}
    with pytest.raises(OtherContent):
        page.journal.undo(page.session, name, page.sent[1], now_ms())
    with pytest.raises(UserError, match="an edit of this session to undo"):
        page.undo(new_uuid())


def test_undo_of_a_tile(page):
    page.send({"tile": "0002", "status": "done", "form": {}})
    page.undo()
    assert page.journal.state(page.session).done == ()
    page.undo()
    assert page.journal.state(page.session).done == ("0002",)


def test_history_goes_on_after_a_start_of_the_server_from_the_last_hand_in(page, place):
    page.send(labelled([1], "unsure"))
    page.hand_in()
    page.send(labelled([2, 3], "unsure"))
    page.send({"tile": "0002", "status": "done", "form": {}})
    undone = page.sent[-1]
    page.undo()
    tiles = Page(page.journal, open_session(place, "A01", tiles=("0002",)))
    tiles.send(labelled([4], "unsure"))
    expected = [(page.sent[1], ""), (page.sent[2], ""), (page.sent[3], undone)]
    assert page.journal.history(page.session) == expected
    assert page.journal.history(tiles.session) == [(tiles.sent[0], "")]
    page.journal.close()
    with contextlib.closing(Journal.open(place.user)) as journal:
        assert journal.history(page.session) == expected
        again = Page(journal, page.session)
        number = new_uuid()
        journal.undo(page.session, number, page.sent[1], now_ms())
        assert again.labels == {1: "unsure", 4: "unsure"}
        (edit,) = journal.edits_of(page.session, number)
        assert (edit.segments.tolist(), edit.label) == ([2, 3], "")
        assert journal.edits_of(tiles.session, number) == []


def test_history_is_the_last_part_of_a_long_one(page, monkeypatch):
    monkeypatch.setattr(journal, "HISTORY", 2)
    for segment in (1, 2, 3):
        page.send(labelled([segment], "unsure"))
    assert page.journal.history(page.session) == [(number, "") for number in page.sent[1:]]


# --- one writer, one server, one disk -------------------------------------------------------------------------------------


def test_one_page_writes_at_a_time(page, place, monkeypatch):
    page.journal.writer(page.session, "tab 1", take_over=False)
    page.journal.writer(page.session, "tab 1", take_over=False)
    with pytest.raises(Conflict, match="another tab or computer"):
        page.journal.writer(open_session(place, "A01", tiles=("0002",)), "tab 2", take_over=False)
    page.journal.writer(open_session(place, "A02"), "tab 2", take_over=False)
    page.journal.writer(page.session, "tab 2", take_over=True)
    with pytest.raises(Conflict):
        page.journal.writer(page.session, "tab 1", take_over=False)
    later = time.monotonic() + 31
    monkeypatch.setattr(time, "monotonic", lambda: later)
    with pytest.raises(Conflict):  # it does not show what tab 2 did
        page.journal.writer(page.session, "tab 1", take_over=False)
    page.journal.writer(page.session, "tab 3", take_over=False)  # sends what a closed one left
    later += 31
    page.journal.writer(page.session, "tab 1", take_over=False, opens=True)
    with pytest.raises(Conflict):
        page.journal.writer(page.session, "tab 3", take_over=False)
    later += 31
    page.journal.writer(page.session, "tab 1", take_over=False)


def test_a_replaced_page_stays_replaced_after_a_start_of_the_server(page, place):
    page.journal.writer(page.session, "tab 1", take_over=False, opens=True)
    page.journal.writer(page.session, "tab 2", take_over=True, opens=True)
    page.journal.close()
    with contextlib.closing(Journal.open(place.user)) as journal:
        with pytest.raises(Conflict, match="another tab or computer"):
            journal.writer(page.session, "tab 1", take_over=False)
        journal.writer(page.session, "tab 2", take_over=False)
        with pytest.raises(Conflict):
            journal.writer(page.session, "tab 3", take_over=False)
    with contextlib.closing(Journal.open(place.user)) as journal:
        journal.writer(page.session, "tab 3", take_over=False)  # sends what a closed one left, as tab 2 is silent
    with contextlib.closing(Journal.open(place.user)) as journal:
        with pytest.raises(Conflict):  # it does not show what tab 3 did
            journal.writer(page.session, "tab 2", take_over=False)
        journal.writer(page.session, "tab 2", take_over=False, opens=True)
        journal.writer(page.session, "tab 2", take_over=False)


def test_a_page_that_could_not_be_noted_on_a_full_disk_does_not_write(page, monkeypatch):
    page.journal.writer(page.session, "tab 1", take_over=False, opens=True)

    def full(*values):
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(store, "replace_writer", full)
        with pytest.raises(JournalFull):
            page.journal.writer(page.session, "tab 2", take_over=True, opens=True)
    page.journal.writer(page.session, "tab 1", take_over=False)
    with pytest.raises(Conflict):
        page.journal.writer(page.session, "tab 2", take_over=False)


def test_a_second_server_is_refused_with_the_process_of_the_first(page, place):
    with pytest.raises(UserError, match=r"one is running: process \d+ on "):
        Journal.open(place.user)
    page.journal.close()
    Journal.open(place.user).close()


def test_a_journal_in_another_folder_is_found_again(page, place, tmp_path):
    page.send(labelled([1], "mining"))
    page.journal.close()
    with pytest.raises(UserError, match="1 edits that are not handed in"):
        Journal.open(place.user, tmp_path / "disk")
    with contextlib.closing(Journal.open(place.user)) as journal:
        Page(journal, page.session).hand_in()
    with contextlib.closing(Journal.open(place.user, tmp_path / "disk")) as journal:
        assert journal.path == tmp_path / "disk/made.sqlite"
        Page(journal, page.session).send(labelled([2], "mining"))
        with pytest.raises(UserError, match="no other server"):
            Journal.open(place.user, tmp_path / "third")
    assert journal_file.journal_path(place.user) == tmp_path / "disk/made.sqlite"
    assert journal_file.waiting(place.user, page.session.about) == 1
    other = tmp_path / "other/resources/user/made"
    with pytest.raises(UserError, match="is the one of"):
        Journal.open(other, tmp_path / "disk")
    with contextlib.closing(Journal.open(place.user)) as journal:
        assert journal.state(page.session).labels == {1: "mining", 2: "mining"}


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "lustre", "gpfs"])
def test_network_disks_are_refused(place, monkeypatch, kind):
    mounts = [SimpleNamespace(mountpoint="/", fstype="ext4"), SimpleNamespace(mountpoint=str(place.root), fstype=kind)]
    monkeypatch.setattr("psutil.disk_partitions", lambda all: mounts)
    with pytest.raises(UserError) as raised:
        Journal.open(place.user)
    assert f"a network disk ({kind})" in raised.value.found
    assert "--journal FOLDER" in raised.value.do
    assert not place.layout.user.journal.exists()


def test_the_innermost_mount_counts(place, monkeypatch):
    mounts = [("/", "nfs"), (str(place.root), "ext4"), (str(place.root / "elsewhere"), "nfs")]
    partitions = [SimpleNamespace(mountpoint=path, fstype=kind) for path, kind in mounts]
    monkeypatch.setattr("psutil.disk_partitions", lambda all: partitions)
    assert disk.file_system(place.user) == "ext4"
    Journal.open(place.user).close()


def test_a_damaged_or_strange_journal_is_refused(page, place):
    page.journal.close()
    with contextlib.closing(sqlite3.connect(page.journal.path)) as file, file:
        file.execute("UPDATE meta SET value = '2' WHERE name = 'version'")
    with pytest.raises(UserError, match="version 2"):
        Journal.open(place.user)
    page.journal.path.write_bytes(b"no database " * 1000)
    with pytest.raises(UserError, match="without damage"):
        Journal.open(place.user)
    with pytest.raises(UserError, match="without damage"):
        journal_file.waiting(place.user, page.session.about)
