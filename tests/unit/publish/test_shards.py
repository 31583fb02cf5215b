"""Shards and the rows in them: limits, bytes, refusals, pictures, the sample, configurations."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from sections import Splits
from sharded import BUFFER, make_shards, sources_of
from smallmines.core.errors import UserError
from smallmines.core.files import sha256
from smallmines.core.product import BUFFER as BUFFER_SPLIT
from smallmines.core.product import PATCH_BANDS
from smallmines.dataset.band_statistics import QUANTILES
from smallmines.dataset.index import read_index
from smallmines.publish.configurations import Configurations, configurations
from smallmines.publish.features import shard_schema
from smallmines.publish.huggingface import Rows, write_shards
from smallmines.publish.sample import sample_tiles
from smallmines.publish.sealed_folder import sealed_files
from smallmines.publish.shards import BESIDES, Shards
from smallmines.publish.thumbnails import overlay, png, stretch, thumbnail

MINING, GREY = np.array([0.90, 0.25, 0.05], np.float32), np.float32(0.82)


def files(size: int) -> dict[str, bytes]:
    return {name: bytes([number]) * (size // 4) for number, name in enumerate(("image", "mask", "thumbnail", "overlay"))}


def shards_of(folder: Path, rows: int, **limits: int) -> Shards:
    table = pa.table({"id": [f"GH_{number:04d}_2016" for number in range(rows)], "year": pa.array([2016] * rows, pa.int32())})
    return Shards(folder, table, shard_schema(table.schema), **limits)


def test_a_row_group_has_at_most_100_rows_and_its_bytes_and_a_shard_its_own(tmp_path: Path) -> None:
    shards = shards_of(tmp_path, 250)
    for row in range(250):
        shards.add(row, files(400))
    assert shards.close().rows == 250
    metadata = pq.read_metadata(tmp_path / "00000.parquet")
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [100, 100, 50]
    size = 40_000 + BESIDES
    limited = shards_of(tmp_path / "limited", 20, group_bytes=3 * size, shard_bytes=7 * size)
    for row in range(20):
        limited.add(row, files(40_000))
    written = limited.close()
    paths = sorted((tmp_path / "limited").glob("*.parquet"))
    groups = [[pq.read_metadata(path).row_group(g).num_rows for g in range(pq.read_metadata(path).num_row_groups)] for path in paths]
    assert groups == [[3, 3, 1], [3, 3, 1], [3, 3]]
    assert written.disk == sum(path.stat().st_size for path in paths)
    assert all(path.stat().st_size < 7 * size for path in paths)
    ids = [name for path in paths for name in pq.read_table(path)["id"].to_pylist()]
    assert ids == [f"GH_{number:04d}_2016" for number in range(20)]


def test_patches_are_stored_as_they_are_and_the_rest_is_compressed(shards: Path) -> None:
    group = pq.read_metadata(next(shards.rglob("*.parquet"))).row_group(0)
    compression = {group.column(number).path_in_schema: group.column(number).compression for number in range(group.num_columns)}
    stored = {path for path, name in compression.items() if name == "UNCOMPRESSED"}
    assert stored == {"image", "mask", "thumbnail.bytes", "thumbnail.path", "overlay.bytes", "overlay.path"}


@pytest.mark.heavy
def test_the_same_dataset_gives_the_same_bytes_and_replaces_what_was_there(shards: Path, dataset: Path, tmp_path: Path) -> None:
    target = tmp_path / "again"
    (target / "data").mkdir(parents=True)
    (target / "data/old.parquet").write_bytes(b"of a version before")
    make_shards(dataset, target)
    content = {path.relative_to(target).as_posix(): sha256(path) for path in target.rglob("*") if path.is_file()}
    assert content == {path.relative_to(shards).as_posix(): sha256(path) for path in shards.rglob("*") if path.is_file()}
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_the_seal_holds_and_the_shards_say_of_which_dataset_they_are(shards: Path, dataset: Path) -> None:
    assert subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=shards, check=False).returncode == 0
    assert json.loads((shards / "made_from.json").read_text()) == {"rows": 32, "sha256sums": sha256(dataset / "SHA256SUMS")}
    assert (shards / "LICENSE").read_bytes() == (dataset / "LICENSE").read_bytes()


def test_a_patch_that_is_not_the_listed_one_is_refused_and_nothing_appears(dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "dataset"
    shutil.copytree(dataset, copy)
    sources = sources_of(copy)
    image = copy / "2016/IMAGE/IMG_GH_0003_2016.tif"
    image.write_bytes((copy / "2016/IMAGE/IMG_GH_0004_2016.tif").read_bytes())
    with pytest.raises(UserError, match=r"SHA-256 [0-9a-f]{64} of .*IMG_GH_0003_2016.tif, as the index states it"):
        write_shards(sources, Splits(block_tiles=1), tmp_path / "huggingface")
    image.unlink()
    with pytest.raises(UserError, match=r"the file .*IMG_GH_0003_2016.tif"):
        write_shards(sources, Splits(block_tiles=1), tmp_path / "huggingface")
    assert not (tmp_path / "huggingface").exists()


def test_the_stretch_is_one_for_all_years_and_tiles() -> None:
    def year(*quantiles: float) -> dict[str, dict[str, list[float]]]:
        return {band: {"quantiles": [value + number for value in quantiles]} for number, band in enumerate(PATCH_BANDS)}

    assert QUANTILES == (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
    even, cloudy = year(1000, 1050, 1250, 1500, 1750, 1950, 2000), year(1100, 1100, 1200, 1300, 1600, 1900, 9000)
    ends = stretch([even, cloudy])
    np.testing.assert_allclose(ends, [[1002, 2502], [1001, 2501], [1000, 2500]])
    np.testing.assert_allclose(stretch([even])[2], [1000, 2000])
    nothing: dict[str, dict[str, list[float]]] = {band: {"quantiles": []} for band in PATCH_BANDS}
    np.testing.assert_array_equal(stretch([nothing]), [[0, 1]] * 3)
    image = np.full((13, 1, 4), 1500, np.float32)
    image[:3, 0] = [[1000, 1750, 2500, 9000], [1001, 1751, 2501, 9000], [1002, 1752, 2502, 9000]]
    colours = thumbnail(image, ends)
    np.testing.assert_allclose(colours[0, :, 0], [0, 0.5 ** (1 / 1.2), 1, 1], atol=1e-6)
    np.testing.assert_allclose(colours[..., 0], colours[..., 2])


def test_gaps_are_grey_and_nan_and_nodata_count_as_such() -> None:
    image = np.full((13, 2, 2), 1500, np.float32)
    image[0, 0, 0], image[2, 1, 1] = -9999, np.nan
    colours = thumbnail(image, np.array([[1000.0, 2000.0]] * 3))
    assert (colours[[0, 1], [0, 1]] == GREY).all()
    assert (colours[0, 1] != GREY).all()


def test_the_overlay_outlines_mines_and_hatches_what_is_unknown() -> None:
    colours = np.full((6, 8, 3), 0.5, np.float32)
    mask = np.zeros((6, 8), np.uint8)
    mask[1:5, 1:5] = 1
    mask[5] = 255
    shown = overlay(colours, mask)
    outlined = (shown == MINING).all(axis=2)
    expected = np.zeros((6, 8), bool)
    expected[1:5, 1:5] = True
    expected[2:4, 2:4] = False
    np.testing.assert_array_equal(outlined, expected)
    np.testing.assert_array_equal((shown[5] == np.float32(0.45)).all(axis=1), [(5 + column) % 8 < 2 for column in range(8)])
    assert (overlay(colours, np.ones((6, 8), np.uint8))[0] == MINING).all(), "an outline is closed at the edge of the tile"
    assert (colours == 0.5).all()


def test_a_picture_is_an_rgb_png_with_the_same_bytes_each_time() -> None:
    colours = np.linspace(0, 1, 48, dtype=np.float32).reshape(4, 4, 3)
    content = png(colours)
    read = np.asarray(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(read, np.rint(colours * 255).astype(np.uint8))
    assert content == png(colours)


def tiles(splits: list[str], percent: list[list[float]]) -> pd.DataFrame:
    rows = [
        {"tile_id": f"{number:04d}", "year": year, "split": split, "mining_percent": share}
        for number, (split, shares) in enumerate(zip(splits, percent, strict=True))
        for year, share in zip((2016, 2022), shares, strict=True)
    ]
    return pd.DataFrame(rows)


def test_the_sample_takes_each_split_s_share_and_all_strata() -> None:
    """200 tiles of which 6 have mines: all of these are wanted, though tiles without are 97 %."""
    splits = ["train"] * 140 + ["val"] * 20 + ["test"] * 30 + ["buffer"] * 10
    percent = [[0.0, 0.0]] * 200
    for number, shares in {3: [0.0, 35.0], 50: [12.0, 0.0], 90: [4.0, 4.0], 145: [0.0, 8.0], 170: [60.0, 60.0], 195: [99.0, 99.0]}.items():
        percent[number] = shares
    index = tiles(splits, percent)
    chosen = sample_tiles(index)
    by_split = [splits[int(tile)] for tile in chosen]
    assert len(chosen) == len(set(chosen)) == 20
    assert {name: by_split.count(name) for name in set(by_split)} == {"train": 15, "val": 2, "test": 3}
    assert {"0003", "0050", "0090", "0145", "0170"} <= set(chosen)
    assert "0195" not in chosen, "of the buffer"
    assert set(by_split[:6]) == {"train", "val", "test"}, "also where not all of them have room"
    assert chosen == sample_tiles(index.sample(frac=1, random_state=1))
    assert len(sample_tiles(tiles(["train"] * 3, [[0.0, np.nan]] * 3))) == 3


@pytest.mark.heavy
def test_the_sample_stops_at_its_bytes(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows.of(sources_of(dataset))
    size = sum(map(len, rows.files(0)[0].values())) + BESIDES
    monkeypatch.setattr("smallmines.publish.huggingface.LARGEST", 7 * size)
    make_shards(dataset, tmp_path / "shards")
    written = [pq.read_table(path)["tile_id"].to_pylist() for path in (tmp_path / "shards/sample").rglob("*.parquet")]
    assert 4 <= sum(map(len, written)) <= 8
    assert sum(path.stat().st_size for path in (tmp_path / "shards/sample").rglob("*.parquet")) < 7 * size + 3 * 40_000


def test_shards_that_are_not_whole_name_the_rule_that_makes_them(shards: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(shards, tmp_path / "shards"))
    (copy / "LICENSE").unlink()
    with pytest.raises(UserError, match="run snakemake huggingface"):
        sealed_files(copy)


def with_splits(dataset: Path, folder: Path, *splits: str) -> Path:
    """A copy of the dataset whose rows are in these splits in turn."""
    copy = Path(shutil.copytree(dataset, folder / "dataset"))
    table = pq.read_table(copy / "index.parquet")
    place = table.column_names.index("split")
    values = pa.array([splits[row % len(splits)] for row in range(len(table))], table.schema.field("split").type)
    pq.write_table(table.set_column(place, table.schema.field("split"), values), copy / "index.parquet")
    return copy


def test_a_dataset_without_train_has_the_statistics_of_all_rows_and_says_so(dataset: Path, tmp_path: Path) -> None:
    """Means of 0 and deviations of 1 would look like numbers of the bands."""
    target = make_shards(with_splits(dataset, tmp_path, "val", "test"), tmp_path / "shards")
    stated, index = json.loads((target / "statistics.json").read_text()), read_index(dataset / "index.parquet")
    assert (stated["split"], stated["patches"]) == ("all", len(index))
    assert stated["bands"]["B02"]["mean"] > 1000
    card = (target / "README.md").read_text()
    assert "over all rows, since none is in train" in card
    assert 'load_dataset(where, split="val")' in card
    assert 'split="train"' not in card


def test_a_dataset_with_all_tiles_in_the_buffer_is_refused(dataset: Path, tmp_path: Path) -> None:
    """Its card would name no file, and `datasets` reads nothing."""
    with pytest.raises(UserError, match="tiles of train, val, test"):
        make_shards(with_splits(dataset, tmp_path, BUFFER_SPLIT), tmp_path / "shards")
    assert not (tmp_path / "shards").exists()


def test_a_sample_without_tiles_is_no_configuration(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of 1024 px are larger than all that the sample may hold."""
    monkeypatch.setattr("smallmines.publish.huggingface.LARGEST", 1)
    card = (make_shards(dataset, tmp_path / "shards") / "README.md").read_text()
    assert "sample" not in [entry["config_name"] for entry in yaml.safe_load(card.split("---\n")[1])["configs"]]
    assert "`sample`" not in card
    assert "[]" not in card


