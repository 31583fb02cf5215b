"""The configuration: accepted and refused values, messages, schema and table of the keys."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from smallmines.config.documentation import keys_table, schema
from smallmines.config.parse import parse_config, read_config
from smallmines.core.errors import UserError
from smallmines.core.product import PATCH_BANDS
from smallmines.dataset.documents import attributions

MINIMAL: dict[str, Any] = {"run": "x", "years": {2016: {"start": "2016-01-01", "end": "2016-01-31"}}}


@pytest.mark.parametrize("name", ["config", "demo"])
def test_shipped_configurations_are_valid(repository: Path, name: str) -> None:
    cfg = parse_config(yaml.safe_load((repository / f"config/{name}.yaml").read_text()))
    assert cfg.year_names == ["2016", "2022"]
    assert cfg.blocks == ["1", "2", "3", "4"]
    assert cfg.sentinel2.radiometry == "dn_plus1000"


def test_production_configuration_is_smallminesds(repository: Path) -> None:
    cfg = parse_config(yaml.safe_load((repository / "config/config.yaml").read_text()))
    assert (cfg.country, cfg.grid.crs, cfg.grid.resolution, cfg.grid.tile_size) == ("GH", "EPSG:32630", 10, 128)
    assert (cfg.grid.anchor.x, cfg.grid.anchor.y, cfg.grid.expected_tiles) == (586600, 729640, 2135)
    assert len(cfg.aoi.names) == 5
    assert len(PATCH_BANDS) == 13


def test_schema_is_the_one_checked_in(repository: Path) -> None:
    assert (repository / "workflow/schemas/config.schema.json").read_text() == schema()


def test_every_key_is_described_and_the_readme_says_the_same(repository: Path) -> None:
    assert keys_table() in (repository / "config/README.md").read_text()
    assert "None" not in keys_table()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("sentinel2", "radiometrie"), "native", "the nearest known one is `radiometry`"),
        (("grid", "anchor", "xx"), 1, "the nearest known one is `x`"),
        (("yers",), {}, "the nearest known one is `years`"),
        (("years", 2016, "begin"), 1, "years.2016.begin: unknown key"),
        (("sentinel2", "radiometry"), "dn", "sentinel2.radiometry"),
        (("sentinel2", "masked_classes"), [12], "sentinel2.masked_classes.0"),
        (("assistant", "threshold"), 1.5, "assistant.threshold"),
        (("aoi", "source"), "geoboundaries", "needs aoi.names"),
        (("grid", "source"), "file", "needs grid.file"),
        (("grid", "source"), "released_folder", "needs grid.folder"),
        (("run",), "../up", "run"),
        (("run",), "r" * 101, "run"),
        (("country",), False, "country: yes, no, on and off are read as true or false"),  # NO, Norway
        (("grid", "crs"), "EPSG:abc", "grid.crs: no CRS that PROJ knows"),
        (("grid", "crs"), "EPSG:\x0032630", "grid.crs: no CRS that PROJ knows"),
        (("grid", "crs"), "", "grid.crs: no CRS that PROJ knows"),
        (("grid", "anchor"), {"x": float("nan")}, "grid.anchor.x: Input should be a finite number"),
        (("grid", "anchor"), {"y": float("-inf")}, "grid.anchor.y: "),
        (("grid", "anchor"), {"x": "nan"}, "grid.anchor.x: Input should be a finite number"),
        (("grid", "anchor"), {"x": 1e9}, "grid.anchor.x"),
        (("grid", "anchor"), [0, 0], "grid.anchor: Input should be"),
        (("grid", "blocks"), True, "grid.blocks: yes, no"),
        (("grid", "tile_size"), 10**400, "grid.tile_size: the number is too large"),
        (("grid", "resolution"), float("inf"), "grid.resolution"),
        (("grid", "max_tiles"), 0, "grid.max_tiles"),
        (("splits", "seed"), 2**32, "splits.seed"),
        (("assistant", "trees"), [300, True], "assistant.trees: yes, no"),
        (("assistant", "trees"), [10**30], "assistant.trees: the number is too large"),
        (("doctor", "gain"), float("nan"), "doctor.gain"),
        (("aoi", "path"), "a{b}.gpkg", "aoi.path"),
        (("aoi", "path"), "<results>/a.gpkg", "aoi.path"),
        (("aoi", "path"), "a\x00b", "aoi.path"),
        (("sentinel2", "catalogue"), {"cdes": "https://a/b"}, "sentinel2.catalogue: no providers: cdes; there are cdse"),
        (("years", 2016, "end"), "2016-02-30", "years.2016.end"),
        (("years", 2016, "end"), 1454198400, "years.2016.end: write a date as year-month-day"),
        (("years", 2016, "end"), "1454198400", "years.2016.end: write a date as year-month-day"),
        (("years", "2016"), {"start": "2016-02-01", "end": "2016-02-02"}, "years: the year 2016 stands twice"),
        (("years", " 2016"), {"start": "2016-02-01", "end": "2016-02-02"}, "years: the year 2016 stands twice"),
        (("years", "2_016"), {"start": "2016-02-01", "end": "2016-02-02"}, "years: the year 2016 stands twice"),
        (("years", 2022), {"start": "2016-02-01", "end": "2016-02-02"}, "2022, 2016-02-01 to 2016-02-02, lie outside that year"),
        (("years",), [2016], "years: Input should be"),
        (("assistant", "trees"), [0], "assistant.trees.0"),
        (("assistant", "max_depth"), [8, -1], "assistant.max_depth.1"),
        (("assistant", "min_samples_split"), [1], "assistant.min_samples_split.0"),
        (("labels", "annotators"), ["A01", "a01"], "labels.annotators: the code stands twice: A01, a01"),
        (("sentinel2", "masked_classes"), [], "sentinel2.masked_classes: no class is masked"),
        (("sentinel2", "max_cloud_cover"), 0.8, "sentinel2.max_cloud_cover: a percentage: write 80 for a share of 0.8"),
        (("assistant", "prevalence"), "pixels", "assistant.prevalence"),
        (("assistant", "prevalence_points"), 9, "assistant.prevalence_points"),
        (
            ("labels", "source"),
            "released_masks",
            "assistant.prevalence sample: with labels.source released_masks there is no forest",
        ),
        (("aoi", "country"), "../..", "aoi.country"),
        (("publish",), "a text", "publish: Input should be"),
    ],
)
def test_refusals_name_the_key(path: tuple[Any, ...], value: Any, message: str) -> None:
    values: dict[str, Any] = yaml.safe_load(yaml.safe_dump(MINIMAL))
    if value == "released_masks":
        values["assistant"] = {"prevalence": "sample"}
    section = values
    for part in path[:-1]:
        section = section.setdefault(part, {})
    section[path[-1]] = value
    with pytest.raises(UserError, match="expected") as caught:
        parse_config(values)
    assert message in caught.value.found


def test_dates_in_the_wrong_order() -> None:
    values = MINIMAL | {"years": {2016: {"start": "2016-02-01", "end": "2016-01-01"}}}
    with pytest.raises(UserError) as caught:
        parse_config(values)
    assert "end 2016-01-01 lies before start 2016-02-01" in caught.value.found


def test_two_years_of_the_same_dates_are_refused_and_a_season_over_the_years_end_is_not() -> None:
    season = {"start": "2015-11-01", "end": "2016-02-28"}
    assert parse_config(MINIMAL | {"years": {2015: season}}).year_names == ["2015"]
    with pytest.raises(UserError) as caught:
        parse_config(MINIMAL | {"years": {2015: season, 2016: season}})
    assert "the years 2015, 2016 have the same dates" in caught.value.found


def test_texts_may_hold_braces_and_catalogues_queries() -> None:
    publish = {"title": "{x} and {", "attributions": ["{y}", "Data {years}."], "description": "a <b> {{}}"}
    sentinel2 = {"provider": "static", "catalogue": {"static": "https://host/catalog.json?lang=en&limit=5", "cdse": "https://host/v1"}}
    cfg = parse_config(
        MINIMAL | {"publish": publish, "sentinel2": sentinel2, "labels": {"map_layers": {"a": "https://b/{z}/{x}/{y}@2x.png"}}}
    )
    assert cfg.publish.title == "{x} and {"
    assert attributions(cfg.publish, {"years": {"2016": {}, "2022": {}}}) == ["{y}", "Data 2016 and 2022."]  # type: ignore[arg-type]
    assert cfg.sentinel2.address("cdse") == "https://host/v1"


def test_a_wrong_value_is_shown_shortened_and_a_missing_key_without_the_document() -> None:
    with pytest.raises(UserError) as caught:
        parse_config({"run": "x", "publish": {"title": ["long"] * 5000}})
    assert "years: Field required" in caught.value.found
    assert len(str(caught.value)) < 800
    with pytest.raises(UserError) as caught:
        parse_config({"run": "x", **{f"key{number}": number for number in range(100)}})
    assert caught.value.found.endswith("; and 91 more")
    assert len(str(caught.value).splitlines()) == 3


SECRET = "Zt7Qw9Kp"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("sentinel2", "catalogue"), f"https://a.net/c.json?sig={SECRET}", "the parameter sig of an address"),
        (
            ("sentinel1", "catalogue"),
            {"static": f"https://a.net/c?x=1&X-Amz-Signature={SECRET}"},
            "sentinel1.catalogue.static: the parameter X-Amz-",
        ),
        (("sentinel1", "catalogue"), f"https://a.net/c?X-Goog-Date={SECRET}", "the parameter X-Goog-Date"),
        (("elevation", "catalogue"), f"https://me:{SECRET}@a.net/catalog.json", "a user name or password before the host"),
        (("elevation", "catalogue"), f"s3://{SECRET}@bucket/catalog.json", "a user name or password before the host"),
        (("aoi", "base_url"), f"https://a.net/raw?access_token={SECRET}", "aoi.base_url: the parameter access_token"),
        (("aoi", "path"), f"/vsicurl/https://a.net/a.gpkg?token={SECRET}", "aoi.path: the parameter token"),
        (("aoi", "path"), f"PG:host=a user=b password={SECRET}", "aoi.path: password=…"),
        (("labels", "map_layers"), {"a": f"https://a.net/{{z}}/{{x}}/{{y}}?key={SECRET}"}, "labels.map_layers.a: the parameter key"),
        (("labels", "map_layers"), {"a": f"https://a.net/{{z}}?api%5Fkey={SECRET}"}, "the parameter api_key"),
        (("labels", "map_layers"), {f"https://u:{SECRET}@a": "https://b"}, "labels.map_layers: a user name"),
        (("publish", "url"), f"https://a.net/d#access_token={SECRET}", "publish.url: the parameter access_token"),
        (("unknown", "key"), [f"https://a.net/?subscription-key={SECRET}"], "unknown.key.0: the parameter subscription-key"),
        ((f"https://{SECRET}@a.net",), 1, "a key: a user name"),
    ],
)
def test_secrets_are_refused_and_not_repeated(path: tuple[Any, ...], value: Any, words: str) -> None:
    values: dict[str, Any] = {"nonsense": SECRET, **yaml.safe_load(yaml.safe_dump(MINIMAL))}
    section = values
    for part in path[:-1]:
        section = section.setdefault(part, {})
    section[path[-1]] = value
    with pytest.raises(UserError, match="without secrets") as caught:
        parse_config(values)
    assert words in caught.value.found
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"run: x\nyears: {2015: {start: 2015-01-01, end: 2015-02-29}}\n", "line 2, column 40: day is out of range"),
        (b"run: x\ngrid: {tile_size: 0200}\n", "line 2, column 19: a number with a leading 0"),
        (b"run: x\ngrid: {blocks: 1:30}\n", "line 2, column 16: a number with a leading 0 or a colon"),
        (b"run: x\ngrid: {anchor: {x: 10:20.5}}\n", "line 2, column 20: a number with a leading 0 or a colon"),
        (b"run: x\nrun: y\n", "line 2, column 1: the key 'run' stands twice"),
        (b"run: x\ngrid:\n  anchor: {x: 1, y: 2, x: 3}\n", "line 3, column 24: the key 'x' stands twice"),
        (b"run: x\n\tyears: 3\n", "line 2, column 1: found character '\\t'"),
        (b"run: x\ntitle: a: b\n", "line 2, column 9: mapping values are not allowed here"),
        (b"run: [1, 2\n", "line 2, column 1: expected ',' or ']'"),
        (b"run: x\n---\nrun: y\n", "line 2, column 1: but found another document"),
        (b"run: *base\n", "line 1, column 6: found undefined alias"),
        (b"run: !!python/object:os.system x\n", "line 1, column 6: could not determine a constructor"),
        (b"? [a]\n: 1\n", "line 1, column 3: found unhashable key"),
        (b"run: x\nn: 0x_\n", "line 2, column 4: invalid literal"),
        (b"run: " + b"9" * 5000 + b"\n", "line 1, column 6: Exceeds the limit"),
        (b"run: \xe9\n", "line 1: bytes that are no UTF-8"),
        (b"# ok\nrun: \xff\xfe\n", "line 2: bytes that are no UTF-8"),
        ("run: x\n".encode("utf-16"), "line 1: bytes that are no UTF-8"),
        (b"run: \x07\n", "a control character (code 7) at position 5"),
        (b"[" * 2000, "sections in sections without end"),
        (b"", "nothing"),
        (b"# only a comment\n", "nothing"),
        (b"- run\n", "list"),
        (b"run\n", "str"),
        (b"&a [*a]\n", "list"),
    ],
)
def test_files_that_are_no_yaml_are_refused_with_their_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_config(path)
    assert words in caught.value.found
    assert str(path) in caught.value.expected
    assert len(str(caught.value).splitlines()) == 3


def test_what_is_no_file(tmp_path: Path) -> None:
    for path, words in ((tmp_path, "a folder"), (tmp_path / "no.yaml", "no file"), (tmp_path / ("x" * 300), "no file|too long")):
        with pytest.raises(UserError, match=f"found     .*({words})"):
            read_config(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="no file"):
        read_config(tmp_path / "pipe")


def test_aliases_merges_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    text = "run: x\nyears:\n  2016: &days {start: 2016-01-01, end: 2016-01-31}\n  2022: {<<: *days, end: 2022-01-31}\n"
    path.write_text(text, encoding="utf-8-sig")
    cfg = read_config(path)
    assert cfg.year_names == ["2016", "2022"]
    assert (str(cfg.years[2022].start), str(cfg.years[2022].end)) == ("2016-01-01", "2022-01-31")


def test_a_document_of_aliases_of_aliases_is_refused_quickly(tmp_path: Path) -> None:
    """Nine levels of ten aliases stand for a thousand million texts."""
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)), "run: *a9"]
    (tmp_path / "c.yaml").write_text("\n".join(lines))
    began = time.monotonic()
    with pytest.raises(UserError) as caught:
        read_config(tmp_path / "c.yaml")
    assert time.monotonic() - began < 2
    assert len(str(caught.value)) < 2000
    (tmp_path / "c.yaml").write_text("run: &a {b: *a}\nyears: &y {2016: *y}\n")
    with pytest.raises(UserError, match="run: "):
        read_config(tmp_path / "c.yaml")
