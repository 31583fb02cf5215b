"""What a session shows of its segments: label tiles, columns, growth, details, files for Google Earth."""

from __future__ import annotations

import dataclasses
import shutil
import zipfile
import zlib
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from place import decide_again
from shown_place import make_shown_place
from smallmines.annotation.server.edits.session import open_session
from smallmines.annotation.server.view import columns, details, grow, kmz, label_tiles, places
from smallmines.annotation.server.view.feature_rows import FeatureRows, feature_rows
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.labels.event_files import Event, write_events
from smallmines.labels.tables import PROVENANCES


def event_of(row, annotator, label, second=0, **more):
    """An event about a row of the table of segments."""
    values = {"provenance": "corrected", "evidence": "Planet", "evidence_date": "2022-01-05", "predicted": "mining", "tool": "qgis", **more}
    time = f"2026-01-01T00:00:{second:02d}Z"
    return Event(2022, "1", int(row["key"]), float(row["x"]), float(row["y"]), label, annotator=annotator, time=time, **values)


@pytest.fixture(scope="module")
def block_year(tmp_path_factory):
    """A place where two people differ about segment 40 and A02 corrected segment 41."""
    block_year = make_shown_place(tmp_path_factory.mktemp("segments"))
    table, folder = block_year.table(), block_year.layout.user.events("2022", "1")
    write_events(folder, [event_of(table.iloc[39], "A01", "mining", 1)])
    write_events(folder, [event_of(table.iloc[39], "A02", "not_mining", 2), event_of(table.iloc[40], "A02", "mining", 3)])
    decide_again(block_year)
    return block_year


@pytest.fixture(scope="module")
def session(block_year):
    return open_session(block_year, "A01")


def unpacked(tile):
    """Label raster of a tile."""
    body = zlib.decompress(tile.body)
    number = int(np.frombuffer(body, "<u4", 1)[0])
    ids = np.frombuffer(body, "<u4", number, 4)
    index = np.frombuffer(body, "<u2", 65536, 4 + 4 * number)
    assert len(body) == 4 + 4 * number + 2 * 65536
    assert (np.diff(ids.astype(np.int64)) > 0).all()
    return ids[index].reshape(256, 256)


# --- label tiles ----------------------------------------------------------------------------------------------------------


def test_a_label_tile_is_the_label_raster(session, tmp_path):
    tile = label_tiles.label_tile(session.snapshot, 0, 0, 0, tmp_path)
    ids = unpacked(tile)
    assert (ids[:128, :160] == session.snapshot.segments).all()
    assert not ids[128:].any()
    assert not ids[:, 160:].any()
    assert label_tiles.label_tile(session.snapshot, 0, 0, 0, tmp_path) == tile
    with pytest.raises(UserError, match="a tile z/x/y"):
        label_tiles.label_tile(session.snapshot, 1, 0, 0, tmp_path)


def test_tiles_of_a_large_raster_fit_together_on_every_level():
    segments = np.random.default_rng(0).integers(0, 90_000, (600, 700)).astype(np.uint32)
    snapshot = SimpleNamespace(segments=segments, digest="x")
    for z, (rows, cols) in enumerate(((3, 3), (2, 2), (1, 1))):
        made = [[_plain(snapshot, z, x, y) for x in range(cols)] for y in range(rows)]
        step = 1 << z
        expected = segments[::step, ::step]
        assert (np.block(made)[: expected.shape[0], : expected.shape[1]] == expected).all()


def _plain(snapshot, z, x, y):
    tile = SimpleNamespace(body=zlib.compress(label_tiles.encoded(snapshot.segments, z, x, y)))
    return unpacked(tile)


def test_a_tile_of_nothing_but_single_pixels_can_be_told():
    """65536 ids: the last place is the largest that 16 bits hold."""
    segments = np.arange(1, 65537, dtype=np.uint32).reshape(256, 256)
    assert (_plain(SimpleNamespace(segments=segments), 0, 0, 0) == segments).all()


# --- columns --------------------------------------------------------------------------------------------------------------


def column(session, name, dtype=np.uint8):
    unlabelled = SimpleNamespace(label=np.zeros(len(session.keys) + 1, np.uint8))
    return np.frombuffer(columns.column(session, name, unlabelled), dtype)


def test_columns_follow_the_table(session):
    table, blind = session.snapshot.table, session.queue.loc[session.queue["blind"], "segment"].to_numpy()
    assert len(blind)
    assert column(session, "prediction")[1:].tolist() == table["predicted"].tolist()
    assert column(session, "probability")[1:].tolist() == np.rint(255 * table["probability"].astype(float)).astype(int).tolist()
    label, provenance = column(session, "label"), column(session, "provenance")
    assert [len(values) for values in (label, provenance)] == [len(table) + 1] * 2
    seen = ~table["segment"].isin(blind).to_numpy()
    assert (label[1:][seen] == table["label"].replace(-1, 2).to_numpy()[seen]).all()
    assert [PROVENANCES[number] for number in provenance[1:][seen]] == table["provenance"][seen].tolist()
    assert {"manual", "predicted", "corrected", "disputed"} <= set(table["provenance"])
    assert (label[0], provenance[0]) == (0, 0)


