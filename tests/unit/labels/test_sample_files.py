"""Sample files of any content: read right, or refused in three lines that name the rows."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import textwrap

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from block_of_segments import CRS, make_block
from sections import Assistant
from smallmines.core.errors import UserError
from smallmines.labels import check_samples, sample_files, samples

A, B = (600015.0, 699985.0), (600055.0, 699985.0)
LONLAT = [tuple(xy) for xy in shapely.get_coordinates(gpd.GeoSeries([shapely.Point(A), shapely.Point(B)], crs=CRS).to_crs(4326).array)]


def refused(path, *words):
    """Read a file that is refused in three lines; its content still has a digest, so that the workflow can be planned."""
    with pytest.raises(UserError) as raised:
        samples.read_samples(path, CRS)
    assert len(str(raised.value).split("\n")) == 3
    for word in words:
        assert word in str(raised.value)
    assert len(samples.samples_digest([str(path)], CRS)) == 16


def as_read(path):
    read = samples.read_samples(path, CRS)
    return [
        (*map(float, np.round(shapely.get_coordinates(point)[0], 1)), label)
        for point, label in zip(read.geometry, read.table["label"], strict=True)
    ]


RIGHT = [(*A, "mining"), (*B, "not_mining")]
ROWS = "600015,699985,mining\n600055,699985,not_mining\n"


@pytest.mark.parametrize(
    "content",
    [
        f"x,y,label\n{ROWS}".encode(),
        f"\ufeffx,y,label\n{ROWS}".encode(),
        f"x,y,label\n{ROWS}".replace("\n", "\r\n").encode(),
        f"x,y,label\n\n{ROWS}\n  \n".encode(),
        f" x , y , label \n{ROWS}".encode(),
        f"x,y,label\n{ROWS}".replace("mining\n", "mining,\n").encode(),
        'x,y,label,subclass\n600015,699985,mining,"pit, wet\u2028deep"\n600055,699985,not_mining,forest\n'.encode(),
        "lon,lat,label\n{0[0]},{0[1]},mining\n{1[0]},{1[1]},not_mining\n".format(*LONLAT).encode(),
        "x,y,crs,label\n{0[0]},{0[1]},EPSG:4326,mining\n600055,699985,,not_mining\n".format(*LONLAT).encode(),
        f"x,y,label\n600000,,\nno,no,\n{ROWS}".encode(),
        f"x,y,label,annotator\n{ROWS}".replace("mining\n", "mining,A-01.b\n").encode(),
    ],
)
def test_tables_as_programs_write_them(tmp_path, content):
    path = tmp_path / "1.csv"
    path.write_bytes(content)
    assert as_read(path) == RIGHT


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"x,y,label\n{ROWS}".encode("utf-16"), ["UTF-16 in line 1", "save it as CSV UTF-8"]),
        (f"x,y,label,subclass\n{ROWS}600015,699985,mining,illégal\n".encode("cp1252"), ["another encoding in line 4"]),
        (f"x;y;label\n{ROWS}".replace(",", ";").encode(), ["columns with ';'", "points in decimals"]),
        (f"x\ty\tlabel\n{ROWS}".replace(",", "\t").encode(), ["columns with '\\t'"]),
        (
            f"x,y,label\n{ROWS}".replace("\n", ",more\n").replace("label,more", "label").encode(),
            ["more cells than the header's 3 in rows 1, 2"],
        ),
        (f"x,y,label\n{ROWS}1,2,mining,a,b,c\n".encode(), ["more cells than the header's 3 in row 3"]),
        (b'x,y,label\n600015,699985,"mining\n600055,699985,not_mining\n', ["line 3", "unexpected end"]),
        (f"x,y,label,label\n{ROWS}".encode(), ["label twice"]),
        (f"X,Y,Label\n{ROWS}".encode(), ["columns X, Y, Label"]),
        (b"", ["columns x, y or lon, lat, and label"]),
        (b"\0" * 100, ["columns"]),
        (
            f"x,y,label\n{ROWS}nan,5,mining\n1e400,5,mining\nhere,there,mining\n5,,mining\n1_0,5,mining\n".encode(),
            ["rows 3, 4, 5, 6, 7: 'nan'"],
        ),
        (b'x,y,label\n"600015,5","699985,5",mining\n', ["row 1: '600015,5'", "decimals have a point"]),
        (f"x,y,label\n{ROWS}1,2,Mining\n1,2,mine\n1,2,mi\0ning\n".encode(), ["row 3: 'Mining'; row 4: 'mine'; row 5: 'mi\\x00ning'"]),
        (b"lon,lat,label\n6.3,-98.1,mining\n", ["row 1: lon 6.3, lat -98.1", "swap the columns"]),
        (b"lon,lat,label\n600015,699985,mining\n", ["row 1: lon 600015", "name the columns x and y"]),
        (b"x,y,crs,label\n1,2,,mining\n1,2,EPSG:99999,mining\n3,4,EPSG:99999,mining\n", ["'EPSG:99999'", "rows 2, 3"]),
        (b"x,y,crs,label\n1,2,/etc/passwd,mining\n", ["'/etc/passwd'", "row 1"]),
        (b"x,y,crs,label\n1,2,\xc2\xad,mining\n", ["row 1"]),
        (b"x,y,crs,label\n700000,700000,EPSG:4326,mining\n", ["row 1"]),
        (b"x,y,label,annotator\n1,2,mining,Kofi <kofi@example.org>\n3,4,mining,../../x\n", ["rows 1, 2: 'Kofi <kofi", "only codes"]),
        (f"x,y,label\n{ROWS}600015,699985,not_mining\n".encode(), ["mining and not_mining at the same place: rows 1, 3"]),
        (b"x,y,label\n" + b'1,2,"' + b"m" * 200_000 + b'"\n', ["field larger than field limit"]),
    ],
)
def test_tables_that_are_refused(tmp_path, content, words):
    path = tmp_path / "1.csv"
    path.write_bytes(content)
    refused(path, *words)


def frame(shapes, labels, **columns):
    return gpd.GeoDataFrame({"label": labels, **columns}, geometry=shapes, crs=CRS)


POINTS = frame([shapely.Point(A), shapely.Point(B)], ["mining", "not_mining"])


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (
            frame([shapely.Point(A), None, shapely.LineString([A, B]), shapely.Polygon()], ["mining"] * 4),
            ["rows 2, 3, 4: empty, or another shape"],
        ),
        (frame([shapely.Point(A), shapely.Point(np.nan, 5), shapely.Point(5, np.inf)], ["mining"] * 3), ["row"]),
        (frame([shapely.box(0, 0, 9, 9), shapely.box(9, 0, 0, 9)], ["mining", "not_mining"]), ["rows 1, 2"]),
        (frame([shapely.Point(A)], [1]), ["row 1: '1'"]),
        (frame([shapely.Point(A)], ["mining"]).rename(columns={"label": "Label"}), ["attributes Label"]),
    ],
)
def test_layers_that_are_refused(tmp_path, table, words):
    path = tmp_path / "1.gpkg"
    table.to_file(path)
    refused(path, *words)


def test_further_layers_with_labels_are_refused_and_others_are_not(tmp_path):
    path = tmp_path / "1.gpkg"
    POINTS.to_file(path, layer="a")
    assert as_read(path) == RIGHT
    POINTS.to_file(path, layer="b")
    refused(path, "layers a, b")
    POINTS.to_file(path, layer="samples")
    refused(path, "an attribute `label` in the layers a, b too")
    path.unlink()
    POINTS.to_file(path, layer="samples")
    POINTS.drop(columns="label").to_file(path, layer="tracks")
    assert as_read(path) == RIGHT


def test_files_that_are_something_else(tmp_path):
    whole = tmp_path / "whole.gpkg"
    POINTS.to_file(whole)
    virtual = '<OGRVRTDataSource><OGRVRTLayer name="samples"><SrcDataSource>/etc/passwd</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>'
    for name, content in {
        "1.gpkg": whole.read_bytes()[:8192],
        "2.gpkg": b"hello",
        "3.gpkg": virtual.encode(),
        "4.gpkg": b"",
        "5.geojson": virtual.encode(),
        "6.geojson": b"[" * 200_000,
        "7.geojson": b"{" * 200_000,
        "8.geojson": json.dumps(json.loads(POINTS.to_json())).encode("utf-16"),
        "9.geojson": b'{"type":"FeatureCollection","features":[{"type":"Feature","properties":{"label":"mining"},'
        b'"geometry":{"type":"Point","coordinates":["a",null]}}]}',
    }.items():
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, name)
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "loop.gpkg").symlink_to(tmp_path / "loop.gpkg")
    for name in ("pipe.csv", "folder.csv", "loop.gpkg", "gone.geojson"):
        refused(tmp_path / name, name)
    assert samples.events_digest([str(tmp_path / "pipe.csv")])


def test_a_file_that_was_left_half_saved_is_to_be_opened_in_qgis(tmp_path):
    path = tmp_path / "1.gpkg"
    POINTS.to_file(path, layer="samples")
    script = f"""
        import os, sqlite3
        file = sqlite3.connect({str(path)!r}, isolation_level=None)
        for name, size in (("ST_IsEmpty", 1), ("ST_MinX", 1), ("ST_MaxX", 1), ("ST_MinY", 1), ("ST_MaxY", 1)):
            file.create_function(name, size, lambda shape: 0 if shape else 1)
        file.execute("PRAGMA cache_size = 1")
        file.execute("BEGIN")
        file.execute("UPDATE samples SET label = ?", ["mining" * 50000])
        os._exit(9)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert path.with_name("1.gpkg-journal").stat().st_size > 0
    refused(path, "open and save it once there")
    path.with_name("1.gpkg-journal").unlink()
    os.mkfifo(path.with_name("1.gpkg-journal"))
    refused(path, "1.gpkg-journal is no file")


