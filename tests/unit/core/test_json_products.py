"""JSON products that parse but hold something else are refused in three lines with their file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smallmines.core.errors import UserError
from smallmines.core.json_products import (
    BandStatistics,
    CompositeStatistics,
    CoverageOfSensor,
    DoctorReport,
    Facts,
    ForestThreshold,
    LabelQuality,
    Sentinel1Statistics,
    Sentinel2Statistics,
    Software,
    SplitReport,
    read_product,
)

SOFTWARE = {"versions": {"gdal": ["3.10.3"]}, "mixed": {}, "unknown": {}}
PAIR = {"people": ["a", "b"], "segments": 3, "kappa": None, "low": None, "high": 1.0, "ac1": 1, "iou": 0.5}
YEAR = {
    "accuracy": None,
    "agreement": {"year": [PAIR], "blocks": {"1": []}},
    "provenance": {"manual": {"area_share": 1.0, "segments": 4}},
    "validated_share": 1,
    "open_share": 0.0,
}
UNNAMED = {"year": [{}], "blocks": {}}
KINDS: tuple[Any, ...] = (
    Software,
    LabelQuality,
    SplitReport,
    ForestThreshold,
    Sentinel1Statistics,
    Sentinel2Statistics,
    CompositeStatistics,
    Facts,
    DoctorReport,
    dict[str, BandStatistics],
    dict[str, CoverageOfSensor],
)


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "product.json"
    path.write_text(json.dumps(content))
    return path


def test_a_product_comes_back_as_it_is(tmp_path: Path) -> None:
    content = SOFTWARE | {"more": [1]}
    assert read_product(written(tmp_path, content), Software) == content
    assert read_product(written(tmp_path, {"years": {"2016": YEAR}}), LabelQuality)["years"]["2016"]["validated_share"] == 1
    assert read_product(written(tmp_path, {"pixels": 4}), CompositeStatistics) == {"pixels": 4}, "an earlier version states no findings"
    assert read_product(written(tmp_path, {}), dict[str, BandStatistics]) == {}


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("content", [[], "text", 1, None, [[]]], ids=repr)
def test_another_value_than_an_object_is_refused(tmp_path: Path, kind: Any, content: Any) -> None:
    path = written(tmp_path, content)
    with pytest.raises(UserError) as error:
        read_product(path, kind)
    assert error.value.expected == f"in {path} the keys and types that the workflow writes"
    assert error.value.do == f"delete {path} and run again, which makes it anew"


@pytest.mark.parametrize("kind", KINDS[:6] + KINDS[7:9], ids=str)
def test_an_empty_object_lacks_a_key(tmp_path: Path, kind: Any) -> None:
    with pytest.raises(UserError, match="is missing"):
        read_product(written(tmp_path, {}), kind)


@pytest.mark.parametrize(
    ("kind", "content", "words"),
    [
        (Software, SOFTWARE | {"versions": {"gdal": "3.10"}}, "versions.gdal is '3.10'"),
        (LabelQuality, {"years": {"2016": YEAR | {"open_share": "0"}}}, "years.2016.open_share is '0'"),
        (
            LabelQuality,
            {"years": {"2016": YEAR | {"agreement": {"year": [{}], "blocks": {}}}}},
            "years.2016.agreement.year.0.people is missing",
        ),
        (LabelQuality, {"years": {"2016": YEAR | {"accuracy": {"settled": 3}}}}, "years.2016.accuracy.overall is missing"),
        (dict[str, BandStatistics], {"B02": {"count": 1}}, "B02.mean is missing"),
        (ForestThreshold, {"threshold": None}, "threshold is None"),
        (CompositeStatistics, {"findings": "none"}, "findings is 'none'"),
    ],
)
def test_the_key_at_fault_is_named(tmp_path: Path, kind: Any, content: Any, words: str) -> None:
    with pytest.raises(UserError) as error:
        read_product(written(tmp_path, content), kind)
    assert error.value.found.startswith(words)


def test_text_that_is_no_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "software.json"
    path.write_text("{")
    with pytest.raises(UserError, match="a readable JSON file"):
        read_product(path, Software)
