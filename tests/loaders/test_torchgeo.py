"""`SmallMinesDS` against the installed TorchGeo: values, pairs, splits, gaps, errors, pictures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torchgeo", reason="the loaders have an environment of their own: make test-deep")

import matplotlib.pyplot as plt
import torch
from torch.utils.data import DataLoader
from torchgeo.datasets import DatasetNotFoundError, NonGeoDataset, RGBBandsMissingError

from smallmines.core.errors import UserError
from smallmines.core.product import PATCH_BANDS
from smallmines.loaders.torchgeo import SmallMinesDS
from two_years import DEMO, SIDE, band, make_dataset, mask_of, values

pytestmark = pytest.mark.loaders


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module", params=["made", "miniature"])
def any_root(request: pytest.FixtureRequest, root: Path) -> Path:
    if request.param == "miniature" and not DEMO.is_dir():
        pytest.skip("no miniature: make demo")
    return root if request.param == "made" else DEMO


@pytest.mark.parametrize("bands", [PATCH_BANDS, ("VV", "B02", "DEM", "B8A"), ("B12",)])
def test_bands_are_those_of_the_file_and_masks_belong_to_images(any_root: Path, bands: tuple[str, ...]) -> None:
    dataset = SmallMinesDS(any_root, None, bands=bands, nodata_fill=-7)
    assert isinstance(dataset, NonGeoDataset)
    assert len(dataset) == len(list(any_root.glob("*/IMAGE/*.tif"))) > 0
    for number, path in enumerate(dataset.pairs["image"]):
        sample = dataset[number]
        assert sample["image"].dtype == torch.float32
        assert sample["mask"].dtype == torch.int64
        wanted = np.stack([band(path, name) for name in bands])
        wanted[wanted == -9999] = -7
        np.testing.assert_array_equal(sample["image"], wanted)
        np.testing.assert_array_equal(sample["mask"], values(mask_of(path))[0])


def test_splits_and_years_cover_everything_once(root: Path) -> None:
    for years, count in ((None, 12), ([2016], 6), ([2022, 2016], 12)):
        parts = [SmallMinesDS(root, split, years) for split in ("train", "val", "test")]
        images = [image for part in parts for image in part.pairs["image"]]
        assert len(images) == len(set(images)) == count
        assert set(images) == set(SmallMinesDS(root, None, years).pairs["image"])


def test_gaps_reach_no_normaliser_and_unknown_pixels_stay_255(root: Path) -> None:
    mean, sd = SmallMinesDS(root, "train").statistics()
    assert mean.shape == sd.shape == (13,)
    plain, filled = SmallMinesDS(root, None), SmallMinesDS(root, None, nodata_fill=mean.tolist())
    gaps = 0
    for number, path in enumerate(plain.pairs["image"]):
        gap = torch.from_numpy(values(path) == -9999)
        gaps += int(gap.sum())
        sample = plain[number]
        assert (sample["image"][gap] == 0).all()
        assert torch.isfinite(sample["image"]).all()
        assert (sample["mask"][gap[0]] == 255).all(), "no Sentinel-2, no label"
        normalised = (filled[number]["image"] - mean[:, None, None]) / sd[:, None, None]
        assert normalised[gap].abs().max() < 1e-4 if gap.any() else True
        assert normalised.abs().max() < 20
    assert gaps > 0
    unknown = torch.cat([plain[number]["mask"].flatten() for number in range(12)])
    assert set(unknown.tolist()) == {0, 1, SmallMinesDS.ignore_index}


def test_statistics_are_of_the_chosen_bands(root: Path) -> None:
    dataset = SmallMinesDS(root, "train", bands=("DEM", "B03"))
    mean, sd = dataset.statistics()
    for number, name in enumerate(("DEM", "B03")):
        pixels = np.stack([band(path, name) for path in dataset.pairs["image"]]).astype(float)
        pixels = pixels[pixels != -9999]
        assert mean[number].item() == pytest.approx(pixels.mean(), rel=1e-5)
        assert sd[number].item() == pytest.approx(pixels.std(), rel=1e-5)


def test_a_loader_makes_batches_and_transforms_are_applied(root: Path) -> None:
    def halve(sample: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {**sample, "image": sample["image"] / 2}

    dataset = SmallMinesDS(root, "train", bands=("B04", "B03"), transforms=halve)
    batch = next(iter(DataLoader(dataset, batch_size=3, num_workers=1)))
    assert batch["image"].shape == (3, 2, SIDE, SIDE)
    assert batch["mask"].shape == (3, SIDE, SIDE)
    for number in range(3):
        wanted = band(dataset.pairs["image"][number], "B03").clip(0) / 2
        np.testing.assert_array_equal(batch["image"][number, 1], wanted)


def test_two_years_of_a_tile_are_a_pair_with_its_change(root: Path) -> None:
    dataset = SmallMinesDS(root, None, bands=("VH", "B04"), nodata_fill=-7, pairs=True)
    assert len(dataset) == 6
    seen = set()
    for number, (first, last) in enumerate(dataset.pairs[["image_first", "image_last"]].to_numpy()):
        sample = dataset[number]
        assert set(sample) == {"image1", "image2", "mask"}
        for name, path in (("image1", first), ("image2", last)):
            wanted = np.stack([band(path, own) for own in ("VH", "B04")])
            wanted[wanted == -9999] = -7
            np.testing.assert_array_equal(sample[name], wanted)
        before, after = (values(mask_of(path))[0] for path in (first, last))
        change = sample["mask"].numpy()
        assert sample["mask"].dtype == torch.int64
        np.testing.assert_array_equal(change == 255, (before == 255) | (after == 255))
        both = (change != 255) & (before == after)
        np.testing.assert_array_equal(change[both], 3 * after[both])
        assert not ((change == 1) & (before == 1)).any()
        assert not ((change == 2) & (after == 1)).any()
        seen |= set(np.unique(change).tolist())
    assert seen >= {0, 3, 255}
    mean, _ = dataset.statistics()
    assert mean.tolist() == pytest.approx(SmallMinesDS(root, None, bands=("VH", "B04")).statistics()[0].tolist())


def test_a_split_of_pairs_holds_tiles_that_are_in_it_in_both_years(root: Path) -> None:
    whole = SmallMinesDS(root, None, pairs=True).pairs
    assert set(whole["split"]) > {""}
    for split in set(whole["split"]) - {""}:
        tiles = set(SmallMinesDS(root, split, pairs=True).pairs["tile_id"])
        by_year = [set(SmallMinesDS(root, split, [year]).pairs["tile_id"]) for year in (2016, 2022)]
        assert tiles == by_year[0] & by_year[1]


def test_a_picture_of_a_pair_shows_both_years_and_the_change(root: Path, tmp_path: Path) -> None:
    dataset = SmallMinesDS(root, None, pairs=True)
    figure = dataset.plot(dataset[0])
    assert [axis.get_title() for axis in figure.axes] == ["Image1", "Image2", "Mask"]
    assert figure.axes[2].images[0].get_clim() == (0, 4)
    plt.close("all")


def test_errors_say_what_there_is(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="nowhere"):
        SmallMinesDS(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"B02, B03.*DEM"):
        SmallMinesDS(root, bands=["B04", "NIR"])
    with pytest.raises(UserError, match="different bands"):
        SmallMinesDS(root, bands=["B04", "B04"])
    with pytest.raises(UserError, match="tiles with two years"):
        SmallMinesDS(root, years=[2016], pairs=True)
    with pytest.raises(UserError, match="2016, 2022"):
        SmallMinesDS(root, years=[2020])
    with pytest.raises(UserError, match="one nodata_fill, or 2"):
        SmallMinesDS(root, bands=["B04", "B03"], nodata_fill=[1.0, 2.0, 3.0])


def test_a_picture_shows_image_mask_and_prediction(root: Path, tmp_path: Path) -> None:
    dataset = SmallMinesDS(root, None, bands=("DEM", "B02", "B03", "B04"))
    sample = dataset[1]
    figure = dataset.plot({**sample, "prediction": sample["mask"]}, suptitle="0002, 2016")
    assert [axis.get_title() for axis in figure.axes] == ["Image", "Mask", "Prediction"]
    shown = figure.axes[0].images[0].get_array()
    red = sample["image"][3].numpy()
    assert np.corrcoef(np.asarray(shown)[..., 0].ravel(), red.ravel())[0, 1] > 0.9
    assert shown.min() == 0
    assert shown.max() == 1
    figure.savefig(tmp_path / "sample.png")
    assert len(dataset.plot(sample, show_titles=False).axes) == 2
    plt.close("all")
    with pytest.raises(RGBBandsMissingError):
        SmallMinesDS(root, bands=("B04", "B03")).plot(sample)


def test_the_rest_of_the_package_is_not_needed() -> None:
    code = "import sys; import smallmines.loaders.torchgeo; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    ours = {name for name in loaded if name.startswith("smallmines.")}
    core = {"core", *(f"core.{name}" for name in ("environment", "errors", "files", "log", "product"))}
    light = {*core, "dataset", "dataset.change", "dataset.split_files", "loaders", "loaders.folder", "loaders.torchgeo"}
    assert ours == {f"smallmines.{name}" for name in light}
    assert not loaded & {"odc", "snakemake", "stackstac", "ee", "terratorch"}
