"""The split files and the configuration against the installed TerraTorch, read through its own command line; and its traps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("terratorch", reason="the loaders have an environment of their own: make test-deep")

import torch
from terratorch.cli_tools import build_lightning_cli
from terratorch.datasets import GenericNonGeoSegmentationDataset
from terratorch.registry import BACKBONE_REGISTRY
from typer.testing import CliRunner

from smallmines.cli.main import app
from smallmines.core.product import PATCH_BANDS
from smallmines.dataset.change import change_classes
from smallmines.loaders.folder import band_statistics, read_pairs, read_year_pairs
from smallmines.loaders.terratorch import NAMES, PRITHVI_BANDS, Training, split_files, terratorch_config
from two_years import DEMO, YEARS, band, make_dataset, mask_of, values

pytestmark = pytest.mark.loaders

STAGES = {"train": "fit", "val": "validate", "test": "test"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def statistics(root: Path) -> pd.DataFrame:
    return band_statistics(read_pairs(root, "train")["image"])


def configured(root: Path, statistics: pd.DataFrame, folder: Path, years: list[int] | None = None, **settings: Any) -> Path:
    files = split_files(read_pairs(root, years=years), folder)
    small = {"pretrained": False, "batch_size": 2, "workers": 0}
    return terratorch_config(root, files, statistics, folder / "config.yaml", Training(**{**small, **settings}))


def parsed(config: Path) -> Any:
    """What TerraTorch's command line makes of a configuration."""
    return build_lightning_cli(["--config", str(config), "--trainer.accelerator", "cpu"], run=False)


def loader(data: Any, split: str) -> Any:
    data.setup(STAGES[split])
    return getattr(data, f"{split}_dataloader")()


@pytest.fixture(scope="module", params=[None, [2016], [2022]], ids=["both", "2016", "2022"])
def years(request: pytest.FixtureRequest) -> Iterator[list[int] | None]:
    return request.param  # type: ignore[no-any-return]


def test_batches_have_the_named_bands_and_the_right_masks(
    root: Path, statistics: pd.DataFrame, years: list[int] | None, tmp_path: Path
) -> None:
    check_batches(root, statistics, years, tmp_path)


def test_batches_of_the_miniature(statistics: pd.DataFrame, tmp_path: Path) -> None:
    if not DEMO.is_dir():
        pytest.skip("no miniature: make demo")
    check_batches(DEMO, statistics, None, tmp_path)


def check_batches(root: Path, statistics: pd.DataFrame, years: list[int] | None, folder: Path) -> None:
    bands = ("VV", "B8A", "DEM", "B02")
    data = parsed(configured(root, statistics, folder, years, bands=bands)).datamodule
    seen: dict[str, list[str]] = {}
    for split in STAGES:
        seen[split] = []
        for batch in loader(data, split):
            for image, mask, path in zip(batch["image"], batch["mask"], batch["filename"], strict=True):
                wanted = np.stack([band(path, name) for name in bands])
                wanted[wanted == -9999] = 0
                np.testing.assert_array_equal(image, wanted)
                np.testing.assert_array_equal(mask, values(mask_of(path))[0])
                assert mask.dtype == torch.int64
                seen[split].append(path)
        assert sorted(seen[split]) == sorted(read_pairs(root, split, years)["image"])
    together = [path for paths in seen.values() for path in paths]
    assert len(together) == len(set(together))
    assert set(together) == {str(path) for year in years or YEARS for path in root.glob(f"{year}/IMAGE/*.tif")}


def test_gaps_and_unknown_pixels_after_the_normaliser(root: Path, statistics: pd.DataFrame, tmp_path: Path) -> None:
    data = parsed(configured(root, statistics, tmp_path, bands=PATCH_BANDS)).datamodule
    gaps = unknown = 0
    for split in STAGES:
        for batch in loader(data, split):
            gap = torch.stack([torch.from_numpy(values(path) == -9999) for path in batch["filename"]])
            normalised = data.aug({"image": batch["image"].clone(), "mask": batch["mask"]})["image"]
            assert torch.isfinite(normalised).all()
            zero = torch.tensor((-statistics["mean"] / statistics["sd"]).to_numpy(np.float32)).reshape(1, -1, 1, 1).expand_as(normalised)
            torch.testing.assert_close(normalised[gap], zero[gap], rtol=1e-3, atol=1e-3)
            assert normalised[~gap].abs().max() < 20
            assert set(batch["mask"].unique().tolist()) <= {0, 1, 255}
            gaps, unknown = gaps + int(gap.sum()), unknown + int((batch["mask"] == 255).sum())
    assert gaps > 0
    assert unknown == sum(int((values(path) == 255).sum()) for path in root.glob("*/MASK/*.tif"))