def test_labels_of_the_blind_overlap_are_not_shown(session):
    """Segment 41 was corrected by another person; where it is in the overlap, it looks as predicted."""
    queue = session.queue.assign(blind=session.queue["blind"] | session.queue["segment"].isin([40, 41]))
    extra = pd.DataFrame({"segment": [40, 41], "blind": True})
    blind = dataclasses.replace(session, queue=pd.concat([queue, extra], ignore_index=True))
    predicted = session.snapshot.table["predicted"].to_numpy()
    for segment in (40, 41):
        assert column(blind, "label")[segment] == predicted[segment - 1]
        assert PROVENANCES[column(blind, "provenance")[segment]] == "predicted"
    assert session.snapshot.table["provenance"].iloc[40] == "corrected"  # the table itself is left as it was


def test_own_labels_and_tiles(session):
    labels = np.zeros(len(session.keys) + 1, np.uint8)
    labels[[3, 9]] = (1, 3)
    assert columns.column(session, "own", SimpleNamespace(label=labels)) == labels.tobytes()
    tiles, ids = column(session, "tile", "<u2"), columns.tile_ids(session)
    assert tiles[0] == 65535
    assert [ids[number] for number in tiles[1:]] == session.snapshot.table["tile_id"].tolist()


def test_a_column_that_a_session_lacks_is_refused(session, block_year):
    points = open_session(block_year, "A01", "accuracy")
    assert columns.column(points, "own", SimpleNamespace(label=np.zeros(4, np.uint8))) == bytes(4)
    assert len(column(points, "tile", "<u2")) == len(points.queue) + 1
    for asked, name in ((session, "who"), (session, "../x"), (points, "prediction"), (points, "label"), (points, "probability")):
        with pytest.raises(UserError, match="a column of"):
            column(asked, name)


# --- growth ---------------------------------------------------------------------------------------------------------------


def test_growth_stops_where_too_many_would_come():
    segments = np.arange(1, 160_001, dtype=np.uint32).reshape(400, 400)
    features = FeatureRows(None, ("a",), np.zeros((160_000, 1), np.float32), np.ones(1), np.zeros((2, 1)))
    grown = grow.connected(segments, features, int(segments[200, 200]), (200, 200), 1.0)
    assert grown == sorted(segments[200 - 16 : 217, 200 - 16 : 217].ravel().tolist())  # 33² segments; 65² are too many


def rows_of(values):
    """Features in their own units, whose spread is 1."""
    array = np.array(values, np.float32)
    return FeatureRows(None, tuple("abc"[: array.shape[1]]), array, np.ones(array.shape[1]), np.zeros((2, array.shape[1])))


def test_growth_follows_similar_neighbours_and_not_what_lies_behind_others():
    segments = np.array([[1, 1, 2, 2, 3], [1, 4, 4, 2, 3], [5, 5, 5, 5, 5], [6, 6, 6, 7, 7]], np.uint32)
    features = rows_of([[0, 0], [0.5, 0], [0.2, 0.2], [9, 9], [8, 8], [0, 0], [0, 0.1]])
    assert grow.connected(segments, features, 1, (0, 0), 1.0) == [1, 2, 3]
    assert grow.connected(segments, features, 1, (0, 0), 0.1) == [1]
    assert grow.connected(segments, features, 6, (3, 0), 0.0) == [6]
    assert grow.connected(segments, features, 1, (0, 0), 99.0) == [1, 2, 3, 4, 5, 6, 7]


def test_segments_that_touch_at_a_corner_are_no_neighbours():
    segments = np.array([[1, 2], [3, 4]], np.uint32)
    assert grow.connected(segments, rows_of([[0], [9], [9], [0]]), 1, (0, 0), 1.0) == [1]


def test_similarity_is_to_the_first_segment_not_along_the_chain():
    segments = np.array([[1, 2, 3, 4]], np.uint32)
    assert grow.connected(segments, rows_of([[0], [0.6], [1.2], [1.8]]), 1, (0, 0), 1.0) == [1, 2]


def test_a_feature_without_a_value_is_left_out_and_outside_never_grows():
    segments = np.array([[1, 2, 0, 3]], np.uint32)
    assert grow.connected(segments, rows_of([[0, np.nan], [0.1, 5], [0, 0]]), 1, (0, 0), 1.0) == [1, 2]
    assert grow.connected(segments, rows_of([[np.nan, np.nan], [0.1, 5], [0, 0]]), 1, (0, 0), 1.0) == [1]


