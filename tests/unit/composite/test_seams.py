"""Seams between scenes of a composite: pairs, lengths and steps, against a count pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from smallmines.composite.seams import SEVERAL, seams
from smallmines.core import raster
from smallmines.core.product import S2_BANDS


def write(folder: Path, dn: np.ndarray, source: np.ndarray, clear: np.ndarray) -> list[str]:
    geobox = GeoBox(source.shape, Affine(10, 0, 600000, 0, -10, 700000), "EPSG:32630")
    paths = [str(folder / f"{name}.tif") for name in ("image", "source", "clear")]
    raster.write(paths[0], np.repeat(dn[np.newaxis], 10, axis=0).astype(np.uint16), geobox, 0, S2_BANDS)
    raster.write(paths[1], source.astype(np.uint8), geobox, 0, ["scene"])
    raster.write(paths[2], clear.astype(np.uint8), geobox, None, ["clear"])
    return paths


def by_hand(dn: np.ndarray, source: np.ndarray, usable: np.ndarray) -> dict[tuple[int, int], list[int]]:
    """Differences lower − higher scene of all pairs of neighbours."""
    found: dict[tuple[int, int], list[int]] = {}
    for row in range(dn.shape[0]):
        for col in range(dn.shape[1]):
            for y, x in ((row, col + 1), (row + 1, col)):
                if y < dn.shape[0] and x < dn.shape[1] and usable[row, col] and usable[y, x] and source[row, col] != source[y, x]:
                    a, b = sorted(((int(source[row, col]), int(dn[row, col])), (int(source[y, x]), int(dn[y, x]))))
                    found.setdefault((a[0], b[0]), []).append(a[1] - b[1])
    return found


@pytest.mark.parametrize("shape", [(40, 33), (600, 20)])
def test_every_pair_counts_once_across_strips_too(tmp_path: Path, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    source = rng.choice([0, 1, 2, 3, SEVERAL], shape, p=[0.1, 0.4, 0.3, 0.1, 0.1])
    dn, clear, own = rng.integers(1000, 3000, shape), rng.random(shape) > 0.2, rng.random(shape) > 0.1
    found = seams(*write(tmp_path, dn, source, clear), own, ["a", "b", "c"])
    expected = by_hand(dn, source, clear & own & (source > 0) & (source != SEVERAL))
    assert {tuple(one["numbers"]): one["pairs"] for one in found} == {key: len(steps) for key, steps in expected.items()}
    for one in found:
        assert one["scenes"] == ["abc"[number - 1] for number in one["numbers"]]
        assert one["step"]["B08"] == np.median(expected[tuple(one["numbers"])])
        assert one["km"] == pytest.approx(one["pairs"] * 0.01)
    assert [one["pairs"] for one in found] == sorted((one["pairs"] for one in found), reverse=True)


def test_a_step_stands_beside_what_neighbours_differ_by(tmp_path: Path) -> None:
    dn = 1500 + 7 * (np.indices((30, 30)).sum(axis=0) % 2)
    dn[:, 15:] += 100
    source = np.ones((30, 30), int)
    source[:, 15:] = 2
    (seam,) = seams(*write(tmp_path, dn, source, source > 0), source > 0, ["first", "second"])
    assert seam["pairs"] == 30
    assert seam["step"]["B02"] == pytest.approx(-100, abs=7)
    assert seam["usual"]["B02"] == 7


def test_one_scene_has_no_seam(tmp_path: Path) -> None:
    one = np.ones((20, 20), int)
    assert seams(*write(tmp_path, one * 1500, one, one), one > 0, ["a"]) == []
