"""The shards through the real library `datasets`, offline: types, splits, pixels, pictures, streaming."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import rasterio
import yaml
from PIL.Image import Image

from sharded import BUFFER, EMPTY
from smallmines.core.product import PATCH_BANDS, SPLITS
from smallmines.core.readable import read_parquet
from smallmines.publish.features import card_features, features_of

Key = tuple[str, int]


@pytest.fixture(autouse=True)
def _offline(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, and one cache for all tests."""
    import datasets

    def connect(*arguments: object) -> None:
        raise AssertionError("no network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", shards.parent / "cache")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def load(shards: Path, name: str | None = None, **more: Any) -> Any:
    import datasets

    return datasets.load_dataset(str(shards), name, **more)


def keys(rows: Any) -> set[Key]:
    table = rows.select_columns(["tile_id", "year"])
    found = [(row["tile_id"], row["year"]) for row in table]
    assert len(set(found)) == len(found), "a tile and year once"
    return set(found)


def stated(dataset: Path) -> dict[str, set[Key]]:
    table = pd.read_csv(dataset / "splits.csv", dtype={"tile_id": str})
    return {str(split): set(zip(own["tile_id"], own["year"], strict=True)) for split, own in table.groupby("split")}


def configurations(shards: Path) -> list[str]:
    return [config["config_name"] for config in front_matter(shards)["configs"]]


