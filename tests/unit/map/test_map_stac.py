"""The catalogue of the map: valid by pystac's own schemas, read back with pystac's extensions, and with the files it names."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pystac
import pytest
from pystac.extensions.classification import ClassificationExtension
from pystac.extensions.mlm import MLMExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.raster import RasterExtension
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from fake_results import YEAR, make_grid
from smallmines.core.files import read_json, write_json
from smallmines.grid.lattice import Lattice
from smallmines.labels.tables import PROVENANCES
from smallmines.map.stac import ASSETS, Forest, MapOfYear, files_of_years, write_catalogue
from smallmines.map.stac import item as item_of
from smallmines.settings.publish import Catalogue

FEATURES = ["B02", "B08", "DEM", "NDVI_9"]


def make_catalogue(folder: Path, segmented: bool = True) -> tuple[pystac.Collection, Lattice]:
    """Write the files of two years and their catalogue."""
    lattice = make_grid(folder / "results/made")
    years, items = [], []
    for year in (YEAR, "2022"):
        names = list(ASSETS) if segmented else ["mask.tif", "mines.parquet", "mines.fgb", "map.png"]
        files = [folder / f"results/made/map/{year}/{name}" for name in names]
        for path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(path.name.encode())
        forests = []
        for block in "12":
            model = folder / f"results/made/assistant/{year}/{block}/model.joblib"
            metrics = model.with_name("metrics.json")
            forest = {"max_depth": 8, "n_estimators": 300, "min_samples_split": 5}
            write_json(metrics, {"features": FEATURES, "forest": forest, "threshold": 0.6, "versions": {"scikit-learn": "1.9.1"}})
            model.write_bytes(b"forest")
            forests.append(Forest(block, str(metrics), str(model)))
        window = [f"{year}-01-01", f"{year}-01-31"]
        years.append(MapOfYear(year, [str(path) for path in files], window, forests if segmented else []))
        items.append(str(folder / f"results/made/map/{year}/item.json"))
    about = Catalogue(("A. Nobody",), "10.5281/zenodo.1", "CC-BY-SA-4.0")
    target = folder / "results/made/map/collection.json"
    write_catalogue(years, lattice, "made", "Made up", about, target, items)
    return pystac.Collection.from_file(str(target)), lattice


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> tuple[pystac.Collection, Lattice]:
    return make_catalogue(tmp_path_factory.mktemp("map"))


def test_a_run_that_is_named_as_a_year_has_the_files_of_each_year() -> None:
    files = [f"results/2016/map/{year}/{name}" for year in ("2016", "2022") for name in ASSETS]
    assert files_of_years(files, ["2016", "2022"]) == {"2016": files[: len(ASSETS)], "2022": files[len(ASSETS) :]}


def require_valid(path: str, kind: pystac.STACObjectType) -> None:
    """Check a file against the schemas that pystac brings along: no network."""
    content = json.loads(Path(path).read_text())
    assert content["stac_version"] == "1.1.0"
    JsonSchemaSTACValidator().validate_core(content, kind, "1.1.0")
    with pytest.raises(pystac.STACValidationError):
        JsonSchemaSTACValidator().validate_core({**content, "id": 1}, kind, "1.1.0")


def test_collection_and_items_are_valid(catalogue: tuple[pystac.Collection, Lattice]) -> None:
    collection, _ = catalogue
    require_valid(collection.self_href, pystac.STACObjectType.COLLECTION)
    items = list(collection.get_items())
    assert [item.id for item in items] == [f"made_map_{YEAR}", "made_map_2022"]
    for item in items:
        require_valid(item.self_href, pystac.STACObjectType.ITEM)
        assert item.get_collection() is collection
        for asset in item.assets.values():
            path = Path(str(asset.get_absolute_href()))
            assert asset.extra_fields["file:checksum"] == f"1220{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert items[0].common_metadata.start_datetime.isoformat() == "2016-01-01T00:00:00+00:00"
    assert collection.extent.spatial.bboxes == [items[0].bbox]
    assert len(collection.extent.temporal.intervals) == 3


def test_place_bands_and_classes(catalogue: tuple[pystac.Collection, Lattice]) -> None:
    collection, lattice = catalogue
    item = next(collection.get_items())
    place = ProjectionExtension.ext(item)
    assert (place.code, place.shape, place.bbox) == ("EPSG:32630", [32, 64], [600000, 699680, 600640, 700000])
    assert place.transform == list(lattice.geobox.transform)[:6]
    west, south, east, north = item.bbox or []
    assert (west, east) == (pytest.approx(-2.0960, abs=2e-3), pytest.approx(-2.0902, abs=2e-3))
    assert (south, north) == (pytest.approx(6.3292, abs=5e-3), pytest.approx(6.3321, abs=5e-3))
    assert list(item.assets) == sorted(["mask", "probability", "provenance", "mines_parquet", "mines_fgb", "map", "model_1", "model_2"])
    bands = {name: (RasterExtension.ext(item.assets[name]).bands or [])[0] for name in ("mask", "probability", "provenance")}
    assert {name: (band.nodata, band.data_type, band.spatial_resolution) for name, band in bands.items()} == {
        "mask": (255, "uint8", 10),
        "probability": (255, "uint8", 10),
        "provenance": (0, "uint8", 10),
    }
    named = ClassificationExtension.ext(item.assets["provenance"]).classes or []
    assert [(one.value, one.name) for one in named] == list(enumerate(PROVENANCES, 1))
    assert [one.name for one in ClassificationExtension.ext(item.assets["mask"]).classes or []] == ["not_mining", "mining", "nodata"]


def test_the_forest(catalogue: tuple[pystac.Collection, Lattice]) -> None:
    model = MLMExtension.ext(next(catalogue[0].get_items()))
    assert (model.architecture, model.tasks, model.framework, model.framework_version) == (
        "Random Forest",
        ["semantic-segmentation"],
        "scikit-learn",
        "1.9.1",
    )
    (read,) = model.input
    assert (read.bands, read.input.shape, read.input.data_type) == (FEATURES, [-1, 4], "float32")
    assert read.properties["value_scaling"] == [{"type": "scale", "value": value} for value in (10000, 10000, 500, 1)]
    (out,) = model.output
    assert [one.name for one in out.classes] == ["not_mining", "mining"]
    assert model.hyperparameters is not None
    settings = {"max_depth": 8, "n_estimators": 300, "min_samples_split": 5, "threshold": 0.6}
    assert model.hyperparameters.to_dict() == {"block_1": settings, "block_2": settings}


OF_THE_MODEL = {"name", "architecture", "tasks", "framework", "framework_version", "input", "output", "hyperparameters"}
"""Fields of the model that this catalogue uses, without their prefix."""


def require_mlm(item: dict[str, Any]) -> None:
    """Check an item against what MLM 1.4 asks for in words and in its schema, which pystac would fetch from the network."""
    properties, assets = item["properties"], item["assets"]
    fields = {name.removeprefix("mlm:"): value for name, value in properties.items() if name.startswith("mlm:")}
    assert fields.keys() >= {"name", "architecture", "tasks", "input", "output"}
    assert fields.keys() <= OF_THE_MODEL, "no fields that the extension lacks"
    assert re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]", fields["name"])
    assert re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?", fields.get("framework_version", "1.0.0"))
    assert all(re.fullmatch(r"[0-9a-zA-Z_.-]+", name) for name in fields["hyperparameters"])
    described = {band["name"] for band in properties["bands"]}
    for one in fields["input"]:
        assert one.keys() >= {"name", "bands", "input"}
        assert set(one["bands"]) <= described, "STAC 1.1 describes the bands that an input names"
        assert len(one["value_scaling"]) == len(one["bands"]) == one["input"]["shape"][-1]
    for one in fields["output"]:
        assert one.keys() >= {"name", "tasks", "result"}
        assert set(one["tasks"]) <= set(fields["tasks"])
        assert all(entry.keys() >= {"value", "name", "description"} for entry in one["classification:classes"])
    for structure in [*(one["input"] for one in fields["input"]), *(one["result"] for one in fields["output"])]:
        assert structure.keys() == {"shape", "dim_order", "data_type"}
        assert len(structure["shape"]) == len(structure["dim_order"])
    models = [asset for asset in assets.values() if "mlm:model" in asset["roles"]]
    assert models
    for asset in assets.values():
        of_model = {name for name in asset if name.startswith("mlm:")}
        assert of_model == ({"mlm:artifact_type"} if asset in models else set())


def test_the_forest_is_described_as_the_extension_asks(catalogue: tuple[pystac.Collection, Lattice]) -> None:
    for known in catalogue[0].get_items():
        content = json.loads(Path(known.self_href).read_text())
        require_mlm(content)
        for wrong in ({"mlm:name": "Forests, one a block"}, {"bands": []}, {"mlm:framework_version": "1.9.1, 1.9.2"}):
            with pytest.raises(AssertionError):
                require_mlm({**content, "properties": {**content["properties"], **wrong}})


def test_forests_of_two_versions_have_no_version_in_common(tmp_path: Path) -> None:
    _, lattice = make_catalogue(tmp_path)
    forests = []
    for block, version in (("1", "1.9.1"), ("2", "1.9.2")):
        metrics = tmp_path / f"results/made/assistant/{YEAR}/{block}/metrics.json"
        write_json(metrics, read_json(metrics) | {"versions": {"scikit-learn": version}})
        forests.append(Forest(block, str(metrics), str(metrics.with_name("model.joblib"))))
    path = tmp_path / f"results/made/map/{YEAR}/item.json"
    content = item_of(MapOfYear(YEAR, [], [f"{YEAR}-01-01", f"{YEAR}-01-31"], forests), lattice, "made", path)
    require_mlm(content)
    assert "mlm:framework_version" not in content["properties"]
    assert [asset["title"] for asset in content["assets"].values()] == [
        "Random forest of block 1 (scikit-learn 1.9.1, joblib)",
        "Random forest of block 2 (scikit-learn 1.9.2, joblib)",
    ]


def test_released_masks_have_no_forest(tmp_path: Path) -> None:
    collection, _ = make_catalogue(tmp_path, segmented=False)
    item = next(collection.get_items())
    require_valid(item.self_href, pystac.STACObjectType.ITEM)
    assert not [name for name in (*item.properties, *item.stac_extensions) if "mlm" in name]
    assert set(item.assets) == {"mask", "mines_parquet", "mines_fgb", "map"}
