"""The index: counts per tile against a plain count, sources, checksums, bytes."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest

from fake_results import ITEMS, SIDE, Results, make_results, publish
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import sha256, write_json
from smallmines.dataset.columns import RELEASED_COLUMNS
from smallmines.dataset.index import (
    COLUMNS,
    PROVENANCES,
    IndexSources,
    accuracies,
    read_index,
    write_index,
)
from smallmines.dataset.label_codes import OPEN, label_codes
from smallmines.dataset.scenes import histograms, scenes

WINDOWS = {"2016": ["2016-01-01", "2016-01-31"]}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    made = make_results(tmp_path_factory.mktemp("results"))
    publish(made)
    return made


@pytest.fixture(scope="module")
def index(results: Results) -> gpd.GeoDataFrame:
    return read_index(results.folder / "dataset" / "index.parquet")


def test_one_row_per_tile_in_order(index: gpd.GeoDataFrame) -> None:
    assert tuple(index.columns) == (*(name for name in COLUMNS if name not in RELEASED_COLUMNS), "geometry")
    assert index["tile_id"].tolist() == [f"{number:04d}" for number in range(1, 7)]
    assert index["year"].tolist() == [2016] * 6
    assert index.crs.to_epsg() == 32630
    assert index.geometry.iloc[1].bounds == (600160.0, 699680.0, 600320.0, 699840.0)


def test_shares_are_those_of_a_plain_count(results: Results, index: gpd.GeoDataFrame) -> None:
    for (_, block), files in results.files().items():
        mask, source, clear = (raster.read(path)[0] for path in (files.masks, files.source, files.clear_mask))
        s2, s1, dem, segments = (raster.read(path) for path in (files.s2, files.s1, files.dem, files.segments))
        labels = pd.read_parquet(files.labels).set_index("segment")
        for cell in results.lattice.cells_of(block).itertuples():
            at = np.s_[cell.y : cell.y + SIDE, cell.x : cell.x + SIDE]
            row = index.set_index("tile_id").loc[cell.tile_id]
            data = s2[0][at] > 0
            assert row["mining_percent"] == pytest.approx(100 * (mask[at] == 1).sum() / (mask[at] != 255).sum())
            assert row["mask_nodata_percent"] == 100 * (mask[at] == 255).mean()
            assert row["image_nodata_percent"] == 100 * (~data).mean()
            assert row["s1_nodata_percent"] == 100 * np.isnan(s1[0][at]).mean()
            assert row["dem_nodata_percent"] == 100 * np.isnan(dem[0][at]).mean()
            assert row["clear_share"] == pytest.approx(clear[at][data].mean())
            of_pixels = labels.loc[segments[0][at][segments[0][at] > 0]]
            assert row["open_percent"] == 100 * (of_pixels["label"] == -1).sum() / SIDE**2
            for name in sorted(set(PROVENANCES) - {"released"}):
                assert row[f"share_{name}"] == pytest.approx((of_pixels["provenance"] == name).mean())
            assert list(row["scenes"]) == [ITEMS[number - 1] for number in np.unique(source[at]) if number]
            assert list(row["baselines"]) == ["05.00"]
            assert (row["radiometry"], row["radiometry_verdict"]) == ("dn_plus1000", "declared")


def test_files_and_checksums(results: Results, index: gpd.GeoDataFrame) -> None:
    for row in index.itertuples():
        assert row.image == f"2016/IMAGE/IMG_GH_{row.tile_id}_2016.tif"
        assert sha256(results.folder / "dataset" / row.image) == row.image_sha256
        assert sha256(results.folder / "dataset" / row.mask) == row.mask_sha256


def test_the_accuracy_of_the_year(results: Results, index: gpd.GeoDataFrame) -> None:
    assert index[["year_overall_accuracy", "year_users_accuracy", "year_producers_accuracy"]].drop_duplicates().to_numpy().tolist() == [
        [0.93, 0.8, 0.8]
    ]
    known = json.loads(about(results)[0].read_text())
    known["years"]["2016"]["accuracy"] = None
    assert all(np.isnan(values).all() for values in accuracies(known, [2016, 2016]).values())


def about(results: Results) -> tuple[Path, Path]:
    return results.folder / "dataset/labels.json", results.folder / "dataset/splits.csv"


def test_the_split_of_each_tile(results: Results, index: gpd.GeoDataFrame) -> None:
    known = pd.read_csv(about(results)[1], dtype={"tile_id": str}).set_index("tile_id")["split"]
    assert index.set_index("tile_id")["split"].to_dict() == known.to_dict()
    assert set(index["split"]) == {"train", "test", "val"}


def test_bytes_are_the_same_twice(results: Results, tmp_path: Path) -> None:
    files = dict(reversed(results.files().items()))
    fishnet = results.folder / "grid" / "fishnet.parquet"
    sources = IndexSources(files, results.lists[::-1], fishnet, *about(results))
    write_index(sources, results.lattice, "GH", WINDOWS, "made-up", tmp_path / "index.parquet")
    assert (tmp_path / "index.parquet").read_bytes() == (results.folder / "dataset" / "index.parquet").read_bytes()


def test_a_patch_without_a_checksum_is_refused(results: Results, tmp_path: Path) -> None:
    fishnet = results.folder / "grid" / "fishnet.parquet"
    sources = IndexSources(results.files(), results.lists[:1], fishnet, *about(results))
    with pytest.raises(UserError, match="none of 6"):
        write_index(sources, results.lattice, "GH", WINDOWS, "made-up", tmp_path / "x.parquet")


def test_histograms_of_a_row_of_tiles() -> None:
    values = np.array([[1, 1, 7, 255], [0, 1, 7, 7]], np.uint8)
    counts = histograms(values, 2)
    assert counts.shape == (2, 256)
    assert counts[0, :2].tolist() == [1, 3]
    assert counts[1, [7, 255]].tolist() == [3, 1]
    assert counts.sum() == 8


def test_label_codes() -> None:
    labels = pd.DataFrame({"segment": [2, 1, 3], "label": [1, 0, -1], "provenance": ["predicted", "manual", "corrected"]})
    assert label_codes(labels, "x").tolist() == [0, 1, 2, OPEN + 3]
    with pytest.raises(UserError, match="guessed in x"):
        label_codes(labels.assign(provenance="guessed"), "x")


def test_scenes_of_a_median_are_all() -> None:
    counts = np.zeros((2, 256), np.int64)
    counts[0, [0, 2]] = 5
    counts[1, 255] = 5
    found = scenes(counts, {"ITEMS": "a,b,c", "BASELINES": "05.00,05.10,05.10", "BLOCK_ITEMS": "a,b"})
    assert found == [(["b"], ["05.10"]), (["a", "b"], ["05.00", "05.10"])]


def test_labels_of_a_release_have_a_column_of_their_own(tmp_path: Path) -> None:
    made = make_results(tmp_path)
    for files in made.files().values():
        labels = pd.read_parquet(files.labels)
        labels.loc[labels.index % 2 == 0, "provenance"] = "released"
        labels.to_parquet(files.labels, index=False)
    publish(made)
    assert "share_released" not in read_index(made.folder / "dataset/index.parquet"), "labels.json has none"
    known = json.loads(about(made)[0].read_text())
    known["years"]["2016"]["provenance"]["released"] = {"segments": 50, "area_share": 0.5}
    write_json(about(made)[0], known)
    lists = [made.folder / f"dataset/2016/{kind}.sha256" for kind in ("IMAGE", "MASK")]
    sources = IndexSources(made.files(), lists, made.folder / "grid/fishnet.parquet", *about(made))
    write_index(sources, made.lattice, "GH", WINDOWS, "made-up", tmp_path / "index.parquet")
    index = read_index(tmp_path / "index.parquet")
    assert index["share_released"].between(0.3, 0.7).all()
    shares = [name for name in index if name.startswith("share_")]
    assert index[shares].sum(axis=1).to_numpy() == pytest.approx(1)
