"""A real month of Sentinel-2 over Flanders (January 2018, five dates) through search, fetch and composite.

`python tests/real/test_series.py FOLDER OUT.png` draws the dates and the composites made of them.
"""

from __future__ import annotations

import datetime as dt
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[2] / part) for part in ("workflow", "tests")]

from archive_builder import ArchiveBuilder, grid, product, write_grid
from sections import asked, cache, fetching
from smallmines.archive.fetch import fetch
from smallmines.archive.search import search
from smallmines.composite.sentinel2 import composite
from smallmines.config.imagery import Sentinel2
from smallmines.core.files import read_json
from smallmines.core.product import S2_BANDS

pytestmark = pytest.mark.real

FINE = ("B02", "B03", "B04", "B08")
WINDOW = (dt.date(2018, 1, 1), dt.date(2018, 1, 31))


def series(folder: Path, window: tuple[dt.date, dt.date] = WINDOW) -> dict[dt.datetime, dict[str, np.ndarray]]:
    """The bands of each date in the window."""
    name = next(folder.glob("S2_L2A_10m_*.nc")).name
    found: dict[dt.datetime, dict[str, np.ndarray]] = {}
    for band in (*S2_BANDS, "SCL"):
        path = folder / (name if band in FINE else name.replace("_10m_", "_20m_"))
        with rasterio.open(f"netcdf:{path}:{band}") as source:
            array, tags = source.read(), source.tags()
        start = dt.datetime.fromisoformat(re.search(r"since (.*)$", tags["timestamp#units"])[1])  # type: ignore[index]
        seconds = [int(value) for value in tags["NETCDF_DIM_timestamp_VALUES"].strip("{}").split(",")]
        for values, after in zip(array, seconds, strict=True):
            when = start + dt.timedelta(seconds=after)
            if window[0] <= when.date() <= window[1]:
                found.setdefault(when, {})[band] = values.astype(np.uint8 if band == "SCL" else np.uint16)
    return found


def make(
    folder: Path, data: Path, window: tuple[dt.date, dt.date] = WINDOW, **settings: object
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict, dict]:
    """Image, scene, clearness, stats and manifest of the composite."""
    archive = ArchiveBuilder(folder / "archive")
    whole = grid(501360, 5629680, (64, 64), crs="EPSG:32631")
    for when, bands in series(data, window).items():
        archive.add_s2(product(f"{when:%Y%m%d}", tile="31UDS", baseline="0206", made=f"{when:%Y%m%d}T150000"), whole, bands)
    config = Sentinel2(provider="static", catalogue=str(archive.save()), **({"cloud_dilation_px": 1, "cloud_opening_px": 1} | settings))
    lattice = write_grid(folder / "grid.json", whole, 32, {"1": (0, 0, 2, 2)})
    search("s2", "2018", {"2018": window}, asked(config), lattice, folder / "s2.json")
    fetch("s2", "1", lattice, folder / "s2.json", cache(folder / "pixels"), fetching(config), folder / "fetched.json")
    outputs = {name: folder / f"{name}.tif" for name in ("image", "source", "clear_mask")} | {"stats": folder / "stats.json"}
    composite("1", lattice, folder / "fetched.json", config, outputs)
    read = [rasterio.open(outputs[name]).read() for name in ("image", "source", "clear_mask")]
    return read[0], read[1][0], read[2][0], read_json(outputs["stats"]), read_json(folder / "s2.json")


def series_folder(shared_data: Path) -> Path:
    return next((shared_data / "worldcereal").glob("*/"))


def test_a_real_month_is_composited(shared_data: Path, tmp_path: Path) -> None:
    folder = series_folder(shared_data)
    dates = series(folder)
    assert len(dates) == 5
    image, scene, clear, stats, manifest = make(tmp_path, folder)
    shares = {one["date"]: one["clear_share"] for one in manifest["datatakes"]}
    assert list(shares.values()) == sorted(shares.values(), reverse=True), "ranked by the clear share"
    assert not any(item["offset"] for item in manifest["chosen"])
    assert {one["pixels_say"]["offset"] for one in stats["scenes"]} <= {0, None}
    assert any(one["verdict"] == "proved" for one in stats["scenes"])
    by_day = {f"{when.date()}": bands for when, bands in dates.items()}
    day_of = {item["index"]: item["datetime"][:10] for item in manifest["chosen"]}
    for index in np.unique(scene[scene > 0]):
        for number, band in enumerate(S2_BANDS):
            values = by_day[day_of[int(index)]][band]
            values = values if band in FINE else np.kron(values, np.ones((2, 2), np.uint16))
            assert np.array_equal(image[number][scene == index], values[scene == index] + 1000), (index, band)
    masked = np.kron(np.isin(by_day[day_of[1]]["SCL"], [0, 1, 3, 8, 9, 10, 11]), np.ones((2, 2), bool))
    assert (clear[(scene == 1) & ~masked] > 0).mean() > 0.8
    assert (clear > 0).mean() >= max(shares.values()) - 0.2


def main(folder: Path, target: Path) -> None:
    """Draw it."""
    import tempfile

    from matplotlib.figure import Figure

    figure = Figure(figsize=(18, 9), layout="constrained")
    axes = figure.subplots(2, 5)
    dates = sorted(series(folder).items())
    for place, (when, bands) in zip(axes[0], dates, strict=True):
        place.imshow(np.clip(np.stack([bands[band] for band in ("B04", "B03", "B02")], axis=-1) / 2500, 0, 1))
        place.contour(np.kron(np.isin(bands["SCL"], [0, 1, 3, 8, 9, 10, 11]), np.ones((2, 2))), [0.5], colors="red")
        place.set_title(f"{when:%d %b}, masked by SCL: red")
    for place, method in zip(axes[1], ("best_scene", "earliest", "least_cloudy", "median"), strict=False):
        with tempfile.TemporaryDirectory() as work:
            image, scene, clear, stats, manifest = make(Path(work), folder, method=method)
        place.imshow(np.clip((image[[2, 1, 0]].transpose(1, 2, 0) - 1000.0) / 2500, 0, 1))
        place.contour(clear > 0, [0.5], colors="red")
        print(method, {key: stats[key] for key in ("unclear_share", "fill_share", "nodata_share")}, np.unique(scene, return_counts=True))
        print([(one["date"], one["clear_share"]) for one in manifest["datatakes"]], [one["pixels_say"] for one in stats["scenes"]])
        place.set_title(f"{method}: {100 * float((clear > 0).mean()):.0f} % clear (unclear: red)")
    axes[1][4].imshow(scene, cmap="tab10")
    axes[1][4].set_title("scene of the median")
    figure.savefig(target, dpi=60)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
