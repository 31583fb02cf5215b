"""Check radiometry by band and year (offset, scale, dB, nodata, saturation, stripes, order of bands, change of level) and coverage."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd

from smallmines.core.finding import Family, Finding
from smallmines.core.product import S2_BANDS
from smallmines.doctor import offset
from smallmines.doctor.folder import Folder, tiles_of
from smallmines.doctor.measure import Measured
from smallmines.doctor.offset import RADIOMETRY
from smallmines.settings.doctor import Doctor

COVERAGE = Family("coverage")

LEAST_PLATEAU = 64
"""Minimum number of pixels at one greatest value that count as saturation; a 20 m band has four of each value."""

LEAST_DROP = 30.0
"""Metres between a flat patch and the lowest ground elsewhere from which a tile of the DEM counts as missing."""

LEAST_PIXELS = 200
"""Minimum number of sampled pixels for the comparison of bands and of years."""


def check(folder: Folder, measured: Measured, limits: Doctor) -> Iterator[Finding]:
    """Yield findings about the values of the images."""
    if "n_B02" not in measured.table:
        return
    table = measured.table[measured.table["n_B02"].notna()]
    with_s2 = table[table["n_B02"] > 0]
    if len(with_s2):
        yield from _scale_and_offset(folder, with_s2, limits)
        yield from _spikes(table, limits)
        yield from _order(measured.pixels)
        yield from _years(measured.pixels, limits)
    yield from _radar(table, limits)
    yield from _elevation(table)
    yield from _coverage(table, limits)


def _scale_and_offset(folder: Folder, table: pd.DataFrame, limits: Doctor) -> Iterator[Finding]:
    small = table[table["median_B08"] < limits.reflectance_below]
    if len(small):
        found = f"a median near infrared of {small['median_B08'].median():.3g} in {len(small)}"
        remedy = "multiply reflectances by 10000 and add the offset"
        yield RADIOMETRY.error("scale", "Sentinel-2 as digital numbers", found, remedy, tiles_of(small))
    table = table.drop(small.index)
    yield from offset.check(folder, table, limits)
    broken = table[table["fraction"] > 0]
    if len(broken):
        found = f"fractions in {len(broken)} images"
        yield RADIOMETRY.warning("fractions", "whole digital numbers", found, "resample with nearest, or round", tiles_of(broken))


def _spikes(table: pd.DataFrame, limits: Doctor) -> Iterator[Finding]:
    wrapped = table[table["wrapped"] > 0]
    if len(wrapped):
        found = f"55537 (65536 − 9999) in {len(wrapped)} images"
        yield RADIOMETRY.error("wrapped nodata", "nodata −9999 everywhere", found, "mask before the conversion of types", tiles_of(wrapped))
    high = table[[f"max_{band}" for band in S2_BANDS]].max(axis=1)
    plateau = pd.concat([table[f"plateau_{band}"].where(table[f"max_{band}"] > 5000, 0) for band in S2_BANDS], axis=1).max(axis=1)
    many = (plateau > limits.saturated_share * table["n_B02"]) & (plateau >= LEAST_PLATEAU)
    saturated = table[(many | (high > limits.saturated_dn)) & (table["wrapped"] == 0)]
    if len(saturated):
        found = f"values to {high[saturated.index].max():.0f}, or many pixels at one greatest value, in {len(saturated)} images"
        expected = f"Sentinel-2 below {limits.saturated_dn:g} DN, no flat tops"
        yield RADIOMETRY.error("saturation", expected, found, "look at the scenes", tiles_of(saturated))
    greater, lesser = table[["stripe_row", "stripe_col"]].max(axis=1), table[["stripe_row", "stripe_col"]].min(axis=1).clip(lower=1)
    striped = table[(greater > limits.stripe_dn) & (greater / lesser > limits.stripe_ratio)]
    if len(striped):
        found = f"lines that differ by {greater[striped.index].median():.0f} DN in {len(striped)} images"
        yield RADIOMETRY.warning(
            "stripes", "lines like their neighbours", found, "look at the scenes; take another date", tiles_of(striped)
        )


def _order(pixels: pd.DataFrame) -> Iterator[Finding]:
    """Check the spectra of vegetation and bare ground, whose shapes are the same everywhere: bands that break them are swapped."""
    for year, rows in pixels.dropna(subset=list(S2_BANDS)).groupby("year"):
        green, bare = rows["B08"] - rows["B04"], rows["B11"] - rows["B8A"]
        if len(rows) < LEAST_PIXELS:
            continue
        plants = rows[green >= green.quantile(0.9)][list(S2_BANDS)].median()
        ground = rows[bare >= bare.quantile(0.95)][list(S2_BANDS)].median()
        wrong = [
            f"{a} ≥ {b} on {cover}"
            for cover, spectrum, order in (
                ("vegetation", plants, (("B04", "B05"), ("B05", "B06"), ("B06", "B07"), ("B04", "B08"), ("B12", "B11"))),
                ("bare ground", ground, (("B02", "B03"), ("B03", "B04"))),
            )
            for a, b in order
            if not spectrum[a] < spectrum[b]
        ]
        if wrong:
            expected = "red < red edge < near infrared on vegetation, blue < green < red on bare ground"
            yield RADIOMETRY.error("band swapped", expected, f"{', '.join(wrong)} in {year}", "write the bands in the released order")


def _years(pixels: pd.DataFrame, limits: Doctor) -> Iterator[Finding]:
    """Compare gain and level of each band between years, on ground that is no mine in either."""
    if not len(pixels):
        return
    ground = pixels[pixels["mask"] == 0].dropna(subset=list(S2_BANDS))
    years = sorted(ground["year"].unique())
    for first, second in pairwise(years):
        both = ground[ground["year"] == first].merge(ground[ground["year"] == second], on=["tile", "place"], suffixes=("_a", "_b"))
        if len(both) < LEAST_PIXELS:
            continue
        changed = []
        for band in S2_BANDS:
            a, b = both[f"{band}_a"], both[f"{band}_b"]
            widths = [values.quantile(0.9) - values.quantile(0.1) for values in (a, b)]
            level, gain = float((b - a).median()), float(widths[1] / widths[0]) if widths[0] > 0 else np.nan
            # haze narrows the range of the visible bands: a gain counts only where the level moves with it
            scaled = abs(gain - 1) > limits.gain and abs(b.median() / a.median() - 1) > limits.gain / 2
            if abs(level) > limits.level_dn or scaled:
                changed.append(f"{band} level {level:+.0f} DN, gain {gain:.2f}")
        if changed:
            expected = f"levels within {limits.level_dn:g} DN and gains within {limits.gain:g} on ground without mines"
            yield RADIOMETRY.error(
                "years differ", expected, f"{first} to {second}: {'; '.join(changed)}", "bring both years to one radiometry"
            )


def _radar(table: pd.DataFrame, limits: Doctor) -> Iterator[Finding]:
    for band in ("VV", "VH"):
        with_data = table[table[f"n_{band}"] > 0]
        linear = with_data[(with_data[f"min_{band}"] >= 0) & (with_data[f"median_{band}"] > 0)]
        if len(linear):
            found = f"no value below 0 in {len(linear)} of {len(with_data)} patches"
            yield RADIOMETRY.error(
                f"{band} linear", f"{band} in dB", found, "take 10·log10 of linear power, in all patches", tiles_of(linear)
            )
        rest = with_data.drop(linear.index)
        beyond = rest[(rest[f"min_{band}"] < -limits.largest_db) | (rest[f"max_{band}"] > limits.largest_db)]
        if len(beyond):
            found = f"values to {beyond[f'max_{band}'].max():.0f} in {len(beyond)} patches"
            expected = f"{band} within ±{limits.largest_db:g} dB"
            yield RADIOMETRY.error(f"{band} range", expected, found, "mask nodata and zeros before dB", tiles_of(beyond))


def _elevation(table: pd.DataFrame) -> Iterator[Finding]:
    with_data = table[table["n_DEM"] > 0]
    beyond = with_data[(with_data["min_DEM"] < -500) | (with_data["max_DEM"] > 9000)]
    if len(beyond):
        found = f"others in {len(beyond)} patches"
        yield RADIOMETRY.error("DEM range", "heights from −500 to 9000 m", found, "mask nodata", tiles_of(beyond))
    flat = with_data[with_data["sd_DEM"] == 0]
    other = with_data.drop(flat.index)
    if len(flat) and len(other):
        lowest = float(other["min_DEM"].quantile(0.05))
        missing = (flat["min_DEM"] - lowest).abs() > LEAST_DROP
        for rows, report in ((flat[missing], RADIOMETRY.warning), (flat[~missing], RADIOMETRY.note)):
            if len(rows):
                found = f"one height all over in {len(rows)} patches; lowest ground elsewhere {lowest:.0f} m"
                yield report("DEM flat", "heights that vary, but on the sea", found, "look for missing tiles", tiles_of(rows))


def _coverage(table: pd.DataFrame, limits: Doctor) -> Iterator[Finding]:
    sizes = np.array([float(np.prod(shape)) for shape in table["image_shape"]])
    for source, band in (("Sentinel-2", "B02"), ("Sentinel-1", "VV"), ("elevation", "DEM")):
        sparse = table[100 * (1 - table[f"n_{band}"] / sizes) > limits.nodata_percent]
        if len(sparse):
            expected, found = f"at most {limits.nodata_percent:g} % nodata", f"more in {len(sparse)} patches"
            yield COVERAGE.warning(f"{source} nodata", expected, found, "take further scenes, or leave the patches out", tiles_of(sparse))
    cloudy = table[100 * table["cloud"] > limits.cloud_percent]
    if len(cloudy):
        expected, found = f"at most {limits.cloud_percent:g} % bright white pixels", f"more in {len(cloudy)} patches"
        yield COVERAGE.warning("cloud", expected, found, "look at them; take another date", tiles_of(cloudy))
