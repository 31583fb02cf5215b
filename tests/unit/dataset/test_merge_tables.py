"""Tables of merged datasets in memory: ids, shares, points, borders, frames."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from regions import part_of
from smallmines.dataset.frames import cells_in_one_frame
from smallmines.dataset.merge_checks import border
from smallmines.dataset.merge_parts import region_names
from smallmines.dataset.merge_tables import merged_labels, merged_points, new_ids


def test_ids_stay_where_none_collide() -> None:
    parts = [part_of(0, [("0001", 0, "train")]), part_of(1, [("0007", 5, "train"), ("0009", 6, "test")])]
    assert new_ids(parts) == [{"0001": "0001"}, {"0007": "0007", "0009": "0009"}]


def test_colliding_ids_are_numbered_in_the_order_of_the_parts() -> None:
    parts = [part_of(0, [("0002", 0, "train"), ("0005", 1, "train")]), part_of(1, [("0003", 5, "train"), ("0002", 6, "test")])]
    assert new_ids(parts) == [{"0002": "0001", "0005": "0002"}, {"0002": "0003", "0003": "0004"}]


def test_a_place_has_one_id_in_all_years_and_parts() -> None:
    first, second = part_of(0, [("0001", 0, "train"), ("0002", 1, "test")]), part_of(1, [("0002", 0, "train"), ("0001", 9, "train")], 2022)
    assert new_ids([first, second]) == [{"0001": "0001", "0002": "0002"}, {"0001": "0003", "0002": "0001"}]
    assert new_ids([first, part_of(1, [("0001", 0, "train")], 2022)])[1] == {"0001": "0001"}


def test_more_than_9999_tiles_have_five_digits() -> None:
    parts = [part_of(n, [(f"{number:04d}", 6000 * n + number, "train") for number in range(1, 5001)]) for n in range(2)]
    ids = new_ids(parts)
    assert (ids[0]["0001"], ids[1]["5000"]) == ("00001", "10000")


def test_two_runs_of_one_name_are_told_apart() -> None:
    assert region_names(["mine", "mine", "other", "mine"]) == ["mine", "mine-2", "other", "mine-3"]


def test_shares_are_weighted_by_area() -> None:
    """Three tiles with 0.1 looked at and one with 0.5: 0.2."""
    parts = [part_of(0, [(f"000{n}", n, "train") for n in range(3)]), part_of(1, [("0009", 9, "train")])]
    for part in parts:
        part.labels["years"]["2016"] |= {"accuracy": None}
    parts[1].labels["years"]["2016"] |= {"validated_share": 0.5, "provenance": {"manual": {"segments": 4, "area_share": 1.0}}}
    year = merged_labels(parts, merged_points(parts))["years"]["2016"]
    assert year["validated_share"] == pytest.approx(0.2)
    assert year["provenance"]["manual"] == {"segments": 14, "area_share": pytest.approx(0.325)}
    assert year["provenance"]["predicted"] == {"segments": 90, "area_share": pytest.approx(0.675)}


def test_accuracy_is_estimated_from_the_points_of_all_regions() -> None:
    """One stratum a region: 3 of 4 right on 100 px and 2 of 2 right on 300 px are (75 + 300) / 400 of the ground."""

    def points(right: int, wrong: int, pixels: int) -> pd.DataFrame:
        rows = {
            "year": "2016",
            "block": "1",
            "x": 0.0,
            "y": 0.0,
            "stratum": "1/0",
            "pixels": pixels,
            "inclusion": 0.1,
            "mapped": 1,
            "who": "A01",
        }
        return pd.DataFrame([{**rows, "reference": reference} for reference in [1] * right + [0] * wrong])

    parts = [
        part_of(0, [("0001", 0, "train")], points=points(3, 1, 100)),
        part_of(1, [("0002", 5, "train")], points=points(2, 0, 300), crs="EPSG:32630"),
    ]
    table = merged_points(parts)
    assert table["stratum"].unique().tolist() == ["r0-1/0", "r1-1/0"]
    year = merged_labels(parts, table)["years"]["2016"]
    assert year["accuracy"]["overall"]["value"] == pytest.approx(0.9375)
    assert (year["accuracy"]["points"], year["accuracy"]["settled"]) == (400, 6)
    assert year["accuracy"]["blocks"] == ["r0-1", "r1-1"]


def test_tiles_near_each_other_across_regions_are_counted() -> None:
    one = part_of(0, [("0001", 0, "train"), ("0002", 1, "train")])
    touching = part_of(1, [("0001", 2, "test"), ("0002", 3, "test")])
    assert border([one, touching]) == {"touching": 1, "overlapping": 0, "test_tiles": 1}
    shifted = part_of(1, [("0001", 1.5, "val"), ("0002", 9, "test")])
    assert border([one, shifted]) == {"touching": 1, "overlapping": 1, "test_tiles": 0}
    assert border([one, part_of(1, [("0001", 2.2, "test")])]) == {"touching": 0, "overlapping": 0, "test_tiles": 0}


def test_tiles_of_two_zones_get_places_beside_each_other() -> None:
    """The border of the zones 29 and 30 at 6° W: the last tile of one and the first of the other are neighbours on the ground."""
    from smallmines.core.crs import transformer

    x29, y29 = transformer("EPSG:4326", "EPSG:32629").transform(-6.0, 6.0)
    x30, y30 = transformer("EPSG:4326", "EPSG:32630").transform(-6.0, 6.0)
    left = np.array([x29 - 1280 * 3, x29 - 1280 * 2, x29 - 1280, x30, x30 + 1280])
    top = np.array([y29, y29, y29, y30, y30])
    row, col = cells_in_one_frame(np.array(["EPSG:32629"] * 3 + ["EPSG:32630"] * 2, object), left, top, 1280.0)
    assert row.tolist() == [0] * 5
    assert col.tolist() == [0, 1, 2, 3, 4]


def test_regions_far_apart_take_no_room() -> None:
    row, col = cells_in_one_frame(
        np.array(["EPSG:32630", "EPSG:32719"], object), np.array([600000.0, 350000.0]), np.array([700000.0, 8560000.0]), 1280.0
    )
    assert (row.tolist(), col.tolist()) == ([0, 50], [50, 0])
