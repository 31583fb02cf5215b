"""Match the patches of two datasets by footprint, never by the id in the name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from smallmines.core.errors import UserError
from smallmines.core.patch_files import Header, patch_files, read_header
from smallmines.core.product import IMAGE, MASK, parse_patch_name

Match = Literal["exact", "shifted", "other"]

SAME = 0.01
"""Maximum shift in pixels between two grids that count as the same."""


@dataclass(frozen=True)
class Patch:
    """Image and mask of a tile and year; one of them may be missing.

    Attributes:
        header: of the image where there is one, else of the mask.
    """

    header: Header
    image: Path | None
    mask: Path | None


@dataclass(frozen=True)
class Pair:
    """A patch of ours and the published one that covers most of it.

    Attributes:
        match: `exact`: the same grid; `shifted`: the same pixels, moved; `other`: another resolution or tile size.
        dx, dy: from the published north-west corner to ours in the units of the CRS, x eastwards and y northwards.
        overlap: share of our tile's area that the published one covers.
    """

    ours: Patch
    published: Patch
    match: Match
    dx: float
    dy: float
    overlap: float


@dataclass(frozen=True)
class Joined:
    """Matched datasets: pairs by year and our id, and the patches without a partner."""

    pairs: list[Pair]
    only_ours: list[Patch]
    only_published: list[Patch]


def find_patches(folder: Path) -> list[Patch]:
    """Return all patches below a folder, by year and id.

    Raises:
        UserError: two images or two masks of one tile and year, or what is no file or no georeferenced raster.
    """
    by_tile: dict[tuple[str, str], dict[str, Path]] = {}
    for path in patch_files(folder):
        if not path.is_file():  # a pipe would be waited for
            raise UserError(f"patches that are files in {folder}", f"{path} is none", "move it away")
        parts = parse_patch_name(path.name)
        assert parts is not None, path
        files = by_tile.setdefault((parts.year, parts.tile_id), {})
        if parts.prefix in files:
            raise UserError(
                f"one {parts.prefix} of tile {parts.tile_id} and year {parts.year} in {folder}",
                f"{files[parts.prefix]} and {path}",
                "name the folder of one dataset",
            )
        files[parts.prefix] = path
    images_and_masks = [(files.get(IMAGE.prefix), files.get(MASK.prefix)) for _, files in sorted(by_tile.items())]
    return [Patch(read_header(image or mask), image, mask) for image, mask in images_and_masks]  # type: ignore[arg-type]


def join(ours: Sequence[Patch], published: Sequence[Patch]) -> Joined:
    """Pair each patch of ours with the published one of the same year and CRS that covers most of it.

    Raises:
        UserError: no patch of the one overlaps a patch of the other; with years, CRS and bounds of both.
    """
    pairs: list[Pair] = []
    alone: list[Patch] = []
    taken: set[int] = set()
    candidates = _by_year_and_crs(published)
    for key, numbers in _by_year_and_crs(ours).items():
        others = candidates.get(key, [])
        partner, area = _largest_overlap([ours[number].header for number in numbers], [published[number].header for number in others])
        for number, position, covered in zip(numbers, partner.tolist(), area.tolist(), strict=True):
            if covered > 0:
                taken.add(others[position])
                pairs.append(_pair(ours[number], published[others[position]], covered))
            else:
                alone.append(ours[number])
    if not pairs:
        raise UserError(
            "two datasets of one place and year in one CRS",
            f"ours: {_described(ours)}; published: {_described(published)}",
            "compare the same area and years; set grid.crs to that of the published patches",
        )
    pairs.sort(key=lambda pair: (pair.ours.header.year, pair.ours.header.tile_id))
    return Joined(pairs, alone, [patch for number, patch in enumerate(published) if number not in taken])


def require_two_datasets(joined: Joined, ours: Path, published: Path) -> list[str]:
    """Return the files of ours that are also the published ones (hard or symbolic links).

    Raises:
        UserError: all compared files are: the two folders are one dataset.
    """
    names, same = [], []
    for pair in joined.pairs:
        for mine, other in ((pair.ours.image, pair.published.image), (pair.ours.mask, pair.published.mask)):
            if mine is not None and other is not None:
                names.append(str(mine))
                same += [str(mine)] if mine.samefile(other) else []
    if names and len(same) == len(names):
        if ours.samefile(published):
            found = f"{ours} and {published} are the same folder"
        else:
            found = f"all {len(same)} files of {published} are links to those of {ours}"
        raise UserError("two datasets", found, "name another dataset; a comparison of files with themselves says nothing")
    return same


def _by_year_and_crs(patches: Sequence[Patch]) -> dict[tuple[str, str], list[int]]:
    groups: dict[tuple[str, str], list[int]] = {}
    for number, patch in enumerate(patches):
        groups.setdefault((patch.header.year, patch.header.crs), []).append(number)
    return groups


def bounds(headers: Sequence[Header]) -> NDArray[np.float64]:
    """Return west, south, east, north of each patch, (patch, 4)."""
    rows = [(h.left, h.top - h.height * h.resolution[1], h.left + h.width * h.resolution[0], h.top) for h in headers]
    return np.array(rows, np.float64).reshape(-1, 4)


def _largest_overlap(ours: Sequence[Header], theirs: Sequence[Header]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return for each of ours the position of the published footprint that covers most of it (the first of a tie), and the area, or 0."""
    from shapely import STRtree, box

    mine, other = bounds(ours), bounds(theirs)
    partner, area = np.zeros(len(mine), np.int64), np.zeros(len(mine))
    if len(other):
        squares, footprints = (np.asarray(box(*edges.T)) for edges in (mine, other))
        left, right = STRtree(footprints).query(squares, predicate="intersects")
        size = np.minimum(mine[left, 2:], other[right, 2:]) - np.maximum(mine[left, :2], other[right, :2])
        covered = size.clip(0).prod(axis=1)
        order = np.lexsort((right, -covered, left))
        first = order[np.unique(left[order], return_index=True)[1]]
        partner[left[first]], area[left[first]] = right[first], covered[first]
    return partner, area


def _pair(ours: Patch, published: Patch, covered: float) -> Pair:
    a, b = ours.header, published.header
    dx, dy = a.left - b.left, a.top - b.top
    match: Match = "other"
    if np.allclose(a.resolution, b.resolution, rtol=1e-6) and (a.width, a.height) == (b.width, b.height):
        match = "exact" if abs(dx) < SAME * a.resolution[0] and abs(dy) < SAME * a.resolution[1] else "shifted"
    size = a.width * a.height * a.resolution[0] * a.resolution[1]
    return Pair(ours, published, match, dx, dy, covered / size)


def _described(patches: Sequence[Patch]) -> str:
    """Return number, years, CRS and bounds of patches, in words."""
    headers = [patch.header for patch in patches]
    years, systems = (", ".join(sorted({getattr(header, name) for header in headers})) for name in ("year", "crs"))
    edges = bounds(headers)
    (west, south), (east, north) = edges[:, :2].min(axis=0).tolist(), edges[:, 2:].max(axis=0).tolist()
    return f"{len(patches)} patches of {years} in {systems}, x {west:g} to {east:g}, y {south:g} to {north:g}"
