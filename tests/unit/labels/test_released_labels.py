"""Samples and labels from released masks, and agreement with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from block_of_segments import Block, make_block
from release import write_grid, write_mask
from sections import Transfer
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import sha256, write_json
from smallmines.core.release import Release, ReleasedMask, write_release
from smallmines.labels import tables
from smallmines.labels.decide import label_segments
from smallmines.labels.released import held_out, write_released_mask
from smallmines.labels.released_agreement import Inputs as AgreementInputs
from smallmines.labels.released_agreement import ReleaseFiles, add_released, agreement, iou, write_agreement
from smallmines.labels.released_labels import Inputs, Outputs, write_released_labels
from smallmines.labels.samples import join, read_samples
from smallmines.settings.released import ReleasedSamples


@pytest.mark.parametrize("content", [None, b"", b"II*\0"])
def test_a_mask_that_changed_since_the_release_was_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    write_grid(tmp_path / "grid.json")
    path = write_mask(tmp_path / "MASK_GH_0001_2016.tif", 0, 0)
    mask = ReleasedMask(path.name, 2016, str(path), sha256(path), 600_000.0, 700_000.0)
    write_release(tmp_path / "release.json", Release("folder", "folder", "r", None, None, None, (mask,), {}, {}))
    inputs = (tmp_path / "release.json", tmp_path / "grid.json", "2016", "1", {}, tmp_path / "mask.tif")
    write_released_mask(*inputs)
    assert raster.read(tmp_path / "mask.tif")[0][:32, :32].tolist() == raster.read(path)[0].tolist()
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"no file, in {path}") as error:
        write_released_mask(*inputs)
    assert "release.json" in error.value.do


@pytest.fixture
def block(tmp_path: Path) -> Block:
    """A block whose released mask is the truth, but with both classes in segment 10 and nothing over segment 20."""
    made = make_block(tmp_path)
    truth = np.concatenate([[255], made.truth])[made.segments].astype(np.uint8)
    rows, cols = np.nonzero(made.segments == 10)
    truth[rows[:8], cols[:8]] = 1 - truth[rows[8:], cols[8:]]
    truth[made.segments == 20] = 255
    raster.write(tmp_path / "mask.tif", truth, made.geobox, 255, ["mining"])
    return made


def draw(block: Block, hold_out: float = 0.0, samples: int = 10) -> tuple[pd.DataFrame, pd.DataFrame]:
    folder = block.folder
    inputs = Inputs(folder / "mask.tif", folder / "segments.tif", folder / "features.parquet", folder / "grid.json")
    outputs = Outputs(folder / "samples.csv", folder / "labels.parquet")
    write_released_labels(inputs, "2016", "1", ReleasedSamples(hold_out, samples), 7, Transfer(), outputs)
    return pd.read_csv(outputs.samples, keep_default_na=False), tables.read(outputs.labels, "released")


def test_each_pure_segment_has_the_class_of_the_release(block: Block) -> None:
    _, labels = draw(block)
    assert set(block.features["segment"]) - set(labels["segment"]) == {10, 20}
    assert (labels["label"].to_numpy() == block.truth[labels["segment"] - 1]).all()
    assert (labels["key"].to_numpy() == block.features["key"].to_numpy()[labels["segment"] - 1]).all()


def test_samples_are_some_segments_of_each_class_and_the_same_twice(block: Block) -> None:
    samples, labels = draw(block)
    assert samples["label"].value_counts().to_dict() == {"mining": 10, "not_mining": 10}
    assert set(samples["annotator"]) == {"released"}
    path = block.folder / "samples.csv"
    read = read_samples(path, "EPSG:32630")
    joined = join(read, block.segments, block.own, block.geobox, str(path)).samples.merge(labels, on="segment", suffixes=("", "_released"))
    assert len(joined) == 20
    assert (joined["label"] == joined["label_released"]).all()
    before = path.read_bytes()
    draw(block)
    assert path.read_bytes() == before


def test_fewer_segments_than_wanted_are_all_taken_and_told(block: Block, caplog: pytest.LogCaptureFixture) -> None:
    samples, labels = draw(block, samples=100_000)
    assert len(samples) == len(labels)
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    mined = int((labels["label"] == 1).sum())
    assert f"mining: only {mined} segments have this class of the release, fewer than released.samples" in warnings
    assert len(warnings) == 2


def test_nothing_is_taken_from_tiles_held_out(block: Block) -> None:
    samples, labels = draw(block, hold_out=0.4, samples=100_000)
    held = held_out(block.lattice.cells["tile_id"].tolist(), (), 0.4, 7)
    tile = block.features.set_index("segment")["tile_id"]
    assert 0 < len(held & set(tile)) < tile.nunique()
    assert not set(tile[labels["segment"]]) & held
    assert not set(samples.merge(block.features[["x", "y", "tile_id"]], on=["x", "y"])["tile_id"]) & held
    assert set(tile) - held == set(tile[labels["segment"]])


def decided(block: Block, samples: Any, decisions: Any, released: pd.DataFrame) -> pd.DataFrame:
    ids = block.features["segment"]
    probabilities = pd.DataFrame(
        {"segment": ids, "probability": np.float32(0.9), "entropy": np.float32(0.4), "calibrated": np.float32(0.5)}
    )
    sampled = pd.DataFrame(samples, columns=["segment", "label", "subclass", "tile_id", "who"])
    said = pd.DataFrame(decisions, columns=["segment", "label", "provenance", "who", "when", "event"])
    return label_segments(block.features, sampled, said, probabilities, 0.5, released).set_index("segment")


def test_people_win_over_the_release_and_the_release_over_the_forest(block: Block) -> None:
    _, released = draw(block)
    zero = released.loc[released["label"] == 0, "segment"].tolist()[:5]
    samples = [(zero[0], 1, "", "0001", "A01"), (zero[1], 0, "", "0001", "released"), (zero[2], 1, "", "0001", "imported")]
    decisions = [(zero[3], 1, "corrected", "A02", "2026", "e"), (zero[4], -1, "disputed", "A01|A02", "2026", "e")]
    table = decided(block, samples, decisions, released)
    assert table.loc[zero, "provenance"].tolist() == ["manual", "released", "imported", "corrected", "disputed"]
    assert table.loc[zero, "label"].tolist() == [1, 0, 1, 1, -1]
    others = released[~released["segment"].isin(zero)]
    assert (table.loc[others["segment"], "label"].to_numpy() == others["label"].to_numpy()).all()
    assert (table.loc[others["segment"], "provenance"] == "released").all()
    assert table.loc[[10, 20], ["label", "provenance"]].to_numpy().tolist() == [[1, "predicted"]] * 2


def test_labels_of_another_segmentation_are_refused(block: Block) -> None:
    _, released = draw(block)
    with pytest.raises(UserError, match="released labels of the present segmentation"):
        decided(block, [], [], released.assign(key=released["key"].to_numpy()[::-1]))


def test_the_agreement_counts_what_both_have() -> None:
    segments = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 0, 4]], np.uint32)
    released = np.array([[1, 1, 0, 1], [1, 0, 0, 0], [1, 255, 1, 0]], np.uint8)
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [255, 1, 1, 0]], np.uint8)
    held = np.zeros((3, 4), bool)
    held[:2, :2] = True
    counts = agreement(released, mask, segments, np.array([False, True, True, False]), held)
    assert counts["held_out"] == {
        "forest": {"tn": 1, "fp": 0, "fn": 3, "tp": 0},
        "mask": {"tn": 0, "fp": 1, "fn": 0, "tp": 3},
        "segments": {"tn": 0, "fp": 1, "fn": 0, "tp": 3},
    }
    assert counts["others"] == {
        "forest": {"tn": 1, "fp": 3, "fn": 0, "tp": 1},
        "mask": {"tn": 3, "fp": 1, "fn": 0, "tp": 1},
        "segments": {"tn": 4, "fp": 0, "fn": 1, "tp": 0},
    }
    assert iou(counts["held_out"]["mask"]) == 0.75
    assert iou({"tn": 5, "fp": 0, "fn": 0, "tp": 0}) is None


def test_masks_as_released_agree_but_where_segments_divide_them(block: Block) -> None:
    folder = block.folder
    ids = block.features["segment"]
    probability = np.where(block.truth == 1, 0.9, 0.1).astype(np.float32)
    probabilities = pd.DataFrame({"segment": ids, "probability": probability, "entropy": np.float32(0.4), "calibrated": np.float32(0.5)})
    tables.write(folder / "probabilities.parquet", probabilities, "probabilities")
    write_json(folder / "metrics.json", {"threshold": 0.5})
    names = {"released": "mask.tif", "mask": "mask.tif", "grid": "grid.json", "metrics": "metrics.json", "segments": "segments.tif"}
    tabled = {name: f"{name}.parquet" for name in ("features", "probabilities")}
    inputs = AgreementInputs(**{name: folder / file for name, file in {**names, **tabled}.items()})
    write_agreement(inputs, "1", ReleasedSamples(0.4, 10), 7, folder / "agreement.json")
    counts = json.loads((folder / "agreement.json").read_text())
    assert counts["held_out"]["tiles"] + counts["others"]["tiles"] == 19
    wrong = {name: sum(counts[part][name][key] for part in counts for key in ("fp", "fn")) for name in ("forest", "mask", "segments")}
    assert wrong == {"forest": 8, "mask": 0, "segments": 8}


def release_at(path: Path, **more: Any) -> Path:
    about = {"source": "hub", "reading": "ranges", "address": "o/n/a.zip", "revision": "a" * 40, "sha256": "b" * 64, "size": 5, "masks": ()}
    write_release(path, Release(**{**about, "only_ours": {"2016": ["0001"]}, "only_released": {"2016": ["M", "N"]}, **more}))
    return path


def test_the_quality_of_labels_says_what_the_release_is(tmp_path: Path) -> None:
    part = {name: {"tn": 5, "fp": 1, "fn": 1, "tp": 2} for name in ("forest", "mask", "segments")}
    other = {name: {"tn": 5, "fp": 0, "fn": 1, "tp": 5} for name in part}
    for number, counts in enumerate((part, other)):
        write_json(tmp_path / f"{number}.json", {"held_out": {"tiles": 1, **counts}, "others": {"tiles": 9, **part}})
    document = {"years": {"2016": {"open_share": 0.5}, "2022": {"open_share": 0.1}}}
    agreements = {"2016": [tmp_path / "0.json", tmp_path / "1.json"]}
    added = add_released(document, ReleaseFiles(release_at(tmp_path / "release.json"), agreements))
    assert added["released"] == {
        "source": "hub",
        "address": "o/n/a.zip",
        "revision": "a" * 40,
        "sha256": "b" * 64,
        "license": "CC-BY-SA-4.0",
    }
    assert added["years"]["2016"] == {
        "open_share": 0.5,
        "released": {
            "tiles_without_mask": 1,
            "masks_without_tile": 2,
            "held_out": {"tiles": 2, "forest": 0.7, "mask": 0.7, "segments": 0.7},
            "others": {"tiles": 18, "forest": 0.5, "mask": 0.5, "segments": 0.5},
        },
    }
    assert added["years"]["2022"]["released"] == {"tiles_without_mask": 0, "masks_without_tile": 0}
    local = release_at(tmp_path / "local.json", source="zip", address="some/place/a.zip", revision=None)
    assert add_released(document, ReleaseFiles(local, {}))["released"]["address"] == "a.zip"
