"""Radiometry per band and year: offset, scale, decibels, wrapped nodata, saturation, stripes, bands in order, years alike; and coverage."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd

from smallmines.core.product import S2_BANDS
from smallmines.doctor.folder import Finding, Folder
from smallmines.doctor.measure import Measured
from smallmines.doctor.structure import names
from smallmines.settings.doctor import Doctor

LEAST_PLATEAU = 64
"""Pixels at one greatest value that are a flat top; a 20 m band has four of each."""

LEAST_DROP = 30.0
"""Metres that a flat patch lies below (or above) the lowest ground elsewhere from which tiles of the DEM are missing."""

LEAST_PIXELS = 200
"""Pixels of the sample from which years are held against each other."""


def check(folder: Folder, measured: Measured, limits: Doctor) -> Iterator[Finding]:
    """Everything about the values of the images; see the module."""
    if "n_B02" not in measured.table:
        return
    table = measured.table[measured.table["n_B02"].notna()]
    with_s2 = table[table["n_B02"] > 0]
    if len(with_s2):
        yield from _scale_and_offset(with_s2, limits)
        yield from _spikes(table, limits)
        yield from _order(measured.pixels)
        yield from _years(measured.pixels, limits)
    yield from _radar(table, limits)
    yield from _elevation(table)
    yield from _coverage(folder, table, limits)


def _finding(check: str, expected: str, found: str, remedy: str, tiles: tuple[str, ...] = (), severity: str = "error") -> Finding:
    return Finding(severity, "radiometry", check, expected, found, remedy, tiles)


def _scale_and_offset(table: pd.DataFrame, limits: Doctor) -> Iterator[Finding]:
    small = table[table["median_B08"] < limits.reflectance_below]
    if len(small):
        told = f"a median near infrared of {small['median_B08'].median():.3g} in {len(small)}"
        yield _finding("scale", "Sentinel-2 as digital numbers", told, "multiply reflectances by 10000 and add the offset", names(small))
    table = table.drop(small.index)
    darkest = table[[f"low_{band}" for band in S2_BANDS]].min(axis=1)
    without, offset = darkest < limits.no_offset_below, darkest >= limits.offset_above
    if without.any() and offset.any():
        fewer, told = (without, "lack the offset of 1000") if without.sum() <= offset.sum() else (offset, "may have the offset of 1000")
        if told.startswith("may") and without.sum() > 3 * offset.sum():
            return  # bright patches of an offset-free dataset
        yield _finding(
            "offset",
            f"all patches with the offset of 1000 or all without; the darkest values of {int(offset.sum())} lie above "
            f"{limits.offset_above:g} DN, of {int(without.sum())} below {limits.no_offset_below:g}",
            f"{int(fewer.sum())} {told} (years {', '.join(map(str, sorted(set(table.loc[fewer, 'year']))))})",
            "convert all scenes by their processing baseline (sentinel2.radiometry)",
            names(table[fewer]),
        )
    broken = table[table["fraction"] > 0]
    if len(broken):
        told = f"fractions in {len(broken)} images"
        yield _finding("fractions", "whole digital numbers", told, "resample with nearest, or round", names(broken), "warning")


def _spikes(table: pd.DataFrame, limits: Doctor) -> Iterator[Finding]:
    wrapped = table[table["wrapped"] > 0]
    if len(wrapped):
        told = f"55537 (65536 − 9999) in {len(wrapped)} images"
        yield _finding("wrapped nodata", "nodata −9999 everywhere", told, "mask before the conversion of types", names(wrapped))
    high = table[[f"max_{band}" for band in S2_BANDS]].max(axis=1)
    plateau = pd.concat([table[f"plateau_{band}"].where(table[f"max_{band}"] > 5000, 0) for band in S2_BANDS], axis=1).max(axis=1)
    many = (plateau > limits.saturated_share * table["n_B02"]) & (plateau >= LEAST_PLATEAU)
    odd = table[(many | (high > limits.saturated_dn)) & (table["wrapped"] == 0)]
    if len(odd):
        told = f"values to {high[odd.index].max():.0f}, or many pixels at one greatest value, in {len(odd)} images"
        yield _finding("saturation", f"Sentinel-2 below {limits.saturated_dn:g} DN, no flat tops", told, "look at the scenes", names(odd))
    greater, lesser = table[["stripe_row", "stripe_col"]].max(axis=1), table[["stripe_row", "stripe_col"]].min(axis=1).clip(lower=1)
    odd = table[(greater > limits.stripe_dn) & (greater / lesser > limits.stripe_ratio)]
    if len(odd):
        told = f"lines that differ by {greater[odd.index].median():.0f} DN in {len(odd)} images"
        yield _finding("stripes", "lines like their neighbours", told, "look at the scenes; take another date", names(odd), "warning")


def _order(pixels: pd.DataFrame) -> Iterator[Finding]:
    """Vegetation and bare ground have known shapes of spectrum, whatever the place: bands that break them are swapped."""
    for year, rows in pixels.dropna(subset=list(S2_BANDS)).groupby("year"):
        green, bare = rows["B08"] - rows["B04"], rows["B11"] - rows["B8A"]
        if len(rows) < LEAST_PIXELS:
            continue
        plants = rows[green >= green.quantile(0.9)][list(S2_BANDS)].median()
        ground = rows[bare >= bare.quantile(0.95)][list(S2_BANDS)].median()
        wrong = [
            f"{a} ≥ {b} on {what}"
            for what, spectrum, order in (
                ("vegetation", plants, (("B04", "B05"), ("B05", "B06"), ("B06", "B07"), ("B04", "B08"), ("B12", "B11"))),
                ("bare ground", ground, (("B02", "B03"), ("B03", "B04"))),
            )
            for a, b in order
            if not spectrum[a] < spectrum[b]
        ]
        if wrong:
            expected = "red < red edge < near infrared on vegetation, blue < green < red on bare ground"
            yield _finding("band swapped", expected, f"{', '.join(wrong)} in {year}", "write the bands in the released order")


def _years(pixels: pd.DataFrame, limits: Doctor) -> Iterator[Finding]:
    """Gain and level of each band between years, on ground that is no mine in either."""
    if not len(pixels):
        return
    ground = pixels[pixels["mask"] == 0].dropna(subset=list(S2_BANDS))
    years = sorted(ground["year"].unique())
    for first, second in pairwise(years):
        both = ground[ground["year"] == first].merge(ground[ground["year"] == second], on=["tile", "place"], suffixes=("_a", "_b"))
        if len(both) < LEAST_PIXELS:
            continue
        told = []
        for band in S2_BANDS:
            a, b = both[f"{band}_a"], both[f"{band}_b"]
            widths = [one.quantile(0.9) - one.quantile(0.1) for one in (a, b)]
            level, gain = float((b - a).median()), float(widths[1] / widths[0]) if widths[0] > 0 else np.nan
            # haze narrows the visible bands: a gain counts where the level moves with it
            scaled = abs(gain - 1) > limits.gain and abs(b.median() / a.median() - 1) > limits.gain / 2
            if abs(level) > limits.level_dn or scaled:
                told.append(f"{band} level {level:+.0f} DN, gain {gain:.2f}")
        if told:
            expected = f"levels within {limits.level_dn:g} DN and gains within {limits.gain:g} on ground without mines"
            yield _finding("years differ", expected, f"{first} to {second}: {'; '.join(told)}", "bring both years to one radiometry")


def _radar(table: pd.DataFrame, limits: Doctor) -> Iterator[Finding]:
    for band in ("VV", "VH"):
        known = table[table[f"n_{band}"] > 0]
        linear = known[(known[f"min_{band}"] >= 0) & (known[f"median_{band}"] > 0)]
        if len(linear):
            told = f"no value below 0 in {len(linear)} of {len(known)} patches"
            yield _finding(f"{band} linear", f"{band} in dB", told, "take 10·log10 of linear power, in all patches", names(linear))
        rest = known.drop(linear.index)
        odd = rest[(rest[f"min_{band}"] < -limits.largest_db) | (rest[f"max_{band}"] > limits.largest_db)]
        if len(odd):
            told = f"values to {odd[f'max_{band}'].max():.0f} in {len(odd)} patches"
            yield _finding(f"{band} range", f"{band} within ±{limits.largest_db:g} dB", told, "mask nodata and zeros before dB", names(odd))


def _elevation(table: pd.DataFrame) -> Iterator[Finding]:
    known = table[table["n_DEM"] > 0]
    odd = known[(known["min_DEM"] < -500) | (known["max_DEM"] > 9000)]
    if len(odd):
        yield _finding("DEM range", "heights from −500 to 9000 m", f"others in {len(odd)} patches", "mask nodata", names(odd))
    flat = known[known["sd_DEM"] == 0]
    other = known.drop(flat.index)
    if len(flat) and len(other):
        lowest = float(other["min_DEM"].quantile(0.05))
        missing = (flat["min_DEM"] - lowest).abs() > LEAST_DROP
        for rows, severity in ((flat[missing], "warning"), (flat[~missing], "note")):
            if len(rows):
                told = f"one height all over in {len(rows)} patches; lowest ground elsewhere {lowest:.0f} m"
                yield _finding("DEM flat", "heights that vary, but on the sea", told, "look for missing tiles", names(rows), severity)


def _coverage(folder: Folder, table: pd.DataFrame, limits: Doctor) -> Iterator[Finding]:
    sizes = np.array([float(np.prod(shape)) for shape in table["image_shape"]])
    for what, band in (("Sentinel-2", "B02"), ("Sentinel-1", "VV"), ("elevation", "DEM")):
        odd = table[100 * (1 - table[f"n_{band}"] / sizes) > limits.nodata_percent]
        if len(odd):
            told = f"more in {len(odd)} patches"
            remedy = "take further scenes, or leave the patches out"
            yield Finding("warning", "coverage", f"{what} nodata", f"at most {limits.nodata_percent:g} % nodata", told, remedy, names(odd))
    odd = table[100 * table["cloud"] > limits.cloud_percent]
    if len(odd):
        told = f"more in {len(odd)} patches"
        expected = f"at most {limits.cloud_percent:g} % bright white pixels"
        yield Finding("warning", "coverage", "cloud", expected, told, "look at them; take another date", names(odd))
