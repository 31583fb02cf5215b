"""Simulated annotators: what a person labels of the same mines with the brush and with single clicks, with the same eyes and the same hand.

Both see the edge of a mine a little wrong, in the same way, and want each segment mining that lies by half in what they see. Neither hits
exactly where he aims. After each mine both look, and correct by click what differs from what they want. So both end with the same errors,
those of their eyes, and the time of all corrections counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import contourpy
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

CLICK_S, STROKE_S = 1.0, 1.0
"""Assumed seconds to find and click a segment; to point at the begin of a stroke and press."""

KEYS_S = 1.0
"""Assumed seconds to change the brush's radius, or the label."""

LOOK_S = 2.0
"""Assumed seconds in which a person looks over a mine for what is wrong."""

EDGE_PX_S, INNER_PX_S = 150.0, 300.0
"""Assumed pixels of the screen a second along a stroke: at an edge, and where nothing is near."""

SCALE = 6
"""Pixels of the screen a pixel of the block, where a person labels."""

HAND_PX = 3.0 / SCALE
"""Assumed standard deviation of where the hand is, across and along: three pixels of the screen, in pixels of the block."""

EYE_PX, EYE_REACH_PX = 0.7, 3.0
"""Assumed standard deviation of where a person sees an edge, and how far along the edge such an error reaches."""

EDGE_RADIUS, INNER_RADIUS = 3, 6
"""Radius of the brush along the edge of a mine, and inside, in pixels of the block."""

MARGIN = 16
"""Pixels around a mine that a person looks at."""

ROUNDS = 3
"""How often a person looks at a mine again."""

Path = NDArray[np.float64]
"""Places of a stroke: (place, row and column)."""


class Tools(Protocol):
    """Tools of the page."""

    def paint(self, path: Path, radius: int) -> Iterable[int]:
        """Paint a stroke as mining; return the segments that it labelled."""

    def click(self, segment: int, mining: bool) -> None:
        """Click a segment: label it mining, or erase it."""


@dataclass(frozen=True)
class Mine:
    """What a person sees of a mine.

    Attributes:
        corner: row and column of its window in the block.
        segments: label raster of the window.
        seen: where the person sees the mine.
        wanted: segments that he wants mining.
    """

    corner: tuple[int, int]
    segments: NDArray[np.uint32]
    seen: NDArray[np.bool_]
    wanted: frozenset[int]


@dataclass
class Work:
    """What a person did.

    Attributes:
        labelled: segments labelled mining.
        clicks: single clicks, `corrections` among them.
        other_s: seconds of all that is no click.
        differing: segments that differed from what he wanted before corrections.
    """

    labelled: set[int] = field(default_factory=set)
    clicks: int = 0
    corrections: int = 0
    other_s: float = 0.0
    differing: int = 0

    def seconds(self, click_s: float = CLICK_S) -> float:
        """Return the time that all took."""
        return self.other_s + self.clicks * click_s


def look(truth: NDArray[np.bool_], segments: NDArray[np.uint32], box: tuple[slice, slice], rng: np.random.Generator) -> Mine:
    """Return what a person sees in a window of the block around a mine's box."""
    rows, cols = (slice(max(side.start - MARGIN, 0), side.stop + MARGIN) for side in box)
    mine, own = truth[rows, cols], segments[rows, cols]
    depth = ndimage.distance_transform_edt(mine) - ndimage.distance_transform_edt(~mine)
    error = ndimage.gaussian_filter(rng.normal(size=mine.shape), EYE_REACH_PX)
    seen = depth + EYE_PX * error / error.std() > 0
    count = np.bincount(own.ravel())
    share = np.bincount(own.ravel(), seen.ravel()) / np.maximum(count, 1)
    at_edge = np.unique(np.concatenate([own[0], own[-1], own[:, 0], own[:, -1]]))
    return Mine((rows.start, cols.start), own, seen, frozenset(np.flatnonzero(share >= 0.5).tolist()) - {0, *at_edge.tolist()})


