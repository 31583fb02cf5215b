"""Check that datasets can be merged, and measure what lies near what across their borders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import rasterio
from odc.geo.crs import CRS

from smallmines.core import raster
from smallmines.core.crs import reproject_shapes
from smallmines.core.errors import UserError
from smallmines.core.product import IMAGE, MASK, PatchFormat
from smallmines.core.release import LICENSE
from smallmines.dataset.merge_parts import RESTORE, Part, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHARE_ALIKE = "-SA-"
"""Part of the SPDX identifiers of Creative Commons' licences that bind what is made from a work to the same licence."""

SHOWN = 5
"""Number of tiles that an error names."""

MILLIMETRES = 3
"""Decimals, in metres, to which corners are rounded when two tiles are asked to lie in one place."""


def require_mergeable(parts: Sequence[Part], licence: str | None = None, progress: Progress = lambda what, done, count: None) -> str:
    """Check that the parts make one dataset, and return its licence.

    Args:
        licence: that of the merged dataset; None: the one that all parts have.

    Raises:
        UserError: tile size, resolution, radiometry, form or classes differ; tiles share their ground in one year, or their ground and not
            their split in two years; licences differ and none is given; a share-alike licence of a part, or of a release whose masks are
            in a part, would be left.
    """
    _require_equal(parts, "tiles of one size", lambda part: f"{part.tile_size} px of {part.facts['resolution_m']:g} m")
    _require_equal(
        parts,
        "one radiometry of Sentinel-2 (sentinel2.radiometry)",
        lambda part: " and ".join(sorted(set(part.index["radiometry"]))) or "not stated",
    )
    chosen = _licence(parts, licence)
    places = places_of(parts)
    _require_ground_once(places)
    _require_one_split(places)
    _require_form(parts, progress)
    return chosen


def _require_equal(parts: Sequence[Part], expected: str, value: Any) -> None:
    values = {part.name: str(value(part)) for part in parts}
    if len(set(values.values())) > 1:
        found = "; ".join(f"{text} in {name}" for name, text in values.items())
        raise UserError(f"{expected} in all datasets", found, "merge only those that agree, or run the others again with the same setting")


def _licence(parts: Sequence[Part], licence: str | None) -> str:
    stated = {part.name: part.licence for part in parts}
    if licence is None and len(set(stated.values())) > 1:
        found = "; ".join(f"{text} of {name}" for name, text in stated.items())
        raise UserError("one licence", found, "ask the authors which licence both may have, and give it with --license")
    chosen = licence or next(iter(stated.values()))
    shared_alike = [(part.licence, part.name) for part in parts if SHARE_ALIKE in part.licence]
    shared_alike += [(LICENSE, f"the released masks in {part.name}") for part in parts if "released" in part.facts]
    for wanted, what in shared_alike:
        if chosen != wanted:
            raise UserError(
                f"the licence {wanted}, under which {what} must be shared alike", chosen, f"--license {wanted}, or leave it out"
            )
    return chosen


def places_of(parts: Sequence[Part]) -> pd.DataFrame:
    """Return the place of every patch: part (position), region, tile_id, year, split, and place (CRS and upper left corner)."""
    tables = []
    for number, part in enumerate(parts):
        left, top = part.index.geometry.bounds[["minx", "maxy"]].round(MILLIMETRES).to_numpy().T
        place = list(zip([str(part.index.crs)] * len(left), left.tolist(), top.tolist(), strict=True))
        columns = part.index[["tile_id", "year", "split"]].assign(part=number, region=part.name)
        tables.append(pd.DataFrame(columns).assign(place=pd.Series(place, index=part.index.index, dtype=object)))
    return pd.concat(tables, ignore_index=True)


def _require_ground_once(places: pd.DataFrame) -> None:
    """Refuse two patches of one place and year: their pixels would be there twice, and could be in train and in test."""
    twice = places[places.duplicated(["place", "year"], keep=False)].sort_values(["year", "place", "part"])
    if len(twice):
        pairs = twice.groupby(["year", "place"], sort=False)
        names = [f"{' and '.join(rows['region'] + ' ' + rows['tile_id'])} of {year}" for (year, _), rows in pairs]
        raise UserError(
            "each tile of ground once in every year",
            f"{len(names)} that two datasets have: {_first(names)}",
            "leave the tiles out of one of the runs (a smaller area of interest), or merge only one of the datasets",
        )


