"""Packs: values, gaps, statistics, radiometry, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio

from made_pack import SIDE, write_dataset, write_patch
from smallmines.benchmark.findings import bands_of, findings_by_band, stopping
from smallmines.benchmark.pack import FILES, Pack, Sums
from smallmines.benchmark.packing import write_pack
from smallmines.core.errors import UserError
from smallmines.core.product import IMAGE_NODATA, PATCH_BANDS, S2_BANDS
from smallmines.loaders.folder import band_statistics, read_image, read_pairs


def test_a_pack_has_the_pixels_of_the_patches_with_gaps_as_nan(pack: Pack, tmp_path: Path) -> None:
    pairs = read_pairs(write_dataset(tmp_path))
    assert pairs[["tile_id", "year", "split"]].equals(pack.tiles[["tile_id", "year", "split"]])
    rows = np.array([1, 0, len(pack) - 1])
    whole = pack.read(rows, PATCH_BANDS)
    for image, path in zip(whole, pairs["image"].iloc[rows], strict=True):
        np.testing.assert_array_equal(image, read_image(path))
    assert np.isnan(whole[0, :10, 0, :3]).all()
    assert np.isnan(whole[0, 10, 1, 1])
    assert np.isfinite(whole[0, 11, 1, 1])
    np.testing.assert_array_equal(pack.read(rows, ["DEM", "B04", "VH"]), whole[:, [12, 2, 11]])
    assert (pack.masks(rows)[0, 0, :3] == 255).all()
    assert pack.arrays["s2"].dtype == np.uint16


def test_the_table_and_the_description(pack: Pack) -> None:
    assert (pack.side, pack.pixel_area, len(pack)) == (SIDE, 100.0, 72)
    tiles = pack.tiles
    first = tiles[tiles["year"] == 2016].reset_index(drop=True)
    assert first["row"].tolist() == [number // 6 for number in range(36)]
    assert first["col"].tolist() == [number % 6 for number in range(36)]
    assert (first["x"].iloc[7], first["y"].iloc[7]) == (600_000 + SIDE * 10, 700_000 - SIDE * 10)
    assert sorted(set(tiles["block"])) == ["1", "2", "3", "4"]
    assert pack.about["radiometry"] == {"2016": "dn_plus1000", "2022": "dn_plus1000"}
    assert tiles["mining_percent"].iloc[2] == pytest.approx(100 * 16 / SIDE**2)
    assert not any("/" in str(value) for value in tiles.to_numpy().ravel()), "no path travels with the pack"


def test_statistics_are_those_of_the_loaders_over_train(pack: Pack, tmp_path: Path) -> None:
    pairs = read_pairs(write_dataset(tmp_path), "train")
    expected = band_statistics(pairs["image"])
    for band, own in pack.about["statistics"].items():
        assert own["mean"] == pytest.approx(expected.loc[band, "mean"], rel=1e-9)
        assert own["sd"] == pytest.approx(expected.loc[band, "sd"], rel=1e-6)
    rows = np.flatnonzero(pack.tiles["split"] == "train")
    assert pack.statistics(rows)["B8A"] == pytest.approx(pack.about["statistics"]["B8A"])


def test_sums_keep_their_digits_far_from_zero() -> None:
    sums = Sums(["DEM"])
    for start in range(0, 100, 10):
        sums.add(np.arange(start, start + 10, dtype=np.float32).reshape(1, 1, 10) + 1e6)
    assert sums.result()["DEM"] == {"count": 100, "mean": pytest.approx(1e6 + 49.5), "sd": pytest.approx(np.arange(100).std())}
    assert Sums(["DEM"]).result()["DEM"] == {"count": 0, "mean": 0.0, "sd": 1.0}


@pytest.mark.parametrize("value", [2500.5, -3.0, 70_000.0])
def test_values_that_uint16_does_not_hold_are_kept(tmp_path: Path, value: float) -> None:
    root = write_dataset(tmp_path / "dataset", 2, 3)
    path = root / "2022/IMAGE/IMG_GH_0005_2022.tif"
    with rasterio.open(path, "r+") as source:
        band = source.read(3)
        band[5, 6] = value
        source.write(band, 3)
    write_pack(root, tmp_path / "pack")
    own = Pack.open(tmp_path / "pack")
    assert own.arrays["s2"].dtype == np.float32
    assert own.read(np.array([10]), ["B04"])[0, 0, 5, 6] == value
    assert np.isnan(own.read(np.array([1]), ["B02"])[0, 0, 0, 0])


def test_radiometry_comes_from_the_index_else_the_tags_else_is_unknown(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "dataset", 2, 3, radiometry="")
    write_pack(root, tmp_path / "pack")
    assert Pack.open(tmp_path / "pack").about["radiometry"] == {"2016": "unknown", "2022": "unknown"}
    index = pd.read_csv(root / "splits.csv", dtype={"tile_id": str})[["tile_id", "year"]]
    index["radiometry"] = np.where(index["year"] == 2016, "dn_harmonised", "dn_plus1000")
    index["block"] = "7"
    index.to_parquet(root / "index.parquet")
    write_pack(root, tmp_path / "pack")
    own = Pack.open(tmp_path / "pack")
    assert own.about["radiometry"] == {"2016": "dn_harmonised", "2022": "dn_plus1000"}
    assert set(own.tiles["block"]) == {"7"}


def test_refusals_name_the_file_and_leave_nothing(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "dataset", 2, 3)
    mask = root / "2016/MASK/MASK_GH_0002_2016.tif"
    write_patch(mask, np.full((SIDE, SIDE), 3, np.uint8), 0, 1, 255)
    with pytest.raises(UserError, match="a mask of 0, 1 and 255"):
        write_pack(root, tmp_path / "pack")
    write_patch(mask, np.zeros((SIDE, SIDE), np.uint8), 1, 1, 255)
    with pytest.raises(UserError, match=r"MASK_GH_0002_2016\.tif"):
        write_pack(root, tmp_path / "pack")
    write_patch(mask, np.zeros((SIDE, SIDE), np.uint8), 0, 1, 255)
    write_patch(root / "2016/IMAGE/IMG_GH_0003_2016.tif", np.ones((13, 8, 8), np.float32), 0, 2, IMAGE_NODATA)
    write_patch(root / "2016/MASK/MASK_GH_0003_2016.tif", np.ones((8, 8), np.uint8), 0, 2, 255)
    with pytest.raises(UserError, match="one size in pixels for all images"):
        write_pack(root, tmp_path / "pack")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset"]


def test_a_broken_pack_is_refused(pack: Pack, tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "dataset", 2, 3)
    write_pack(root, tmp_path / "pack")
    assert sorted(path.name for path in (tmp_path / "pack").iterdir()) == sorted(FILES)
    np.save(tmp_path / "pack/mask.npy", np.zeros((3, SIDE, SIDE), np.uint8))
    with pytest.raises(UserError, match="12 tiles in"):
        Pack.open(tmp_path / "pack")
    (tmp_path / "pack/mask.npy").write_bytes(b"x")
    with pytest.raises(UserError, match="a readable array"):
        Pack.open(tmp_path / "pack")
    with pytest.raises(UserError, match="B99"):
        pack.read(np.array([0]), ["B99"])


def finding(check: str, found: str, severity: str = "error", family: str = "radiometry") -> dict[str, object]:
    return {"severity": severity, "family": family, "check": check, "found": found}


def test_findings_concern_the_bands_that_they_name_else_all_of_sentinel_2(tmp_path: Path) -> None:
    assert bands_of(finding("VV linear", "no value below 0 in 2 of 3 patches")) == ("VV",)
    assert bands_of(finding("years differ", "2016 to 2022: B04 level +300 DN, gain 1.00; B12 level")) == ("B04", "B12")
    assert bands_of(finding("offset", "B02 of 1 DN or less in 9 of 9 patches")) == S2_BANDS
    assert bands_of(finding("wrapped nodata", "55537 in 3 images")) == S2_BANDS
    assert bands_of(finding("stripes", "lines", severity="warning")) == ()
    assert bands_of(finding("kappa", "0.2", family="labels")) == ()
    path = tmp_path / "doctor.json"
    both = [finding("VV linear", "all"), finding("scale", "0.3"), finding("VV range", "to 99")]
    path.write_text(json.dumps({"findings": both, "counts": {}}))
    by_band = findings_by_band(path)
    assert by_band["VV"] == ["VV linear: all", "VV range: to 99"]
    assert stopping(by_band, ["B02", "B03", "DEM"]) == ["B02, B03: scale: 0.3"]
    assert stopping(by_band, ["DEM", "VH"]) == []
    assert findings_by_band(None) == {}