def front_matter(shards: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((shards / "README.md").read_text().split("---\n")[1])
    return values


def test_the_default_has_the_splits_in_force_and_nothing_of_the_buffer(shards: Path, dataset: Path) -> None:
    loaded = load(shards)
    assert list(loaded) == list(SPLITS)
    splits = stated(dataset)
    assert {(BUFFER, 2016), (BUFFER, 2022)} == splits["buffer"]
    assert {split: keys(rows) for split, rows in loaded.items()} == {split: splits[split] for split in SPLITS}


def test_every_configuration_splits_all_rows_and_the_release_s_has_no_val(shards: Path, dataset: Path) -> None:
    names = configurations(shards)
    assert names == ["default", "spatial_block", "paper_histogram", "histogram_tile", "sample"]
    everything = set.union(*stated(dataset).values())
    for name in names[1:-1]:
        loaded = {split: keys(rows) for split, rows in load(shards, name).items()}
        assert set.union(*loaded.values()) == everything, name
        assert sum(map(len, loaded.values())) == len(everything), name
        assert list(loaded) == (["train", "test"] if name == "paper_histogram" else list(SPLITS))
        own = load(shards, name, split="test")[0]
        with rasterio.MemoryFile(own["image"]) as memory, memory.open() as image:
            assert image.shape == (32, 32)


def test_pictures_are_decoded_and_patches_are_the_published_ones(shards: Path, dataset: Path) -> None:
    import datasets

    rows = load(shards, split="train")
    assert rows.features["thumbnail"] == rows.features["overlay"] == datasets.Image()
    for row in rows:
        assert isinstance(row["thumbnail"], Image)
        assert (row["thumbnail"].mode, row["thumbnail"].size, row["overlay"].size) == ("RGB", (32, 32), (32, 32))
        for name in ("image", "mask"):
            assert row[name] == (dataset / row[f"{name}_path"]).read_bytes()
        with rasterio.MemoryFile(row["image"]) as memory, memory.open() as image, rasterio.open(dataset / row["image_path"]) as published:
            np.testing.assert_array_equal(image.read(), published.read())
            assert image.descriptions == PATCH_BANDS
            assert image.transform == published.transform


def test_the_columns_of_the_index_keep_their_values(shards: Path, dataset: Path) -> None:
    index = read_parquet(dataset / "index.parquet").set_index("id")
    for split in SPLITS:
        for row in load(shards, split=split):
            own = index.loc[row["id"]]
            assert (row["tile_id"], row["split"], row["block"], row["image_sha256"]) == (
                own["tile_id"],
                own["split"],
                own["block"],
                own["image_sha256"],
            )
            assert row["scenes"] == list(own["scenes"])
            assert row["bbox"] == own["bbox"]
            assert row["geometry"] == own["geometry"]
            assert (np.isnan(own["mining_percent"]) and row["mining_percent"] is None) or row["mining_percent"] == own["mining_percent"]
            assert row["start_datetime"] == own["start_datetime"]
    left_out = set(index.columns) | {"id"}
    assert left_out - set(load(shards, split="val").features) == {"type", "stac_version", "stac_extensions", "links", "assets"}


def test_streaming_reads_the_same_rows(shards: Path) -> None:
    rows = load(shards, "paper_histogram", split="test", streaming=True)
    streamed = {(row["tile_id"], row["year"]): row for row in rows}
    whole = load(shards, "paper_histogram", split="test")
    assert set(streamed) == keys(whole)
    first = whole[0]
    assert streamed[first["tile_id"], first["year"]]["image"] == first["image"]
    assert isinstance(next(iter(rows))["thumbnail"], Image)


def test_the_code_of_the_card_runs_and_two_lines_give_the_arrays(shards: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shards.parent)
    blocks = re.findall(r"```python\n(.*?)```", (shards / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    space: dict[str, Any] = {}
    exec(blocks[0], space)
    assert isinstance(space["patches"][0]["thumbnail"], Image)
    exec(blocks[1], space)
    assert len(re.sub(r"^import.*\n|\n+$", "", blocks[1]).strip().splitlines()) == 2
    patches, plain = space["patches"], load(shards, split="train")
    assert patches[0]["image"].shape == (13, 32, 32)
    assert patches[0]["image"].dtype == np.float32
    for number in (0, len(plain) - 1):
        with rasterio.open(dataset / plain[number]["image_path"]) as image, rasterio.open(dataset / plain[number]["mask_path"]) as mask:
            np.testing.assert_array_equal(patches[number]["image"], image.read())
            np.testing.assert_array_equal(patches[number]["mask"], mask.read())


def test_an_image_without_data_is_a_grey_picture(shards: Path) -> None:
    row = next(row for split in SPLITS for row in load(shards, split=split) if (row["tile_id"], row["year"]) == (EMPTY, 2022))
    assert set(np.asarray(row["thumbnail"]).reshape(-1, 3).ravel().tolist()) == {209}


def test_the_types_are_written_as_the_library_writes_them(shards: Path) -> None:
    import datasets

    for path in sorted(shards.rglob("*.parquet")):
        schema = pq.read_schema(path)
        features = datasets.Features.from_arrow_schema(schema)
        assert schema.metadata[b"huggingface"] == features.arrow_schema.metadata[b"huggingface"]
        assert schema.remove_metadata().equals(features.arrow_schema.remove_metadata())
    assert features_of(schema) == features.to_dict()
    assert card_features(features_of(schema)) == features._to_yaml_list()
    infos = front_matter(shards)["dataset_info"]
    assert all(info["features"] == features._to_yaml_list() for info in infos)
    assert "&id" not in (shards / "README.md").read_text(), "each list is written out"


@pytest.mark.heavy
def test_the_card_states_the_numbers_of_the_files(shards: Path) -> None:
    """`load_dataset` refuses other numbers of rows; here it is also that of the files' bytes and of the bytes in memory."""
    for info in front_matter(shards)["dataset_info"]:
        loaded = load(shards, info["config_name"])
        assert {split: rows.num_rows for split, rows in loaded.items()} == {own["name"]: own["num_examples"] for own in info["splits"]}
        assert info["dataset_size"] == sum(own["num_bytes"] for own in info["splits"])
        patterns = [
            file["path"]
            for config in front_matter(shards)["configs"]
            if config["config_name"] == info["config_name"]
            for file in config["data_files"]
        ]
        files = [path for pattern in patterns for path in shards.glob(pattern)]
        assert len(files) == len(set(files))
        assert info["download_size"] == sum(path.stat().st_size for path in files)
    first = next(iter(front_matter(shards)["dataset_info"]))
    memory = sum(rows.data.nbytes for rows in load(shards).values())
    assert first["dataset_size"] == pytest.approx(memory, rel=0.01)


def test_the_files_of_all_splits_and_the_buffer_read_as_one(shards: Path, dataset: Path) -> None:
    import datasets

    rows = load_all(shards)
    assert keys(rows) == set.union(*stated(dataset).values())
    left_out = {"filters": [("block", "!=", "1")]}
    with pytest.raises(datasets.exceptions.NonMatchingSplitsSizesError):
        load(shards, split="train", **left_out)
    streamed = load(shards, split="train", streaming=True, **left_out)
    whole = load(shards, split="train", verification_mode="no_checks", **left_out)
    assert {row["block"] for row in streamed} == set(whole["block"]) == {"2"}


def load_all(shards: Path) -> Any:
    import datasets

    return datasets.load_dataset("parquet", data_files=f"{shards}/data/**/*.parquet", split="train")


def test_the_sample_has_both_years_of_a_tile_in_their_splits(shards: Path, dataset: Path) -> None:
    loaded = load(shards, "sample")
    splits = stated(dataset)
    for split, rows in loaded.items():
        assert keys(rows) <= splits[split]
    tiles = [tile for rows in loaded.values() for tile in rows["tile_id"]]
    assert set(loaded) == set(SPLITS)
    assert {tiles.count(tile) for tile in tiles} == {2}
    assert BUFFER not in tiles
    assert sum(path.stat().st_size for path in (shards / "sample").rglob("*.parquet")) < 15_000_000


def test_statistics_are_those_of_train_in_the_forms_of_the_models(shards: Path, dataset: Path) -> None:
    own = json.loads((shards / "statistics.json").read_text())
    images = np.stack([array for array in arrays(shards, "train")]).transpose(1, 0, 2, 3).reshape(13, -1)
    for band, values in zip(PATCH_BANDS, images, strict=True):
        valid = values[values != -9999].astype(float)
        assert own["bands"][band]["count"] == valid.size
        assert own["bands"][band]["mean"] == own["bands"][band]["nodata_fill"] == pytest.approx(valid.mean(), abs=2e-4)
        assert own["bands"][band]["sd"] == pytest.approx(valid.std(), abs=2e-4)
    six = ["B02", "B03", "B04", "B8A", "B11", "B12"]
    assert own["prithvi"]["bands"] == six
    assert own["prithvi"]["means"] == [own["bands"][band]["mean"] for band in six]
    assert own["prithvi"]["stds"] == [own["bands"][band]["sd"] for band in six]
    assert {name: len(values) for name, values in own["terramind"]["means"].items()} == {"S2L2A": 10, "S1RTC": 2, "DEM": 1}
    assert own["terramind"]["stds"]["S1RTC"] == [own["bands"][band]["sd"] for band in ("VV", "VH")]
    assert own["nodata"] == {"image": -9999.0, "mask": 255}
    assert own["patches"] == len(stated(dataset)["train"])


def arrays(shards: Path, split: str) -> Iterator[np.ndarray]:
    for row in load(shards, split=split):
        with rasterio.MemoryFile(row["image"]) as memory, memory.open() as image:
            yield image.read()
