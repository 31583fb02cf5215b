"""The report's tables: confusion matrix, class shares, acquisitions, passed checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from defects import DEFECTS
from smallmines.core.files import write_json
from smallmines.labels.accuracy import accuracy
from smallmines.report.checks import CHECKS, check_of, passed
from smallmines.report.html import environment
from smallmines.report.tables import (
    LeftOut,
    acquisitions,
    confusion,
    degrees,
    forest_shares,
    importances,
    left_out,
    split_shares,
    unknown_prevalences,
)

POINTS = pd.DataFrame(
    [
        ("1/0", 900, 0, 0),
        ("1/0", 900, 0, 0),
        ("1/0", 900, 0, 1),
        ("1/1", 100, 1, 1),
        ("1/1", 100, 1, 0),
        ("1/1", 100, 255, 1),
        ("1/1", 100, 1, 1),
        ("1/1", 100, 1, -1),
    ],
    columns=["stratum", "pixels", "mapped", "reference"],
).assign(year="2016")


def test_the_confusion_matrix_gives_the_estimates_of_accuracy() -> None:
    (matrix,) = confusion(POINTS, ["2016"])
    assert matrix.points["mining", "mining"] == 2
    assert matrix.mapped == ["mining", "not mining", "no label (255)"]
    assert sum(matrix.percent.values()) == pytest.approx(100)
    found = accuracy(POINTS, 0.01)
    both = matrix.percent["mining", "mining"]
    assert both / (both + matrix.percent["mining", "not mining"]) == pytest.approx(found.users["mining"].value)
    reference = sum(matrix.percent[mapped, "mining"] for mapped in matrix.mapped)
    assert both / reference == pytest.approx(found.producers["mining"].value)


def test_class_shares_count_labelled_area_only() -> None:
    index = pd.DataFrame(
        {
            "split": ["train", "train", "test"],
            "year": 2016,
            "mining_percent": [10.0, 0.0, 40.0],
            "mask_nodata_percent": [50.0, 0.0, 0.0],
        }
    )
    train, test = split_shares(index)
    assert (train.pairs, train.with_mining) == (2, 1)
    assert train.mining_percent == pytest.approx(10 * 50 / 150)
    assert (train.of_all_percent, test.of_all_percent) == pytest.approx((100 * 5 / 45, 100 * 40 / 45))


def test_acquisitions_are_the_used_passes_in_order() -> None:
    scene = {"datatake": "b", "datetime": "2016-01-15T10:34:22Z", "platform": "sentinel-2a", "tile": "T30NXN", "baseline": 208}
    items = [
        {**scene, "id": "S2A_N0208_R108_T30NXN", "cloud_cover": 10.0},
        {**scene, "id": "S2A_N0208_R108_T30NWN", "tile": "T30NWN", "cloud_cover": 20.0},
        {**scene, "id": "unused", "datatake": "a"},
    ]
    radar = {"id": "x", "datatake": "c", "datetime": "2016-01-03T05:55:24Z", "platform": "SENTINEL-1A", "relative_orbit": 155}
    manifests: list[dict[str, Any]] = [
        {"sensor": "s1", "query": {"year": "2016"}, "chosen": [{**radar, "orbit_state": "descending"}]},
        {"sensor": "s2", "query": {"year": "2016"}, "chosen": items},
        {"sensor": "dem", "query": {"year": "static"}, "chosen": items},
    ]
    optical, sar = acquisitions(manifests, {"2016": ["S2A_N0208_R108_T30NXN", "S2A_N0208_R108_T30NWN"]})
    assert (optical.platform, optical.time, optical.orbit, optical.scenes) == ("Sentinel-2A", "2016-01-15 10:34", "108", 2)
    assert (optical.tiles, optical.baselines, optical.cloud) == (("T30NWN", "T30NXN"), ("02.08",), 15.0)
    assert (sar.platform, sar.orbit, sar.cloud) == ("Sentinel-1A", "155 descending", None)


def test_scenes_that_are_left_out_are_listed_by_year_and_sensor() -> None:
    dropped = [{"id": "a", "reason": "bands missing: B05", "share": 0.5}]
    manifests: list[dict[str, Any]] = [
        {"sensor": "s2", "query": {"year": "2016"}, "dropped": dropped},
        {"sensor": "s2", "query": {"year": "2022"}, "dropped": None},
        {"sensor": "s1", "query": {"year": "2016"}},
    ]
    assert left_out(manifests) == [LeftOut("2016", "Sentinel-2", "a", 0.5, "bands missing: B05")]


def test_each_check_of_the_doctor_is_listed() -> None:
    named = [(defect.family, check_of(defect.family, defect.check)) for defect in DEFECTS]
    assert not [defect.name for defect, (_, check) in zip(DEFECTS, named, strict=True) if check is None]


def test_a_check_that_was_not_possible_has_not_passed() -> None:
    known = {
        "findings": [
            {"severity": "error", "family": "radiometry", "check": "offset"},
            {"severity": "note", "family": "radiometry", "check": "stripes"},
            {"severity": "note", "family": "labels", "check": "nobody looked"},
        ],
        "shifts": [{"kind": "mask", "assessable": True}, {"kind": "radar", "assessable": False}],
        "years": [2016],
        "label_auc": {},
    }
    families = {family.name: family for family in passed(known, agreement=False)}
    assert families["structure"].total == len(CHECKS["structure"]) - 2
    assert CHECKS["radiometry"]["offset"] not in families["radiometry"].passed
    assert CHECKS["radiometry"]["stripes"] in families["radiometry"].passed
    assert CHECKS["labels"]["nobody looked"] not in families["labels"].passed
    assert families["geometry"].passed == ("masks lie on Sentinel-2 (1 of 1 groups of patches assessable)",)
    assert {"agreement", "labels against image"} <= set(families["labels"].impossible)


def test_coordinates_have_a_letter() -> None:
    assert [degrees(value, "EW") for value in (-2.05, 0.0, 1.5)] == ["2.05° W", "0°", "1.5° E"]


def test_prevalence_and_threshold_of_each_forest_are_listed(tmp_path: Path) -> None:
    paths = []
    for block, known in (("10", True), ("2", False)):
        paths.append(tmp_path / "assistant" / "2016" / block / "metrics.json")
        paths[-1].parent.mkdir(parents=True)
        prevalence = {"share": 0.06, "low": 0.03, "high": 0.09, "source": "estimate", "identifiable": known}
        write_json(paths[-1], {"threshold": 0.62, "prevalence": prevalence})
    write_json(tmp_path / "metrics.json", {"threshold": 0.5})
    rows = forest_shares([*paths, tmp_path / "metrics.json"])
    assert [(row.block, row.source, row.threshold) for row in rows] == [("2", "estimate, not known", 0.62), ("10", "estimate", 0.62)]


def test_importances_are_means_over_forests_the_largest_first(tmp_path: Path) -> None:
    for number, content in enumerate(({"B02": 0.25, "VV": 0.75}, {"B02": 0.5, "VV": 0.5}, None)):
        write_json(tmp_path / f"{number}.json", {"importances": content} if content else {"threshold": 0.5})
    result = importances(sorted(tmp_path.glob("*.json")))
    assert list(result.items()) == [("VV", 0.625), ("B02", 0.375)]
    assert importances([tmp_path / "2.json"]) == {}


def test_blocks_whose_samples_do_not_tell_the_share_are_named(tmp_path: Path) -> None:
    told = {"share": 0.1, "low": 0.1, "high": 0.1, "source": "configuration", "identifiable": True}
    not_told = {"share": 0.06, "low": 0.01, "high": 0.3, "source": "estimate", "identifiable": False, "remedy": "set it", "why": "too few"}
    paths = []
    for block, prevalence in (("1", told), ("2", not_told)):
        paths.append(tmp_path / "assistant" / "2016" / block / "metrics.json")
        paths[-1].parent.mkdir(parents=True)
        write_json(paths[-1], {"threshold": 0.5, "prevalence": prevalence})
    (found,) = unknown_prevalences(paths)
    assert found == {"where": "block 2, 2016", "share": 0.06, "low": 0.01, "high": 0.3, "why": "too few", "remedy": "set it"}
    text = environment().get_template("forests.html.j2").render(prevalences=[found], shares_of_forests=[])
    assert "not known in block 2, 2016" in text
    assert "Used: 6.0 %, it may be 1.0 to 30.0 %. To correct it: set it." in text
