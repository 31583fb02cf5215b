"""What the loaders read and write without torch: pairs, statistics, split files."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
import yaml
from typer.testing import CliRunner

from smallmines.cli.main import app
from smallmines.core.errors import UserError
from smallmines.core.product import SPLITS
from smallmines.loaders import folder
from smallmines.loaders.terratorch import PRITHVI_BANDS, Training, split_files, terratorch_config
from smallmines.loaders.terratorch_pairs import write_pairs
from two_years import make_dataset, mask_of, values


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("results"))


@pytest.fixture
def dataset(made: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(made, tmp_path / "dataset"))


def test_pairs_belong_together_and_the_splits_are_whole(made: Path) -> None:
    pairs = folder.read_pairs(made)
    assert len(pairs) == 12
    assert [str(mask_of(image)) for image in pairs["image"]] == pairs["mask"].tolist()
    known = pd.read_csv(made / "splits.csv", dtype={"tile_id": str})
    for year in (2016, 2022):
        parts = {name: folder.read_pairs(made, name, [year]) for name in SPLITS}
        for name, part in parts.items():
            rows = known[(known["year"] == year) & (known["split"] == name)]
            assert sorted(part["tile_id"]) == sorted(rows["tile_id"])
            assert set(part["year"]) == {year}
        together = [image for part in parts.values() for image in part["image"]]
        assert sorted(together) == sorted(str(path) for path in made.glob(f"{year}/IMAGE/*.tif"))


def test_images_without_a_row_in_the_splits_are_told(dataset: Path) -> None:
    """A table that lost its last lines still reads, and trains on less."""
    lines = (dataset / "splits.csv").read_text().splitlines(keepends=True)
    (dataset / "splits.csv").write_text("".join(lines[:-2]))
    with pytest.warns(UserWarning, match="2 images of .* are in no row of the table of splits"):
        assert len(folder.read_pairs(dataset)) == 10


def test_a_whole_table_of_splits_warns_of_nothing(made: Path, recwarn: pytest.WarningsRecorder) -> None:
    folder.read_pairs(made, "train")
    folder.read_pairs(made, years=[2016])
    assert not [warning for warning in recwarn if warning.category is UserWarning]


def test_the_released_layout_is_read_by_id(dataset: Path) -> None:
    table = pd.read_csv(dataset / "splits.csv", dtype={"tile_id": str})
    wanted = folder.read_pairs(dataset)
    (dataset / "splits.csv").unlink()
    for year, rows in table.groupby("year"):
        names = "MASK_" + rows["tile_id"] + f"_{year}.tif"
        released = pd.DataFrame({"patch_name": names, "class_percentage": 0.0, "bin": "0-10%", "split": rows["split"]})
        released.sample(frac=1, random_state=0).to_csv(dataset / f"train_test_splits_{year}.csv", index=False)
    pd.testing.assert_frame_equal(folder.read_pairs(dataset), wanted, check_dtype=False)


def test_years_of_a_tile_are_paired_and_a_split_holds_tiles_of_both_years(made: Path) -> None:
    pairs = folder.read_year_pairs(made)
    assert pairs["tile_id"].tolist() == [f"{number:04}" for number in range(1, 7)]
    assert set(zip(pairs["year_first"], pairs["year_last"], strict=True)) == {(2016, 2022)}
    by_year = folder.read_pairs(made).set_index(["tile_id", "year"])
    for row in pairs.itertuples():
        first, last = by_year.loc[(row.tile_id, 2016)], by_year.loc[(row.tile_id, 2022)]
        assert (row.image_first, row.mask_first, row.image_last, row.mask_last) == (*first[["image", "mask"]], *last[["image", "mask"]])
        assert row.split == (first["split"] if first["split"] == last["split"] else "")
    (split,) = set(pairs["split"]) - {""}
    own = folder.read_year_pairs(made, split)
    assert own.equals(pairs[pairs["split"] == split].reset_index(drop=True))
    with pytest.raises(UserError, match=r"tiles of split train in both years(.|\n)*none of 6 tiles with two years: 4 are in different"):
        folder.read_year_pairs(made, "train")
    with pytest.raises(UserError, match="split train, val, test or None"):
        folder.read_year_pairs(made, "buffer")
    for own_split in ("train", None):  # other splits would not help
        with pytest.raises(UserError, match=r"tiles with two years or more(.|\n)*none in 2022"):
            folder.read_year_pairs(made, own_split, [2022])
    assert folder.read_year_pairs(made, years=[2022, 2016]).equals(pairs)


def test_what_is_missing_or_twice_is_told(dataset: Path) -> None:
    with pytest.raises(UserError, match=r"2016.*\n.*\[1999\]"):
        folder.read_pairs(dataset, years=[1999])
    with pytest.raises(UserError, match="train, val, test"):
        folder.read_pairs(dataset, "validation")
    mask = dataset / "2022/MASK/MASK_GH_0003_2022.tif"
    shutil.copy(mask, mask.with_name("MASK_CI_0003_2022.tif"))
    with pytest.raises(UserError, match="one mask for each tile and year"):
        folder.read_pairs(dataset)
    mask.with_name("MASK_CI_0003_2022.tif").unlink()
    mask.rename(dataset / "2016/MASK" / mask.name)
    with pytest.raises(UserError, match=r"MASK_GH_0003_2022\.tif"):
        folder.read_pairs(dataset)
    (dataset / "2016/MASK" / mask.name).unlink()
    with pytest.raises(UserError, match=r"1 missing, e\.g\. tile 0003 of 2022"):
        folder.read_pairs(dataset)
    (dataset / "splits.csv").unlink()
    with pytest.raises(UserError, match=r"splits\.csv"):
        folder.read_pairs(dataset)


def test_statistics_leave_gaps_out(made: Path) -> None:
    images = folder.read_pairs(made, "train")["image"]
    stack = np.stack([values(path) for path in images]).astype(np.float64)
    assert (stack == -9999).any()
    stack[stack == -9999] = np.nan
    table = folder.band_statistics(images)
    np.testing.assert_allclose(table["mean"], np.nanmean(stack, axis=(0, 2, 3)))
    np.testing.assert_allclose(table["sd"], np.nanstd(stack, axis=(0, 2, 3)))
    with pytest.raises(UserError, match="none in B02"):
        folder.band_statistics([])


def test_bands_in_another_order_are_refused(dataset: Path) -> None:
    path = next(dataset.glob("2016/IMAGE/*.tif"))
    with rasterio.open(path, "r+") as target:
        target.descriptions = target.descriptions[::-1]
    with pytest.raises(UserError, match="bands B02, B03"):
        folder.read_image(path)


def test_split_files_name_each_file_of_a_split_once(made: Path, tmp_path: Path) -> None:
    pairs = folder.read_pairs(made)
    files = split_files(pairs, tmp_path)
    listed = {}
    for name, path in files.items():
        text = path.read_text()
        assert path == tmp_path / f"{name}.txt"
        assert text.endswith("\n")
        listed[name] = text.splitlines()
        assert all(line == line.strip() and line for line in listed[name]), "no line is empty"
        rows = pairs[pairs["split"] == name]
        assert sorted(listed[name]) == sorted(Path(file).name for file in [*rows["image"], *rows["mask"]])
    together = [line for lines in listed.values() for line in lines]
    assert sorted(together) == sorted({path.name for path in made.glob("*/*/*.tif")})


def test_split_files_want_three_splits_and_nodata_tags(dataset: Path, tmp_path: Path) -> None:
    pairs = folder.read_pairs(dataset)
    with pytest.raises(UserError, match="none of val"):
        split_files(pairs[pairs["split"] != "val"], tmp_path / "files")
    with rasterio.open(pairs["image"].iloc[-1], "r+") as target:
        target.nodata = None
    with pytest.raises(UserError, match="nodata -9999"):
        split_files(pairs, tmp_path / "files")
    assert not (tmp_path / "files").exists()


@pytest.mark.parametrize("model", ["unet", "prithvi_eo_v2_300"])
def test_the_configuration_is_yaml_with_bands_by_name(made: Path, tmp_path: Path, model: str) -> None:
    statistics = folder.band_statistics(folder.read_pairs(made, "train")["image"])
    files = split_files(folder.read_pairs(made), tmp_path)
    target = terratorch_config(made, files, statistics, tmp_path / "ä b/c.yaml", Training(("B8A", "DEM"), model))  # type: ignore[arg-type]
    config = yaml.safe_load(target.read_text(encoding="utf-8"))
    data = config["data"]["init_args"]
    assert len(data["dataset_bands"]) == 13
    assert data["output_bands"] == ["NIR_NARROW", "DEM"]
    assert data["means"] == statistics.loc[["B8A", "DEM"], "mean"].round(4).tolist()
    assert data["rgb_indices"] is None
    assert config["model"]["init_args"]["plot_on_val"] is False
    assert config["optimizer"]["init_args"]["lr"] == 0.001
    assert "ä b" in config["trainer"]["default_root_dir"]
    config = yaml.safe_load(terratorch_config(made, files, statistics, target, Training(model=model)).read_text())  # type: ignore[arg-type]
    assert config["data"]["init_args"]["output_bands"] == ["BLUE", "GREEN", "RED", "NIR_NARROW", "SWIR_1", "SWIR_2"]
    assert config["data"]["init_args"]["rgb_indices"] == [PRITHVI_BANDS.index(band) for band in ("B04", "B03", "B02")]
    with pytest.raises(UserError, match="B02, B03, B04"):
        terratorch_config(made, files, statistics, target, Training(("NIR_NARROW",)))
    with pytest.raises(UserError, match="prithvi_eo_v2_300"):
        terratorch_config(made, files, statistics, target, Training(model="prithvi"))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="finite"):
        terratorch_config(made, files, statistics, target, Training(no_data_replace=float("nan")))


def test_what_writes_files_for_terratorch_loads_neither_torch_nor_the_pipeline() -> None:
    code = "import sys, smallmines.loaders.terratorch; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert not loaded & {"torch", "odc.geo", "snakemake", "pydantic", "geopandas", "smallmines.config.sections", "smallmines.core.raster"}


@pytest.mark.parametrize("shift", [0, 1280])
def test_years_of_a_tile_on_different_grids_are_no_pair(dataset: Path, tmp_path: Path, shift: int) -> None:
    """A tile of another size, and one of the same name that lies elsewhere."""
    path = dataset / "2022/MASK/MASK_GH_0003_2022.tif"
    with rasterio.open(path) as source:
        mask, profile = source.read(), {**source.profile, "driver": "GTiff"}
    profile["transform"] = profile["transform"].translation(shift, 0) @ profile["transform"]
    if not shift:
        mask, profile = mask[:, :32, :32], {**profile, "width": 32, "height": 32, "tiled": False}
    path.unlink()
    with rasterio.open(path, "w", **profile) as target:
        target.write(mask)
    with pytest.raises(UserError, match=r"MASK_GH_0003_2022\.tif on the grid of .*MASK_GH_0003_2016\.tif"):
        write_pairs(folder.read_year_pairs(dataset), tmp_path / "pairs")


def test_pairs_in_different_splits_name_the_method_that_keeps_them_together(made: Path, tmp_path: Path) -> None:
    words = ["terratorch", str(made), "--change", "--model", "prithvi_eo_v2_300", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert "patches of train, val and test in both years" in done.output
    assert "spatial_block" in done.output


def test_the_verb_writes_what_terratorch_reads(made: Path, tmp_path: Path) -> None:
    words = ["terratorch", str(made), "--out", str(tmp_path / "out"), "--year", "2022", "--band", "B08", "--band", "B04", "--from-scratch"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    known = yaml.safe_load((tmp_path / "out/unet.yaml").read_text())
    data = known["data"]["init_args"]
    assert data["output_bands"] == ["NIR_BROAD", "RED"]
    assert known["model"]["init_args"]["model_args"]["pretrained"] is False
    lines = Path(data["train_split"]).read_text().split()
    assert lines
    assert all(line.endswith("_2022.tif") for line in lines)
    wrong = CliRunner().invoke(app, ["terratorch", str(made), "--out", str(tmp_path), "--band", "B99"])
    assert wrong.exit_code != 0
