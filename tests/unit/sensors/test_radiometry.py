"""Offsets of Sentinel-2: from baselines, through conversions, and as the pixels tell them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from miniature.optical import product_metadata
from smallmines.archive.providers import provider_of
from smallmines.core.errors import UserError
from smallmines.sensors.radiometry import (
    DarkPixels,
    baseline_of,
    check_offset,
    declared_offset,
    has_offset,
    quantile_of,
    read_metadata,
    require_one_offset,
    to_radiometry,
    verdict,
)

PLACES = ("product", "s2:processing_baseline", "processing:version")
NUMBERS = arrays(np.uint16, array_shapes(max_dims=3, max_side=6))


@given(NUMBERS, st.booleans(), st.sampled_from(["dn_plus1000", "dn_harmonised", "native"]))
def test_conversion_keeps_nodata_and_order_and_never_wraps(dn: np.ndarray, offset: bool, radiometry: str) -> None:
    done = to_radiometry(dn, offset, radiometry)
    assert done.dtype == np.uint16
    assert done.shape == dn.shape
    assert np.array_equal(done == 0, dn == 0)
    shift = {"dn_plus1000": 0 if offset else 1000, "dn_harmonised": -1000 if offset else 0, "native": 0}[radiometry]
    expected = np.clip(dn.astype(int) + shift, 1, 65535)
    assert np.array_equal(done, np.where(dn == 0, 0, expected))


@given(arrays(np.uint16, 20, elements=st.integers(1, 64535)))
def test_there_and_back_is_the_same(dn: np.ndarray) -> None:
    assert np.array_equal(to_radiometry(to_radiometry(dn, False, "dn_plus1000"), True, "dn_harmonised"), dn)


def test_edges_of_the_conversion() -> None:
    dn = np.array([0, 1, 999, 1000, 1001, 1002, 64535, 64536, 65535], np.uint16)
    assert to_radiometry(dn, True, "dn_harmonised").tolist() == [0, 1, 1, 1, 1, 2, 63535, 63536, 64535]
    assert to_radiometry(dn, False, "dn_plus1000").tolist() == [0, 1001, 1999, 2000, 2001, 2002, 65535, 65535, 65535]
    assert to_radiometry(dn, True, "dn_plus1000") is dn


@pytest.mark.parametrize(
    ("name", "properties", "baseline"),
    [
        ("S2A_MSIL2A_20160105T103422_N0500_R108_T30NXN_20210528T081650", {}, 500),
        ("S2A_MSIL2A_20160105T103422_N0208_R108_T30NXN_20160105T144522", {"s2:processing_baseline": "05.00"}, 208),
        ("S2A_MSIL2A_20160105T103422_R108_T30NXN_20210528T081650", {"s2:processing_baseline": "02.12"}, 212),
        ("item", {"s2:product_uri": "S2A_MSIL2A_20220105T103422_N0510_R108_T30NXN_20230528T081650.SAFE"}, 510),
        ("item", {"processing:version": "04.00"}, 400),
        ("item", {"s2:processing_baseline": "05.11", "processing:version": "02.00"}, 511),
        ("item", {"processing:version": "n/a"}, None),
    ],
)
def test_baseline_from_the_first_place_that_has_one(name: str, properties: dict[str, str], baseline: int | None) -> None:
    assert provider_of("s2", "static").baseline == ("metadata", *PLACES)
    assert baseline_of(name, properties, PLACES) == baseline


def test_the_products_own_metadata_say_baseline_and_offset() -> None:
    assert read_metadata(product_metadata("S2A", "05.00", 1000)) == (500, [-1000] * 13)
    assert read_metadata(product_metadata("S2A", "02.08", 0)) == (208, [])
    assert read_metadata(product_metadata("S2A", "05.00", 0)) == (500, None), "the offsets are cut off"
    assert read_metadata(product_metadata("S2A", "99.99", 0)) == (9999, None), "a product of somebody's own Sen2Cor"
    assert read_metadata(product_metadata("S2A", "99.99", 1000)) == (9999, [-1000] * 13)
    assert read_metadata("<html>captive portal") == (None, None)
    assert [declared_offset("a", offsets) for offsets in ([-1000] * 13, [], [0] * 13)] == [True, False, False]
    for odd in ([-1000, 0], [-500] * 13):
        with pytest.raises(UserError, match="BOA_ADD_OFFSET"):
            declared_offset("S2A_X", odd)


def test_the_offset_came_with_baseline_four() -> None:
    assert [has_offset(baseline) for baseline in (208, 301, 399, 400, 500, 511)] == [False, False, False, True, True, True]


@given(arrays(np.uint16, st.integers(1, 400), elements=st.integers(0, 50)))
def test_percentile_is_that_of_the_sorted_values(values: np.ndarray) -> None:
    expected = np.sort(values)[max(1, int(np.ceil(0.001 * values.size))) - 1]
    assert quantile_of(np.bincount(values, minlength=65536)) == expected


@pytest.mark.parametrize(
    ("minimum", "dark", "says"),
    [
        (3, False, "none"),
        (799, True, "none"),
        (800, True, "undecided"),
        (899, True, "undecided"),
        (900, True, "offset"),
        (900, False, "undecided"),
        (None, False, "undecided"),
    ],
)
def test_three_states(minimum: int | None, dark: bool, says: str) -> None:
    assert verdict(minimum, dark) == says


def collected(dn: np.ndarray, scl: np.ndarray | None = None) -> DarkPixels:
    pixels = DarkPixels(len(dn))
    for top in range(0, dn.shape[1], 7):
        part = dn[:, top : top + 7]
        pixels.add(part, (part > 0).all(axis=0), None if scl is None else scl[top : top + 7])
    return pixels


def test_a_contradiction_is_told_with_both_numbers() -> None:
    dn = np.full((10, 40, 40), 2000, np.uint16)
    dn[3] = 430
    with pytest.raises(UserError, match=r"05\.00 of S2A[\s\S]*430"):
        check_offset("S2A", 500, True, collected(dn))
    assert check_offset("S2A", 208, False, collected(dn))["verdict"] == "none"
    water = np.full((40, 40), 6, np.uint8)
    dn[3] = 1200
    with pytest.raises(UserError, match=r"without the \+1000 offset, as baseline 02\.08[\s\S]*1200"):
        check_offset("S2A", 208, False, collected(dn, water))
    assert check_offset("S2A", 208, False, collected(dn))["verdict"] == "undecided"


def test_saturated_edges_and_a_stray_dark_pixel_decide_nothing() -> None:
    dn = np.full((10, 100, 100), 1500, np.uint16)
    dn[:, :5] = 1
    scl = np.full((100, 100), 4, np.uint8)
    scl[50, 50] = 6
    assert check_offset("S2A", 500, True, collected(dn, scl)) == {"verdict": "undecided", "minimum": 1500, "dark_share": 0.0001}


def test_native_refuses_a_mixture() -> None:
    require_one_offset({"a": True, "b": True})
    with pytest.raises(UserError, match=r"with the \+1000 offset: b; without: a"):
        require_one_offset({"a": False, "b": True})


@pytest.mark.parametrize(("name", "minimum"), [("38D_378R_2_3", 330), ("282D_485L_3_3", 5), ("609U_541L_3_0", 159)])
def test_real_images_without_offset_are_told_so(shared_data: Path, name: str, minimum: int) -> None:
    with rasterio.open(shared_data / "terramesh" / "S2L2A" / f"{name}.tif") as source:
        dn = source.read([2, 3, 4, 5, 6, 7, 8, 9, 11, 12]).astype(np.uint16)
    pixels = collected(dn)
    assert pixels.minimum == minimum
    assert check_offset(name, 301, False, pixels)["verdict"] == "none"
    with pytest.raises(UserError, match="no offset"):
        check_offset(name, 500, True, pixels)
