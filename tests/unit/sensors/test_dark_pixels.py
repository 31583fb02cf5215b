"""The offset as pixels tell it: made-up ground of known spectra, with and without a scene classification."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from smallmines.core.errors import UserError
from smallmines.sensors import dark_pixels
from smallmines.sensors.dark_pixels import DarkPixels, Evidence, dark_targets, offset_of, quantile_of
from smallmines.sensors.manifest import Sentinel2Entry
from smallmines.sensors.radiometry import VERDICTS, check_offset, jump_of, report_undecided

#          B02   B03   B04   B05   B06   B07   B08   B8A   B11   B12
CANOPY = [250, 480, 260, 800, 3000, 3800, 4100, 4200, 1900, 850]
WATER = [420, 480, 330, 250, 120, 110, 90, 70, 30, 20]
TURBID = [700, 1050, 1350, 1100, 600, 560, 520, 430, 90, 60]
SHADOW = [240, 220, 190, 210, 300, 320, 330, 330, 210, 130]
DESERT = [1500, 2300, 3400, 3700, 3900, 4100, 4300, 4400, 5400, 4900]
SNOW = [9200, 9000, 8900, 8800, 8700, 8500, 8200, 8000, 1400, 1250]
SHADED_SNOW = [3100, 2900, 2700, 2600, 2500, 2400, 2200, 2100, 1000, 960]
CLOUD = [6200, 6000, 5900, 6000, 6100, 6200, 6300, 6300, 4600, 3500]
FOG = [3000, 2900, 2800, 2850, 2950, 3000, 3100, 3100, 2500, 2100]
ASPHALT = [950, 1050, 1100, 1130, 1150, 1170, 1200, 1210, 1250, 1220]
SAVANNA = [900, 1200, 1500, 1900, 2300, 2500, 2700, 2900, 3400, 2600]
BRIGHT = {"desert": DESERT, "snow": SNOW, "shaded snow": SHADED_SNOW, "cloud": CLOUD, "fog": FOG, "asphalt": ASPHALT}
DARK = {"closed vegetation": CANOPY, "water": WATER, "turbid water": TURBID, "shadow": SHADOW}


def scene(ground: Sequence[int], dark: Sequence[int] = (), share: float = 0.02, size: int = 100, seed: int = 0) -> np.ndarray:
    """(10, size, size) uint16: one ground with 5 % of brightness between pixels and 10 DN of noise, the first rows of another one."""
    rng = np.random.default_rng(seed)
    dn = np.array(ground, np.float64)[:, np.newaxis] * rng.normal(1, 0.05, size**2)
    if dark:
        dn[:, : round(share * size**2)] = np.array(dark, np.float64)[:, np.newaxis]
    dn += rng.normal(0, 10, dn.shape)
    return dn.clip(2, 65535).round().astype(np.uint16).reshape(10, size, size)


def evidence(dn: np.ndarray, scl: np.ndarray | None = None) -> Evidence:
    pixels = DarkPixels()
    for top in range(0, dn.shape[1], 7):
        part = dn[:, top : top + 7]
        pixels.add(part, (part > 0).all(axis=0), None if scl is None else scl[top : top + 7])
    return pixels.evidence()


@pytest.mark.parametrize("dark", DARK)
@pytest.mark.parametrize("ground", ["desert", "snow", "cloud"])
@pytest.mark.parametrize("offset", [0, 1000, 2000, 3000])
def test_dark_ground_tells_the_offset_without_classes(ground: str, dark: str, offset: int) -> None:
    found = evidence(scene(BRIGHT[ground], DARK[dark]) + np.uint16(offset))
    assert found.offset == offset
    assert found.target_share == pytest.approx(0.02, abs=0.01)


@pytest.mark.parametrize("ground", BRIGHT)
@pytest.mark.parametrize("offset", [0, 1000, 2000])
@pytest.mark.parametrize("classes", [None, 4, 5, 8, 9, 11])
def test_bright_ground_without_dark_targets_decides_nothing(ground: str, offset: int, classes: int | None) -> None:
    scl = None if classes is None else np.full((100, 100), classes, np.uint8)
    found = evidence(scene([value + 100 for value in BRIGHT[ground]]) + np.uint16(offset), scl)
    assert (found.offset, found.level) == (None, None)
    assert found.minimum is not None
    assert found.minimum >= 800


@given(st.integers(0, 4000), st.sampled_from([*DARK.values(), *BRIGHT.values(), SAVANNA]))
def test_targets_do_not_depend_on_the_offset(offset: int, ground: list[int]) -> None:
    dn = scene(ground, size=20).reshape(10, -1)
    assert np.array_equal(dark_targets(dn), dark_targets(dn + np.uint16(offset)))


def test_a_thin_cloud_over_vegetation_is_no_dark_target() -> None:
    veil = [round(0.6 * value + 1100) for value in CANOPY]
    assert evidence(scene(veil)) == Evidence(None, evidence(scene(veil)).minimum, None, 0.0)


def test_the_scene_classification_adds_dark_ground_and_vegetation_and_takes_clouds_away() -> None:
    forest = [260, 400, 280, 700, 2400, 2900, 3100, 3200, 1600, 700]
    dn = scene(forest) + np.uint16(1000)
    assert evidence(dn).offset is None, "B08 − B04 is 2800 only"
    assert evidence(dn, np.full((100, 100), 4, np.uint8)).offset == 1000
    assert evidence(dn, np.full((100, 100), 6, np.uint8)).offset == 1000
    assert evidence(scene(CANOPY) + np.uint16(1000), np.full((100, 100), 9, np.uint8)).offset is None


def test_ground_wrongly_classified_as_dark_decides_nothing() -> None:
    """An overcast real date has 5 % of the class `dark area` at DN 1520 without an offset."""
    scl = np.full((100, 100), 9, np.uint8)
    scl[:5] = 2
    assert evidence(scene([1800, 1750, 1720, 1800, 2200, 2400, 2500, 2600, 2300, 1800]), scl).offset is None


def test_saturated_edges_and_a_stray_dark_pixel_decide_nothing() -> None:
    dn = np.full((10, 100, 100), 1500, np.uint16)
    dn[:, :5] = 1
    dn[7:] = 3500
    scl = np.full((100, 100), 4, np.uint8)
    scl[50, 50] = 6
    assert evidence(dn, scl) == Evidence(None, 1500, None, 0.0001)
    assert evidence(np.zeros((10, 8, 8), np.uint16)) == Evidence(None, None, None, 0.0)


def test_parts_of_a_strip_give_the_histograms_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    dn = scene(DESERT, WATER)
    dn[:, 40:43, 10:60] = 0
    scl = np.random.default_rng(1).choice(np.array([4, 6, 9], np.uint8), (100, 100))
    collected = []
    for pixels in (1 << 18, 700, 1):
        monkeypatch.setattr(dark_pixels, "AT_ONCE", pixels)
        one = DarkPixels()
        one.add(dn, dn[0] > 0, scl)
        collected.append(one)
    assert collected[0].valid == 9850
    for other in collected[1:]:
        assert other.valid == collected[0].valid
        assert np.array_equal(other.counts, collected[0].counts)
        assert np.array_equal(other.targets, collected[0].targets)


@pytest.mark.parametrize(
    ("minimum", "level", "offset"),
    [
        (3, None, 0),
        (799, 1100, 0),
        (800, 850, None),
        (900, 899, None),
        (900, 900, 1000),
        (850, 1100, None),
        (1400, None, None),
        (1400, 1499, 1000),
        (1400, 1500, None),
        (1850, 1900, None),
        (1900, 1900, 2000),
        (2100, 2499, 2000),
        (None, None, None),
    ],
)
def test_the_limits_of_the_offset(minimum: int | None, level: int | None, offset: int | None) -> None:
    assert offset_of(minimum, level) == offset


@given(st.integers(800, 9000), st.integers(800, 9000))
def test_another_1000_everywhere_is_another_1000_of_offset(minimum: int, level: int) -> None:
    offset = offset_of(minimum, level)
    if offset:
        assert offset_of(minimum + 1000, level + 1000) == offset + 1000


@given(arrays(np.uint16, st.integers(1, 400), elements=st.integers(0, 50)))
def test_percentile_is_that_of_the_sorted_values(values: np.ndarray) -> None:
    expected = np.sort(values)[max(1, int(np.ceil(0.001 * values.size))) - 1]
    assert quantile_of(np.bincount(values, minlength=65536)) == expected


def entry(offset: bool, declared_by: str = "product") -> Sentinel2Entry:
    return Sentinel2Entry(
        "S2A", 1, "take", 1, "2016-01-05T10:34:22Z", "T30NXN", None, None, 500 if offset else 208, offset, declared_by=declared_by
    )


@pytest.mark.parametrize("by", ["metadata", "product"])
def test_a_contradiction_stops_whatever_declared_it(by: str) -> None:
    with_offset, without = evidence(scene(DESERT, WATER) + np.uint16(1000)), evidence(scene(DESERT, WATER))
    with pytest.raises(UserError, match=rf"offset of 1000, as {by} of S2A says \(baseline 05\.00\)[\s\S]*offset of 0: darkest"):
        check_offset(entry(True, by), without)
    with pytest.raises(UserError, match=r"offset of 0, as[\s\S]*offset of 1000"):
        check_offset(entry(False, by), with_offset)
    with pytest.raises(UserError, match=r"offset of 2000"):
        check_offset(entry(True, by), evidence(scene(DESERT, WATER) + np.uint16(2000)))
    assert check_offset(entry(True, by), with_offset) == check_offset(entry(False, by), without) == "proved"


def test_where_pixels_decide_nothing_only_metadata_settle_it(caplog: pytest.LogCaptureFixture) -> None:
    desert = evidence(scene(DESERT) + np.uint16(1000))
    assert check_offset(entry(True, "metadata"), desert) == "declared"
    for by in ("product", "href", "s2:processing_baseline", "unknown"):
        assert check_offset(entry(True, by), desert) == "undecided"
    assert report_undecided({"a": "declared", "b": "proved"}, {}, "stop") == "declared"
    assert not caplog.records
    assert report_undecided({"a": "declared", "b": "undecided"}, {"b": desert}, "warn") == "undecided"
    assert "MTD_MSIL2A.xml" in caplog.text
    assert "too few dark targets" in caplog.text
    with pytest.raises(UserError, match=r"sentinel2\.undecided to warn"):
        report_undecided({"b": "undecided"}, {"b": desert}, "stop")
    assert VERDICTS == ("proved", "declared", "undecided")


@pytest.mark.parametrize(
    ("differences", "jump"),
    [([1000] * 10, 1000), ([-900] * 10, -1000), ([899] * 10, 0), ([950, 1080] * 5, 1000), ([880, 1085] * 5, 0), ([0] * 10, 0)],
)
def test_a_jump_is_the_offset_in_all_bands(differences: list[float], jump: int) -> None:
    assert jump_of(differences) == jump
