"""Rows on a made dataset: draws of pixels, forests, boosting, controls, and the jobs around them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from smallmines.benchmark import boosting, controls, forest, runs
from smallmines.benchmark import pack as packs
from smallmines.benchmark.metrics import HALF, THRESHOLDS, count_tiles
from smallmines.benchmark.models import FitJob, Fitted, fit, fitted, load, save
from smallmines.benchmark.pack import Pack
from smallmines.benchmark.sample import reservoir, undersample
from smallmines.core.errors import UserError
from smallmines.settings.benchmark import Boosting, Control, Forest, RowSettings

RGB_PLUS = ("B04", "B03", "B02", "B8A", "B11", "B12")
FIXED = Forest(RGB_PLUS, 20, None, 2, 400, 500)
AS_PUBLISHED = Forest(RGB_PLUS, 20, None, 1, None, None)
BOOSTING = Boosting(("B04", "B11", "VV"), 20, 0.2, 7, 600)


@pytest.fixture(scope="module")
def rows(pack: Pack) -> dict[str, np.ndarray]:
    return {name: np.flatnonzero(pack.tiles["split"] == name) for name in ("train", "val", "test")}


def iou(predicted: np.ndarray, mask: np.ndarray) -> float:
    counts = count_tiles(predicted, mask, {"half": HALF}, 100.0)
    tp, fp, fn = (counts[f"{name}_half"].sum() for name in ("tp", "fp", "fn"))
    return float(tp / (tp + fp + fn))


# --- draws of pixels ---------------------------------------------------------------------------------------------------------


def test_a_reservoir_does_not_depend_on_the_chunks(pack: Pack, rows: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    first = reservoir(pack, rows["train"], ("B04", "VV"), 100, 5)
    monkeypatch.setattr(packs.chunks, "__defaults__", (3,))
    second = reservoir(pack, rows["train"], ("B04", "VV"), 100, 5)
    np.testing.assert_array_equal(first.x, second.x)
    assert first.drawn == {0: 100, 1: 100}
    assert not np.array_equal(first.x, reservoir(pack, rows["train"], ("B04", "VV"), 100, 6).x)


def test_a_reservoir_leaves_gaps_and_unknown_pixels_out_and_counts_the_rest(pack: Pack, rows: dict[str, np.ndarray]) -> None:
    masks = pack.masks(rows["train"])
    image = pack.read(rows["train"], ("VV",))[:, 0]
    drawn = reservoir(pack, rows["train"], ("VV",), 10**6, 0)
    for value in (0, 1):
        there = (masks == value) & np.isfinite(image)
        assert drawn.there[value] == drawn.drawn[value] == there.sum()
        np.testing.assert_array_equal(np.sort(drawn.x[drawn.y == value, 0]), np.sort(image[there]))
    half = dataclasses.replace(drawn, drawn={0: drawn.there[0] // 2, 1: drawn.there[1]})
    assert half.odds == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("settings", [FIXED, BOOSTING])
def test_train_without_a_usable_pixel_is_refused(pack: Pack, rows: dict[str, np.ndarray], settings: RowSettings) -> None:
    unknown = dataclasses.replace(pack, mask=np.full_like(pack.mask, 255))
    with pytest.raises(UserError, match=r"pixels of train with a class(.|\n)*leave out the row or the split"):
        fit(unknown, rows["train"], rows["val"], settings, 0, 1)


def test_every_pixel_has_the_same_chance(pack: Pack, rows: dict[str, np.ndarray]) -> None:
    """Each of the DEM's values is there once: how often it is drawn in 200 draws of a third."""
    train = rows["train"][:4]
    drawn = np.concatenate([reservoir(pack, train, ("DEM",), 300, seed).x[:300, 0] for seed in range(200)])
    values, times = np.unique(drawn, return_counts=True)
    total = reservoir(pack, train, ("DEM",), 10**6, 0).there[0]
    assert len(values) >= 0.98 * total
    assert times.mean() == pytest.approx(200 * 300 / total, rel=0.03)
    assert times.std() < 1.3 * np.sqrt(times.mean())


def test_undersampling_is_that_of_imbalanced_learn(pack: Pack, rows: dict[str, np.ndarray]) -> None:
    """`RandomUnderSampler._fit_resample` of imbalanced-learn 0.14, written out over all pixels in memory."""
    train = rows["train"]
    x = np.nan_to_num(np.moveaxis(pack.read(train, RGB_PLUS), 1, -1).reshape(-1, 6), nan=-9999.0)
    y = pack.masks(train).ravel()
    assert set(y) == {0, 1, 255}, "unknown pixels are a class, as nothing masks them"
    classes, counts = np.unique(y, return_counts=True)
    random, chosen = np.random.RandomState(42), np.empty(0, int)
    for target in classes:
        if target != classes[np.argmin(counts)]:
            index = random.choice(range(np.count_nonzero(y == target)), size=counts.min(), replace=False)
        else:
            index = slice(None)
        chosen = np.concatenate((chosen, np.flatnonzero(y == target)[index]))
    own = undersample(pack, train, RGB_PLUS, 42)
    np.testing.assert_array_equal(own.x, x[chosen])
    np.testing.assert_array_equal(own.y, y[chosen])
    assert (own.x[own.y == 255] == -9999).all()


