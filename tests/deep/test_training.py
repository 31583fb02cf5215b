"""Trainings with something wrong: broken checkpoints, changed data and weights, numbers that are not finite, nothing to learn from."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="networks have an environment of their own: make test-deep")

import torch
from safetensors.torch import save_file

from made_pack import packed
from smallmines.benchmark.deep import networks, train
from smallmines.benchmark.deep.inputs import inputs_of
from smallmines.benchmark.deep.kept import Kept
from smallmines.benchmark.deep.model import NetworkModel
from smallmines.benchmark.deep.sam2 import Sam2
from smallmines.benchmark.deep.train import Files, Tiles
from smallmines.benchmark.pack import Pack
from smallmines.core.errors import UserError
from smallmines.core.files import sha256
from smallmines.settings.benchmark import Network

pytestmark = pytest.mark.deep

SIDE = 32
FILES = Files(Path("weights.json"), True)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """Twelve tiles of 32 × 32 px in two years."""
    return packed(tmp_path_factory.mktemp("made"), rows=2, cols=6, side=SIDE)


@pytest.fixture
def tiny(settings: dict[str, Network]) -> Network:
    return dataclasses.replace(settings["terramind_tiny/fixed"], epochs=2, batch=4, accumulate=1, patience=None)


def rows_of(pack: Pack, split: str) -> np.ndarray:
    return np.flatnonzero(pack.tiles["split"] == split)


def changed(pack: Pack, name: str, change: float, part: object) -> Pack:
    """Return the pack with other values in a part of an array."""
    arrays = {key: np.array(array) for key, array in pack.arrays.items()} | {"mask": np.array(pack.mask)}
    arrays[name][part] = change
    return dataclasses.replace(pack, mask=arrays.pop("mask"), arrays=arrays)


def trained(pack: Pack, settings: Network, files: Files = FILES, val: str = "val") -> NetworkModel:
    return train.fit(pack, rows_of(pack, "train"), rows_of(pack, val), settings, 0, 2, files)


# --- checkpoints --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cut", "empty", "zeros", "other", "list"])
def test_a_checkpoint_that_cannot_be_read_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str) -> None:
    kept = Kept(tmp_path / "checkpoint.pt", tmp_path / "record", "key")
    torch.save({"a": 1} if how == "other" else [1], kept.checkpoint)
    content = kept.checkpoint.read_bytes()
    if how in ("cut", "empty", "zeros"):
        kept.checkpoint.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "zeros": bytes(1000)}[how])
    with caplog.at_level(logging.WARNING):
        assert kept.read(torch) is None
    assert "training begins anew" in caplog.text


def test_a_training_of_the_cpu_goes_on_on_a_gpu_and_one_of_other_weights_begins_anew(
    pack: Pack, settings: dict[str, Network], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = dataclasses.replace(settings["unet_rgb/fixed"], epochs=1, batch=2, patience=None)
    rows = rows_of(pack, "train")[:2]
    paths = [tmp_path / (str(number) * 40) / "model.safetensors" for number in range(2)]  # by commit
    for number, path in enumerate(paths):
        path.parent.mkdir()
        save_file(networks.build(own, None, number).encoder.state_dict(), path)
    kept = Kept(tmp_path / "checkpoint.pt", tmp_path / "record", "key")
    files = Files(tmp_path / "weights.json", False, kept)
    monkeypatch.setattr(train, "fetch", lambda *arguments: paths[0])
    first = train.fit(pack, rows, rows[:0], own, 0, 2, files)
    training = train.started(torch, networks.build(own, None, 0), own)
    training.scaler = torch.amp.GradScaler("cpu", enabled=True)
    train.resume(torch, training, train.kept_for(kept, paths[0]))  # type: ignore[arg-type]  # there is one
    assert training.records == first.epochs
    monkeypatch.setattr(train, "fetch", lambda *arguments: paths[1])
    second = train.fit(pack, rows, rows[:0], own, 0, 2, files)
    assert second.weights is not None
    assert (second.weights["revision"], second.weights["sha256"]) == ("1" * 40, sha256(paths[1]))
    assert not any(np.array_equal(first.state[key], second.state[key]) for key in first.state if key.endswith("conv1.weight"))


# --- what is trained on -------------------------------------------------------------------------------------------------------


def test_accumulated_batches_are_one_batch_whatever_is_known_in_each(
    pack: Pack, settings: dict[str, Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network without layers that look at the batch; tiles with mining and without, one mostly unknown, and a batch that is short."""
    own = dataclasses.replace(settings["unet_rgb_plus_scratch/fixed"], epochs=1, patience=None, augment="none", shuffle=False)

    class Line(networks.Segmenter):
        def __init__(self, settings: Network) -> None:
            super().__init__(settings)
            torch.manual_seed(0)
            self.encoder = torch.nn.Conv2d(6, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.encoder(x)
            return logits

    monkeypatch.setattr(networks, "build", lambda settings, weights, seed: Line(settings))
    monkeypatch.setattr(torch.optim, "AdamW", lambda own, lr, weight_decay: torch.optim.SGD(own, lr=0.1))
    partly = changed(pack, "mask", 255, np.s_[1, 5:])
    rows = np.arange(6)
    assert set((partly.masks(rows) == 1).any(axis=(1, 2)).tolist()) == {True, False}
    whole, *others = (
        train.fit(partly, rows, rows[:0], dataclasses.replace(own, batch=batch, accumulate=accumulate), 0, 2, FILES)
        for batch, accumulate in ((6, 1), (2, 3), (4, 2), (1, 100))
    )
    for other in others:
        assert other.epochs[0]["loss"] == pytest.approx(whole.epochs[0]["loss"], rel=1e-5)
        for key, value in whole.state.items():
            np.testing.assert_allclose(other.state[key], value, rtol=1e-4, atol=1e-6)


def test_the_last_steps_of_an_epoch_are_not_smaller(pack: Pack, tiny: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four batches in steps of three: the last step is that of its batch alone."""
    seen: list[float] = []
    step = torch.optim.AdamW.step

    def noted(self: torch.optim.AdamW, *arguments: object, **named: object) -> None:
        seen.append(max(float(p.grad.abs().max()) for group in self.param_groups for p in group["params"] if p.grad is not None))
        for group in self.param_groups:
            group["lr"] = 0.0
        step(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    rows = np.repeat(rows_of(pack, "train")[2:3], 8)
    own = dataclasses.replace(tiny, epochs=1, batch=2, accumulate=3, head_dropout=0.0, augment="none", weight_decay=0.0)
    monkeypatch.setattr(train, "batches", lambda *arguments: [(rows[:2], np.zeros(2, int))] * 4)
    train.fit(pack, rows, rows[:0], own, 0, 2, FILES)
    assert len(seen) == 2
    assert seen[1] > 0.5 * seen[0]


def test_a_training_whose_numbers_are_not_finite_stops(pack: Pack, tiny: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept(tmp_path / "checkpoint.pt", tmp_path / "record", "key")
    with pytest.raises(UserError, match=r"after epoch 1[\s\S]*lower learning_rate, 1e\+30"):
        trained(pack, dataclasses.replace(tiny, learning_rate=1e30), dataclasses.replace(FILES, kept=kept))
    assert not kept.checkpoint.exists()


def test_a_training_that_diverges_later_gives_its_best_epoch(
    pack: Pack, tiny: Network, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = train._epoch

    def breaking(torch_: object, training: train.Training, *others: object) -> None:
        epoch(torch_, training, *others)  # type: ignore[arg-type]  # as it is called
        if len(training.records) == 3:
            next(training.network.parameters()).data.fill_(np.nan)

    own = dataclasses.replace(tiny, patience=9)
    two = trained(pack, own)
    monkeypatch.setattr(train, "_epoch", breaking)
    with caplog.at_level(logging.WARNING):
        model = trained(pack, dataclasses.replace(own, epochs=9))
    assert f"epoch {two.best} counts" in caplog.text
    assert [len(model.epochs), model.best] == [2, two.best]
    assert all(np.array_equal(two.state[key], value) for key, value in model.state.items())


def test_without_a_pixel_that_counts_nothing_is_learned(pack: Pack, tiny: Network) -> None:
    for none in (changed(pack, "s1", np.nan, np.s_[:]), changed(pack, "mask", 255, np.s_[:])):
        with pytest.raises(UserError, match="none: all are unknown, or have a gap in a band"):
            trained(none, tiny)


def test_val_whose_mines_are_gaps_chooses_no_epoch(pack: Pack, tiny: Network, caplog: pytest.LogCaptureFixture) -> None:
    val = rows_of(pack, "val")
    gaps = changed(pack, "s1", np.nan, np.s_[val])
    assert (gaps.masks(val) == 1).any()
    with caplog.at_level(logging.WARNING):
        model = trained(gaps, dataclasses.replace(tiny, patience=1))
    assert "val has no mining" in caplog.text
    assert model.best == 2
    assert not train.has_mining(Tiles(gaps, val, model.inputs))
    assert train.has_mining(Tiles(pack, val, model.inputs))


def test_one_tile_alone_is_refused_by_networks_that_normalise_batches(pack: Pack, settings: dict[str, Network]) -> None:
    own = dataclasses.replace(settings["prithvi_300/fixed"], epochs=1)
    rows = rows_of(pack, "train")[:1]
    with pytest.raises(UserError, match=r"two tiles in a batch or more[\s\S]*1 of 32 px"):
        train.fit(pack, rows, rows[:0], own, 0, 2, FILES)


def test_tiles_that_cannot_be_padded_are_refused(settings: dict[str, Network], tmp_path: Path) -> None:
    small = packed(tmp_path, rows=1, cols=4, side=16)
    with pytest.raises(UserError, match="tiles of 17 px or more"):
        trained(small, settings["unet_rgb/fixed"])
    assert networks.build(settings["unet_rgb/fixed"], None, 0).train(False)(torch.zeros(1, 3, 17, 17)).shape == (1, 2, 17, 17)


def test_an_unknown_radiometry_of_val_is_refused_before_training(pack: Pack, tiny: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "_epoch", lambda *arguments: pytest.fail("it trains"))
    unknown = dataclasses.replace(pack, about={**pack.about, "radiometry": {"2016": "dn_plus1000", "2022": "unknown"}})
    train_rows, val = (rows_of(pack, split) for split in ("train", "val"))
    with pytest.raises(UserError, match="2022"):
        train.fit(unknown, train_rows[pack.years[train_rows] == 2016], val[pack.years[val] == 2022], tiny, 0, 2, FILES)


# --- SAM-2 as published -------------------------------------------------------------------------------------------------------


class Told(torch.nn.Module):
    """A network in place of SAM-2: its masks are the input's first band, its scores 0.5."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, pixel_values: torch.Tensor, input_points: torch.Tensor, **named: object) -> object:
        number = input_points.shape[1]
        assert number > 0, "SAM-2 takes no empty list of points"
        masks = self.scale * pixel_values[:, None, :1].expand(-1, number, 3, -1, -1)
        return argparse.Namespace(pred_masks=masks, iou_scores=torch.full((1, number, 3), 0.5))


def sam_told(settings: Network) -> Sam2:
    """Return SAM-2 as published, with this network in it."""
    network = Sam2(settings, None, side=256)
    network.side, network.network = SIDE, Told()
    return network


def test_the_published_loss_and_score_leave_out_tiles_without_a_known_pixel(settings: dict[str, Network]) -> None:
    network = sam_told(settings["sam2_rgb/as_published"])
    mask = torch.zeros(2, SIDE, SIDE, dtype=torch.int64)
    mask[0, :8], mask[1] = 1, 255
    x = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    network.forward = lambda x: x  # type: ignore[method-assign]  # not used with prompts but for the unknown tile
    both, known = network.loss(x, mask, torch.Generator().manual_seed(1)), network.loss(x[:1], mask[:1], torch.Generator().manual_seed(1))
    torch.testing.assert_close(both, known)
    assert [int(network.weight(mask)), int(network.weight(mask[1:]))] == [1, 0]
    assert np.isnan(network.printed_iou(x[1:], mask[1:], torch.Generator()))
    assert 0 < network.printed_iou(x[:1], mask[:1], torch.Generator()) < 1


def test_the_printed_score_is_that_of_the_test_alone(pack: Pack, settings: dict[str, Network]) -> None:
    own = settings["sam2_rgb/as_published"]
    unknown = changed(pack, "mask", 255, np.s_[rows_of(pack, "test")[0]])
    rows = np.sort(np.concatenate([rows_of(pack, "val"), rows_of(pack, "test")]))
    is_test = np.isin(rows, rows_of(pack, "test"))
    network = sam_told(own)
    model = NetworkModel(own, inputs_of(own, {}), SIDE, {}, None, False, 0, 0, [], 0, _network=network)
    assert model.printed_score(is_test) is None
    seen: dict[int, float] = {}
    for part in (rows[:3], rows[3:]):
        model.on_pack(unknown, part, 2)
    for row, value in zip(rows, model._printed, strict=True):
        seen[int(row)] = value
    tested = [seen[int(row)] for row in rows[is_test]]
    assert np.isnan(tested[0])
    assert model.printed_score(is_test) == pytest.approx(np.mean(tested[1:]))
    assert model.printed_score(is_test) != pytest.approx(np.nanmean([*seen.values()]))
