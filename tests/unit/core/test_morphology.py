"""Dilation by a disk."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from smallmines.core.morphology import dilated


@given(arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))), st.integers(0, 30))
def test_a_dilation_is_that_of_the_distance_transform(mask, radius):
    expected = ndimage.distance_transform_edt(~mask) <= radius if mask.any() else mask
    assert (dilated(mask, radius) == expected).all()


@pytest.mark.parametrize(("radius", "pixels"), [(0, 1), (1, 5), (2, 13), (5, 81)])  # points of a lattice within a circle: OEIS A000328
def test_a_pixel_becomes_a_disk(radius, pixels):
    mask = np.zeros((21, 21), bool)
    mask[10, 10] = True
    assert dilated(mask, radius).sum() == pixels


def test_the_mask_stays_as_it_is():
    mask = np.eye(5, dtype=bool)
    dilated(mask, 3)
    assert (mask == np.eye(5, dtype=bool)).all()
