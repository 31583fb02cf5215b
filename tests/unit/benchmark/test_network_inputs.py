"""Input of networks by band, offset and gap; order and symmetries of the tiles; settings of the rows. Without PyTorch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from smallmines.benchmark.deep import inputs as network_inputs
from smallmines.benchmark.deep.inputs import PRITHVI, STRETCH, TERRAMIND, inputs_of, offsets_by_row
from smallmines.benchmark.deep.kept import key_of
from smallmines.benchmark.deep.order import TURNS, batches, turned
from smallmines.benchmark.offsets import offset_of
from smallmines.benchmark.pack import FILES, Pack
from smallmines.config.benchmark import DEEP_ROWS, Benchmark, RowFile, read_rows
from smallmines.config.yaml_file import read_yaml
from smallmines.core.errors import UserError
from smallmines.core.product import PATCH_BANDS
from smallmines.settings.benchmark import Network, settings_of_row


@pytest.fixture(scope="module")
def rows(repository: Path) -> dict[str, Network]:
    """Settings of all rows of networks."""
    own = read_rows(repository / "config/benchmark", Benchmark())
    return {f"{row.name}/{row.variant}": settings_of_row(row.values) for row in own if row.deep}  # type: ignore[misc]  # a dict of networks


def flat(bands: tuple[str, ...], **values: float) -> np.ndarray:
    """Return an image of 2 × 2 px, each band with one value."""
    return np.broadcast_to(np.array([values[band] for band in bands], np.float32)[None, :, None, None], (1, len(bands), 2, 2)).copy()


STATISTICS = {band: {"mean": 1000.0 + number, "sd": 10.0 + number} for number, band in enumerate(PATCH_BANDS)}


@pytest.mark.parametrize("name", DEEP_ROWS)
def test_each_band_is_normalised_with_its_own_numbers(rows: dict[str, Network], name: str) -> None:
    settings = rows[name]
    values = {band: 2000.0 + 100 * number for number, band in enumerate(settings.bands)}
    x = inputs_of(settings, STATISTICS).values(flat(settings.bands, **values), np.array([1000]))
    for number, band in enumerate(settings.bands):
        optical = band.startswith("B")
        reflectance = values[band] - (1000 if optical else 0)
        own = STATISTICS[band]
        if settings.inputs == "standardised":
            wanted = (values[band] - own["mean"]) / own["sd"]
        elif settings.inputs == "pretraining":
            mean, sd = (PRITHVI if "prithvi" in name else TERRAMIND)[band]
            wanted = (reflectance - mean) / sd
        else:
            mean, sd = network_inputs.IMAGENET[band]
            wanted = ((reflectance / (STRETCH * 10_000) if settings.inputs == "stretched" else values[band]) - mean) / sd
        np.testing.assert_allclose(x[0, number], wanted, rtol=1e-5)


@pytest.mark.parametrize("name", DEEP_ROWS)
def test_fixed_rows_do_not_see_the_offset(rows: dict[str, Network], name: str) -> None:
    """Images with the offset and without it give one input, each with the statistics of its own train."""
    settings = rows[name]
    if settings.inputs == "stored":
        pytest.skip("as published: digital numbers as they are")
    image = flat(settings.bands, **{band: 900.0 + 50 * number for number, band in enumerate(settings.bands)})
    optical = np.array([band.startswith("B") for band in settings.bands])
    shifted = image + 1000 * optical[:, None, None].astype(np.float32)
    moved = {band: {**own, "mean": own["mean"] + 1000 * band.startswith("B")} for band, own in STATISTICS.items()}
    plain = inputs_of(settings, STATISTICS).values(image, np.array([0]))
    np.testing.assert_allclose(inputs_of(settings, moved).values(shifted, np.array([1000])), plain, atol=1e-4)


def test_gaps_are_the_mean_where_they_are_masked_and_dn_0_as_published(rows: dict[str, Network]) -> None:
    for name, wanted in (("unet_rgb/fixed", 0.0), ("unet_rgb/as_published", -STATISTICS["B04"]["mean"] / STATISTICS["B04"]["sd"])):
        image = flat(rows[name].bands, B04=2000, B03=2000, B02=2000)
        image[0, 0, 0, 0] = np.nan
        x = inputs_of(rows[name], STATISTICS).values(image, np.array([0]))
        assert x[0, 0, 0, 0] == pytest.approx(wanted)
        assert np.isfinite(x).all()


def test_the_stretch_is_the_same_for_all_tiles_and_ends_at_its_limits(rows: dict[str, Network]) -> None:
    inputs = inputs_of(rows["sam2_rgb/fixed"], STATISTICS)
    image = flat(inputs.bands, B04=900, B03=4000, B02=9000)
    one, both = inputs.values(image, np.array([1000])), inputs.values(np.concatenate([image, image * 2]), np.array([1000, 1000]))
    np.testing.assert_array_equal(one[0], both[0])
    assert one[0, :, 0, 0] == pytest.approx([-0.485 / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])


def test_reflectances_need_a_known_radiometry(pack: Pack, rows: dict[str, Network]) -> None:
    prithvi = inputs_of(rows["prithvi_300/fixed"], STATISTICS)
    np.testing.assert_array_equal(offsets_by_row(pack, np.arange(4), prithvi), 1000)
    unknown = dataclasses.replace(pack, about={**pack.about, "radiometry": {"2016": "unknown", "2022": "dn_harmonised"}})
    with pytest.raises(UserError, match=r"benchmark\.radiometry"):
        offsets_by_row(unknown, np.arange(4), prithvi)
    np.testing.assert_array_equal(offsets_by_row(unknown, np.arange(4), inputs_of(rows["unet_rgb/fixed"], STATISTICS)), 0)
    with pytest.raises(UserError, match="dn_plus1000, dn_harmonised"):
        offset_of("dn_plus1000, dn_harmonised", "the images of 2016")


def test_bands_without_statistics_are_refused(rows: dict[str, Network]) -> None:
    with pytest.raises(UserError, match="B05"):
        inputs_of(dataclasses.replace(rows["prithvi_300/fixed"], bands=("B02", "B05")), STATISTICS)


# --- order and symmetries -----------------------------------------------------------------------------------------------------


def test_an_epoch_sees_each_tile_once_in_an_order_of_its_own() -> None:
    rows = np.arange(100, 117)
    first, again, other = ([own for own, _ in batches(rows, 4, 7, epoch, True, "turns")] for epoch in (1, 1, 2))
    np.testing.assert_array_equal(np.concatenate(first), np.concatenate(again))
    assert not np.array_equal(np.concatenate(first), np.concatenate(other))
    assert len(np.concatenate(first)) == 16, "a batch of one tile is left out"
    plain = [own for own, _ in batches(rows, 1, 7, 1, False, "none")]
    np.testing.assert_array_equal(np.concatenate(plain), rows)


def test_symmetries_are_all_different_and_the_same_for_image_and_mask() -> None:
    image = np.arange(2 * 9).reshape(2, 3, 3)
    for augment, number in TURNS.items():
        drawn = np.concatenate([turns for _, turns in batches(np.arange(400), 8, 0, 1, True, augment)])
        assert set(drawn.tolist()) == set(range(number))
    assert len({turned(image[0], turn).tobytes() for turn in range(8)}) == 8
    for turn in range(8):
        np.testing.assert_array_equal(turned(image, turn)[1], turned(image[1], turn))


# --- going on after a kill ----------------------------------------------------------------------------------------------------


def test_a_moved_mine_and_another_setting_change_the_key_of_a_training(pack_folder: Path, tmp_path: Path) -> None:
    """A mine that is moved within its tile changes neither the table of the tiles nor the statistics of the pack."""
    files = [pack_folder / name for name in FILES]
    before = key_of([["code"], 0], files)
    assert key_of([["code"], 0], files) == before
    assert key_of([["code"], 1], files) != before
    mask = np.load(pack_folder / "mask.npy")
    mask[1] = mask[1, ::-1]
    np.save(tmp_path / "mask.npy", mask)
    assert key_of([["code"], 0], [tmp_path / "mask.npy" if path.name == "mask.npy" else path for path in files]) != before


# --- settings -----------------------------------------------------------------------------------------------------------------


def test_mistakes_of_the_released_scripts_are_refused_in_fixed_rows(repository: Path) -> None:
    for name, key, value in (
        ("prithvi_300", "band_names", ["BLUE", "GREEN", "RED", "VNIR_5", "SWIR_1", "SWIR_2"]),
        ("sam2_rgb", "prompts", "truth"),
        ("unet_rgb", "mask_gaps", False),
    ):
        content = read_yaml(repository / f"config/benchmark/{name}.yaml")
        fixed = next(entry for entry in content["variants"] if entry["variant"] == "fixed")
        fixed["model"][key] = value
        with pytest.raises(ValidationError, match=f"{key} .* is for as_published"):
            RowFile.model_validate(content)


def test_what_starts_from_random_numbers_is_marked(repository: Path) -> None:
    rows = {row.name: row for row in read_rows(repository / "config/benchmark", Benchmark(allow_unpretrained=True)) if row.deep}
    assert "unet_rgb" not in rows
    marked = rows["unet_rgb_unpretrained"]
    assert (marked.title, marked.published_iou) == ("U-Net ResNet-50, RGB, ImageNet weights (unpretrained)", None)
    assert rows["unet_rgb_plus_scratch"].title == "U-Net ResNet-50, RGB+, from scratch", "nothing to mark"


def test_a_row_copied_under_the_name_of_an_unpretrained_one_is_refused(repository: Path, tmp_path: Path) -> None:
    """Both would have one folder, and one of them would go missing from the table without a word."""
    content = (repository / "config/benchmark/unet_rgb.yaml").read_text()
    for name in ("unet_rgb", "unet_rgb_unpretrained"):
        (tmp_path / f"{name}.yaml").write_text(content)
    own = Benchmark(rows=(), deep_rows=("unet_rgb/fixed", "unet_rgb_unpretrained/fixed"), allow_unpretrained=True)
    with pytest.raises(UserError, match="do not end in _unpretrained"):
        read_rows(tmp_path, own)


@pytest.mark.parametrize(
    ("name", "bands", "message"),
    [("sam2_rgb", ["B04", "B03", "B02", "B8A"], "takes three bands"), ("unet_rgb", ["B04", "B04", "B02"], "B04 stands twice")],
)
def test_bands_that_a_network_cannot_take_are_refused(repository: Path, name: str, bands: list[str], message: str) -> None:
    content = read_yaml(repository / f"config/benchmark/{name}.yaml")
    content["variants"][1]["model"]["bands"] = bands
    with pytest.raises(ValidationError, match=message):
        RowFile.model_validate(content)


@pytest.mark.parametrize(("key", "name"), [("rows", "unet_rgb/fixed"), ("deep_rows", "boosting_6/fixed")])
def test_networks_have_a_list_of_their_own(repository: Path, key: str, name: str) -> None:
    with pytest.raises(UserError, match=f"benchmark.{key}"):
        read_rows(repository / "config/benchmark", Benchmark(**{key: (name,)}))
