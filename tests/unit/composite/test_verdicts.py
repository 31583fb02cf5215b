"""The verdict on a composite's radiometry, from its items' pixels, from the items against each other, and from the result."""

from __future__ import annotations

import numpy as np
import pytest

from smallmines.composite.seams import SEVERAL
from smallmines.composite.verdicts import ENOUGH, OffsetEvidence
from smallmines.core.errors import UserError
from smallmines.sensors.manifest import Sentinel2Entry

DESERT = np.array([1600, 2400, 3500, 3800, 4000, 4200, 4400, 4500, 5500, 5000])
WATER = np.array([420, 480, 330, 250, 120, 110, 90, 70, 30, 20])


def ground(offset: int, water: bool = False, date: int = 0) -> np.ndarray:
    """Desert of one place on some date, (10, 128, 128), with a lake on 6 % of it."""
    brightness = np.random.default_rng(0).normal(1, 0.05, (128, 128))
    dn = DESERT[:, np.newaxis, np.newaxis] * brightness + np.random.default_rng(date).normal(0, 30, (10, 128, 128))
    if water:
        dn[:, :8] = WATER[:, np.newaxis, np.newaxis]
    return (dn + offset).round().astype(np.uint16)


def entry(number: int, offset: bool, declared_by: str = "product") -> Sentinel2Entry:
    baseline = 500 if offset else 208
    return Sentinel2Entry(
        f"item{number}",
        number,
        f"take{number}",
        number,
        "2016-01-05T10:34:22Z",
        "T30NXN",
        None,
        None,
        baseline,
        offset,
        declared_by=declared_by,
    )


def evidence(items: list[tuple[Sentinel2Entry, np.ndarray]], composite: np.ndarray) -> OffsetEvidence:
    """Evidence of items and a composite in two strips."""
    collected = OffsetEvidence([one for one, _ in items])
    for strip in (np.s_[:, :64], np.s_[:, 64:]):
        for one, dn in items:
            collected.add(one, dn[strip], (dn[strip] > 0).all(axis=0), None)
        collected.add_composite(composite[strip])
    return collected


def test_of_large_blocks_every_second_row_and_column_is_evidence() -> None:
    item, dn = entry(1, True), ground(1000, water=True)
    whole, half = OffsetEvidence([item]), OffsetEvidence([item], ENOUGH)
    for collected in (whole, half):
        collected.add(item, dn, np.ones(dn.shape[1:], bool), None)
        collected.add_composite(dn)
    assert (whole.pixels[item.id].valid, half.pixels[item.id].valid) == (128 * 128, 64 * 64)
    assert half.composite.valid == 64 * 64
    verdicts = [collected.judge(used(1), "dn_plus1000", "stop") for collected in (whole, half)]
    assert [judged.block["verdict"] for judged in verdicts] == ["proved", "proved"]


def used(*numbers: int) -> np.ndarray:
    counts = np.zeros(256, np.int64)
    counts[list(numbers)] = 1
    return counts


def test_the_verdict_is_the_weakest_of_the_items_in_the_composite() -> None:
    items = [
        (entry(1, False), ground(0, water=True)),
        (entry(2, False, "metadata"), ground(0, date=1)),
        (entry(3, False), ground(0, date=2)),
    ]
    collected = evidence(items, ground(1000, water=True))
    for numbers, verdict in (((1,), "proved"), ((1, 2), "declared"), ((1, 2, 3), "undecided"), ((SEVERAL,), "undecided")):
        judged = collected.judge(used(*numbers), "dn_plus1000", "warn")
        assert judged.tags == {"RADIOMETRY_VERDICT": verdict}
        assert judged.block["verdict"] == verdict
    assert judged.block["pixels_say"]["offset"] == 1000
    assert [judged.items[name]["verdict"] for name in ("item1", "item2", "item3")] == ["proved", "declared", "undecided"]
    assert judged.items["item1"]["pixels_say"]["level"] == 20
    assert judged.items["item2"]["declared_by"] == "metadata"


def test_undecided_items_stop_where_the_configuration_says_so_but_not_unused_ones() -> None:
    items = [(entry(1, False), ground(0, water=True)), (entry(2, False), ground(0, date=1))]
    collected = evidence(items, ground(1000, water=True))
    with pytest.raises(UserError, match="item2: darkest"):
        collected.judge(used(1, 2), "dn_plus1000", "stop")
    assert collected.judge(used(1), "dn_plus1000", "stop").block["verdict"] == "proved"


@pytest.mark.parametrize(("declared", "offset"), [((False, True), (1000, 1000)), ((True, True), (1000, 0)), ((False, False), (0, 1000))])
def test_dates_of_one_desert_that_differ_by_the_offset_stop(declared: tuple[bool, bool], offset: tuple[int, int]) -> None:
    items = [(entry(number, declared[number]), ground(offset[number], date=number)) for number in (0, 1)]
    with pytest.raises(UserError, match=r"one level of item0 and item1[\s\S]*in all ten bands"):
        evidence(items, ground(1000)).judge(used(0, 1), "dn_plus1000", "warn")


@pytest.mark.parametrize("declared", [(False, False), (True, True), (False, True), (True, False)])
def test_dates_of_one_desert_on_one_level_do_not_stop(declared: tuple[bool, bool]) -> None:
    items = [(entry(number, declared[number]), ground(1000 * declared[number], date=number)) for number in (0, 1)]
    assert evidence(items, ground(1000)).judge(used(0, 1), "dn_plus1000", "warn").block["verdict"] == "undecided"


@pytest.mark.parametrize(
    ("radiometry", "offset", "fits"),
    [
        ("dn_plus1000", 1000, True),
        ("dn_plus1000", 2000, False),
        ("dn_plus1000", 0, False),
        ("dn_harmonised", 0, True),
        ("dn_harmonised", 1000, False),
        ("native", 0, True),
        ("native", 1000, False),
    ],
)
def test_the_composite_as_a_whole_is_asked(radiometry: str, offset: int, fits: bool) -> None:
    collected = evidence([(entry(1, False), ground(0, water=True))], ground(offset, water=True))
    if fits:
        assert collected.judge(used(1), radiometry, "warn").block["pixels_say"]["offset"] == offset
    else:
        with pytest.raises(UserError, match=f"a composite with an offset of[\\s\\S]*{offset}: darkest"):
            collected.judge(used(1), radiometry, "warn")


def test_a_block_without_pixels_is_undecided_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    nothing = np.zeros((10, 128, 128), np.uint16)
    judged = evidence([(entry(1, True), nothing), (entry(2, True), nothing)], nothing).judge(used(), "dn_plus1000", "stop")
    assert judged.block == {"verdict": "undecided", "pixels_say": {"offset": None, "minimum": None, "level": None, "target_share": 0.0}}
    assert not caplog.records
