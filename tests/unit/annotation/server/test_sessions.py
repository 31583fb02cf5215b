"""Sessions and snapshots: what is chosen, that it stays while a run makes products again, and who else may label meanwhile."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from browser_edits import Page, labelled, tile_segments
from place import correct, decide_again, edit, make_place, read
from smallmines.annotation.checkin import checkin
from smallmines.annotation.checkout import Choice, checkout, checkout_disputed, review_rows
from smallmines.annotation.copy_content import read_base
from smallmines.annotation.rounds import rounds_of
from smallmines.annotation.server.edits import snapshot
from smallmines.annotation.server.edits.journal import Journal
from smallmines.annotation.server.edits.session import UnknownSession, open_session, read_session
from smallmines.core.errors import UserError
from smallmines.labels import assistant, forest
from smallmines.labels.feature_table import PAPER


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_place(tmp_path_factory.mktemp("made"))


@pytest.fixture
def place(made, tmp_path):
    """A block and year of one test."""
    shutil.copytree(made.root, tmp_path / "root")
    return type(made)(made.config, made.year, made.block, tmp_path / "root")


@pytest.fixture
def journal(place):
    with contextlib.closing(Journal.open(place.user)) as opened:
        yield opened


# --- the queue of a server ---


def test_forests_of_other_blocks_predict_in_another_process_and_give_the_same_queue(tmp_path):
    place = make_place(tmp_path / "place", assistant={"features": "paper"})
    rng = np.random.default_rng(0)
    model = forest.fit(rng.normal(size=(50, len(PAPER))).astype(np.float32), np.repeat([0, 1], 25), {"n_estimators": 5}, 0, 1)
    path = place.layout.forest("2016", "2")
    path.parent.mkdir(parents=True)
    assistant.save(path, {"model": model, "features": PAPER, "fill": dict.fromkeys(PAPER, 0.0)})
    here, there = (review_rows(place, place.table(), "A01", Choice(apart=apart)) for apart in (False, True))
    assert "disagreement" in set(here["why"])
    pd.testing.assert_frame_equal(here, there)


def test_what_is_wrong_in_another_process_comes_back_in_its_own_words(tmp_path):
    place = make_place(tmp_path / "place", assistant={"features": "paper"})
    path = place.layout.forest("2016", "2")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"cut short")
    with pytest.raises(UserError) as here:
        review_rows(place, place.table(), "A01", Choice())
    with pytest.raises(UserError) as there:
        review_rows(place, place.table(), "A01", Choice(apart=True))
    assert str(there.value) == str(here.value)


# --- snapshots ------------------------------------------------------------------------------------------------------------


def test_a_snapshot_is_made_of_links_and_outlives_the_products(place):
    taken = snapshot.take(place)
    assert sorted(path.name for path in taken.folder.iterdir()) == [
        "features.parquet",
        "labels.parquet",
        "metrics.json",
        "probabilities.parquet",
        "samples.parquet",
        "segments.tif",
    ]
    assert os.stat(taken.folder / "segments.tif").st_ino == os.stat(place.layout.segments("2016", "1")).st_ino
    before = taken.table
    shutil.rmtree(place.results / "segments")
    shutil.rmtree(place.results / "labels")
    again = snapshot.open_snapshot(place, taken.digest)
    assert again is taken
    fresh = snapshot.Snapshot(place, taken.digest, taken.folder)
    assert fresh.table.equals(before)
    assert fresh.threshold == 0.5
    assert fresh.segments.max() == len(before) == 1215
    assert fresh.geobox == place.lattice.block("1")
    assert list(before["segment"]) == list(range(1, 1216))


def test_the_same_products_give_the_same_snapshot_and_others_another(place):
    first = snapshot.take(place)
    assert snapshot.take(place) is first
    path = place.layout.labels("2016", "1")
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)  # made again, to the byte
    assert snapshot.present_digest(place) == first.digest
    metrics = place.layout.forest_metrics("2016", "1")
    metrics.write_text('{"threshold": 0.4}')
    assert snapshot.present_digest(place) != first.digest


def test_a_second_look_at_unchanged_products_reads_none(place, monkeypatch):
    first = snapshot.present_digest(place)
    monkeypatch.setattr(snapshot, "sha256", lambda path: pytest.fail(f"{path} is read again"))
    assert snapshot.present_digest(place) == first


def test_products_that_a_run_makes_meanwhile_are_no_snapshot(place, monkeypatch):
    link = snapshot.link_or_copy

    def slow(source, target):
        if source.name == "features.parquet":
            metrics = place.layout.forest_metrics("2016", "1")
            metrics.unlink()
            metrics.write_text('{"threshold": 0.25}')
        return link(source, target)

    monkeypatch.setattr(snapshot, "link_or_copy", slow)
    with pytest.raises(UserError, match="a run is making them again"):
        snapshot.take(place)
    assert list(place.layout.user.browser.glob("snapshots/*")) == []
    assert snapshot.take(place).threshold == 0.25


def test_old_snapshots_go_but_those_with_edits_that_wait(place, journal):
    page = Page(journal, open_session(place, "A01"))
    page.send(labelled([1], "mining"))
    page.hand_in()
    decide_again(place)
    other = Page(journal, open_session(place, "A01"))
    folders = [page.session.snapshot.folder, other.session.snapshot.folder]
    month = time.time() - 31 * 86_400
    other.send(labelled([2], "mining"))
    for folder in folders:
        os.utime(folder, (month, month))
    third = Page(journal, open_session(place, "A02"))
    os.utime(folders[1], (month, month))
    third.send(labelled([3], "unsure"))
    third.hand_in()
    assert [folder.is_dir() for folder in folders] == [False, True]


# --- sessions -------------------------------------------------------------------------------------------------------------


def test_a_session_goes_on_while_the_products_are_the_same(place, journal):
    page = Page(journal, open_session(place, "A01"))
    assert (page.session.scope, page.session.tiles, page.session.changed) == ("queue", (), False)
    page.send(labelled(page.session.queue["segment"].tolist()[:5], "unsure"))
    page.hand_in()
    again = open_session(place, "A01")
    assert again is page.session
    assert open_session(place, "A02").id != again.id
    labels = decide_again(place)
    assert again.changed
    new = open_session(place, "A01")
    assert (new.id != again.id, new.changed, new.after) == (True, False, max(event.time for event in place.events()))
    assert not set(new.queue["segment"]) & set(page.session.queue["segment"].tolist()[:5])
    assert labels["provenance"].eq("corrected").sum() == 5
    assert list(rounds_of(place.events())["round"]) == [1] * 5


def test_two_tabs_and_two_people_may_open_at_once(place):
    with ThreadPoolExecutor(6) as pool:
        opened = list(pool.map(lambda person: open_session(place, person), ["A01", "A02"] * 3))
    assert len({session.id for session in opened}) == 2
    assert all(session is opened[number % 2] for number, session in enumerate(opened))
    assert len(list(place.layout.user.bases.rglob("*.parquet"))) == 2


def test_a_session_is_read_again_from_its_record(place):
    opened = open_session(place, "A01")
    path = next(place.layout.user.bases.glob(f"2016/1/{opened.id}.parquet"))
    assert path.stat().st_size < 20_000
    from smallmines.annotation.server.edits import session

    session._OPEN.clear()
    again = read_session(place.config, place.root, opened.id)
    assert again is not opened
    assert again.queue.equals(opened.queue)
    assert (again.about, again.products, again.after) == (opened.about, opened.products, "")
    for name in ("0" * 16, "../x", "", opened.id[:-1]):
        with pytest.raises(UnknownSession):
            read_session(place.config, place.root, name)
    copy = checkout(place, "A02")
    with pytest.raises(UnknownSession, match="a working copy"):
        read_session(place.config, place.root, copy.base)


def test_tiles_and_the_whole_block(place):
    tiles = open_session(place, "A01", tiles=("0008", "0002"))
    assert sorted(tiles.queue["segment"]) == sorted(tile_segments(place, "0002") + tile_segments(place, "0008"))
    assert set(tiles.queue["why"]) == {"tile"}
    assert not tiles.queue["blind"].any()
    everything = open_session(place, "A01", everything=True)
    assert list(everything.queue["segment"]) == list(range(1, 1216))
    assert len({tiles.id, everything.id, open_session(place, "A01").id}) == 3
    assert open_session(place, "A01", tiles=("0002", "0008")) is tiles


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"annotator": "B7"}, "labels.annotators"),
        ({"annotator": "../B"}, "the code of a person"),
        ({"annotator": "A01", "tiles": ("9999",)}, "9999"),
        ({"annotator": "J01", "kind": "adjudication"}, "segments about which people disagree"),
        ({"annotator": "A01", "kind": "accuracy"}, "no such file"),
    ],
    ids=["person", "code", "tile", "disputes", "mask"],
)
def test_what_cannot_be_opened_is_refused_and_leaves_no_record(place, asked, words):
    with pytest.raises(UserError, match=words):
        open_session(place, **asked)
    assert not list(place.layout.user.bases.rglob("*.parquet"))


# --- beside QGIS ----------------------------------------------------------------------------------------------------------


def test_the_browser_waits_for_a_working_copy_with_edits(place, monkeypatch):
    path = checkout(place, "A01").path
    with monkeypatch.context() as patched:  # a copy that nobody touched is not read
        patched.setattr("smallmines.annotation.server.edits.session.pending", lambda *args: pytest.fail("read"))
        open_session(place, "A01")
    correct(path, 1, "mining")
    with pytest.raises(UserError) as raised:
        open_session(place, "A01")
    assert (raised.value.found, str(path) in raised.value.expected) == ("1 edits not checked in", True)
    assert "smallmines labels checkin" in raised.value.do
    open_session(place, "A02")
    checkin(place.user, path)
    assert open_session(place, "A01").about.annotator == "A01"
    edit(path, "UPDATE segments SET label = NULL")
    with pytest.raises(UserError, match="edits not checked in"):
        open_session(place, "A01", tiles=("0002",))


def test_a_check_out_waits_for_edits_in_the_browser(place, journal):
    page = Page(journal, open_session(place, "A01"))
    checkout(place, "A01")
    page.send(labelled([1], "mining"), labelled([2], "unsure"))
    with pytest.raises(UserError) as raised:
        checkout(place, "A01", tiles=("0002",))
    assert raised.value.expected == "no edits in the browser of 2016, block 1, by A01 (review)"
    assert raised.value.found == "2 edits that are not handed in"
    checkout(place, "A02")
    with pytest.raises(UserError, match="segments about which people disagree"):
        checkout_disputed(place, "A01")
    page.hand_in()
    checkout(place, "A01")


def test_the_record_of_a_session_is_no_base_of_a_working_copy(place):
    session = open_session(place, "A01")
    about, records = read_base(next(place.layout.user.bases.rglob(f"{session.id}.parquet")))
    assert about == session.about
    assert "footprint" not in records
    path = checkout(place, "A02").path
    edit(path, "UPDATE about SET base = ?", session.id)
    with pytest.raises(UserError, match="record of a session in the browser"):
        checkin(place.user, path)


def test_prediction_keys_and_tiles_are_those_of_the_table(place):
    session, table = open_session(place, "A01"), place.table()
    assert np.array_equal(session.keys, table["key"].to_numpy())
    assert list(session.tile_of) == list(table["tile_id"])
    assert list(session.predicted) == ["mining" if mined else "not_mining" for mined in table["predicted"]]
    assert session.may_label.all()
    assert len(read(checkout(place, "A02").path)) == len(open_session(place, "A02").queue)