def test_the_loss_ignores_unknown_pixels(root: Path, statistics: pd.DataFrame, tmp_path: Path) -> None:
    task = parsed(configured(root, statistics, tmp_path, model="prithvi_eo_v2_tiny_tl")).model
    task.configure_losses()
    mask = torch.tensor([[[0, 1], [255, 255]]])
    one, other = torch.randn(1, 2, 2, 2), torch.randn(1, 2, 2, 2)
    other[:, :, 0] = one[:, :, 0]
    assert torch.equal(task.criterion(one, mask), task.criterion(other, mask))
    assert task.criterion.weight.tolist() == pytest.approx([0.1, 0.9])


@pytest.mark.parametrize(("model", "bands"), [("unet", PATCH_BANDS), ("prithvi_eo_v2_tiny_tl", PRITHVI_BANDS)])
def test_a_model_trains_on_it(root: Path, statistics: pd.DataFrame, tmp_path: Path, model: str, bands: tuple[str, ...]) -> None:
    config = configured(root, statistics, tmp_path, model=model, bands=bands)
    run = ["fit", "--config", str(config), "--trainer.accelerator", "cpu", "--trainer.fast_dev_run", "true"]
    cli = build_lightning_cli(run)
    assert cli.trainer.global_step == 1
    assert torch.isfinite(cli.trainer.callback_metrics["train/loss"])
    assert torch.isfinite(cli.trainer.callback_metrics["val/loss"])
    assert 0 <= cli.trainer.callback_metrics["val/mIoU"] <= 1
    optimizer = cli.trainer.optimizers[0]
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.defaults["lr"] == 0.001


def test_a_model_of_two_years_trains_on_pairs_and_their_change(tmp_path: Path) -> None:
    """Every tile in the same split in both years, as splits of this workflow are."""
    root = make_dataset(tmp_path / "results")
    table = pd.read_csv(root / "splits.csv", dtype={"tile_id": str})
    table["split"] = table["tile_id"].map(dict(zip(sorted(set(table["tile_id"])), ["train"] * 3 + ["val", "test", "test"], strict=True)))
    table.to_csv(root / "splits.csv", index=False)
    words = ["terratorch", str(root), "--out", str(tmp_path / "out"), "--change", "--from-scratch", "--band", "B8A", "--band", "VV"]
    done = CliRunner().invoke(app, [*words, "--model", "prithvi_eo_v2_tiny_tl"])
    assert done.exit_code == 0, done.output
    config = tmp_path / "out/prithvi_eo_v2_tiny_tl_change.yaml"
    data = parsed(config).datamodule
    pairs = read_year_pairs(root).set_index("tile_id")
    for split in STAGES:
        paths = []
        for batch in loader(data, split):
            for image, mask, path in zip(batch["image"], batch["mask"], batch["filename"], strict=True):
                pair = pairs.loc[Path(path).name.split("_")[1]]
                for place, year in enumerate((pair["image_first"], pair["image_last"])):
                    wanted = np.stack([band(year, name) for name in ("B8A", "VV")])
                    np.testing.assert_array_equal(image[:, place], np.where(wanted == -9999, 0, wanted))
                masks = [values(pair[name])[0].astype(np.uint8) for name in ("mask_first", "mask_last")]
                np.testing.assert_array_equal(mask, change_classes(masks[0], masks[1], 1, 1))
                paths.append(path)
        assert len(set(paths)) == (pairs["split"] == split).sum() > 0
    run = ["fit", "--config", str(config), "--trainer.accelerator", "cpu", "--trainer.fast_dev_run", "true"]
    cli = build_lightning_cli([*run, "--data.init_args.batch_size", "2", "--data.init_args.num_workers", "0"])
    assert cli.trainer.global_step == 1
    assert torch.isfinite(cli.trainer.callback_metrics["train/loss"])
    assert cli.trainer.model(torch.zeros(1, 2, 2, 64, 64)).output.shape == (1, 4, 64, 64)