def test_a_method_that_gives_the_split_in_force_takes_no_folder_of_its_own(dataset: Path) -> None:
    index = read_index(dataset / "index.parquet")
    settings = Splits(block_tiles=1)
    first = configurations(index, settings)
    assert set(first.levels) == set(first.same_as) == {"default", "spatial_block", "paper_histogram", "histogram_tile"}
    again = configurations(index.assign(split=first.levels["paper_histogram"]), settings)
    assert set(again.levels) == {"default", "spatial_block", "histogram_tile"}
    assert again.same_as["paper_histogram"] == "default"
    assert again.pattern("paper_histogram", "test") == again.pattern("default", "test") == "data/default-test/*/*/*.parquet"
    assert again.splits("paper_histogram") == ["train", "test"]


def test_too_few_tiles_leave_the_split_in_force(dataset: Path) -> None:
    index = read_index(dataset / "index.parquet")
    made = configurations(index[index["tile_id"] == "0001"].reset_index(drop=True), Splits())
    assert made.same_as["default"] == "default"
    assert "spatial_block" not in made.same_as


def test_folders_hold_each_row_once() -> None:
    split, other = np.array(["train", "buffer", "train"], object), np.array(["test", "test", "train"], object)
    made = Configurations({"default": split, "paper_histogram": other}, {"default": "default", "paper_histogram": "paper_histogram"})
    folders = {path: rows.tolist() for path, rows in made.folders().items()}
    assert folders == {
        "data/default-buffer/paper_histogram-test": [1],
        "data/default-train/paper_histogram-test": [0],
        "data/default-train/paper_histogram-train": [2],
    }
    assert made.pattern("paper_histogram", "test") == "data/*/paper_histogram-test/*.parquet"
    assert made.splits("default") == ["train"]


def test_the_card_keeps_what_the_dataset_s_card_says(shards: Path, dataset: Path) -> None:
    card, original = (folder / "README.md" for folder in (shards, dataset))
    text, before = card.read_text(), original.read_text()
    for heading in ("Bands", "Splits", "Labels", "How to cite", "Licence"):
        section = before[before.index(f"## {heading}\n") :].split("\n## ")[0].strip()
        assert section in text, heading
    assert "## Files" not in text
    counts = " | ".join(str(count(dataset, split)) for split in ("train", "val", "test", "buffer"))
    assert f"| `default` | {counts} |" in text
    rows = [line for line in text[text.index("## Columns") :].split("## How")[0].splitlines() if "| `" in line]
    described = [line.split("|")[1].strip(" `") for line in rows]
    assert described == pq.read_schema(next(shards.rglob("*.parquet"))).names
    assert not [row for row in rows if row.rstrip().endswith("|  |")], "every column has a meaning"


def count(dataset: Path, split: str) -> int:
    table = pd.read_csv(dataset / "splits.csv", dtype={"tile_id": str})
    assert (table.loc[table["tile_id"] == BUFFER, "split"] == "buffer").all()
    return int((table["split"] == split).sum())
