"""Networks of the benchmark without pretrained weights, on the CPU: sizes, bands, gradients, learning, going on after a kill."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

pytest.importorskip("torch", reason="networks have an environment of their own: make test-deep")

import torch

from made_pack import CRS, packed
from smallmines.benchmark import models, runs
from smallmines.benchmark.deep import networks, train
from smallmines.benchmark.deep.inputs import inputs_of
from smallmines.benchmark.deep.kept import Kept
from smallmines.benchmark.deep.model import NetworkModel
from smallmines.benchmark.deep.train import Files, Tiles
from smallmines.benchmark.metrics import HALF
from smallmines.benchmark.models import FitJob, load
from smallmines.benchmark.on_map import predict_image
from smallmines.benchmark.pack import Pack
from smallmines.core.errors import UserError
from smallmines.core.product import PATCH_BANDS
from smallmines.settings.benchmark import Network

pytestmark = pytest.mark.deep

SIDE = 64
FILES = Files(Path("weights.json"), True)
SMALL = ("unet_rgb/fixed", "unet_rgb_plus_scratch/as_published", "terramind_tiny/fixed", "prithvi_300/fixed", "prithvi_300/as_published")
"""Rows that a CPU trains in seconds; of Prithvi four blocks, see conftest.py."""


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """Twelve tiles of 64 × 64 px in two years."""
    return packed(tmp_path_factory.mktemp("made"), rows=2, cols=6, side=SIDE)


def rows_of(pack: Pack, split: str) -> np.ndarray:
    return np.flatnonzero(pack.tiles["split"] == split)


# --- sizes --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters", "trained"),
    [
        ("unet_rgb/as_published", 32.5, 9.0),
        ("unet_rgb/fixed", 32.5, 32.5),
        pytest.param("prithvi_300/as_published", 319.0, 15.1, marks=pytest.mark.heavy),
        pytest.param("prithvi_600/as_published", 649.9, 18.7, marks=pytest.mark.heavy),
        ("sam2_rgb/as_published", 38.5, 4.2),
        ("sam2_rgb/fixed", 38.5, 38.5),
        ("terramind_tiny/fixed", 12.9, 12.9),
        pytest.param("terramind_base/fixed", 103.0, 103.0, marks=pytest.mark.heavy),
    ],
)
def test_the_number_of_parameters_is_that_of_the_paper(settings: dict[str, Network], name: str, parameters: float, trained: float) -> None:
    counted = networks.counted(networks.build(settings[name], None, 0))
    assert [round(number / 1e6, 1) for number in counted] == pytest.approx([parameters, trained], abs=0.051)


# --- bands --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_each_band_reaches_its_own_place(pack: Pack, settings: dict[str, Network], name: str) -> None:
    """A pack whose bands are constants: the first layer gets each band's constant in the place that its weights are for."""
    own = settings[name]
    constant = {band: 2000.0 + 37 * number for number, band in enumerate(own.bands)}
    image = np.broadcast_to(np.array([*constant.values()], np.float32)[None, :, None, None], (1, len(own.bands), SIDE, SIDE)).copy()
    statistics = {band: {"mean": 1000.0, "sd": 100.0} for band in own.bands}
    inputs = inputs_of(own, statistics)
    x = torch.from_numpy(inputs.values(image, np.array([1000])))
    network = networks.build(own, None, 0).train(False)
    seen: list[torch.Tensor] = []

    def note(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        seen.append(arguments[0])

    if own.architecture == "unet_resnet50":
        layers = [network.encoder.conv1]
        wanted = [list(own.bands)]
    elif own.architecture == "prithvi_300":
        layers = [network.encoder.patch_embed.proj]
        wanted = [["B02", "B03", "B04", "B8A", "B11", "B12"]]
        names = [band.value if hasattr(band, "value") else band for band in network.encoder.model_bands]
        assert names == (
            ["BLUE", "GREEN", "RED", "VNIR_5", "SWIR_1", "SWIR_2"]
            if own.band_names
            else ["BLUE", "GREEN", "RED", "NIR_NARROW", "SWIR_1", "SWIR_2"]
        )
    else:
        embeddings = network.encoder.encoder_embeddings
        layers = [embeddings[f"untok_{name}@224"].proj for name in ("sen2l2a", "sen1rtc", "dem")]
        wanted = [[band for band in own.bands if band.startswith("B")], ["VV", "VH"], ["DEM"]]
    handles = [layer.register_forward_pre_hook(note) for layer in layers]
    with torch.no_grad():
        assert network(x).shape == (1, 2, SIDE, SIDE)
    for handle in handles:
        handle.remove()
    expected = {band: float(value) for band, value in zip(own.bands, x[0, :, 0, 0], strict=True)}
    assert len(set(expected.values())) == len(expected)
    for values, bands in zip(seen, wanted, strict=True):
        flat = values.reshape(-1, len(bands)) if own.architecture.startswith("terramind") else values.reshape(len(bands), -1).T
        np.testing.assert_allclose(flat.unique(dim=0)[0], [expected[band] for band in bands], rtol=1e-5)


def test_a_band_without_pretrained_weights_is_refused(settings: dict[str, Network]) -> None:
    own = dataclasses.replace(settings["prithvi_300/fixed"], bands=("B02", "B03", "B04", "B05", "B11", "B12"))
    with pytest.raises(UserError, match="B05"):
        networks.build(own, None, 0)


# --- learning -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_the_loss_falls_and_the_encoder_is_trained_or_not(pack: Pack, settings: dict[str, Network], name: str) -> None:
    own = dataclasses.replace(settings[name], epochs=6, patience=None, batch=4, learning_rate=1e-3, tenth_every=None)
    rows = rows_of(pack, "train")[:8]
    torch.manual_seed(0)
    before = networks.build(own, None, 3).state_dict()
    model = train.fit(pack, rows, rows[:0], own, 3, 2, FILES)
    losses = [record["loss"] for record in model.epochs]
    assert losses[-1] < 0.8 * losses[0]
    learned = {key for key, value in before.items() if not np.array_equal(value.numpy(), model.state[key])}
    weights = {key for key in learned if ".encoder." in key and "running" not in key and "num_batches" not in key}
    assert bool(weights) == own.train_encoder
    assert any("decoder" in key for key in learned)


def test_pixels_that_are_unknown_or_gaps_change_nothing(pack: Pack, settings: dict[str, Network]) -> None:
    own = settings["unet_rgb/fixed"]
    network = networks.build(own, None, 0).train(False)
    generator = torch.Generator()
    x, mask = torch.randn(2, 3, SIDE, SIDE), torch.randint(0, 2, (2, SIDE, SIDE))
    mask[:, :5] = 255
    logits = network(x)
    with torch.no_grad():
        losses = [float(network.loss(x, mask, generator))]
        weight = torch.tensor([0.1, 0.9])[mask.clamp(max=1)] * (mask != 255)
        each = torch.nn.functional.cross_entropy(logits, mask.clamp(max=1), reduction="none")
        assert losses[0] == pytest.approx(float((each * weight).sum() / weight.sum()), rel=1e-5)
        assert float(network.loss(x, torch.full_like(mask, 255), generator)) == 0
    row = int(np.flatnonzero((pack.masks(np.arange(len(pack))) == 255).any(axis=(1, 2)))[0])
    statistics = pack.statistics(np.arange(len(pack)), own.bands)
    _, truth = Tiles(pack, np.array([row]), inputs_of(own, statistics)).read(np.array([row]))
    gap = ~np.isfinite(pack.read(np.array([row]), own.bands)).all(axis=1)
    assert gap.any()
    assert (truth[gap] == 255).all()


def test_the_best_epoch_on_val_counts_and_patience_ends_the_training(
    pack: Pack, settings: dict[str, Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = iter([0.1, 0.4, 0.3, 0.4, 0.2, 0.9])
    monkeypatch.setattr(train, "val_iou", lambda *arguments: next(reached))
    own = dataclasses.replace(settings["unet_rgb/fixed"], epochs=20, patience=3, batch=4)
    rows = rows_of(pack, "train")[:4]
    model = train.fit(pack, rows, rows_of(pack, "val"), own, 0, 2, FILES)
    assert [record["val_iou"] for record in model.epochs] == [0.1, 0.4, 0.3, 0.4, 0.2]
    assert model.best == 2
    two = train.fit(pack, rows, rows, dataclasses.replace(own, epochs=2, patience=None), 0, 2, FILES)
    assert all(np.array_equal(two.state[key], value) for key, value in model.state.items())


class Killed(Exception):
    """A job that ends in the middle of an epoch."""


@pytest.mark.parametrize("name", ["unet_rgb/fixed", "prithvi_300/as_published"])
def test_a_killed_training_goes_on_to_the_same_numbers(
    pack: Pack, settings: dict[str, Network], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = dataclasses.replace(settings[name], epochs=4, batch=4, tenth_every=2, head_dropout=0.3)
    rows = rows_of(pack, "train")[:8], rows_of(pack, "val")
    whole = train.fit(pack, *rows, own, 5, 2, FILES)
    kept = Kept(tmp_path / "checkpoint.pt", tmp_path / "record", "key")
    epoch = train._epoch

    def killed(torch_: object, training: train.Training, *others: object) -> None:
        if len(training.records) == 2:
            raise Killed
        epoch(torch_, training, *others)

    with monkeypatch.context() as patched:
        patched.setattr(train, "_epoch", killed)
        with pytest.raises(Killed):
            train.fit(pack, *rows, own, 5, 2, dataclasses.replace(FILES, kept=kept))
    again = train.fit(pack, *rows, own, 5, 2, dataclasses.replace(FILES, kept=kept))
    assert all(np.array_equal(again.state[key], value) for key, value in whole.state.items())
    lines = (tmp_path / "record/epochs.csv").read_text().splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("epoch,loss,learning_rate,seconds")
    assert [line.split(",")[2] for line in lines[1:]] == ["0.001", "0.001", "0.0001", "0.0001"]
    assert list((tmp_path / "record").glob("events.out.tfevents.*"))
    other = dataclasses.replace(kept, key="other code")
    assert other.read(torch) is None
    kept.remove()
    assert not kept.checkpoint.exists()


def test_seeds_differ_and_a_seed_gives_one_model(pack: Pack, settings: dict[str, Network]) -> None:
    own = dataclasses.replace(settings["terramind_tiny/fixed"], epochs=1, patience=None, batch=4)
    rows = rows_of(pack, "train")[:4]
    first, again, other = (train.fit(pack, rows, rows[:0], own, seed, 2, FILES) for seed in (1, 1, 2))
    key = max(first.state, key=lambda name: first.state[name].size)
    np.testing.assert_array_equal(first.state[key], again.state[key])
    assert not np.array_equal(first.state[key], other.state[key])


# --- files --------------------------------------------------------------------------------------------------------------------


def test_a_row_is_fitted_kept_and_predicts_the_same(pack: Pack, settings: dict[str, Network], tmp_path: Path) -> None:
    own = dataclasses.replace(settings["unet_rgb_plus/fixed"], epochs=8, batch=4, patience=None, tenth_every=None)
    split = tmp_path / "split.parquet"
    pack.tiles[["tile_id", "year", "split"]].to_parquet(split)
    folder = Path(str(pack.arrays["s2"].filename)).parent

    def fit(*arguments: object) -> NetworkModel:
        return train.fit(*arguments, files=FILES)

    runs.fit_row(folder, split, own, FitJob(0, 2, True), tmp_path / "model.joblib", tmp_path / "fitted.json", fit)
    runs.predict_row(folder, split, tmp_path / "model.joblib", 2, tmp_path / "probabilities.npy")
    fitted = load(tmp_path / "model.joblib")
    assert isinstance(fitted.model, NetworkModel)
    assert fitted.model.unpretrained
    assert fitted.model._network is None, "the file holds numbers only"
    rows = runs.rows_of(pack.tiles["split"].to_numpy(object), "val", "test")
    predicted = np.load(tmp_path / "probabilities.npy")
    np.testing.assert_array_equal(predicted, fitted.model.on_pack(pack, rows, 1))
    mask = pack.masks(rows)
    mining, either = (predicted >= HALF) & (mask != 255), mask == 1
    assert (mining & either).sum() / (mining | either).sum() > 0.5, "mines are bright in B11"
    gaps = ~np.isfinite(pack.read(np.arange(len(pack)), own.bands)).all(axis=1)
    assert (fitted.model.on_pack(pack, np.arange(len(pack)), 1)[gaps] == 0).all()


def test_a_map_of_one_tile_is_that_of_the_pack_and_overlaps_are_blended(pack: Pack, settings: dict[str, Network], tmp_path: Path) -> None:
    own = dataclasses.replace(settings["terramind_tiny/fixed"], epochs=2, batch=4, patience=None)
    rows = rows_of(pack, "train")
    fitted = models.fitted(pack, rows[:8], rows[:0], own, FitJob(0, 2, True), partial(train.fit, files=FILES))
    assert isinstance(fitted.model, NetworkModel)
    image = pack.read(np.arange(len(pack)), PATCH_BANDS)
    one = write_patch_of(tmp_path / "one.tif", image[0])
    predict_image(fitted, [one], tmp_path / "map.tif", 2)
    with rasterio.open(tmp_path / "map.tif") as source:
        np.testing.assert_array_equal(source.read(1), fitted.model.on_pack(pack, np.array([0]), 2)[0])
    wide = write_patch_of(tmp_path / "wide.tif", np.concatenate([image[0], image[2]], axis=2))
    predict_image(fitted, [wide], tmp_path / "map.tif", 2)
    with rasterio.open(tmp_path / "map.tif") as source:
        blended = source.read(1)
    middle = fitted.model.on_images(np.concatenate([image[0], image[2]], axis=2)[None, :, :, SIDE // 2 : 3 * SIDE // 2], "dn_plus1000", 2)
    assert blended.shape == (SIDE, 2 * SIDE)
    np.testing.assert_allclose(blended[:, SIDE].astype(int), middle[0, :, SIDE // 2], atol=8)  # where the middle tile counts most
    harmonised = write_patch_of(tmp_path / "other.tif", image[0], "dn_harmonised")
    with pytest.raises(UserError, match="dn_harmonised"):
        predict_image(fitted, [harmonised], tmp_path / "map.tif", 2)


def write_patch_of(path: Path, image: np.ndarray, radiometry: str = "dn_plus1000") -> Path:
    """Write an image (13, row, column) with names and radiometry."""
    transform = Affine(10, 0, 600_000, 0, -10, 700_000)
    with rasterio.open(path, "w", "GTiff", image.shape[2], image.shape[1], 13, CRS, transform, "float32", nodata=-9999) as target:
        target.write(np.nan_to_num(image, nan=-9999))
        target.descriptions = PATCH_BANDS
        target.update_tags(RADIOMETRY=radiometry)
    return path


def test_reflectance_networks_refuse_an_unknown_radiometry_before_training(pack: Pack, settings: dict[str, Network]) -> None:
    unknown = dataclasses.replace(pack, about={**pack.about, "radiometry": {"2016": "unknown", "2022": "unknown"}})
    rows = rows_of(pack, "train")[:4]
    with pytest.raises(UserError, match=r"benchmark\.radiometry"):
        train.fit(unknown, rows, rows[:0], settings["terramind_tiny/fixed"], 0, 1, FILES)


# --- SAM-2 --------------------------------------------------------------------------------------------------------------------


def test_a_prompt_tells_the_truth_and_fixed_rows_get_none(settings: dict[str, Network]) -> None:
    from smallmines.benchmark.deep.sam2 import Sam2, truth_points

    mask = torch.zeros(SIDE, SIDE, dtype=torch.int64)
    mask[10:20, 30:50], mask[0] = 1, 255
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        values, points = truth_points(mask, generator)
        assert values.tolist() == [0, 1]
        assert [int(mask[row, column]) for column, row in points.tolist()] == [0, 1]
    assert len(truth_points(torch.full_like(mask, 255), generator)[0]) == 0
    x, masks = torch.randn(2, 3, SIDE, SIDE), torch.stack([mask, torch.zeros_like(mask)])
    for name, trained in (("sam2_rgb/fixed", True), ("sam2_rgb/as_published", False)):
        torch.manual_seed(0)
        network = Sam2(settings[name], None, side=256)
        if not trained:
            network.encoder.requires_grad_(False)
        network.loss(x, masks, generator).backward()
        gradients = [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in network.encoder.parameters()]
        assert any(gradients) == trained
        with torch.no_grad():
            probability = network.probability(x, masks, generator)
            blind = network.probability(x, torch.full_like(masks, 255), generator)
        assert probability.shape == (2, SIDE, SIDE)
        assert torch.equal(probability, blind) == trained, "no truth in a fixed test"
        if not trained:
            assert (probability[1] == 0).all()
            assert (blind == 0).all()


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["sam2_rgb/fixed", "sam2_rgb/as_published"])
def test_the_loss_of_sam2_falls(pack: Pack, settings: dict[str, Network], name: str) -> None:
    own = dataclasses.replace(settings[name], epochs=3, patience=None, learning_rate=1e-4, accumulate=1)
    rows = rows_of(pack, "train")
    rows = rows[(pack.masks(rows) == 1).any(axis=(1, 2))][:8]
    model = train.fit(pack, rows, rows[:0], own, 0, 2, FILES)
    losses = [record["loss"] for record in model.epochs]
    assert losses[-1] < losses[0]
    assert model.on_pack(pack, rows[:2], 2).shape == (2, SIDE, SIDE)
