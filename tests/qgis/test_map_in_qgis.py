"""The folder of the map in real QGIS: each file opens with the style beside it, in the colours of the map."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from fake_map import make_map, make_years
from fake_results import YEAR
from smallmines.dataset.change import COLOURS, GONE, NEW, STABLE_MINING
from smallmines.map.change_map import write_change, write_change_areas
from smallmines.map.mosaics import MASK_COLOURS, PROVENANCE_CODES, PROVENANCE_COLOURS
from smallmines.map.polygons import write_mines
from smallmines.map.styles import PREDICTED, RAMP, SEEN, write_styles
from smallmines.settings.map import Change
from system_packages import install

pytestmark = [pytest.mark.heavy, pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")]

PYTHON = "/usr/bin/python3"
"""QGIS's Python modules are the distribution's."""

SOLID, DOTTED = 1, 3
"""Styles of Qt's pens."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map and a change with their styles."""
    folder = tmp_path_factory.mktemp("map")
    results, files, days = make_map(folder / "one", 32)
    targets = folder / f"one/map/{YEAR}"
    write_mines(files, results.lattice, YEAR, days, 0, targets / "mines.parquet", targets / "mines.fgb")
    write_styles([targets / f"{name}.qml" for name in ("mask", "probability", "provenance", "mines")])
    results, years = make_years(folder / "two")
    change = folder / "change/change.tif"
    write_change(years["2016"], years["2022"], results.lattice, Change(1, 3), change)
    polygons = (folder / "change/changes.parquet", folder / "change/changes.fgb")
    write_change_areas(str(change), years["2016"], years["2022"], results.lattice, *polygons)
    write_styles([folder / f"change/{name}.qml" for name in ("change", "changes")])
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def layers(folder: Path, pictures: Path) -> dict[str, Any]:
    """What QGIS says of each layer; installs QGIS where this may."""
    if subprocess.run([PYTHON, "-c", "import qgis.core"], capture_output=True, check=False).returncode:
        install("python3-qgis")
    of_year = [folder / f"one/map/{YEAR}/{name}" for name in ("mask.tif", "probability.tif", "provenance.tif", "mines.fgb")]
    paths = [*of_year, folder / "change/change.tif", folder / "change/changes.fgb"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [PYTHON, Path(__file__).with_name("look_at_map.py"), pictures, *paths],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env=environment | {"HOME": home},
        )
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def colour(entry: tuple[int, int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*entry)


def drawn(pictures: Path, name: str, entry: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the pixels of a picture that have a colour."""
    with rasterio.open(pictures / f"{name}.png") as source:
        pixels = source.read()[:3].astype(int)
    near: NDArray[np.bool_] = np.abs(pixels - np.array(entry[:3])[:, None, None]).max(axis=0) <= 2
    return near


def test_rasters_have_a_class_for_each_value(layers: dict[str, Any]) -> None:
    assert layers["mask"] == {
        "valid": True,
        "renderer": "paletted",
        "classes": [[0, "not mining", colour(MASK_COLOURS[0]), 0], [1, "mining", colour(MASK_COLOURS[1]), 255]],
    }
    provenances = [[code, name, colour(PROVENANCE_COLOURS[name]), 255] for name, code in PROVENANCE_CODES.items()]
    assert layers["provenance"] == {"valid": True, "renderer": "paletted", "classes": provenances}
    ramp = [[value, f"{value} %", shade, 255 * (value > 0)] for value, shade in RAMP.items()]
    assert layers["probability"] == {"valid": True, "renderer": "singlebandpseudocolor", "classes": ramp}
    assert [entry[:2] + entry[3:] for entry in layers["change"]["classes"]] == [
        [0, "stable other", 0],
        [1, "new", 255],
        [2, "gone", 255],
        [3, "stable mining", 255],
    ]
    assert [entry[2] for entry in layers["change"]["classes"]] == list(map(colour, COLOURS.values()))


def test_polygons_are_in_categories(layers: dict[str, Any], folder: Path) -> None:
    mines, changes = layers["mines"], layers["changes"]
    assert mines["valid"]
    assert changes["valid"]
    assert mines["features"] == len(gpd.read_parquet(folder / f"one/map/{YEAR}/mines.parquet")) > 0
    assert changes["features"] == len(gpd.read_parquet(folder / "change/changes.parquet")) > 0
    assert mines["renderer"] == changes["renderer"] == "categorizedSymbol"
    assert mines["classes"] == [[SEEN, colour(MASK_COLOURS[1]), SOLID], [PREDICTED, colour(MASK_COLOURS[1]), DOTTED]]
    assert changes["classes"] == [["new", colour(COLOURS[NEW]), SOLID], ["gone", colour(COLOURS[GONE]), SOLID]]
    assert "area_ha" in mines["tip"]
    assert "before_from" in changes["tip"]


def test_pictures_have_the_colours_where_the_classes_are(layers: dict[str, Any], folder: Path, pictures: Path) -> None:
    """Shares of the picture are those of the raster; what is transparent is white."""
    assert layers
    for name, path, value, entry in (
        ("mask", f"one/map/{YEAR}/mask.tif", 1, MASK_COLOURS[1]),
        ("provenance", f"one/map/{YEAR}/provenance.tif", PROVENANCE_CODES["predicted"], PROVENANCE_COLOURS["predicted"]),
        ("change", "change/change.tif", NEW, COLOURS[NEW]),
        ("change", "change/change.tif", GONE, COLOURS[GONE]),
        ("change", "change/change.tif", STABLE_MINING, COLOURS[STABLE_MINING]),
    ):
        with rasterio.open(folder / path) as source:
            values = source.read(1)
        assert (values == value).any(), name
        seen, height = drawn(pictures, name, entry), 900 * values.shape[0] / values.shape[1]
        assert seen.sum() / (900 * height) == pytest.approx((values == value).mean(), rel=0.05), (name, value)
    for name in ("mines", "changes"):
        assert not drawn(pictures, name, (255, 255, 255)).all(), name