def _require_one_split(places: pd.DataFrame) -> None:
    """Refuse a place whose years come from several parts, in train in one and in val or test in another."""
    names = []
    for _, rows in places.groupby("place", sort=False):
        train, held = (set(rows.loc[rows["split"].isin(split), "part"]) for split in (["train"], ["val", "test"]))
        if train and held and len(train | held) > 1:
            names.append(_told(rows))
    if names:
        raise UserError(
            "tiles with one split in all years",
            f"{len(names)} whose years are in train and in val or test: {_first(names)}",
            "give all runs of this ground the same frozen splits (smallmines splits freeze; docs/splits.md) and run them again",
        )


def _told(rows: pd.DataFrame) -> str:
    return " and ".join(f"{row['region']} {row['tile_id']} of {row['year']} in {row['split']}" for row in rows.to_dict("records"))


def _first(names: Sequence[str]) -> str:
    return "; ".join(names[:SHOWN]) + (f"; and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _require_form(parts: Sequence[Part], progress: Progress) -> None:
    """Check the header of every patch: bands, type, nodata, units, classes, and the place that the index states."""
    count, done = sum(len(part.patches) for part in parts), 0
    classes: dict[str, str] = {}
    for part in parts:
        squares = part.index.geometry.bounds[["minx", "maxy"]].to_numpy().tolist()
        for column, form in (("image", IMAGE), ("mask", MASK)):
            for name, (left, top) in zip(part.index[column], squares, strict=True):
                with raster.opened(part.folder / name) as source:
                    problem = _problem(source, form, part, left, top)
                    if form is MASK:
                        classes.setdefault(source.tags().get("CLASSES", "not stated"), f"{part.folder / name}")
                if problem:
                    raise UserError(f"patches of one form, {problem[0]}, in all datasets", f"{problem[1]} in {part.folder / name}", RESTORE)
                done += 1
                progress("reading headers", done, count)
    if len(classes) > 1:
        found = "; ".join(f"{text} in {name}" for text, name in classes.items())
        raise UserError("masks of the same classes", found, "merge only datasets of the same classes")


def _problem(source: rasterio.DatasetReader, form: PatchFormat, part: Part, left: float, top: float) -> tuple[str, str] | None:
    """Return what was expected and what a patch has instead, or None where it has the form."""
    geobox = raster.geobox_of(source)
    corner = (round(geobox.transform.c - left, MILLIMETRES), round(geobox.transform.f - top, MILLIMETRES))
    compared = (
        ("bands", form.bands, tuple(text or "" for text in source.descriptions)),
        ("types", {form.dtype}, set(source.dtypes)),
        ("nodata", form.nodata, source.nodata),
        ("pixels", (part.tile_size, part.tile_size), tuple(geobox.shape)),
        ("CRS", part.crs, part.crs if geobox.crs == CRS(part.index.crs) else str(geobox.crs)),
        ("place as in the index", (0, 0), corner),
    )
    return next(((f"{name} {wanted}", f"{name} {found}") for name, wanted, found in compared if wanted != found), None)


@dataclass(frozen=True)
class Border:
    """Tiles of different regions that lie near each other.

    Attributes:
        touching: pairs of tiles less than a pixel apart; overlapping: of these, pairs that share more than a pixel of ground.
        test_tiles: tiles of test that touch or overlap a tile of train of another region, in any year.
    """

    touching: int
    overlapping: int
    test_tiles: int


def border(parts: Sequence[Part]) -> dict[str, int]:
    """Count tiles of different regions that lie near each other, see `Border`; their squares are compared in the CRS of the first."""
    import shapely

    shapes: list[NDArray[Any]] = []
    regions, splits = [], []
    for number, part in enumerate(parts):
        by_tile = part.index.drop_duplicates("tile_id")
        shapes.append(reproject_shapes(by_tile.geometry.to_numpy(), part.index.crs, parts[0].index.crs))
        regions += [number] * len(by_tile)
        of_tile = part.index.groupby("tile_id")["split"].agg(set)
        splits += [of_tile[tile] for tile in by_tile["tile_id"]]
    squares, region, pixel = np.concatenate(shapes), np.array(regions), float(parts[0].facts["resolution_m"])
    first, second = shapely.STRtree(squares).query(squares, predicate="dwithin", distance=pixel)
    across = region[first] < region[second]
    first, second = first[across], second[across]
    shared = shapely.area(shapely.intersection(squares[first], squares[second])) > pixel**2
    pairs = [*zip(first, second, strict=True), *zip(second, first, strict=True)]
    test = {at for at, near in pairs if "test" in splits[at] and "train" in splits[near]}
    return asdict(Border(len(first), int(shared.sum()), len(test)))
