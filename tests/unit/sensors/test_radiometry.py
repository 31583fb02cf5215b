"""Offsets of Sentinel-2: from baselines and metadata, and through conversions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from miniature.optical import product_metadata
from smallmines.archive.providers import provider_of
from smallmines.core.errors import UserError
from smallmines.sensors.radiometry import (
    baseline_of,
    declared_offset,
    has_offset,
    read_metadata,
    require_one_offset,
    to_radiometry,
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
    assert read_metadata(product_metadata("S2A", "05.00", 1000))[:2] == (500, [-1000] * 13)
    assert read_metadata(product_metadata("S2A", "02.08", 0))[:2] == (208, [])
    assert read_metadata(product_metadata("S2A", "05.00", 0))[:2] == (500, None), "the offsets are cut off"
    assert read_metadata(product_metadata("S2A", "99.99", 0))[:2] == (9999, None), "a product of somebody's own Sen2Cor"
    assert read_metadata(product_metadata("S2A", "99.99", 1000))[:2] == (9999, [-1000] * 13)
    assert read_metadata("<html>captive portal")[:2] == (None, None)
    assert [declared_offset("a", offsets) for offsets in ([-1000] * 13, [], [0] * 13)] == [True, False, False]
    for odd in ([-1000, 0], [-500] * 13):
        with pytest.raises(UserError, match="BOA_ADD_OFFSET"):
            declared_offset("S2A_X", odd)


def test_the_offset_came_with_baseline_four() -> None:
    assert [has_offset(baseline) for baseline in (208, 301, 399, 400, 500, 511)] == [False, False, False, True, True, True]


def test_native_refuses_a_mixture() -> None:
    require_one_offset({"a": True, "b": True})
    with pytest.raises(UserError, match=r"with the \+1000 offset: b; without: a"):
        require_one_offset({"a": False, "b": True})
