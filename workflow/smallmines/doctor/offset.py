"""Check the offset of Sentinel-2: one for all patches, the declared one, and confirmed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallmines.core.finding import Family, Finding
from smallmines.core.product import OFFSET, S2_BANDS, SUGGESTS_OFFSET
from smallmines.doctor.folder import Folder, tiles_of
from smallmines.sensors.dark_pixels import LEAST_IMAGES, offset_of_images
from smallmines.sensors.radiometry import SETTLES, VERDICT_TAG
from smallmines.settings.doctor import Doctor

RADIOMETRY = Family("radiometry")

DECLARED = {"dn_plus1000": OFFSET, "dn_harmonised": 0}
"""Offset by radiometry, as the tag RADIOMETRY of images, the index or facts.json declare it."""

CLIPPED_SHARE = 0.5
"""Minimum share of patches whose 0.1-percentile of B02 is 1 or less, where an offset was taken off that was not there. Water has 1 in
the infrared at times, but not in blue, which the air scatters."""


def check(folder: Folder, table: pd.DataFrame, limits: Doctor) -> Iterator[Finding]:
    """Yield findings about the offset.

    Args:
        table: rows of patches with digital numbers of Sentinel-2, see `measure_pair`.
    """
    if not len(table):
        return
    table = table.assign(
        darkest=table[[f"low_{band}" for band in S2_BANDS]].min(axis=1),
        radiometry=_stated(folder, table, "RADIOMETRY", "radiometry"),
        verdict=_stated(folder, table, VERDICT_TAG, "radiometry_verdict"),
    )
    mixed = list(_mixture(table, limits))
    yield from mixed
    if not mixed:
        yield from _whole(table)
    yield from _unconfirmed(table)


def _stated(folder: Folder, table: pd.DataFrame, tag: str, column: str) -> pd.Series:
    """Return what a tag of each image says, else its row of the index, else facts.json; empty where none does."""
    pattern = rf"(?<!\S){tag}=(\S*)"
    values = table["image_tags"].fillna("").str.extract(pattern, expand=False)
    if folder.index is not None and column in folder.index:
        stated = folder.index.set_index(["tile_id", "year"])[column]
        stated = stated[~stated.index.duplicated()]
        values = values.fillna(pd.Series(stated.reindex(pd.MultiIndex.from_frame(table[["tile", "year"]])).to_numpy(), table.index))
    fact = (folder.facts or {}).get(column)
    return values.fillna(str(fact) if fact else "").astype(str)


def _mixture(table: pd.DataFrame, limits: Doctor) -> Iterator[Finding]:
    """Check that all patches have the offset or none has."""
    without, offset = table["darkest"] < limits.no_offset_below, table["darkest"] >= limits.offset_above
    if not (without.any() and offset.any()):
        return
    lacking = without.sum() <= offset.sum()
    if not lacking and (without.sum() > 3 * offset.sum() or not _offset_seen(table[offset])):
        return  # bright patches of an offset-free dataset
    fewer, problem = (without, "lack the offset of 1000") if lacking else (offset, "may have the offset of 1000")
    yield RADIOMETRY.error(
        "offset",
        f"all patches with the offset of 1000 or all without; the darkest values of {int(offset.sum())} lie above "
        f"{limits.offset_above:g} DN, of {int(without.sum())} below {limits.no_offset_below:g}",
        f"{int(fewer.sum())} {problem} (years {', '.join(map(str, sorted(set(table.loc[fewer, 'year']))))})",
        "convert all scenes by their processing baseline (sentinel2.radiometry)",
        tiles_of(table[fewer]),
    )


def _offset_seen(rows: pd.DataFrame) -> bool:
    """Return whether dark ground or vegetation of patches shows an offset; also where they are too few to show it."""
    return len(rows) < LEAST_IMAGES or bool(offset_of_images(*_levels(rows)))


def _levels(rows: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the arguments of `offset_of_images`."""
    minima, targets, vegetation = rows[["darkest", "dark_level", "green_level"]].to_numpy(np.float64).T
    return minima, targets, vegetation


def _whole(table: pd.DataFrame) -> Iterator[Finding]:
    """Compare the offset of all patches of a year and radiometry with the declared one."""
    for (radiometry, year), rows in table.groupby(["radiometry", "year"]):
        minima, targets, vegetation = _levels(rows)
        declared, offset = DECLARED.get(str(radiometry)), offset_of_images(minima, targets, vegetation)
        clipped = int((rows["low_B02"] <= 1).sum())
        evidence = f"darkest values {minima.min():.0f} to {minima.max():.0f} DN" + _median("dark ground", targets)
        evidence += _median("vegetation", vegetation)
        if clipped > CLIPPED_SHARE * len(rows):
            found = f"B02 of 1 DN or less in {clipped} of {len(rows)} patches of {year}: an offset was taken off that was not there"
            remedy = "make the images again from the products, by their processing baseline"
            yield RADIOMETRY.error("offset", "Sentinel-2 above 1 DN", found, remedy, tiles_of(rows))
        elif declared is None:
            if offset is not None:
                found = f"none; in {year} the pixels seem to have an offset of {offset} DN ({evidence})"
                yield RADIOMETRY.note("offset", "a declared radiometry", found, "declare it in the card")
        elif offset not in (None, declared):
            yield _contradiction(declared, offset or 0, f"{year} ({evidence})", tiles_of(rows))
        elif offset is None and minima.min() >= declared + SUGGESTS_OFFSET and not (rows["verdict"] == "declared").all():
            expected = f"an offset of {declared} DN, as declared ({radiometry})"
            found = f"bright ground alone in {year}, or {OFFSET} DN too much ({evidence})"
            yield RADIOMETRY.warning("offset", expected, found, "compare the values with those of an archive", tiles_of(rows))


def _contradiction(declared: int, offset: int, where: str, tiles: tuple[str, ...]) -> Finding:
    what = "it is missing" if offset < declared else "it was added twice" if declared and offset == 2 * declared else "it is too large"
    return RADIOMETRY.error(
        "offset",
        f"an offset of {declared} DN, as declared",
        f"an offset of {offset} DN in all patches of {where}: {what}",
        f"{'add' if offset < declared else 'take off'} {abs(offset - declared)}, or correct what is declared",
        tiles,
    )


def _median(name: str, levels: NDArray[np.float64]) -> str:
    """Return the median of the levels that there are, in words."""
    finite = levels[np.isfinite(levels)]
    return f", {name} at {np.median(finite):.0f} in {len(finite)} patches" if finite.size else ""


def _unconfirmed(table: pd.DataFrame) -> Iterator[Finding]:
    """Report patches whose offset pixels did not prove when they were made."""
    expected = "an offset that dark pixels prove"
    for verdict, severity, found, remedy in (
        ("undecided", RADIOMETRY.warning, "is stated by a product's name or a catalogue alone", SETTLES),
        ("declared", RADIOMETRY.note, "is stated by the products' metadata, and the pixels do not contradict", "nothing"),
    ):
        rows = table[table["verdict"] == verdict]
        if len(rows):
            yield severity("unconfirmed offset", expected, f"in {len(rows)} of {len(table)} patches it {found}", remedy, tiles_of(rows))
