"""Samples: forms, contents that are refused, digests that follow the content, and the join against shapely."""

from __future__ import annotations

import os

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from block_of_segments import CRS, make_block
from sections import Assistant, Transfer
from smallmines.core.errors import UserError
from smallmines.labels import check_samples, decisions, event_files, samples

GRID = GeoBox((12, 12), Affine(10, 0, 600000, 0, -10, 700000), CRS)


def frame(geometry, label, **columns):
    return gpd.GeoDataFrame({"label": label, **columns}, geometry=geometry, crs=CRS)


def given_samples(geometry, label):
    table = pd.DataFrame({"number": np.arange(1, len(label) + 1), "label": label, "subclass": "", "annotator": ""})
    return samples.Samples(table, np.array(geometry, object), 0)


POINTS = frame([shapely.Point(600015, 699985), shapely.Point(600055, 699985)], ["mining", "not_mining"], subclass=[None, "forest"])


# --- forms ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["gpkg", "geojson"])
@pytest.mark.parametrize("crs", [CRS, "EPSG:4326"])
def test_vector_files_in_any_crs(tmp_path, suffix, crs):
    path = tmp_path / f"1.{suffix}"
    POINTS.to_crs(crs).to_file(path)
    read = samples.read_samples(path, CRS)
    assert read.table["label"].tolist() == ["mining", "not_mining"]
    assert read.table["subclass"].tolist() == ["", "forest"]
    assert np.allclose(shapely.get_coordinates(read.geometry), shapely.get_coordinates(POINTS.geometry), atol=0.02)


@pytest.mark.parametrize(
    "text",
    [
        "x,y,label\n600015,699985,mining\n600055,699985,not_mining\n",
        "x,y,crs,label\n600015,699985,,mining\n600055,699985,EPSG:32630,not_mining\n",
    ],
)
def test_csv_in_the_grids_crs(tmp_path, text):
    (tmp_path / "1.csv").write_text(text)
    assert shapely.get_coordinates(samples.read_samples(tmp_path / "1.csv", CRS).geometry).tolist() == [[600015, 699985], [600055, 699985]]


def test_csv_with_longitude_and_latitude(tmp_path):
    lonlat = shapely.get_coordinates(POINTS.to_crs("EPSG:4326").geometry)
    (tmp_path / "1.csv").write_text("lon,lat,label\n" + "".join(f"{x:.9f},{y:.9f},mining\n" for x, y in lonlat))
    found = shapely.get_coordinates(samples.read_samples(tmp_path / "1.csv", CRS).geometry)
    assert np.allclose(found, [[600015, 699985], [600055, 699985]], atol=0.01)