def test_growth_reaches_beyond_its_first_windows():
    row = np.repeat(np.arange(1, 101, dtype=np.uint32), 5)[np.newaxis]
    assert grow.connected(row, rows_of([[0]] * 100), 1, (0, 0), 1.0) == [*range(1, 101)]


def grown_step_by_step(segments, values, start, reach):
    """Segments that a search from neighbour to neighbour finds."""
    pairs = [np.stack([segments[:, :-1].ravel(), segments[:, 1:].ravel()]), np.stack([segments[:-1].ravel(), segments[1:].ravel()])]
    neighbours = {}
    for one, other in np.unique(np.concatenate([*pairs, *(pair[::-1] for pair in pairs)], axis=1), axis=1).T.tolist():
        neighbours.setdefault(one, set()).add(other)
    grown, waiting = {start}, [start]
    while waiting:
        for other in neighbours[waiting.pop()] - grown - {0}:
            if np.sqrt(np.nanmean((values[other - 1] - values[start - 1]) ** 2)) <= reach:
                grown.add(other)
                waiting.append(other)
    return sorted(grown)


def test_growth_in_a_session_is_that_of_a_search_from_neighbour_to_neighbour(session, monkeypatch):
    monkeypatch.setattr(grow, "REACH", 1.5)  # the features of the place are noise
    rows, segments = feature_rows(session.snapshot), session.snapshot.segments
    values = rows.standardised(np.arange(len(rows.values)))
    sizes = []
    for start in (6, 40, 300, 1100):  # 6 has no height:
        for similarity in (1.0, 0.4, 0.0):
            grown = grow.grow(session.snapshot, start, similarity)
            assert grown == grown_step_by_step(segments, values, start, grow.REACH * (1 - similarity))
            sizes.append(len(grown))
    assert sizes[::3] == [1] * 4
    assert max(sizes) > 10
    with pytest.raises(UserError, match="a segment of 1 to"):
        grow.grow(session.snapshot, len(values) + 1, 0.5)


# --- features -------------------------------------------------------------------------------------------------------------


def test_feature_rows_are_those_of_the_table(session, block_year):
    rows, table = feature_rows(session.snapshot), block_year.features()
    assert np.array_equal(rows.values, table[list(rows.names)].to_numpy(np.float32), equal_nan=True)
    mining = session.snapshot.table["predicted"].to_numpy() == 1
    assert rows.medians[1, rows.names.index("B04")] == pytest.approx(table["B04"][mining].median())
    assert rows.medians[0, rows.names.index("DEM")] == pytest.approx(table["DEM"][~mining].median())
    low, high = np.percentile(table["B04"], [16, 84])
    assert rows.spread[rows.names.index("B04")] == pytest.approx((high - low) / 2, rel=1e-6)


# --- details --------------------------------------------------------------------------------------------------------------


def test_details_of_a_segment(session, block_year):
    table = session.snapshot.table
    shown = details.details(session, 41)
    row = table.iloc[40]
    where = np.argwhere(session.snapshot.segments == 41)
    assert shown["key"] == str(int(row["key"]))
    assert (shown["segment"], shown["tile"], shown["area_px"], shown["area_ha"]) == (41, row["tile_id"], 16, 0.16)
    assert shown["box"] == [*where.min(axis=0).tolist(), *(where.max(axis=0) + 1).tolist()]
    assert session.snapshot.segments[shown["row"], shown["col"]] == 41
    assert (shown["lon"], shown["lat"]) == (pytest.approx(-2.096, abs=0.01), pytest.approx(6.33, abs=0.01))
    assert shown["prediction"] == ("mining" if row["predicted"] else "not_mining")
    assert (shown["probability"], shown["threshold"]) == (round(float(row["probability"]), 4), 0.5)
    assert shown["previous"] == "mining (corrected)"
    mask = raster.read(block_year.layout.mask("2016", "1"))[0]
    values = mask[session.snapshot.segments == 41]
    share = round(float((values[values < 2]).mean()), 4)
    label = {0: "not_mining", 1: "mining", 255: "open"}[int(mask[shown["row"], shown["col"]])]
    assert shown["other_years"] == [{"year": "2016", "label": label, "mining_share": share}]


def test_reasons_are_the_most_important_features_in_their_own_units(session, block_year):
    reasons = details.details(session, 41)["reasons"]
    assert len(reasons) == 6
    weights = [reason["importance"] for reason in reasons]
    assert weights == sorted(weights, reverse=True)
    first, table = reasons[0], block_year.features()
    mining = session.snapshot.table["predicted"].to_numpy() == 1
    assert first["value"] == pytest.approx(table[first["feature"]].iloc[40], rel=1e-3)
    assert first["mining"] == pytest.approx(table[first["feature"]][mining].median(), rel=1e-3)
    assert first["other"] == pytest.approx(table[first["feature"]][~mining].median(), rel=1e-3)


