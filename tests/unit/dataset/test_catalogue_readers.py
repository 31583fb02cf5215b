"""Other people's readers on the published catalogue: the pixels that they return are those of the files."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pystac
import pytest
import rasterio
from pyproj import CRS

from fake_results import Results, make_results, publish
from smallmines.config.publish import Publish
from smallmines.core.errors import UserError
from smallmines.core.files import read_json, write_json
from smallmines.core.product import IMAGE_NODATA, MASK_NODATA, PATCH_BANDS, S1, UNITS
from smallmines.dataset.index import read_index
from smallmines.dataset.stac import flat, write_catalogue
from smallmines.loaders.stac import single_band_items

WINDOWS = {"2016": ["2016-01-01", "2016-01-31"]}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Results = make_results(tmp_path_factory.mktemp("a folder é"), side=32)
    publish(made)
    return made.folder / "dataset"


@pytest.fixture(scope="module")
def items(dataset: Path) -> list[pystac.Item]:
    return sorted(pystac.Collection.from_file(str(dataset / "stac/collection.json")).get_items(), key=lambda item: item.id)


def odc_stac() -> ModuleType:
    """Import `odc.stac`, which takes 2 s, where it is used."""
    import odc.stac

    return odc.stac


def stackstac() -> ModuleType:
    """Import `stackstac`, which takes 2 s, where it is used."""
    import stackstac

    return stackstac


def file_of(item: pystac.Item, asset: str) -> np.ndarray:
    with rasterio.open(item.assets[asset].get_absolute_href()) as source:
        return np.asarray(source.read())


def test_odc_stac_reads_every_band_by_its_name(items: list[pystac.Item]) -> None:
    for item in items[:2]:
        image = file_of(item, "image")
        loaded = odc_stac().load([item], bands=list(PATCH_BANDS))
        assert loaded.odc.geobox.crs.to_epsg() == 32630
        assert list(loaded.odc.geobox.transform)[:6] == item.properties["proj:transform"]
        for number, band in enumerate(PATCH_BANDS):
            np.testing.assert_array_equal(loaded[band].values[0], image[number])
            assert (loaded[band].dtype, loaded[band].nodata) == (np.float32, IMAGE_NODATA)


def test_odc_stac_reads_common_names_and_masks(items: list[pystac.Item]) -> None:
    item = items[0]
    loaded = odc_stac().load([item], bands=["red", "swir22", "mask"])
    image = file_of(item, "image")
    np.testing.assert_array_equal(loaded["red"].values[0], image[PATCH_BANDS.index("B04")])
    np.testing.assert_array_equal(loaded["swir22"].values[0], image[PATCH_BANDS.index("B12")])
    np.testing.assert_array_equal(loaded["mask"].values[0], file_of(item, "mask")[0])
    assert (loaded["mask"].dtype, loaded["mask"].nodata) == (np.uint8, MASK_NODATA)


def test_odc_stac_without_bands_names_all_of_them(items: list[pystac.Item]) -> None:
    assert list(odc_stac().load([items[0]]).data_vars) == [*PATCH_BANDS, "mask"]


def test_stackstac_reads_every_band_where_the_files_have_it(dataset: Path, items: list[pystac.Item]) -> None:
    plain = single_band_items(dataset, 2016)
    assert [item["id"] for item in plain] == [item.id for item in items]
    for item, single in zip(items[:2], plain[:2], strict=True):
        stack = stackstac().stack(single, xy_coords="center")
        image, mask = file_of(item, "image"), file_of(item, "mask")
        assert list(stack.band.values) == [*PATCH_BANDS, "mask"]
        expected = np.concatenate([np.where(image == IMAGE_NODATA, np.nan, image), np.where(mask == MASK_NODATA, np.nan, mask)])
        np.testing.assert_array_equal(stack.values[0], expected)
        west, north = item.properties["proj:bbox"][0], item.properties["proj:bbox"][3]
        assert (float(stack.x[0]), float(stack.y[0]), int(stack.epsg)) == (west + 5, north - 5, 32630)


def test_stackstac_reads_masks_from_the_items_as_they_are(dataset: Path, items: list[pystac.Item], monkeypatch: pytest.MonkeyPatch) -> None:
    path = dataset / f"stac/2016/{items[1].id}.json"
    monkeypatch.chdir(path.parent)
    values = stackstac().stack(read_json(path), assets=["mask"]).values[0, 0]
    mask = file_of(items[1], "mask")[0]
    np.testing.assert_array_equal(values, np.where(mask == MASK_NODATA, np.nan, mask))
    lazy = stackstac().stack(read_json(path))
    assert lazy.shape == (1, 2, 32, 32)


def test_items_without_epsg_code_or_without_catalogue_are_refused(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="items of a catalogue"):
        single_band_items(tmp_path)
    item = read_json(next((dataset / "stac/2016").glob("*.json")))
    item["properties"]["proj:epsg"] = None
    write_json(tmp_path / "stac/2016/x.json", item)
    with pytest.raises(UserError, match="EPSG code"):
        single_band_items(tmp_path)


def test_the_collection_has_the_bands_of_its_items(dataset: Path) -> None:
    collection = read_json(dataset / "stac/collection.json")
    item = read_json(next((dataset / "stac/2016").glob("*.json")))
    image, mask = (collection["item_assets"][name] for name in ("image", "mask"))
    assert image["bands"] == item["assets"]["image"]["bands"]
    assert [band["name"] for band in image["eo:bands"]] == list(PATCH_BANDS)
    assert [(band["unit"], band["nodata"], band["data_type"], band["scale"]) for band in image["raster:bands"]] == [
        (unit, -9999.0, "float32", 1) for unit in UNITS
    ]
    assert mask["raster:bands"] == item["assets"]["mask"]["raster:bands"] == [{"data_type": "uint8", "nodata": 255}]
    assert [band for band in image["eo:bands"][S1] if "common_name" in band] == []
    assert item["properties"]["proj:epsg"] == 32630
    for document in (collection, item):
        versions = dict(address.split("/")[3:5] for address in document["stac_extensions"])
        assert (versions["projection"], versions["eo"], versions["raster"]) == ("v1.2.0", "v1.1.0", "v1.1.0")
    assert len((dataset / f"stac/2016/{item['id']}.json").read_bytes()) < 8000


@pytest.mark.parametrize(
    ("crs", "code", "epsg"),
    [
        ("EPSG:32736", "EPSG:32736", 32736),
        ("ESRI:102022", "ESRI:102022", None),
        ("+proj=aea +lat_1=-5 +lat_2=15 +lon_0=20 +datum=WGS84 +units=m", None, None),
    ],
)
def test_an_index_keeps_its_crs_whatever_names_it(dataset: Path, tmp_path: Path, crs: str, code: str | None, epsg: int | None) -> None:
    index = read_index(dataset / "index.parquet")
    index = index.set_geometry(index.geometry.set_crs(crs, allow_override=True))
    index.attrs["tile_size"] = 32
    flat(index, WINDOWS, "made-up").to_parquet(tmp_path / "index.parquet")
    back = read_index(tmp_path / "index.parquet")
    assert CRS(back.crs).equals(CRS(crs), ignore_axis_order=True)
    assert back.geometry.bounds.equals(index.geometry.bounds)
    facts = read_json(dataset / "facts.json")
    write_catalogue(index, WINDOWS, "made-up", Publish(), facts, tmp_path / "stac/collection.json")
    properties = read_json(tmp_path / "stac/2016/GH_0001_2016.json")["properties"]
    assert (properties["proj:code"], properties["proj:epsg"]) == (code, epsg)
    item = pystac.Item.from_file(str(tmp_path / "stac/2016/GH_0001_2016.json"))
    for asset in item.assets.values():
        asset.href = str(dataset / asset.href.removeprefix("../../"))
    assert pystac.extensions.projection.ProjectionExtension.ext(item).crs_string is not None


@pytest.mark.parametrize("spoil", ["empty", "cut", "garbage", "other", "no rows", "no crs", "broken crs"])
def test_a_damaged_index_is_refused(dataset: Path, tmp_path: Path, spoil: str) -> None:
    import pandas as pd

    path, whole = tmp_path / "index.parquet", (dataset / "index.parquet").read_bytes()
    table = flat(read_index(dataset / "index.parquet"), WINDOWS, "made-up")
    if spoil in ("empty", "cut", "garbage"):
        path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "garbage": b"PAR1" + bytes(500) + b"PAR1"}[spoil])
    elif spoil == "other":
        pd.DataFrame({"a": [1]}).to_parquet(path)
    elif spoil == "no rows":
        table.iloc[:0].to_parquet(path)
    else:
        table.assign(**{"proj:code": None if spoil == "no crs" else "EPSG:abc"}).to_parquet(path)
    with pytest.raises(UserError, match="an index of tiles and years") as error:
        read_index(path)
    assert len(str(error.value).splitlines()) == 3
    assert str(path) in str(error.value)