# --- models ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [FIXED, AS_PUBLISHED, BOOSTING], ids=["forest", "as_published", "boosting"])
def test_models_find_the_mines_and_are_the_same_with_more_threads(pack: Pack, rows: dict[str, np.ndarray], settings: RowSettings) -> None:
    one, two = (fit(pack, rows["train"], rows["val"], settings, 0, threads) for threads in (1, 2))
    predicted = one.on_pack(pack, rows["test"], 1)
    np.testing.assert_array_equal(predicted, two.on_pack(pack, rows["test"], 2))
    assert predicted.shape == (len(rows["test"]), pack.side, pack.side)
    assert iou(predicted, pack.masks(rows["test"])) > 0.95


def test_fixed_models_know_the_share_of_mining_and_gaps(pack: Pack, rows: dict[str, np.ndarray]) -> None:
    """Bands without information: the mean probability is the share of train, not one half."""
    share = (pack.masks(rows["train"]) == 1).sum() / (pack.masks(rows["train"]) != 255).sum()
    for model in (
        forest.fit(pack, rows["train"], rows["val"], dataclasses.replace(FIXED, bands=("DEM",), min_samples_leaf=60), 0, 1),
        boosting.fit(pack, rows["train"], rows["val"], dataclasses.replace(BOOSTING, bands=("DEM",), rounds=3), 0, 1),
    ):
        assert model.on_pack(pack, rows["test"], 1).mean() / 255 == pytest.approx(share, rel=0.25)
    gap = fit(pack, rows["train"], rows["val"], FIXED, 0, 1).on_pack(pack, np.array([1]), 1)
    assert gap[0, 0, :3].tolist() == [0, 0, 0]


def test_a_train_without_mining_predicts_none(pack: Pack, rows: dict[str, np.ndarray]) -> None:
    empty = rows["train"][(pack.masks(rows["train"]) != 1).all(axis=(1, 2)) & (pack.masks(rows["train"]) != 255).all(axis=(1, 2))]
    for settings in (FIXED, AS_PUBLISHED, BOOSTING):
        assert not fit(pack, empty, empty[:0], settings, 0, 1).on_pack(pack, rows["test"], 1).any()


# --- controls ----------------------------------------------------------------------------------------------------------------


def control(pack: Pack, rows: np.ndarray, name: str) -> controls.ControlModel:
    bands = controls.INDEX_BANDS if name == "index" else ()
    return controls.fit(pack, rows, rows[:0], Control(bands, name), 0, 1)  # type: ignore[arg-type]  # a name


def test_everything_is_mining(pack: Pack) -> None:
    assert (control(pack, np.array([0]), "everything").on_pack(pack, np.array([3, 4]), 1) == 255).all()


def test_the_other_year_is_known_where_train_holds_it(pack: Pack) -> None:
    first = np.flatnonzero(pack.years == 2016)
    second = first + 36
    model = control(pack, first[:20], "other_year")
    predicted = model.on_pack(pack, second, 1)
    np.testing.assert_array_equal(predicted[:20] == 255, pack.masks(first[:20]) == 1)
    assert not predicted[20:].any()
    assert not control(pack, first, "other_year").on_pack(pack, first, 1).any(), "its own mask is not given away"


def test_place_knows_what_train_holds_at_the_same_place(pack: Pack) -> None:
    """Train has the other year of every tile: the control finds mines without an image. Where it has not, it does not."""
    first = np.flatnonzero(pack.years == 2016)
    masks = pack.masks(first + 36)
    leaking = control(pack, first, "place").on_pack(pack, first + 36, 1)
    apart = control(pack, first[::2], "place").on_pack(pack, first[1::2] + 36, 1)
    assert leaking[masks == 1].mean() > 1.5 * leaking[masks == 0].mean()
    assert apart[masks[1::2] == 1].mean() < 1.2 * apart[masks[1::2] == 0].mean()


