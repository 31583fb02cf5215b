"""Thin cloud that the scene classification misses, in a real series over Flanders (118 dates) and on real bright ground in Tanzania."""

from __future__ import annotations

import datetime as dt
import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
from test_series import make, series, series_folder

from smallmines.composite.observations import near_cloud
from smallmines.core.product import S2_BANDS
from smallmines.sensors.haze import BANDS, hazy

pytestmark = pytest.mark.real

MASKED = (0, 1, 3, 8, 9, 10, 11)
BLUE, RED, NEAR_INFRARED = (S2_BANDS.index(band) for band in ("B02", "B04", "B08"))
ABOVE = 300
"""DN in B02 above the other dates from which a clear observation counts as missed cloud here."""


@dataclass
class Month:
    """Observations of a month where at least three dates of a pixel are clear, (date, row, column).

    Attributes:
        dn: (date, band, row, column) without offset.
        assessed: clear by the scene classification with dilation.
        excess: B02 above the median of the other clear dates.
        is_hazy: what is left out.
    """

    days: list[dt.date]
    dn: np.ndarray
    classes: np.ndarray
    assessed: np.ndarray
    excess: np.ndarray
    is_hazy: np.ndarray

    @property
    def missed(self) -> np.ndarray:
        return self.assessed & (self.excess > ABOVE)


def fine(band: np.ndarray) -> np.ndarray:
    return band if band.shape == (64, 64) else np.kron(band, np.ones((2, 2), band.dtype))


def months(folder: Path) -> list[Month]:
    """The months of the series with three dates or more."""
    by_month = defaultdict(list)
    for when, bands in sorted(series(folder, (dt.date(2017, 8, 1), dt.date(2018, 11, 30))).items()):
        by_month[when.year, when.month].append((when.date(), bands))
    result = []
    for dates in by_month.values():
        if len(dates) < 3:
            continue
        dn = np.stack([np.stack([fine(bands[band]) for band in S2_BANDS]) for _, bands in dates]).astype(np.int32)
        classes = np.stack([fine(bands["SCL"]) for _, bands in dates])
        near = np.stack([near_cloud(np.pad(one, 14), MASKED, 6, 4)[14:-14, 14:-14] for one in classes])
        clear = ~np.isin(classes, MASKED) & (dn > 0).all(axis=1) & ~near
        enough = clear.sum(axis=0) >= 3
        blue = np.where(clear, dn[:, BLUE], np.nan)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # pixels without another clear date
            level = np.stack([np.nanmedian(np.delete(blue, number, axis=0), axis=0) for number in range(len(blue))])
        is_hazy = hazy({band: dn[:, S2_BANDS.index(band)] for band in BANDS}, clear)
        result.append(Month([day for day, _ in dates], dn, classes, clear & enough, dn[:, BLUE] - level, is_hazy))
    return result


def test_missed_clouds_fall_by_more_than_half_on_every_date(shared_data: Path) -> None:
    all_months = months(series_folder(shared_data))
    assert sum(month.assessed.sum() for month in all_months) > 150_000
    cloudy_dates = 0
    for month in all_months:
        for number, day in enumerate(month.days):
            missed, assessed = month.missed[number], month.assessed[number]
            if assessed.sum() < 200 or missed.sum() < 0.2 * assessed.sum():
                continue
            cloudy_dates += 1
            left = (missed & ~month.is_hazy[number]).sum()
            assert left <= 0.35 * missed.sum(), day
    assert cloudy_dates >= 10
    missed = sum(month.missed.sum() for month in all_months)
    left = sum((month.missed & ~month.is_hazy).sum() for month in all_months)
    assert left / missed < 0.16


def test_little_else_is_lost_and_bare_ground_stays(shared_data: Path) -> None:
    others = assessed = bare = bare_lost = 0
    for month in months(series_folder(shared_data)):
        others += (month.is_hazy & ~month.missed).sum()
        assessed += month.assessed.sum()
        red, near = month.dn[:, RED], month.dn[:, NEAR_INFRARED]
        level = [np.median(excess[seen]) if seen.any() else np.inf for excess, seen in zip(month.excess, month.assessed, strict=True)]
        haze_free = (np.array(level) < 100)[:, np.newaxis, np.newaxis] & month.assessed
        is_bare = haze_free & (month.classes == 5) & (near - red < 0.25 * (near + red))
        bare += is_bare.sum()
        bare_lost += (is_bare & month.is_hazy).sum()
        assert ((month.assessed & ~month.is_hazy).any(axis=0) == month.assessed.any(axis=0)).all(), "no pixel is lost"
    assert others / assessed < 0.06
    assert bare > 10_000
    assert bare_lost / bare < 0.03


@pytest.mark.heavy
def test_the_composite_of_a_hazy_month(shared_data: Path, tmp_path: Path) -> None:
    folder = series_folder(shared_data)
    (month,) = (month for month in months(folder) if (month.days[0].year, month.days[0].month) == (2018, 7))
    clean = np.where(month.assessed & ~month.is_hazy, month.dn[:, BLUE], np.nan)
    level = np.nanmedian(clean, axis=0)
    shares, clear_shares = {}, {}
    for haze in ("never", "auto"):
        (tmp_path / haze).mkdir()
        july = (dt.date(2018, 7, 10), dt.date(2018, 7, 31))  # begins with a hazy date
        image, _, clear_mask, stats, _ = make(tmp_path / haze, folder, july, method="earliest", haze=haze)
        shares[haze] = float((image[0] - 1000.0 - level > ABOVE).mean())
        clear_shares[haze] = float((clear_mask > 0).mean())
    assert stats["haze"]["state"] == "corrected"
    assert clear_shares["auto"] == clear_shares["never"], "no coverage is lost"
    assert shares["never"] > 0.5
    assert shares["auto"] < 0.1 * shares["never"]


def test_real_bright_ground_stays_on_dates_with_other_sun(shared_data: Path) -> None:
    with rasterio.open(shared_data / "terramesh/S2L2A/38D_378R_2_3.tif") as source:
        dn = source.read([2, 4]).astype(np.float64)
    rng = np.random.default_rng(0)
    dates = np.stack([gain * dn + rng.normal(0, 15, dn.shape) for gain in (1.0, 0.93, 1.07, 0.97)]).round().astype(np.int32)
    clear = np.ones((4, *dn.shape[1:]), bool)
    bright = dn[1] > np.quantile(dn[1], 0.8)
    assert hazy(dict(zip(BANDS, dates.transpose(1, 0, 2, 3), strict=True)), clear)[:, bright].mean() < 1e-3
    dates[2] += np.array([500, 350])[:, np.newaxis, np.newaxis]
    flags = hazy(dict(zip(BANDS, dates.transpose(1, 0, 2, 3), strict=True)), clear)
    assert flags[2].mean() > 0.9
    assert flags[[0, 1, 3]].mean() < 1e-3