def generic(root: Path, split: Path | None, **settings: Any) -> GenericNonGeoSegmentationDataset:
    """TerraTorch's dataset with its own defaults."""
    grep = "[0-9][0-9][0-9][0-9]"
    return GenericNonGeoSegmentationDataset(
        root, 2, image_grep=f"{grep}/IMAGE/IMG_*.tif", label_grep=f"{grep}/MASK/MASK_*.tif", split=split, **settings
    )


def test_an_empty_line_matches_every_file_by_default_and_none_here(root: Path, tmp_path: Path) -> None:
    file = split_files(read_pairs(root), tmp_path)["val"]
    count = len(read_pairs(root, "val"))
    assert len(generic(root, file).image_files) == count
    file.write_text(file.read_text() + "\n")
    assert len(generic(root, file).image_files) == 12, "the trap"
    assert len(generic(root, file, allow_substring_split_file=False).image_files) == count


def test_pairs_go_by_position(root: Path, tmp_path: Path) -> None:
    file = split_files(read_pairs(root), tmp_path)["train"]
    lines = file.read_text().splitlines()
    file.write_text("".join(f"{line}\n" for line in lines if line != next(one for one in lines if one.startswith("MASK"))))
    wrong = generic(root, file, allow_substring_split_file=False)
    pairs = list(zip(wrong.image_files, wrong.segmentation_mask_files, strict=False))
    assert all(str(mask_of(image)) != mask for image, mask in pairs), "the trap: why split_files takes complete pairs only"


def test_gaps_are_nan_and_masks_lose_255_by_default(root: Path) -> None:
    path = next(path for path in sorted(root.glob("*/IMAGE/*.tif")) if (values(path)[0] == -9999).any())
    trap, mended = generic(root, None), generic(root, None, no_data_replace=0, no_label_replace=255)
    index = trap.image_files.index(str(path))
    assert torch.isnan(trap[index]["image"]).any()
    unknown = values(mask_of(path))[0] == 255
    assert (trap[index]["mask"].numpy()[unknown] != 255).all()
    assert (mended[index]["mask"].numpy()[unknown] == 255).all()


def test_six_names_take_the_first_six_bands(root: Path) -> None:
    names = [NAMES[name] for name in PRITHVI_BANDS]
    trap = generic(root, None, dataset_bands=names, output_bands=names, no_data_replace=0)
    image = trap[1]["image"].numpy()
    assert np.array_equal(image[3], band(trap.image_files[1], "B05").clip(0)), "asked for NIR_NARROW"


def test_prithvi_gets_its_weights_by_band_name(tmp_path: Path) -> None:
    """With a made-up checkpoint: a known name has its column, an unknown one has random numbers."""
    key = "patch_embed.proj.weight"
    torch.manual_seed(0)
    pretrained = BACKBONE_REGISTRY.build("prithvi_eo_v2_tiny_tl", pretrained=False)
    state = {name: torch.randn_like(value) if name == key else value for name, value in pretrained.state_dict().items()}
    torch.save(state, tmp_path / "made.pt")
    bands = ["NIR_NARROW", "VNIR_5", "BLUE", "DEM"]
    model = BACKBONE_REGISTRY.build("prithvi_eo_v2_tiny_tl", pretrained=True, ckpt_path=str(tmp_path / "made.pt"), bands=bands)
    columns = model.state_dict()[key]
    known = {"BLUE": 0, "NIR_NARROW": 3}
    for position, name in enumerate(bands):
        same = [torch.equal(columns[:, position], state[key][:, other]) for other in range(6)]
        assert [number for number, equal in enumerate(same) if equal] == ([known[name]] if name in known else [])
    assert [NAMES[name] for name in PRITHVI_BANDS] == ["BLUE", "GREEN", "RED", "NIR_NARROW", "SWIR_1", "SWIR_2"]
