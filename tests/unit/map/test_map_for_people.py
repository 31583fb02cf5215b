"""What people look at: the picture of a year and the styles for QGIS."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from PIL import Image

from fake_map import make_map
from fake_results import YEAR
from smallmines.core import raster
from smallmines.labels.tables import PROVENANCES
from smallmines.map.picture import overview, write_picture
from smallmines.map.polygons import write_mines
from smallmines.map.styles import PREDICTED, SEEN, write_styles
from smallmines.report import canvas


def test_the_picture_shows_mines_in_their_place(tmp_path: Path) -> None:
    results, files, days = make_map(tmp_path)
    parquet = tmp_path / "mines.parquet"
    write_mines(files, results.lattice, YEAR, days, 0, parquet, tmp_path / "mines.fgb")
    area = gpd.GeoDataFrame({"name": ["Bekwai"]}, geometry=[shapely.box(600100, 699700, 600500, 699950)], crs="EPSG:32630")
    area.to_file(tmp_path / "aoi.gpkg")

    for name in ("with", "without"):
        write_picture(YEAR, days.composites, str(parquet), str(tmp_path / "aoi.gpkg"), results.lattice, tmp_path / f"{name}.png")
        gpd.read_parquet(parquet).iloc[:0].to_parquet(parquet)
    pixels, bare = (np.asarray(Image.open(path)).astype(int) for path in (tmp_path / "with.png", tmp_path / "without.png"))
    changed = (np.abs(pixels - bare).sum(axis=2) > 0)[40:]  # below the title
    red = np.abs(pixels[40:] - 255 * np.array(canvas.MINING)).sum(axis=2) < 40
    assert red.sum() > 50, "outlines in the colour of mining"
    assert changed[red].mean() > 0.9, "where there are mines, and nowhere else"


def test_names_of_units_are_written_as_they_are(tmp_path: Path) -> None:
    """Text between two $ is a formula to matplotlib, and a wrong one stops it."""
    results, files, days = make_map(tmp_path)
    parquet = tmp_path / "mines.parquet"
    write_mines(files, results.lattice, YEAR, days, 0, parquet, tmp_path / "mines.fgb")
    pictures = []
    for number, name in enumerate([r"$\foo$", "$x$", "x"]):
        area = gpd.GeoDataFrame({"name": [name]}, geometry=[shapely.box(600100, 699700, 600500, 699950)], crs="EPSG:32630")
        area.to_file(tmp_path / f"{number}.gpkg")
        write_picture(YEAR, days.composites, str(parquet), str(tmp_path / f"{number}.gpkg"), results.lattice, tmp_path / f"{number}.png")
        pictures.append(np.asarray(Image.open(tmp_path / f"{number}.png")).astype(int))
    assert np.abs(pictures[1] - pictures[2]).sum() > 0, "the $ is drawn"


def test_the_overview_is_the_composite_of_each_block(tmp_path: Path) -> None:
    """Pixels of the composites in the own cells of a block, at full size since the run is small; white elsewhere."""
    results, _, days = make_map(tmp_path)
    side = results.side
    colours = overview(days.composites, results.lattice)
    assert colours.shape == (*results.lattice.geobox.shape, 3)
    assert (colours[:side, side : 2 * side] == 1).all(), "no tile"
    bands = np.zeros((3, *results.lattice.geobox.shape))
    for block, path in days.composites.items():
        values = raster.read(path, bands=[3, 2, 1])
        for cell in results.lattice.cells_of(block).itertuples():
            there = (slice(cell.row * side, (cell.row + 1) * side), slice(cell.col * side, (cell.col + 1) * side))
            bands[:, *there] = values[:, cell.y : cell.y + side, cell.x : cell.x + side]
    valid = (bands > 0).all(axis=0)
    np.testing.assert_allclose(colours[valid], canvas.stretched(bands, valid, gamma=canvas.GAMMA)[valid], atol=1e-6)


def test_a_reduced_overview_has_each_tile_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 × 10 pixels for 4 × 2 tiles of 16 px."""
    monkeypatch.setattr(canvas, "LIMIT", 20)
    results, _, days = make_map(tmp_path)
    for block, path in days.composites.items():
        with rasterio.open(path, "r+") as source:
            source.write(np.full((10, *source.shape), 1000 * int(block), np.uint16))
    colours = overview(days.composites, results.lattice)
    blocks = np.kron([[1, 0, 2, 2], [1, 1, 2, 0]], np.ones((5, 5), int))
    assert colours.shape == (10, 20, 3)
    np.testing.assert_array_equal(colours[..., 0], np.array([1, 0, 1])[blocks])


def test_styles_are_of_the_values_in_the_files(tmp_path: Path) -> None:
    _, files, _ = make_map(tmp_path)
    names = ("mask", "probability", "provenance", "mines")
    write_styles([tmp_path / f"{name}.qml" for name in names])
    looks = {name: ElementTree.parse(tmp_path / f"{name}.qml").getroot() for name in names}
    assert {root.tag for root in looks.values()} == {"qgis"}
    entries = {entry.get("label"): entry for entry in looks["mask"].iter("paletteEntry")}
    assert {label: (entry.get("value"), entry.get("alpha")) for label, entry in entries.items()} == {
        "not mining": ("0", "0"),
        "mining": ("1", "255"),
    }
    listed = [
        (int(entry.get("value", "")), entry.get("label"), entry.get("color", "")) for entry in looks["provenance"].iter("paletteEntry")
    ]
    with rasterio.open(str(files.provenance)) as source:
        colours = source.colormap(1)
    assert [(code, label) for code, label, _ in listed] == list(enumerate(PROVENANCES, 1))
    assert all(colour == "#{:02x}{:02x}{:02x}".format(*colours[code]) for code, _, colour in listed)
    assert [item.get("value") for item in looks["probability"].iter("item")] == ["0", "10", "25", "50", "100"]
    renderer = next(looks["mines"].iter("renderer-v2"))
    assert [category.get("value") for category in renderer.iter("category")] == [SEEN, PREDICTED]
    assert '"seen_share"' in renderer.get("attr", "")
    assert '"area_ha"' in next(looks["mines"].iter("mapTip")).text  # type: ignore[operator]  # it has a text
