"""Check-out and check-in: what is handed out, what comes back, what is refused, and nothing lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from place import correct, decide_again, edit, make_place, read
from smallmines.annotation import checkout_files, working_copy
from smallmines.annotation.checkin import checkin, pending
from smallmines.annotation.checkout import checkout, checkout_disputed
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.grid.lattice import read_lattice
from smallmines.labels import event_files, footprint
from smallmines.segment.features import content_keys


@pytest.fixture
def block_year(tmp_path, monkeypatch):
    """A place whose copies have no files for Google Earth, but where a test asks for them."""
    monkeypatch.setattr(checkout_files, "OUTLINES", 0)
    return make_place(tmp_path)


def events(block_year):
    return block_year.events()


def wrong_one(copy):
    """fid and prediction of the first segment that is not asked blind (`disagreement` and `unmined` do not occur here)."""
    table = read(copy)
    row = table[table["why"] == "audit"].iloc[0]
    return int(row.name), str(row["prediction"])


OTHER = {"mining": "not_mining", "not_mining": "mining"}


# --- check-out ------------------------------------------------------------------------------------------------------------


def test_a_copy_holds_the_persons_part_of_the_queue_and_the_whole_overlap(block_year):
    given = checkout(block_year, "A01")
    other = checkout(block_year, "A02")
    one, two = read(given.path), read(other.path)
    assert given.path == block_year.user / "work/A01/2016-1.gpkg"
    shared = set(one["key"]) & set(two["key"])
    overlap = pd.read_csv(next((block_year.user / "overlap/2016").glob("1-*.csv")), dtype=str)
    assert shared == set(overlap["key"])
    assert len(shared) == 20
    assert 40 <= len(set(one["key"]) - shared) <= 50
    assert one["rank"].tolist() == list(range(1, len(one) + 1))
    assert one["label"].isna().all()
    assert one["edited"].isna().all()
    features = pd.read_parquet(block_year.results / "segments/2016/1/features.parquet").set_index("key")
    keys = one["key"].astype(np.uint64)
    assert one["tile_id"].tolist() == features.loc[keys, "tile_id"].tolist()
    base = pd.read_parquet(block_year.user / "bases/2016/1" / f"{given.base}.parquet")
    segments = raster.read(block_year.results / "segments/2016/1/segments.tif")[0]
    geobox = raster_geobox(block_year)
    pixel, owner = footprint.decode(base["footprint"].tolist(), geobox).pixels(segments.shape)
    assert (segments.ravel()[pixel] == features.loc[keys, "segment"].to_numpy()[owner]).all()
    assert len(pixel) == 16 * len(base)
    assert (base["blind"].to_numpy() == one["key"].isin(shared).to_numpy()).all()


def raster_geobox(block_year):
    with raster.opened(block_year.results / "segments/2016/1/segments.tif") as source:
        return raster.geobox_of(source)


def test_tasks_files_for_google_earth_and_project(block_year, monkeypatch):
    monkeypatch.setattr(checkout_files, "OUTLINES", 1000)
    given = checkout(block_year, "A01")
    tasks = read(given.path, "tasks")
    assert tasks["segments"].sum() == given.segments
    assert set(tasks["status"]) == {"open"}
    folder = block_year.user / "work/A01/2016-1-tasks"
    assert sorted(path.stem for path in folder.iterdir()) == sorted(tasks["tile_id"])
    with zipfile.ZipFile(next(folder.iterdir())) as kmz:
        text = kmz.read("layers/task.kml").decode()
    assert "<Polygon>" not in text
    assert text.count("<LineString>") >= 2
    project = given.path.with_suffix(".qgs").read_text()
    assert "../../../../../results/made/composites/2016/1/s2.tif" in project
    assert str(block_year.root) not in project


def test_whole_tiles_and_everything(block_year):
    given = checkout(block_year, "A01", tiles=["0003"])
    assert set(read(given.path)["tile_id"]) == {"0003"}
    assert given.segments == 64
    assert checkout(block_year, "A01", everything=True).segments == len(
        pd.read_parquet(block_year.results / "segments/2016/1/features.parquet")
    )
    with pytest.raises(UserError, match="0999"):
        checkout(block_year, "A01", tiles=["0999"])


def test_an_unknown_person_or_year_or_missing_labels_are_refused(block_year, tmp_path):
    with pytest.raises(UserError, match="one of labels"):
        checkout(block_year, "B07")
    with pytest.raises(UserError, match="2017, block 1"):
        checkout(type(block_year)(block_year.config, "2017", "1", block_year.root), "A01")
    with pytest.raises(UserError, match="snakemake masks"):
        checkout(type(block_year)(block_year.config, "2022", "1", block_year.root), "A01")


@pytest.mark.parametrize("content", [b"", b"segment\n1\n", b"\xff\xfe", b"segment,why\nx,y\n"])
def test_a_damaged_review_list_or_forest_is_named(block_year, content):
    for path in (block_year.layout.review("2016", "1"), block_year.layout.forest("2016", "2")):
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = path.read_bytes() if path.is_file() else None
        path.write_bytes(content)
        with pytest.raises(UserError, match=path.name) as raised:
            checkout(block_year, "A01")
        assert len(str(raised.value).split("\n")) == 3
        path.unlink() if whole is None else path.write_bytes(whole)


def test_a_dry_check_out_writes_no_copy(block_year):
    given = checkout(block_year, "A01", dry=True)
    assert given.segments > 50
    assert not block_year.user.exists()


def test_a_copy_with_edits_is_never_overwritten(block_year):
    given = checkout(block_year, "A01")
    checkout(block_year, "A01")  # nothing edited: a fresh one
    fid, said = wrong_one(given.path)
    correct(given.path, fid, OTHER[said])
    with pytest.raises(UserError, match="1 edits not checked in"):
        checkout(block_year, "A01")
    checkin(block_year.user, given.path)
    checkout(block_year, "A01")
    assert read(given.path)["label"].isna().all()


# --- check-in -------------------------------------------------------------------------------------------------------------


def test_edits_become_events_and_labels(block_year):
    given = checkout(block_year, "A01")
    fid, said = wrong_one(given.path)
    row = read(given.path).loc[fid]
    correct(given.path, fid, OTHER[said])
    found = checkin(block_year.user, given.path)
    assert found.counts == {"corrected": 1, "confirmed": 0, "unsure": 0, "adjudicated": 0, "reference": 0, "withdrawn": 0}
    (event,) = events(block_year)
    assert (event.key, event.label, event.provenance, event.annotator) == (int(row["key"]), OTHER[said], "corrected", "A01")
    assert (event.predicted, event.evidence, event.evidence_date, event.base) == (said, "Google Earth", "2016-02-01", given.base)
    assert event.probability == pytest.approx(row["probability"])
    assert found.kept.is_file()
    assert found.kept.stem == found.file.stem
    labels = decide_again(block_year).set_index("key")
    assert labels.loc[event.key, ["label", "provenance", "who"]].tolist() == [int(OTHER[said] == "mining"), "corrected", "A01"]


def test_the_same_copy_again_adds_nothing_and_more_edits_add_themselves(block_year):
    given = checkout(block_year, "A01")
    fid, said = wrong_one(given.path)
    correct(given.path, fid, OTHER[said])
    checkin(block_year.user, given.path)
    before = {path: path.read_bytes() for path in block_year.user.rglob("*") if path.is_file()}
    again = checkin(block_year.user, given.path)
    assert (again.events, again.checked_in_before, again.file) == ((), 1, None)
    assert {path: path.read_bytes() for path in block_year.user.rglob("*") if path.is_file()} == before
    correct(given.path, fid, said)  # a second thought
    found = checkin(block_year.user, given.path)
    assert found.counts["confirmed"] == 1
    assert decide_again(block_year).set_index("key").loc[events(block_year)[0].key, "provenance"] == "confirmed"
    edit(given.path, "UPDATE segments SET label = NULL")
    assert checkin(block_year.user, given.path).counts["withdrawn"] == 1
    assert set(decide_again(block_year)["provenance"]) == {"predicted"}


def test_a_task_that_is_done_confirms_the_rest_and_lends_its_evidence(block_year):
    given = checkout(block_year, "A01")
    table = read(given.path)
    tile = table["tile_id"].value_counts().index[0]
    own = table[table["tile_id"] == tile]
    edit(given.path, "UPDATE tasks SET status = 'done', evidence = 'Planet', evidence_date = '2016-01-20' WHERE tile_id = ?", tile)
    fid = int(own.index[0])
    edit(given.path, "UPDATE segments SET label = ? WHERE fid = ?", OTHER[own.loc[fid, "prediction"]], fid)
    found = checkin(block_year.user, given.path)
    assert found.counts == {"corrected": 1, "confirmed": len(own) - 1, "unsure": 0, "adjudicated": 0, "reference": 0, "withdrawn": 0}
    assert {event.evidence for event in found.events} == {"Planet"}


def test_a_dry_check_in_writes_nothing(block_year):
    given = checkout(block_year, "A01")
    fid, said = wrong_one(given.path)
    correct(given.path, fid, OTHER[said])
    assert checkin(block_year.user, given.path, dry=True).counts["corrected"] == 1
    assert events(block_year) == []
    assert not (block_year.user / "archive").exists()


def test_what_is_saved_in_an_open_file_is_seen(block_year):
    given = checkout(block_year, "A01")
    fid, said = wrong_one(given.path)
    open_elsewhere = sqlite3.connect(given.path)
    open_elsewhere.execute("PRAGMA journal_mode=WAL")
    for name in ("ST_IsEmpty", "ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY"):
        open_elsewhere.create_function(name, 1, lambda shape: 0)
    open_elsewhere.execute("UPDATE segments SET label = ? WHERE fid = ?", (said, fid))
    open_elsewhere.commit()
    found = checkin(block_year.user, given.path)
    assert found.open_elsewhere
    assert found.counts["confirmed"] == 1
    open_elsewhere.close()


def test_a_locked_file_is_told(block_year, monkeypatch):
    given = checkout(block_year, "A01")
    real = sqlite3.connect
    monkeypatch.setattr(
        "smallmines.annotation.copy_content.sqlite3.connect", lambda *args, **more: real(*args, **more | ({"timeout": 0.1} if more else {}))
    )
    with sqlite3.connect(given.path, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UserError, match="save and close it in QGIS"):
            checkin(block_year.user, given.path)
    other.close()


FAULTS = {
    "another value": ("UPDATE segments SET label = 'mine' WHERE fid = 1", "row 1: label is 'mine'"),
    "no evidence": ("UPDATE segments SET label = 'OTHER' WHERE fid = 1", "row 1: a correction without evidence"),
    "no date": ("UPDATE segments SET label = 'OTHER', evidence = 'x' WHERE fid = 1", "row 1: evidence_date is ''"),
    "bad date": ("UPDATE segments SET label = 'OTHER', evidence = 'x', evidence_date = '2016-02-31' WHERE fid = 1", "row 1: evidence_date"),
    "bad confidence": ("UPDATE segments SET label = 'unsure', confidence = 'very' WHERE fid = 1", "row 1: confidence is 'very'"),
    "edited geometry": (
        "UPDATE segments SET geom = (SELECT geom FROM segments WHERE fid = 2) WHERE fid = 1",
        "row 1: its outline was edited",
    ),
    "edited key": ("UPDATE segments SET key = '77' WHERE fid = 1", "row 1: was not checked out"),
    "twice": ("UPDATE segments SET key = (SELECT key FROM segments WHERE fid = 2) WHERE fid = 3", "row 3: its segment occurs twice"),
    "bad status": ("UPDATE tasks SET status = 'finished' WHERE fid = 1", "status is 'finished'"),
    "column removed": ("ALTER TABLE segments RENAME COLUMN evidence TO proof", "column evidence of segments"),
    "another block": ("UPDATE about SET block = '2'", "block in the table about is '2', not '1'"),
    "stale base": ("UPDATE about SET base = 'gone'", "no such record"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_refuses_the_whole_copy_and_names_the_row(block_year, fault):
    given = checkout(block_year, "A01")
    fid, said = wrong_one(given.path)
    correct(given.path, fid, said)  # something good is in it too
    statement, words = FAULTS[fault]
    prediction = read(given.path).loc[1, "prediction"]
    edit(given.path, statement.replace("OTHER", OTHER[prediction]))
    edits = given.path.read_bytes()
    with pytest.raises(UserError) as raised:
        checkin(block_year.user, given.path)
    assert words in str(raised.value)
    assert events(block_year) == []
    assert given.path.read_bytes() == edits
    assert pending(block_year.user, given.path) >= 1


def test_what_a_killed_check_in_left_is_cleared_away_later(block_year):
    given = checkout(block_year, "A01")
    old, new = block_year.user / ".checkin-old", block_year.user / ".checkin-new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "copy.gpkg").touch()
    os.utime(old, (0, 0))
    checkin(block_year.user, given.path)
    assert not old.exists()
    assert new.exists()


def test_outlines_are_the_same_however_many_at_a_time(block_year, monkeypatch):
    segments, geobox = block_year.segments(), block_year.lattice.block("1")
    ids = np.random.default_rng(0).permutation(np.arange(1, int(segments.max()) + 1))
    whole = working_copy.polygons_of(segments, ids, geobox)
    assert [shape.area for shape in whole] == [100.0 * (segments == one).sum() for one in ids]
    monkeypatch.setattr(working_copy, "AT_ONCE", 7)
    assert working_copy.shapes(working_copy.polygons_of(segments, ids, geobox)) == working_copy.shapes(whole)
    ring = np.ones((5, 5), np.uint32)
    ring[2, 2] = 2
    outer, inner = working_copy.polygons_of(ring, np.array([1, 2]), geobox[:5, :5])
    assert len(outer.geoms[0].interiors) == 1
    assert outer.geoms[0].interiors[0].equals(inner.geoms[0].exterior)


def test_a_damaged_or_missing_file_is_told(block_year, tmp_path):
    (tmp_path / "2016-1.gpkg").write_bytes(b"no database" * 100)
    with pytest.raises(UserError, match="GeoPackage"):
        checkin(block_year.user, tmp_path / "2016-1.gpkg")
    with pytest.raises(UserError, match="no such file"):
        checkin(block_year.user, tmp_path / "gone.gpkg")


def test_a_copy_of_another_run_is_refused(block_year):
    given = checkout(block_year, "A01")
    with pytest.raises(UserError, match="run other"):
        checkin(block_year.user, given.path, run="other")


# --- several people -------------------------------------------------------------------------------------------------------


def test_a_dispute_is_handed_out_with_both_opinions_and_settled(block_year):
    first, second = checkout(block_year, "A01"), checkout(block_year, "A02")
    one = read(first.path)
    shared = one[one["key"].isin(read(second.path)["key"])].iloc[0]
    for copy, label in ((first.path, "mining"), (second.path, "not_mining")):
        edit(
            copy,
            "UPDATE segments SET label = ?, evidence = 'seen', evidence_date = '2016-01-01', note = 'so;\nA03: unsure' WHERE key = ?",
            label,
            shared["key"],
        )
        checkin(block_year.user, copy)
    assert all(event.blind for event in events(block_year))
    key = np.uint64(shared["key"])
    assert decide_again(block_year).set_index("key").loc[key, ["label", "provenance", "who"]].tolist() == [-1, "disputed", "A01|A02"]
    handed = checkout_disputed(block_year, "J01")
    row = read(handed.path).iloc[0]
    assert handed.segments == 1
    assert row["opinions"] == "A01: mining (seen, 2016-01-01, so, A03: unsure); A02: not_mining (seen, 2016-01-01, so, A03: unsure)"
    correct(handed.path, 1, "mining")
    assert checkin(block_year.user, handed.path).counts["adjudicated"] == 1
    assert decide_again(block_year).set_index("key").loc[key, ["label", "provenance", "who"]].tolist() == [1, "adjudicated", "J01"]
    assert len(events(block_year)) == 3
    with pytest.raises(UserError, match="none in 2016, block 1"):
        checkout_disputed(block_year, "J01")


def test_who_takes_whole_tiles_does_not_see_what_others_said_of_the_overlap(block_year):
    first = checkout(block_year, "A01")
    edit(first.path, "UPDATE segments SET label = prediction")
    checkin(block_year.user, first.path)
    decide_again(block_year)
    asked = {str(event.key) for event in events(block_year) if event.blind}
    copy = read(checkout(block_year, "A02", everything=True).path).set_index("key")
    assert set(copy.loc[list(asked), "previous"]) == {""}
    others = {str(event.key) for event in events(block_year)} - asked
    assert all("confirmed" in previous for previous in copy.loc[list(others), "previous"])


def test_in_the_overlap_nobody_sees_what_others_said(block_year):
    first = checkout(block_year, "A01")
    edit(first.path, "UPDATE segments SET label = prediction")
    checkin(block_year.user, first.path)
    decide_again(block_year)
    second = read(checkout(block_year, "A02").path)
    assert (second["previous"].fillna("") == "").all()
    assert len(set(second["key"]) & set(read(first.path)["key"])) == 20


def test_decisions_survive_another_segmentation(block_year):
    given = checkout(block_year, "A01")
    edit(given.path, "UPDATE segments SET label = prediction")
    checkin(block_year.user, given.path)
    folder = block_year.results / "segments/2016/1"
    segments = raster.read(folder / "segments.tif")[0]
    # two of three rows of segments are merged in pairs with their right-hand neighbours
    features = pd.read_parquet(folder / "features.parquet")
    pairs = np.arange(len(features) + 1)
    left = np.arange(1, len(features), 2)
    pairs[left + 1] = left
    merged = np.where(np.arange(segments.shape[0])[:, np.newaxis] % 12 < 8, pairs[segments], segments)
    _, merged = np.unique(merged, return_inverse=True)
    merged = merged.reshape(segments.shape).astype(np.uint32)
    lattice = read_lattice(block_year.results / "grid/grid.json")
    raster.write(folder / "segments.tif", merged, raster_geobox(block_year), 0, ["segment"])
    count = int(merged.max())
    table = features.iloc[:count].assign(
        area=np.bincount(merged.ravel())[1:].astype(np.uint32), key=content_keys(merged, count, lattice, "1")
    )
    table.to_parquet(folder / "features.parquet", index=False)
    said = block_year.results / "assistant/2016/1/probabilities.parquet"
    pd.read_parquet(said).iloc[:count].to_parquet(said, index=False)
    labels = decide_again(block_year)
    lineage = pd.read_csv(block_year.results / "people/2016/1/lineage.csv")
    fates = lineage["fate"].value_counts()
    assert fates.get("lost", 0) == 0
    assert fates["kept"] > 0
    assert fates["moved"] > 0
    counts = labels["provenance"].value_counts()
    assert counts["confirmed"] == fates["kept"]
    assert counts["transferred"] >= fates["moved"] * 0.5
    # what a new segment took is what its pixels had been given
    painted = np.full(merged.size, -9)
    for event in events(block_year):
        pixel, _ = footprint.decode([event.footprint], raster_geobox(block_year)).pixels(merged.shape)
        painted[pixel] = event_files.LABELS[event.label]
    moved = labels[labels["provenance"] == "transferred"]
    for segment, label in zip(moved["segment"], moved["label"], strict=True):
        own = painted[merged.ravel() == segment]
        assert (own != -9).mean() >= 0.5
        assert (own[own != -9] == label).mean() >= 0.8
    review = pd.read_csv(block_year.results / "people/2016/1/review.csv")
    assert not set(review["segment"]) & set(moved["segment"])


@pytest.mark.heavy
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(4)))
def test_any_order_of_the_same_check_ins_gives_the_same_labels(block_year, order):
    copies = {}
    for who in ("A01", "A02"):
        path = block_year.user / f"work/{who}/2016-1.gpkg"
        copies[who] = path if path.is_file() else checkout(block_year, who).path
    kept = block_year.user / "kept"
    if not kept.is_dir():
        kept.mkdir()
        for number, (who, label) in enumerate((("A01", "mining"), ("A02", "not_mining"), ("A01", "not_mining"), ("A02", "unsure"))):
            proof = f"evidence = 'x', evidence_date = '2016-01-01', edited = {1_700_000_000_000 + 60_000 * number}"
            edit(copies[who], f"UPDATE segments SET label = '{label}', {proof} WHERE fid % 3 <= {number}")
            shutil.copy2(copies[who], kept / f"{number}.gpkg")
    shutil.rmtree(block_year.user / "events", ignore_errors=True)
    for number in order:
        checkin(block_year.user, kept / f"{number}.gpkg")
    labels = decide_again(block_year)
    expected = block_year.user / "expected.parquet"
    if not expected.is_file():
        labels.to_parquet(expected)
    pd.testing.assert_frame_equal(labels, pd.read_parquet(expected))
    assert set(labels["provenance"]) >= {"predicted", "disputed"}