def test_unlabelled_candidates_are_left_out_and_other_labels_are_named_by_row(tmp_path):
    path = tmp_path / "1.gpkg"
    frame(list(POINTS.geometry) * 2, ["mining", None, " ", "not_mining"]).to_file(path)
    read = samples.read_samples(path, CRS)
    assert (read.table["number"].tolist(), read.unlabelled) == ([1, 4], 2)
    frame(list(POINTS.geometry) * 2, ["mining", "mine", "x", "not_mining"]).to_file(path)
    with pytest.raises(UserError, match="row 2: 'mine'; row 3: 'x'"):
        samples.read_samples(path, CRS)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("1.gpkg", b"no database", "1.gpkg"),
        ("1.csv", b"a,b\n1,2\n", "columns a, b"),
        ("1.csv", b"x,y,label\n1,two,mining\n", "row 1"),
        ("1.geojson", b'{"type":"FeatureCollection","features":[]}', "label"),
    ],
)
def test_unusable_files_are_named(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as raised:
        samples.read_samples(tmp_path / name, CRS)
    assert words in str(raised.value)


def test_no_file_names_path_and_command_and_several_are_refused():
    with pytest.raises(UserError) as raised:
        samples.sample_file([], "resources/user/x/samples/2016/2", "snakemake annotate --configfile a.yaml")
    assert "resources/user/x/samples/2016/2.{gpkg,geojson,csv}" in str(raised.value)
    assert "`snakemake annotate --configfile a.yaml`" in str(raised.value)
    with pytest.raises(UserError, match=r"a\.csv, a\.gpkg"):
        samples.sample_file(["a.gpkg", "a.csv"], "a", "")


# --- digests --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["gpkg", "geojson"])
def test_the_digest_follows_content_not_bytes(tmp_path, suffix):
    path = tmp_path / f"1.{suffix}"
    table = (
        pd.concat([POINTS, frame([shapely.box(600000, 699900, 600050, 699950)], ["mining"])], ignore_index=True)
        if suffix == "geojson"
        else POINTS
    )

    def digest():
        return samples.samples_digest([str(path)], CRS)

    table.to_file(path)
    before, bytes_before = digest(), path.read_bytes()
    os.utime(path, (1, 1))
    assert digest() == before
    path.unlink()
    table.iloc[::-1].assign(note="other").to_file(path)
    os.utime(path, (2, 2))
    assert path.read_bytes() != bytes_before
    assert digest() == before
    path.unlink()
    table.assign(label="mining").to_file(path)
    os.utime(path, (3, 3))
    assert digest() != before


def test_an_unreadable_file_has_a_digest(tmp_path):
    (tmp_path / "1.gpkg").write_bytes(b"x")
    one = samples.samples_digest([str(tmp_path / "1.gpkg")], CRS)
    (tmp_path / "1.gpkg").write_bytes(b"yy")
    assert one != samples.samples_digest([str(tmp_path / "1.gpkg")], CRS) != samples.samples_digest([str(tmp_path / "2.gpkg")], CRS)
    assert samples.events_digest([]) == samples.samples_digest([], CRS)


# --- join -----------------------------------------------------------------------------------------------------------------


def join(geometry, label, segments, own=None):
    return samples.join(given_samples(geometry, label), segments, np.ones(segments.shape, bool) if own is None else own, GRID, "1.gpkg")


QUARTERS = np.kron(np.array([[1, 2], [3, 0]], np.uint32), np.ones((6, 6), np.uint32))


def test_a_point_labels_its_segment_and_conflicts_and_nodata_are_listed():
    at = [shapely.Point(600000 + x, 700000 - y) for x, y in [(5, 5), (15, 5), (65, 5), (75, 5), (5, 65), (115, 115)]]
    result = join(at, ["mining", "mining", "mining", "not_mining", "not_mining", "mining"], QUARTERS)
    assert result.samples[["segment", "label"]].to_numpy().tolist() == [[1, 1], [3, 0]]
    assert result.refused[["which", "segment"]].to_numpy().tolist() == [["3", 2], ["4", 2], ["6", 0]]
    assert result.refused["why"].str[:8].tolist() == ["conflict", "conflict", "no segme"]


def test_a_polygon_labels_what_it_covers_by_half():
    half, less = shapely.box(600000, 699940, 600030, 700000), shapely.box(600060, 699940, 600089, 700000)
    result = join([half, shapely.box(600060, 699940, 600084, 700000)], ["mining", "mining"], QUARTERS)
    assert result.samples["segment"].tolist() == [1]
    assert result.refused.to_numpy().tolist() == [["sample", "2", 2, "the polygon covers less than half of the segment"]]
    assert join([half, less], ["mining", "not_mining"], QUARTERS).samples[["segment", "label"]].to_numpy().tolist() == [[1, 1], [2, 0]]


def test_samples_outside_the_own_cells_are_counted():
    own = np.ones((12, 12), bool)
    own[:, 6:] = False
    with pytest.raises(UserError, match=r"2 of 3 outside \(row 2 first\)"):
        join([shapely.Point(600005, 699995), shapely.Point(600065, 699995), shapely.box(0, 0, 1, 1)], ["mining"] * 3, QUARTERS, own)


corner = st.integers(-2, 26).map(lambda half: half * 5.0 + 0.5)
polygon = st.tuples(corner, corner, corner, corner, corner, corner).map(
    lambda c: shapely.Polygon([(600000 + c[0], 700000 - c[1]), (600000 + c[2], 700000 - c[3]), (600000 + c[4], 700000 - c[5])])
)


@settings(max_examples=60, deadline=None)
@given(
    shapes=st.lists(st.tuples(polygon.filter(lambda p: p.area > 200), st.sampled_from(["mining", "not_mining"])), min_size=1, max_size=5),
    seed=st.integers(0, 5),
)
def test_the_join_agrees_with_shapely_pixel_by_pixel(shapes, seed):
    coarse = np.random.default_rng(seed).integers(0, 6, (4, 4)).astype(np.uint32)
    segments = np.kron(coarse, np.ones((3, 3), np.uint32))
    centres = {(r, c): shapely.Point(600005 + 10 * c, 699995 - 10 * r) for r in range(12) for c in range(12)}
    shapes = [one for one in shapes if any(one[0].intersects(p) for p in centres.values())]
    votes: dict[int, set[str]] = {}
    for shape, label in shapes:
        for segment in range(1, 6):
            members = [place for place in centres if segments[place] == segment]
            if members and sum(shape.intersects(centres[place]) for place in members) >= len(members) / 2:
                votes.setdefault(segment, set()).add(label)
    expected = {segment: samples.LABELS[next(iter(labels))] for segment, labels in votes.items() if len(labels) == 1}
    if not shapes:
        return
    for order in (shapes, shapes[::-1]):
        result = join([one[0] for one in order], [one[1] for one in order], segments)
        assert dict(zip(result.samples["segment"].tolist(), result.samples["label"].tolist(), strict=True)) == expected
        conflicts = result.refused.loc[result.refused["why"].str.startswith("conflict"), "segment"]
        assert set(conflicts) == {segment for segment, labels in votes.items() if len(labels) == 2}


# --- the whole check ------------------------------------------------------------------------------------------------------


def check(block, path=None, **changes):
    files = check_samples.SampleFiles([str(path or block.folder / "1.gpkg")], "samples/2016/1", "snakemake annotate")
    inputs = check_samples.Inputs(*(block.folder / name for name in ("grid.json", "segments.tif", "features.parquet")))
    outputs = check_samples.Outputs(block.folder / "people/samples.parquet", block.folder / "people/refused.csv")
    check_samples.check_samples(files, "1", Assistant(**changes), inputs, outputs)
    return pd.read_parquet(outputs.samples), pd.read_csv(outputs.refused)


def check_events(block, *paths):
    out = block.folder / "people"
    outputs = decisions.Outputs(out / "decisions.parquet", out / "lineage.csv", out / "review.csv")
    known = (block.folder / "features.parquet", block.folder / "segments.tif")
    decisions.check_events([str(one) for one in paths], "2016", "1", *known, Transfer(), outputs)
    return pd.read_parquet(outputs.decisions), pd.read_csv(outputs.lineage)


def label_points(block, rows, **columns):
    table = block.features.iloc[rows]
    label = np.where(block.truth[rows] == 1, "mining", "not_mining")
    frame(gpd.points_from_xy(table["x"], table["y"]), label, **columns).to_file(block.folder / "1.gpkg")


@pytest.fixture
def block(tmp_path):
    made = make_block(tmp_path)
    label_points(made, np.arange(0, 1200, 3), annotator="ama")
    return made


def event(made, row, **changes):
    one = made.features.iloc[row]
    values = {"year": 2016, "block": "1", "key": int(one["key"]), "x": float(one["x"]), "y": float(one["y"])}
    return event_files.Event(
        **values | {"label": "mining", "provenance": "corrected", "annotator": "kofi", "time": "2026-01-01T00:00:00Z"} | changes
    )


def test_samples_become_a_table(block, caplog):
    found, refused = check(block)
    assert found["segment"].tolist() == list(range(1, 1201, 3))
    assert found["label"].tolist() == block.truth[:1200:3].tolist()
    assert set(found["who"]) == {"ama"}
    assert refused.empty
    assert "settlement, vegetation, clear water, bare land, forest" in caplog.text


def test_events_become_decisions(block, caplog):
    path = event_files.write_events(block.folder / "events", [event(block, 7), event(block, 3, label="unsure"), event(block, 9, key=1)])
    decided, lineage = check_events(block, path)
    assert decided[["segment", "label", "provenance", "who"]].to_numpy().tolist() == [
        [4, -1, "corrected", "kofi"],
        [8, 1, "corrected", "kofi"],
    ]
    assert sorted(lineage["fate"]) == ["kept", "kept", "lost"]
    assert "lost: 1 events" in caplog.text
    assert check_events(block)[0].empty


def test_events_of_another_block_are_refused(block):
    path = event_files.write_events(block.folder / "events", [event(block, 7, block="2")])
    with pytest.raises(UserError, match="events of 2016, block 1"):
        check_events(block, path)


def test_too_few_of_a_class_stops_with_counts_unless_pooled(block):
    label_points(block, np.flatnonzero(block.truth == 0)[:50])
    with pytest.raises(UserError, match=r"0 mining segments in 0 tiles, 50 not_mining segments in \d tiles"):
        check(block)
    assert len(check(block, on_missing_class="pooled_model")[0]) == 50