def test_place_by_brute_force(pack: Pack) -> None:
    train, row = np.array([0, 4, 9, 40]), np.array([41])
    model = control(pack, train, "place")
    predicted = model.on_pack(pack, row, 1)[0]
    share = controls.cell_shares(pack, train)
    points, own = controls.cell_points(pack, train, (2016, 2022)), controls.cell_points(pack, row, (2016, 2022))
    assert points[0].tolist() == [0.25, 0.25, 0.0]
    assert own[3].tolist() == [0.75, 5.75, 0.5]
    for number, point in enumerate(own):
        distance = np.sqrt(((points - point) ** 2).sum(axis=1))
        near = np.argsort(distance)[:5]
        expected = (share[near] / distance[near]).sum() / (1 / distance[near]).sum()
        cell = predicted[8 * (number // 2) :, 8 * (number % 2) :][:8, :8]
        assert (cell == cell[0, 0]).all()
        assert cell[0, 0] / 255 == pytest.approx(expected, abs=0.003)


def test_an_index_needs_its_offset_taken_off(pack: Pack, rows: dict[str, np.ndarray]) -> None:
    values = controls.index_values(pack, rows["test"], {2016: 1000, 2022: 1000})
    image = pack.read(rows["test"], ("B04", "B8A")).astype(np.float64) - 1000
    np.testing.assert_allclose(values["no_plants"], (image[:, 0] - image[:, 1]) / (image[:, 0] + image[:, 1]), rtol=1e-4)
    model = control(pack, rows["train"], "index")
    assert isinstance(model, controls.IndexModel)
    assert model.offset == {2016: 1000, 2022: 1000}
    predicted = model.on_pack(pack, rows["test"], 1)
    np.testing.assert_array_equal(predicted >= HALF, values[model.index] >= model.threshold)
    assert iou(predicted, pack.masks(rows["test"])) > 0.9


# --- jobs --------------------------------------------------------------------------------------------------------------------


def test_a_row_from_split_to_counts(pack: Pack, rows: dict[str, np.ndarray], tmp_path: Path, pack_folder: Path) -> None:
    split, model, predicted = tmp_path / "split.parquet", tmp_path / "model.joblib", tmp_path / "probabilities.npy"
    runs.write_split(pack_folder, "in_force", 0, None, split)
    runs.fit_row(pack_folder, split, FIXED, FitJob(0, 1, True), model, tmp_path / "fitted.json")
    runs.predict_row(pack_folder, split, model, 1, predicted)
    runs.score_row(pack_folder, split, tmp_path / "fitted.json", predicted, str(tmp_path / "counts.parquet"), str(tmp_path / "score.json"))
    table = pd.read_parquet(tmp_path / "counts.parquet")
    assert table["row"].tolist() == rows["test"].tolist()
    assert table["tile_id"].tolist() == pack.tiles["tile_id"].iloc[rows["test"]].tolist()
    probability = np.load(predicted)
    own = np.sort(np.concatenate([rows["val"], rows["test"]]))
    assert len(probability) == len(own)
    whole = fit(pack, rows["train"], rows["val"], FIXED, 0, 1).on_pack(pack, own, 1)
    np.testing.assert_array_equal(probability, whole)
    expected = count_tiles(whole[np.isin(own, rows["test"])], pack.masks(rows["test"]), {"half": HALF}, 100.0)
    assert table["tp_half"].tolist() == expected["tp_half"].tolist()
    np.testing.assert_array_equal(np.stack(table["mining"]), expected["mining"])
    assert {f"tp_{name}" for name in THRESHOLDS} <= set(table)


def test_findings_in_a_band_stop_the_rows_that_use_it(
    pack: Pack, rows: dict[str, np.ndarray], tmp_path: Path, pack_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_finding = dataclasses.replace(pack, about={**pack.about, "findings": {"VV": ["VV linear: all"]}})
    arguments = (with_finding, rows["train"], rows["val"])
    assert fitted(*arguments, FIXED, FitJob(0, 1, True)).stopped == ()
    assert fitted(*arguments, BOOSTING, FitJob(0, 1, False)).stopped == ()
    stopped = fitted(*arguments, BOOSTING, FitJob(0, 1, True))
    assert (stopped.model, stopped.stopped) == (None, ("VV: VV linear: all",))
    split, model, predicted = tmp_path / "split.parquet", tmp_path / "model.joblib", tmp_path / "probabilities.npy"
    monkeypatch.setattr(Pack, "open", lambda folder: with_finding)
    runs.write_split(pack_folder, "in_force", 0, None, split)
    runs.fit_row(pack_folder, split, BOOSTING, FitJob(0, 1, True), model, tmp_path / "fitted.json")
    runs.predict_row(pack_folder, split, model, 1, predicted)
    assert len(np.load(predicted)) == 0
    runs.score_row(pack_folder, split, tmp_path / "fitted.json", predicted, str(tmp_path / "counts.parquet"), str(tmp_path / "score.json"))
    assert len(pd.read_parquet(tmp_path / "counts.parquet")) == 0
    assert "VV linear" in (tmp_path / "score.json").read_text()


def test_a_model_states_what_it_was_trained_on(pack: Pack, rows: dict[str, np.ndarray], tmp_path: Path) -> None:
    model = fitted(pack, rows["train"], rows["val"], BOOSTING, FitJob(0, 1, True))
    assert model.radiometry == ("dn_plus1000",)
    assert model.statistics["B04"]["mean"] == pytest.approx(pack.about["statistics"]["B04"]["mean"])
    save(model, tmp_path / "model.joblib")
    assert isinstance(load(tmp_path / "model.joblib"), Fitted)
    for content in (b"", b"not a model"):
        (tmp_path / "broken.joblib").write_bytes(content)
        with pytest.raises(UserError, match="a model of the benchmark"):
            load(tmp_path / "broken.joblib")


def test_a_split_of_another_pack_is_refused(pack: Pack, tmp_path: Path) -> None:
    pack.tiles[["tile_id", "year"]].head(9).assign(split="train").to_parquet(tmp_path / "split.parquet")
    with pytest.raises(UserError, match="9 others"):
        runs.read_split(tmp_path / "split.parquet", pack)
