"""The offset of real images, as they are and with 1000 and 2000 added: what pixels prove, and what a composite says of it."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import rasterio

from archive_builder import TWENTY, ArchiveBuilder, grid, product, write_grid
from real.test_series import FINE, series_folder
from real.triples import read_triple
from sections import asked, cache, fetching
from smallmines.archive.fetch import fetch
from smallmines.archive.search import search
from smallmines.composite.sentinel2 import composite
from smallmines.config.imagery import Sentinel2
from smallmines.core.errors import UserError
from smallmines.core.files import read_json
from smallmines.core.product import S2_BANDS
from smallmines.sensors.dark_pixels import DarkPixels, levels_of, offset_of_images

pytestmark = pytest.mark.real

PLACES = {"savanna": "38D_378R_2_3", "rain forest": "282D_485L_3_3", "snow": "609U_541L_3_0"}
CLOUDS = (3, 8, 9, 10)


def image(shared_data: Path, place: str) -> np.ndarray:
    return read_triple(shared_data / "terramesh", PLACES[place], 2021, 4).s2


@pytest.fixture(scope="module")
def dates(shared_data: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """(10, 64, 64) DN and (64, 64) scene classes of each date of a series."""
    folder = series_folder(shared_data)
    name = next(folder.glob("S2_L2A_10m_*.nc")).name
    bands = []
    for band in (*S2_BANDS, "SCL"):
        with rasterio.open(f"netcdf:{folder / (name if band in FINE else name.replace('_10m_', '_20m_'))}:{band}") as source:
            values = source.read()
        bands.append(values if values.shape[1] == 64 else values.repeat(2, axis=1).repeat(2, axis=2))
    return [(np.stack(date[:10]).astype(np.uint16), date[10].astype(np.uint8)) for date in zip(*bands, strict=True)]


def offset(dn: np.ndarray, scl: np.ndarray | None = None) -> int | None:
    pixels = DarkPixels()
    pixels.add(dn, (dn > 0).all(axis=0), scl)
    return pixels.evidence().offset


def plus(dn: np.ndarray, added: int) -> np.ndarray:
    return np.where(dn == 0, np.uint16(0), dn + np.uint16(added)).astype(np.uint16)


@pytest.mark.parametrize(("place", "decided"), [("savanna", [0, None, None]), ("rain forest", [0, 1000, 2000]), ("snow", [0, None, None])])
def test_images_of_three_places(shared_data: Path, place: str, decided: list[int | None]) -> None:
    dn = image(shared_data, place)
    assert [offset(plus(dn, added)) for added in (0, 1000, 2000)] == decided


@pytest.mark.parametrize("classified", [False, True])
@pytest.mark.parametrize(("added", "at_least"), [(0, 76), (1000, 56), (2000, 56)])
def test_no_date_of_a_series_is_decided_wrongly(
    dates: list[tuple[np.ndarray, np.ndarray]], classified: bool, added: int, at_least: int
) -> None:
    assert len(dates) == 118
    counts = Counter(offset(plus(dn, added), scl if classified else None) for dn, scl in dates)
    assert set(counts) <= {added, None}
    assert counts[added] >= at_least
    clear = [(dn, scl) for dn, scl in dates if np.isin(scl, CLOUDS).mean() < 0.5]
    undecided = sum(offset(plus(dn, added), scl if classified else None) is None for dn, scl in clear)
    assert (len(clear), undecided) <= (58, 7), "with the offset, 30 by the classes of dark ground alone, and 58 without classes"


@pytest.mark.parametrize("added", [0, 1000, 2000])
def test_the_dates_of_a_series_together_tell_the_offset(dates: list[tuple[np.ndarray, np.ndarray]], added: int) -> None:
    clear = [plus(dn, added).reshape(10, -1) for dn, scl in dates if np.isin(scl, CLOUDS).mean() < 0.5]
    minima = np.array([np.quantile(dn, 0.001, axis=1, method="lower").min() for dn in clear], np.float64)
    targets, vegetation = np.array([levels_of(dn) for dn in clear]).T
    assert offset_of_images(minima, targets, vegetation) == added
    assert offset_of_images(minima, np.full(len(minima), np.nan), vegetation) == added


def made(folder: Path, dn: np.ndarray, baseline: str, **settings: object) -> dict[str, Path]:
    """Composite of one image without a scene classification, declared by its name."""
    archive = ArchiveBuilder(folder / "archive")
    whole = grid(600000, 700000, (224, 224))
    bands = {band: values[::2, ::2] if band in TWENTY else values for band, values in zip(S2_BANDS, dn, strict=True)}
    archive.add_s2(product("20160105", baseline=baseline), whole, bands)
    config = Sentinel2(provider="static", catalogue=str(archive.save()), clouds="none", **settings)
    lattice = write_grid(folder / "grid.json", whole, 32, {"1": (0, 0, 7, 7)})
    window = {"2016": (dt.date(2016, 1, 1), dt.date(2016, 1, 31))}
    search("s2", "2016", window, asked(config), lattice, folder / "s2.json")
    fetch("s2", "1", lattice, folder / "s2.json", cache(folder / "pixels"), fetching(config), folder / "fetched.json")
    outputs = {name: folder / f"{name}.tif" for name in ("image", "source", "clear_mask")} | {"stats": folder / "stats.json"}
    composite("1", lattice, folder / "fetched.json", config, outputs)
    return outputs


@pytest.mark.heavy
@pytest.mark.parametrize("radiometry", ["dn_plus1000", "dn_harmonised", "native"])
@pytest.mark.parametrize("place", PLACES)
def test_a_false_declaration_is_stopped_or_flagged(
    shared_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, place: str, radiometry: str
) -> None:
    dn = image(shared_data, place)
    with pytest.raises(UserError, match=r"offset of 1000, as product of[\s\S]*an offset of 0"):
        made(tmp_path / "without", dn, "0500", radiometry=radiometry)
    if place == "rain forest":
        with pytest.raises(UserError, match=r"offset of 0, as product of[\s\S]*an offset of 1000"):
            made(tmp_path / "with", plus(dn, 1000), "0214", radiometry=radiometry)
        return
    outputs = made(tmp_path / "with", plus(dn, 1000), "0214", radiometry=radiometry)
    with rasterio.open(outputs["image"]) as source:
        assert source.tags()["RADIOMETRY_VERDICT"] == "undecided"
    assert read_json(outputs["stats"])["verdict"] == "undecided"
    assert "what settles it: a provider whose items have the product's metadata" in caplog.text
    with pytest.raises(UserError, match="that pixels or the product's metadata confirm"):
        made(tmp_path / "stop", plus(dn, 1000), "0214", radiometry=radiometry, undecided="stop")


@pytest.mark.heavy
@pytest.mark.parametrize("place", PLACES)
def test_a_true_declaration_never_stops(shared_data: Path, tmp_path: Path, place: str) -> None:
    dn = image(shared_data, place)
    for baseline, added, verdict in (("0214", 0, "proved"), ("0500", 1000, "proved" if place == "rain forest" else "undecided")):
        outputs = made(tmp_path / baseline, plus(dn, added), baseline)
        assert read_json(outputs["stats"])["verdict"] == verdict
