"""`snakemake map` on the small miniature after people's work, with a layer of units of the user."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pystac
import pytest
import rasterio
import rasterio.windows
import shapely
import yaml

from smallmines.core.files import sha256
from smallmines.grid.lattice import read_lattice
from workspace import Workspace

SETTINGS = {"units": ["halves.gpkg"], "smallest_mine_px": 3, "public": "polygons", "smallest_published_ha": 0.5}

pytestmark = [pytest.mark.e2e, pytest.mark.heavy]


@pytest.fixture(scope="module")
def mapped(miniature: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A finished map: two people have corrected labels and looked at the accuracy sample; two halves of the run are units."""
    clone = miniature.clone(tmp_path_factory.mktemp("map") / "clone")
    clone.world("correct", "--config", clone.config)
    box = read_lattice(clone.results / "grid/grid.json").geobox.boundingbox
    middle = (box.left + box.right) / 2
    halves = [shapely.box(box.left, box.bottom, middle, box.top), shapely.box(middle, box.bottom, box.right, box.top)]
    gpd.GeoDataFrame({"name": ["west", "east"]}, geometry=halves, crs="EPSG:32630").to_file(clone.folder / "halves.gpkg")
    path = clone.folder / clone.config
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"map": SETTINGS}))
    clone.snakemake("map", "results/small/dataset/labels.json")
    return clone


def test_mosaics_and_polygons_are_the_masks(mapped: Workspace) -> None:
    lattice = read_lattice(mapped.results / "grid/grid.json")
    for year in ("2016", "2022"):
        with rasterio.open(mapped.results / f"map/{year}/mask.tif") as source:
            mask = source.read(1)
        mining = 0
        for block in lattice.windows:
            with rasterio.open(mapped.results / f"masks/{year}/{block}.tif") as source:
                pixels, own = source.read(1), lattice.own(block)
            row, col = lattice.offset(block)
            np.testing.assert_array_equal(mask[row : row + own.shape[0], col : col + own.shape[1]][own], pixels[own])
            mining += int((pixels[own] == 1).sum())
        table = gpd.read_parquet(mapped.results / f"map/{year}/mines.parquet")
        assert 0.95 * mining < round(100 * table["area_ha"].sum()) <= mining
        assert table["area_ha"].min() >= 0.03
        assert 0 < table["seen_share"].mean() < 1
        assert table["image_date_first"].str.startswith(f"{year}-01-").all()
        assert (mapped.results / f"map/{year}/map.png").stat().st_size > 50_000
        assert sorted(path.name for path in (mapped.results / f"map/{year}").glob("*.qml")) == [
            f"{name}.qml" for name in ("mask", "mines", "probability", "provenance")
        ]


def test_areas_agree_with_the_quality_of_the_labels_and_with_each_other(mapped: Workspace) -> None:
    table = pd.read_csv(mapped.results / "map/areas.csv").set_index(["layer", "unit", "year"])
    years = json.loads((mapped.results / "dataset/labels.json").read_text())["years"]
    for year in (2016, 2022):
        whole = table.loc["run", "all tiles", year]
        accuracy = years[str(year)]["accuracy"]
        assert whole["points"] == accuracy["settled"]
        normal = accuracy["mining_ha"]  # the quality of the labels has a normal interval, areas by unit a sum of beta distributions
        assert whole["mining_ha"] == pytest.approx(normal["value"], abs=1e-3)
        assert [whole["low"], whole["high"]] == pytest.approx([normal["low"], normal["high"]], abs=(normal["high"] - normal["low"]) / 4)
        assert whole["low"] < whole["mining_ha"] < whole["high"]
        true = true_hectares(mapped, str(year))
        assert abs(whole["mining_ha"] - true) < whole["high"] - whole["low"], "the interval itself fails once in twenty"
        halves = table.loc["halves"].xs(year, level="year")
        for name in ("area_ha", "mapped_ha", "unmapped_ha", "points", "mining_points"):
            assert halves[name].sum() == pytest.approx(whole[name])
        assert halves["why"].isna().all() or set(halves["why"].dropna()) == {"too few points"}


def true_hectares(workspace: Workspace, year: str) -> float:
    """Return the area of true mines in segments, ha."""
    pixels = 0
    with rasterio.open(workspace.folder / f"resources/automatic/small/truth/{year}.tif") as truth:
        for block in "12":
            with rasterio.open(workspace.results / f"segments/{year}/{block}/segments.tif") as source:
                window = rasterio.windows.from_bounds(*source.bounds, transform=truth.transform).round_offsets().round_lengths()
                pixels += int(((truth.read(1, window=window) == 1) & (source.read(1) > 0)).sum())
    return pixels / 100


def test_the_catalogue_leads_to_every_file(mapped: Workspace) -> None:
    collection = pystac.Collection.from_file(str(mapped.results / "map/collection.json"))
    for item in collection.get_items():
        assert len(item.assets) == 6 + 2
        for asset in item.assets.values():
            assert asset.extra_fields["file:checksum"] == f"1220{sha256(str(asset.get_absolute_href()))}"


def test_the_same_map_again_has_the_same_bytes_and_is_up_to_date(mapped: Workspace) -> None:
    assert mapped.planned("map") == {}
    files = [path for path in sorted((mapped.results / "map").rglob("*")) if path.is_file()]
    before = {path: sha256(path) for path in files}
    mapped.snakemake("map", "--forcerun", "map_mosaic")
    assert {path: sha256(path) for path in files} == before


def test_a_wrong_layer_is_told_in_three_lines(mapped: Workspace, tmp_path: Path) -> None:
    clone = mapped.clone(tmp_path / "clone")
    path = clone.folder / clone.config
    path.write_text(path.read_text().replace("halves.gpkg", "gone.gpkg"))
    output = clone.snakemake("map", succeeds=False)
    assert "found     no such file" in output
    assert "Traceback" not in output


def test_what_is_given_away_is_what_was_chosen_and_nothing_of_an_earlier_choice(mapped: Workspace, tmp_path: Path) -> None:
    clone = mapped.clone(tmp_path / "clone")
    public = clone.results / "map/public"
    assert (public / "areas.csv").read_bytes() == (clone.results / "map/areas.csv").read_bytes()
    for year in ("2016", "2022"):
        every, given = (gpd.read_parquet(folder / year / "mines.parquet") for folder in (clone.results / "map", public))
        large = every[every["area_ha"] >= 0.5]
        assert 0 < len(large) < len(every)
        assert given["mine"].tolist() == large["mine"].tolist()
        assert f"- {year}: {len(large)} of {len(every)} mines." in (public / "README.md").read_text(encoding="utf-8")
    path = clone.folder / clone.config
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"map": SETTINGS | {"public": "areas"}}))
    assert clone.planned("map") == {"map_public": 1, "map": 1}
    clone.snakemake("map")
    assert sorted(file.name for file in public.rglob("[!.]*")) == ["README.md", "areas.csv"], "Snakemake adds a hidden file"