def test_a_file_that_is_too_large(tmp_path):
    path = tmp_path / "1.csv"
    with path.open("wb") as file:
        file.truncate(sample_files.LARGEST + 1)
    with pytest.raises(UserError, match="at most 200 MB"):
        samples.read_samples(path, CRS)


def test_geojson_without_its_crs_or_with_swapped_degrees(tmp_path):
    path = tmp_path / "1.geojson"
    document = json.loads(POINTS.to_json())
    document.pop("crs", None)
    path.write_text(json.dumps(document))
    refused(path, "rows 1, 2")
    for feature, (lon, lat) in zip(document["features"], LONLAT, strict=True):
        feature["geometry"]["coordinates"] = [lon, lat]
    path.write_text("\ufeff \n" + json.dumps(document))
    assert as_read(path) == RIGHT


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("x,y,label\n{0[0]},{0[1]},mining\n{1[0]},{1[1]},mining\n", "these are degrees: name the columns lon and lat"),
        ("lon,lat,label\n{0[1]},{0[0]},mining\n{1[1]},{1[0]},mining\n", "latitude and longitude are swapped"),
        ("x,y,label\n0,0,mining\n900000,900000,mining\n", "or correct their coordinates or CRS"),
    ],
)
def test_places_outside_of_the_block_come_with_what_is_most_likely_wrong(tmp_path, text, hint):
    block = make_block(tmp_path)
    (tmp_path / "1.csv").write_text(text.format(*LONLAT))
    files = check_samples.SampleFiles([str(tmp_path / "1.csv")], "samples/2016/1", "snakemake annotate")
    inputs = check_samples.Inputs(*(block.folder / name for name in ("grid.json", "segments.tif", "features.parquet")))
    with pytest.raises(UserError) as raised:
        check_samples.check_samples(files, "1", Assistant(), inputs, check_samples.Outputs(tmp_path / "s.parquet", tmp_path / "r.csv"))
    assert "2 of 2 outside (row 1 first)" in raised.value.found
    assert raised.value.do.endswith(f"({hint})") or hint in raised.value.do
    assert not (tmp_path / "s.parquet").exists()