def by_clicks(mine: Mine, work: Work, rng: np.random.Generator) -> None:
    """Label a mine segment by segment."""
    for segment in sorted(mine.wanted):
        hit = _clicked(mine, segment, rng)
        work.clicks += 1
        work.labelled.add(hit)
    _correct(mine, work, work.labelled.add, work.labelled.discard, rng)


def by_brush(mine: Mine, work: Work, tools: Tools, rng: np.random.Generator) -> None:
    """Paint along the edge, then the inside, then correct by click."""
    depth = ndimage.distance_transform_edt(mine.seen) - 0.5
    edge = contourpy.contour_generator(z=depth).lines(EDGE_RADIUS)
    strokes = [(line[:, ::-1] + 0.5, EDGE_RADIUS, EDGE_PX_S) for line in edge]
    strokes += [(line, INNER_RADIUS, INNER_PX_S) for line in _rows(depth > INNER_RADIUS)]
    work.other_s += KEYS_S * len({radius for _, radius, _ in strokes})
    for line, radius, speed in strokes:
        path = _drawn(line, rng) + mine.corner
        work.other_s += STROKE_S + SCALE * _length(line) / speed
        work.labelled.update(tools.paint(path, radius))

    def add(segment: int) -> None:
        tools.click(segment, True)
        work.labelled.add(segment)

    def erase(segment: int) -> None:
        tools.click(segment, False)
        work.labelled.discard(segment)

    _correct(mine, work, add, erase, rng)


def _correct(mine: Mine, work: Work, add: Callable[[int], None], erase: Callable[[int], None], rng: np.random.Generator) -> None:
    """Look over a mine, and click what differs from what the person wants, until nothing does."""
    there = set(np.unique(mine.segments).tolist()) - {0}
    for number in range(ROUNDS):
        work.other_s += LOOK_S
        lacking, wrong = mine.wanted - work.labelled, (work.labelled & there) - mine.wanted
        if number == 0:
            work.differing += len(lacking) + len(wrong)
        for segments, change in ((lacking, add), (wrong, erase)):
            work.other_s += KEYS_S * bool(segments)
            for segment in sorted(segments):
                work.clicks += 1
                work.corrections += 1
                change(_clicked(mine, segment, rng))
        if not lacking and not wrong:
            break


def _clicked(mine: Mine, segment: int, rng: np.random.Generator) -> int:
    """Return the segment that a click hits which is aimed at the middle of one."""
    rows, cols = np.nonzero(mine.segments == segment)
    nearest = np.argmin((rows - rows.mean()) ** 2 + (cols - cols.mean()) ** 2)
    row, col = np.floor(np.array([rows[nearest], cols[nearest]]) + 0.5 + rng.normal(0, HAND_PX, 2)).astype(int)
    inside = 0 <= row < mine.segments.shape[0] and 0 <= col < mine.segments.shape[1]
    return int(mine.segments[row, col]) if inside else segment


def _rows(inner: NDArray[np.bool_]) -> list[Path]:
    """Return strokes along the rows of a region, as far apart as the brush is wide."""
    strokes = []
    inside = np.flatnonzero(inner.any(axis=1))
    for row in inside[INNER_RADIUS // 2 :: 2 * INNER_RADIUS - 2]:
        runs, count = ndimage.label(inner[row])
        for (run,) in ndimage.find_objects(runs)[:count]:
            strokes.append(np.array([[row + 0.5, run.start + 0.5], [row + 0.5, run.stop - 0.5]]))
    return strokes


def _length(line: Path) -> float:
    return float(np.hypot(*np.diff(line, axis=0).T).sum())


def _drawn(line: Path, rng: np.random.Generator) -> Path:
    """Return where the hand goes that follows a line: a place each half pixel, with an error that changes slowly."""
    along = np.concatenate([[0], np.hypot(*np.diff(line, axis=0).T).cumsum()])
    places = np.linspace(0, along[-1], max(2, int(2 * along[-1])))
    path = np.stack([np.interp(places, along, line[:, axis]) for axis in (0, 1)], axis=1)
    error = ndimage.gaussian_filter1d(rng.normal(size=(len(path) + 60, 2)), 6, axis=0)[30:-30]
    return path + HAND_PX * error / 0.217  # standard deviation of white noise after this filter