def test_what_others_said_is_hidden_in_the_blind_overlap(session):
    extra = pd.DataFrame({"segment": [41], "blind": [True], "why": ["uncertainty"], "opinions": [""]})
    blind = dataclasses.replace(session, queue=pd.concat([session.queue[session.queue["segment"] != 41], extra], ignore_index=True))
    shown = details.details(blind, 41)
    assert (shown["previous"], shown["opinions"], shown["why"]) == ("", "", "uncertainty")


def test_the_blind_overlap_is_hidden_where_a_whole_block_is_labelled_too(block_year, tmp_path):
    """Segments 40 and 41 are in the overlap; A01 has decided on 40, A02 on both."""
    shutil.copytree(block_year.root, tmp_path / "root")
    place = type(block_year)(block_year.config, "2022", "1", tmp_path / "root")
    rows = place.table().iloc[[39, 40]][["key", "tile_id", "area"]].assign(stratum="0", inclusion=0.5)
    rows.to_csv(place.layout.user.overlap("2022") / "1-more.csv", index=False)
    for words in ({"everything": True}, {"tiles": tuple(rows["tile_id"])}):
        session = open_session(place, "A01", **words)
        assert [PROVENANCES[number] for number in column(session, "provenance")[[40, 41]]] == ["disputed", "predicted"]
        assert column(session, "label")[41] == session.snapshot.table["predicted"].iloc[40]
        assert [details.details(session, number)["previous"] for number in (40, 41)] == ["unsure (disputed)", ""]
        assert not session.queue["blind"].any(), "as in a working copy, they do not count for the agreement"
    assert column(open_session(place, "A02", everything=True), "label")[41] == 1


def test_adjudication_shows_both_opinions(block_year):
    session = open_session(block_year, "J01", "adjudication")
    assert session.queue["segment"].tolist() == [40]
    shown = details.details(session, 40)
    assert shown["opinions"] == "A01: mining (Planet, 2022-01-05); A02: not_mining (Planet, 2022-01-05)"
    assert shown["previous"] == "unsure (disputed)"


def test_nothing_of_the_map_is_in_the_details_of_a_point(block_year):
    session = open_session(block_year, "A02", "accuracy")
    row = session.queue.iloc[3]
    shown = details.details(session, int(row["segment"]))
    assert shown["key"] == str(int(row["key"]))
    assert shown["box"] == [shown["row"], shown["col"], shown["row"] + 1, shown["col"] + 1]
    x, y = session.block_year.lattice.block("1").transform @ (shown["col"] + 0.5, shown["row"] + 0.5)
    assert (x, y) == (row["x"], row["y"])
    assert (shown["prediction"], shown["probability"], shown["previous"], shown["opinions"]) == ("", None, "", "")
    assert (shown["reasons"], shown["other_years"], shown["area_ha"]) == ([], [], 0.01)
    with pytest.raises(UserError, match="a point of the sample"):
        details.details(session, 10**6)


def test_the_box_of_a_long_segment_is_found_from_one_of_its_pixels():
    segments = np.zeros((300, 300), np.uint32)
    segments[5, 10:290] = 7
    segments[5:200, 289] = 7
    assert places.box_of(segments, 7, 5, 12) == (5, 10, 200, 290)


# --- Google Earth ---------------------------------------------------------------------------------------------------------


def outlines(body):
    with zipfile.ZipFile(BytesIO(body)) as file:
        return file.read("layers/task.kml").decode()


def test_a_tile_for_google_earth_has_the_queue_in_it(session):
    tile = session.queue["tile_id"].iloc[0]
    text = outlines(kmz.tile_kmz(session, tile))
    in_tile = session.queue["tile_id"] == tile
    assert f"<name>tile {tile}</name>" in text
    assert text.count("<Placemark") == 1 + int(in_tile.sum())
    segment = int(session.queue["segment"].iloc[0])
    predicted = "mining" if session.snapshot.table["predicted"].iloc[segment - 1] else "not_mining"
    assert f"<name>1: {predicted}</name>" in text
    with pytest.raises(UserError, match="a tile of block 1"):
        kmz.tile_kmz(session, "9999")


def test_a_tile_of_a_sample_has_its_pixels_and_no_prediction(block_year):
    session = open_session(block_year, "A02", "accuracy")
    text = outlines(kmz.tile_kmz(session, session.queue["tile_id"].iloc[0]))
    assert "mining" not in text
    assert text.count("<Placemark") == 1 + int((session.queue["tile_id"] == session.queue["tile_id"].iloc[0]).sum())