# --- fuzzing --------------------------------------------------------------------------------------------------------------

CELL = st.one_of(
    st.text(max_size=8),
    st.floats().map(repr),
    st.integers().map(str),
    st.sampled_from(["", "mining", "not_mining", "600015", "699985", "EPSG:4326", "A01", "nan", '"', "\r", "\u2028", "x,y"]),
)
TABLE = st.tuples(
    st.sampled_from(["x,y,label", "lon,lat,label", "x,y,crs,label,annotator", "label,y,x,subclass"]),
    st.lists(st.lists(CELL, max_size=6).map(",".join), max_size=6),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]),
).map(lambda parts: parts[2].join([parts[0], *parts[1]]).encode(parts[3], "replace"))


def right_or_three_lines(path):
    """Read a file: labels and finite places, or a refusal in three lines."""
    try:
        read = samples.read_samples(path, CRS)
    except UserError as error:
        lines = str(error).split("\n")
    else:
        lines = ["", "", ""]
        assert set(read.table["label"]) <= set(samples.LABELS)
        assert np.isfinite(shapely.bounds(read.geometry)).all()
    assert len(lines) == 3
    samples.samples_digest([str(path)], CRS)


def mutated(whole, cuts):
    """Replace parts of a file: position, number of bytes taken out, bytes put in."""
    content = bytearray(whole)
    for at, number, new in cuts:
        place = at % (len(content) + 1)
        content[place : place + number] = new
    return bytes(content)


CUTS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 40), st.binary(max_size=12)), max_size=4)


def fuzz(folder, examples):
    """Read `examples` of each of three forms; only the given file is there afterwards."""
    folder.mkdir(exist_ok=True)
    forms = {name: folder / f"whole.{name}" for name in ("gpkg", "geojson", "csv")}
    POINTS.to_file(forms["gpkg"])
    POINTS.to_file(forms["geojson"])
    forms["csv"].write_text(f"x,y,label\n{ROWS}")
    wholes = {name: path.read_bytes() for name, path in forms.items()}
    for path in forms.values():
        path.unlink()

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(TABLE.map(lambda content: ("csv", content)), st.tuples(st.sampled_from(sorted(wholes)), CUTS)))
    def run(case):
        form, content = case
        path = folder / f"1.{form}"
        path.write_bytes(content if isinstance(content, bytes) else mutated(wholes[form], content))
        right_or_three_lines(path)
        path.unlink()
        assert list(folder.iterdir()) == []

    run()


def test_any_content_is_read_or_refused(tmp_path):
    fuzz(tmp_path, 40)


@pytest.mark.heavy
def test_any_content_is_read_or_refused_at_length(tmp_path):
    fuzz(tmp_path, 2000)


def test_a_view_with_a_function_that_loads_code_is_not_run(tmp_path):
    path = tmp_path / "1.gpkg"
    POINTS.to_file(path, layer="samples")
    with sqlite3.connect(path) as file:
        file.execute("ALTER TABLE samples RENAME TO held")
        file.execute("CREATE VIEW samples AS SELECT * FROM held WHERE load_extension('/nowhere/x.so') IS NULL")
    file.close()
    refused(path)
