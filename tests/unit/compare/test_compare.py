"""One dataset against another: joined by place, differences of known size, masks apart by where labels come from, tables alone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import yaml
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from typer.testing import CliRunner

from fake_results import make_results, publish
from smallmines.cli.main import app
from smallmines.compare.differences import WRAPPED_NODATA, compare_pairs, pooled
from smallmines.compare.origin import NOT_INDEPENDENT, verdict
from smallmines.compare.pairs import Joined, find_patches, join
from smallmines.compare.published import against_tables, read_ours, read_published, released_ids, tables_in, totals
from smallmines.compare.radiometry import offset_between, offsets_in_words
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.product import PATCH_BANDS, S2_BANDS
from smallmines.dataset.split_methods import bins_of

SIDE = 16
TILES = ("0001", "0002", "0003", "0004", "0005", "0006")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published folder of six tiles of 16 px in 2016; not to be altered."""
    return publish(make_results(tmp_path_factory.mktemp("made")))


@pytest.fixture
def ours(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "ours"))


@pytest.fixture
def published(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "published"))


def image(folder: Path, tile: str) -> Path:
    return folder / f"2016/IMAGE/IMG_GH_{tile}_2016.tif"


def mask(folder: Path, tile: str) -> Path:
    return folder / f"2016/MASK/MASK_GH_{tile}_2016.tif"


def alter(path: Path, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    """Replace a raster's pixels by what `change` makes of them."""
    with rasterio.open(path, "r+") as file:
        values = file.read()
        file.write(change(values).astype(values.dtype))


def move(folder: Path, dx: float, dy: float, crs: str | None = None) -> None:
    for path in folder.rglob("*.tif"):
        with rasterio.open(path, "r+") as file:
            file.transform = Affine.translation(dx, dy) @ file.transform
            if crs:
                file.crs = crs


def joined(ours: Path, published: Path) -> Joined:
    return join(find_patches(ours), find_patches(published))


def compared(ours: Path, published: Path, labels: Callable[[Any], str] = lambda _: "own") -> pd.DataFrame:
    return compare_pairs(joined(ours, published).pairs, labels).set_index("tile_id")


def test_a_dataset_and_itself(ours: Path, published: Path) -> None:
    rows = compared(ours, published)
    assert rows.index.tolist() == list(TILES)
    assert rows["published_id"].tolist() == list(TILES)
    assert (rows["match"] == "exact").all()
    assert (rows["overlap"] == 1).all()
    for band in PATCH_BANDS:
        assert rows[[f"{band}_{name}" for name in ("bias", "mae", "rmse", "max")]].eq(0).all(axis=None)
        assert (rows[f"{band}_equal"] == 1).all()
    gap = (SIDE // 4) ** 2
    assert rows.loc["0001", "B02_n"] == SIDE**2 - gap
    assert rows.loc["0002", "B02_n"] == SIDE**2
    assert (rows["iou"].dropna() == 1).all()
    assert rows["iou"].notna().any()
    assert (rows["percent_difference"] == 0).all()
    told = pooled(rows.reset_index())
    assert told["mask"]["iou"] == 1
    assert (told["exact"], told["shifted"], told["other"], told["shift"]) == (6, 0, 0, None)
    assert told["bands"]["VV"] == {"unit": "dB", "bias": 0, "mae": 0, "equal": 1, "rmse": 0, "max": 0}


def test_an_offset_in_one_band_and_gaps_of_one_side(ours: Path, published: Path) -> None:
    def offset(values: NDArray[Any]) -> NDArray[Any]:
        values[PATCH_BANDS.index("B02")] += np.where(values[0] == -9999, 0, 1000)
        values[: len(S2_BANDS), -2:, :] = -9999
        return values

    alter(image(ours, "0002"), offset)
    rows = compared(ours, published)
    one = rows.loc["0002"]
    assert (one["B02_bias"], one["B02_mae"], one["B02_rmse"], one["B02_max"], one["B02_equal"]) == (1000, 1000, 1000, 1000, 0)
    assert one["B02_n"] == SIDE * (SIDE - 2)
    assert one["image_nodata_ours"] == 2 / SIDE
    assert one["image_nodata_published"] == 0
    assert rows.drop("0002")["B02_max"].eq(0).all()
    assert rows["B03_max"].eq(0).all()
    share = one["B02_n"] / rows["B02_n"].sum()
    band = pooled(rows.reset_index())["bands"]["B02"]
    assert band["bias"] == pytest.approx(1000 * share)
    assert band["rmse"] == pytest.approx(1000 * np.sqrt(share))
    assert band["max"] == 1000


@pytest.mark.parametrize(("side", "offset"), [("ours", 1000), ("published", -1000), ("", 0)])
def test_another_radiometry_is_told(here: Path, ours: Path, published: Path, side: str, offset: int) -> None:
    for tile in TILES if side else ():
        alter(
            image(here / side, tile),
            lambda values: np.where((values != -9999) & (np.arange(13)[:, None, None] < 10), values + 1000, values),
        )
    assert offset_between(pooled(compared(ours, published).reset_index())["bands"]) == offset
    who = {"ours": "ours", "published": "the published"}.get(side, "nobody")
    assert (f"2016: only {who} carry the +1000 offset" in call("ours", "published")) == bool(side)


@pytest.mark.parametrize(
    ("difference", "ours", "published", "words"),
    [
        (1000, 1000, 0, "only ours carry the +1000 offset of the digital numbers (sentinel2.radiometry)"),
        (-1000, 0, 1000, "only the published carry the +1000 offset of the digital numbers (sentinel2.radiometry)"),
        (1000, 2000, 1000, "ours have an offset of 2000 DN, the published of 1000: it was added more than once"),
        (2000, 2000, 0, "ours have an offset of 2000 DN, the published of 0: it was added more than once"),
        (1000, 1000, None, "only ours carry the +1000 offset of the digital numbers (sentinel2.radiometry), or ours carry it twice: "
         "the pixels do not tell which"),
        (-2000, None, None, "the published are 2000 DN higher in all bands of Sentinel-2: an offset was added more than once"),
    ],
)  # fmt: skip
def test_who_has_which_offset(difference: int, ours: int | None, published: int | None, words: str) -> None:
    assert offsets_in_words(difference, {"ours": ours, "published": published}) == words


@pytest.mark.parametrize(("biases", "offset"), [([2000] * 10, 2000), ([-1900] * 10, -2000), ([1849] * 10, 0), ([1000] * 9 + [1200], 0)])
def test_the_difference_is_an_offset_where_all_bands_have_it(biases: list[float], offset: int) -> None:
    assert offset_between({name: {"bias": bias} for name, bias in zip(S2_BANDS, biases, strict=True)}) == offset
    assert offset_between({name: {"bias": None} for name in S2_BANDS}) == 0


def test_linear_power_and_wrapped_nodata_of_the_published_patches(ours: Path, published: Path) -> None:
    def linear(values: NDArray[Any]) -> NDArray[Any]:
        s1 = values[10:12]
        s1[...] = np.where(s1 == -9999, WRAPPED_NODATA, 10 ** (s1 / 10))
        return values

    before = compared(ours, published)
    alter(image(published, "0002"), linear)
    rows = compared(ours, published)
    assert rows["s1_published"].tolist() == ["dB", "linear", "dB", "dB", "dB", "dB"]
    assert rows["s1_ours"].eq("dB").all()
    assert rows["VV_n"].tolist() == before["VV_n"].tolist()
    assert rows.loc["0002", "VV_max"] < 1e-4
    assert pooled(rows.reset_index())["s1_linear_published"] == 1


def test_masks_of_known_agreement(ours: Path, published: Path) -> None:
    def square(rows: slice, gap: bool = False) -> Callable[[NDArray[Any]], NDArray[Any]]:
        def change(values: NDArray[Any]) -> NDArray[Any]:
            values[:] = 0
            values[0, rows, :8] = 1
            if gap:
                values[0, :, :2] = 255
            return values

        return change

    for tile in TILES:
        alter(mask(ours, tile), square(slice(0, 0)))
        alter(mask(published, tile), square(slice(0, 0)))
    alter(mask(ours, "0003"), square(slice(0, 4)))
    alter(mask(published, "0003"), square(slice(2, 6)))
    alter(mask(published, "0004"), square(slice(0, 2)))
    alter(mask(ours, "0005"), square(slice(0, 4), gap=True))
    alter(mask(published, "0005"), square(slice(0, 4)))
    rows = compared(ours, published)
    counts = rows[["both", "only_ours", "only_published", "neither"]]
    assert counts.loc["0003"].tolist() == [16, 16, 16, 208]
    assert counts.loc["0004"].tolist() == [0, 0, 16, 240]
    assert counts.loc["0005"].tolist() == [24, 0, 0, 200]
    assert rows["iou"].round(6).tolist()[2:5] == [0.333333, 0, 1]
    assert rows["iou"].isna().tolist() == [True, True, False, False, False, True]
    assert rows.loc["0003", "percent_difference"] == 0
    assert rows.loc["0004", "percent_difference"] == -6.25
    assert rows.loc["0005", "ours_percent"] == pytest.approx(100 * 24 / 224)
    told = pooled(rows.reset_index())
    assert told["mask"] == {"tiles": 6, "iou": pytest.approx(40 / 88), "mean_tile_iou": pytest.approx(4 / 9)}
    assert told["class_share"]["published"] == pytest.approx((12.5 + 6.25 + 12.5) / 6)


def test_patches_are_joined_by_place_and_not_by_number(ours: Path, published: Path) -> None:
    for path in sorted(published.rglob("*.tif")):  # other numbers, no country, other folders
        kind, _, tile, year = path.stem.split("_")
        path.rename(published / f"{kind}_9{tile}_{year}.tif")
    rows = compared(ours, published)
    assert rows["published_id"].tolist() == [f"9{tile}" for tile in TILES]
    assert rows["B08_max"].eq(0).all()
    assert rows["iou"].dropna().eq(1).all()


def test_a_shifted_lattice_is_told_and_common_pixels_are_compared(tmp_path: Path) -> None:
    scene = np.random.default_rng(1).integers(1000, 5000, (13, 80, 80)).astype(np.float32)
    scene[10:12] = -scene[10:12] / 300
    whole = GeoBox((80, 80), Affine(10, 0, 600000, 0, -10, 700000), "EPSG:32630")
    for folder, row, col in (("a", 8, 8), ("b", 5, 10)):
        for number in range(4):
            r, c = row + 32 * (number // 2), col + 32 * (number % 2)
            window = whole[r : r + 32, c : c + 32]
            raster.write(tmp_path / folder / f"IMG_GH_{number:04d}_2016.tif", scene[:, r : r + 32, c : c + 32], window, -9999, PATCH_BANDS)
    rows = compared(tmp_path / "a", tmp_path / "b")
    assert (rows["match"] == "shifted").all()
    assert rows[["dx", "dy"]].drop_duplicates().values.tolist() == [[-20, -30]]
    assert rows["overlap"].tolist() == [pytest.approx(29 * 30 / 32**2)] * 4
    assert (rows["B02_n"] == 29 * 30).all()
    assert rows["B02_max"].eq(0).all()
    assert rows["iou"].isna().all()
    assert pooled(rows.reset_index())["shift"] == [-20, -30]


def test_other_resolutions_are_no_grid_to_compare_on(ours: Path, published: Path) -> None:
    for path in published.rglob("*.tif"):
        with rasterio.open(path, "r+") as file:
            file.transform = file.transform @ Affine.scale(2)
    rows = compared(ours, published)
    assert (rows["match"] == "other").all()
    assert rows["B02_n"].eq(0).all()
    assert rows["B02_bias"].isna().all()
    assert pooled(rows.reset_index())["bands"]["B02"]["bias"] is None


def test_patches_without_a_partner(ours: Path, published: Path) -> None:
    image(published, "0002").unlink()
    mask(published, "0002").unlink()
    image(ours, "0005").unlink()
    mask(ours, "0005").unlink()
    mask(ours, "0006").unlink()
    found = joined(ours, published)
    assert [patch.header.tile_id for patch in found.only_ours] == ["0002"]
    assert [patch.header.tile_id for patch in found.only_published] == ["0005"]
    rows = compared(ours, published)
    assert rows.index.tolist() == ["0001", "0003", "0004", "0006"]
    assert np.isnan(rows.loc["0006", "percent_difference"])
    assert rows.loc["0006", "B02_max"] == 0


def call(*words: str | Path, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["compare", *map(str, words)], catch_exceptions=True)
    text = done.output + (str(done.exception) if isinstance(done.exception, SystemExit) else "")
    assert done.exit_code == code, text
    return text


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, with `made.yaml` of a run `made`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    years = {2016: {"start": "2016-01-01", "end": "2016-01-31"}}
    Path("made.yaml").write_text(yaml.safe_dump({"run": "made", "years": years}))
    return tmp_path


def imported(read: tuple[str, ...], held: tuple[str, ...]) -> None:
    """The record of an import of masks of the run `made`."""
    rows = [("mask", f"MASK_GH_{tile}_2016.tif", "abc") for tile in read] + [("held_out", tile, "") for tile in held]
    path = Path("resources/user/made/imported/2016/1.csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=["what", "name", "sha256"]).to_csv(path, index=False)


@pytest.mark.heavy
def test_tiles_with_imported_labels_are_told_apart(here: Path, ours: Path, published: Path) -> None:
    with_config = ("ours", "published", "--config", "made.yaml", "--out", "out")
    assert "independent: no label comes from these masks." in call(*with_config)
    assert "The masks: independent" in call(*with_config)
    for tile in ("0005", "0006"):
        alter(mask(ours, tile), lambda values: np.where(values == 255, 255, 1))
        alter(mask(published, tile), lambda values: np.where(values == 255, 255, np.indices(values.shape)[2] % 2))
    imported(TILES, held=("0005", "0006"))  # the masks of held-out tiles are read too, but not used
    assert "independent in the 2 held-out tiles and years only" in call(*with_config)
    told = json.loads(Path("out/compare.json").read_text())
    groups = told["mask_by_labels"]
    assert {name: one["tiles"] for name, one in groups.items()} == {"imported": 4, "held_out": 2}
    assert groups["imported"]["iou"] == 1
    assert 0.4 < groups["held_out"]["iou"] < 0.6
    assert told["years"]["2016"]["mask_by_labels"] == groups
    imported(TILES, held=())
    assert f"The masks: {NOT_INDEPENDENT}: labels come from these masks and no tile is held out" in call(*with_config)
    assert NOT_INDEPENDENT in json.loads(Path("out/compare.json").read_text())["years"]["2016"]["verdict"]
    assert f"{NOT_INDEPENDENT}, unless" in call("ours", "published")
    assert Path("compare/compare_2016.png").is_file()


def test_verdicts() -> None:
    assert verdict(["own", "own"]) == "independent: no label comes from these masks"
    assert verdict(["imported", "own"]).startswith(NOT_INDEPENDENT)
    assert verdict(["imported", "held_out"]) == "independent in the 1 held-out tiles and years only"


def test_the_verb_writes_table_figures_and_maps(here: Path, ours: Path, published: Path) -> None:
    image(published, "0003").unlink()
    mask(published, "0003").unlink()
    told = call("ours", "published", "--config", "made.yaml")
    assert "measured differences" in told
    folder = Path("results/made/compare")
    rows = pd.read_csv(folder / "compare.csv", dtype={"tile_id": str})
    assert rows.loc[rows["match"] == "only ours", "tile_id"].tolist() == ["0003"]
    assert len(rows) == 6
    found = json.loads((folder / "compare.json").read_text())
    year = found["years"]["2016"]
    assert (year["tiles"], year["exact"], year["only_ours"], year["only_published"]) == (5, 5, 1, 0)
    first = (folder / "compare_2016.png").read_bytes()
    call("ours", "published", "--config", "made.yaml", "--threads", "1")
    assert (folder / "compare_2016.png").read_bytes() == first


def test_a_dataset_and_itself_is_no_comparison(here: Path, ours: Path, published: Path) -> None:
    assert "ours and ours are the same folder" in call("ours", "ours", code=1)
    Path("link").symlink_to(ours)
    assert "ours and link are the same folder" in call("ours", "link", code=1)
    assert "ours/../ours" in call("ours", "ours/../ours", code=1)
    shutil.copytree(ours, "hard", copy_function=os.link)
    text = call("ours", "hard", code=1)
    assert "all 12 files of hard are links to those of ours" in text
    assert "do        name another dataset" in text
    Path("soft/2016").mkdir(parents=True)
    for kind in ("IMAGE", "MASK"):
        for path in (ours / "2016" / kind).glob("*.tif"):
            (Path("soft/2016") / path.name).symlink_to(path)
    assert "all 12 files of soft are links" in call("ours", "soft", code=1)
    assert not Path("compare").exists()


def test_links_and_copies_among_the_files_are_told(here: Path, ours: Path, published: Path) -> None:
    assert "Every compared pixel is equal" in call("ours", "published")
    found = json.loads(Path("compare/compare.json").read_text())
    assert (found["same_files"], found["all_pixels_equal"]) == (0, True)
    alter(mask(published, "0002"), lambda values: 1 - values.clip(0, 1))
    image(published, "0003").unlink()
    os.link(image(ours, "0003"), image(published, "0003"))
    text = call("ours", "published")
    assert "1 files are the same in both (links), e.g. ours/2016/IMAGE/IMG_GH_0003_2016.tif" in " ".join(text.split())
    assert "Every compared pixel" not in text
    found = json.loads(Path("compare/compare.json").read_text())
    assert (found["same_files"], found["all_pixels_equal"]) == (1, False)


def test_tables_and_indexes_that_cannot_be_read_are_refused(here: Path, ours: Path) -> None:
    split_table(Path("table.csv"), dict.fromkeys(TILES, 0.0))
    table = Path("table.csv").read_text()
    Path("table.csv").write_text(table.replace(",", ";"))
    assert "semicolons in line 1: patch_name;" in call("ours", "table.csv", code=1)
    Path("table.csv").write_bytes(table.encode("utf-8-sig"))
    assert "the same ids in both" in call("ours", "table.csv")
    whole = (ours / "index.parquet").read_bytes()
    for content in (whole[:2000], b"", b"no parquet"):
        (ours / "index.parquet").write_bytes(content)
        text = call("ours", "table.csv", code=1)
        assert "an index of tiles and years at ours/index.parquet" in text
        assert "do        restore the file" in text


def test_what_cannot_be_compared(here: Path, ours: Path, published: Path) -> None:
    assert "name the published one too" in call("ours", code=1)
    assert "found     neither" in call("ours", "made.yaml", code=1)
    Path("empty").mkdir()
    assert "found     none" in call("empty", "published", code=1)
    move(published, 500_000, 0)
    told = call("ours", "published", code=1)
    assert "ours: 6 patches of 2016 in EPSG:32630, x 600000 to 600640, y 699680 to 700000" in told
    assert "published: 6 patches of 2016 in EPSG:32630, x 1.1e+06" in told
    move(published, -500_000, 0, "EPSG:32631")
    assert "of 2016 in EPSG:32631" in call("ours", "published", code=1)
    shutil.copy(mask(ours, "0001"), ours / "MASK_0001_2016.tif")
    assert "one MASK of tile 0001 and year 2016" in call("ours", "published", code=1)


def test_images_and_masks_of_another_form_are_refused(ours: Path, published: Path) -> None:
    alter(mask(ours, "0001"), lambda values: values + 7)
    with pytest.raises(UserError, match="mask values 0, 1 and 255"):
        compared(ours, published)
    path = image(published, "0001")
    with rasterio.open(path) as file:
        geobox, values = raster.geobox_of(file), file.read([1, 2, 3])
    raster.write(path, values, geobox, -9999, ["B04", "B03", "B02"])
    with pytest.raises(UserError, match="the 13 bands"):
        compared(ours, published)


def split_table(path: Path, percent: dict[str, float], year: int = 2016) -> Path:
    names = [f"MASK_{tile}_{year}.tif" for tile in percent]
    table = pd.DataFrame({"patch_name": names, "class_percentage": percent.values(), "bin": "", "split": "train"})
    table.to_csv(path, index=False)
    return path


def test_published_tables_alone(here: Path, ours: Path) -> None:
    index = gpd.read_parquet(ours / "index.parquet")
    own = dict(zip(index["tile_id"], index["mining_percent"], strict=True))
    Path("tables").mkdir()
    (Path("tables") / "unrelated.csv").write_text("a,b\n1,2\n")
    split_table(Path("tables/train_test_splits_2016.csv"), {tile: own[tile] + (2 if tile == "0002" else 0) for tile in TILES})
    assert tables_in(Path("tables")) == [Path("tables/train_test_splits_2016.csv")]
    told = call("ours", "tables", "--out", "out")
    assert "the same ids in both" in told
    found = json.loads(Path("out/compare.json").read_text())["years"]["2016"]
    assert found["ours"]["tiles"] == found["published"]["tiles"] == 6
    assert found["published"]["mean_percent"] - found["ours"]["mean_percent"] == pytest.approx(2 / 6)
    assert found["ours"]["empty"] == sum(value == 0 for value in own.values())
    assert sum(found["published"]["bins"].values()) == 6
    assert found["by_tile"]["tiles"] == 6
    assert found["by_tile"]["mean_absolute"] == pytest.approx(2 / 6)
    assert found["by_tile"]["largest"] == pytest.approx(2)
    rows = pd.read_csv("out/compare.csv", dtype={"tile_id": str, "released_id": str})
    assert rows.loc[rows["tile_id"] == "0002", "percent_difference"].item() == pytest.approx(-2)
    assert Path("out/compare_2016.png").is_file()
    # the masks give what the index says
    (ours / "index.parquet").unlink()
    again = read_ours(ours).set_index("tile_id")["percent"]
    assert again.to_dict() == pytest.approx(own)


def test_tables_of_another_numbering_are_not_joined_by_tile(here: Path, ours: Path) -> None:
    split_table(Path("table.csv"), {f"{number:04d}": 0.0 for number in range(3, 30)})
    (ours / "index.parquet").unlink()
    assert "nothing says which of our ids are the released ones" in call("ours", "table.csv", "--out", "out")
    assert json.loads(Path("out/compare.json").read_text())["years"]["2016"]["by_tile"] is None
    assert not Path("out/compare_2016.png").exists()
    split_table(Path("table.csv"), {"0001": 1.0}, 2022)
    assert "a year that is in both" in call("ours", "table.csv", code=1)
    split_table(Path("table.csv"), {"0001": 101.0})
    assert "0 to 100 % of mining" in call("ours", "table.csv", code=1)


def test_totals_and_bins() -> None:
    told = totals(np.array([0, 0, 10, 10.01, 95, np.nan]))
    assert (told["tiles"], told["empty"], told["max_percent"]) == (6, 2, 95)
    assert told["mean_percent"] == pytest.approx(23.002)
    assert list(told["bins"].values()) == [3, 1, 0, 0, 0, 0, 0, 0, 0, 1]


def test_released_ids_around_the_missing_cell() -> None:
    names = [f"{number:04d}" for number in range(1, 2135)]
    known = [number <= 2040 for number in range(1, 2135)]
    ids, told = released_ids(names, known, ["0001", "0002"])
    assert ids[:2040] == names[:2040]
    assert ids[2040:2066] == [None] * 26
    assert ids[2066:] == [f"{number:04d}" for number in range(2068, 2136)]
    assert "2041 to 2067 are left out" in told
    assert released_ids(["0001", "0003"], [True, False], ["0001", "0003", "0004"])[0] == ["0001", None]


@pytest.mark.real
def test_the_released_tables(shared_data: Path) -> None:
    files = tables_in(shared_data / "smallminesds")
    table = read_published(files)
    wanted = {2016: (5.493, 1156, 82.28), 2022: (7.655, 747, 91.91)}
    for year, (mean, empty, largest) in wanted.items():
        told = totals(table.loc[table["year"] == year, "percent"].to_numpy(float))
        assert told["tiles"] == 2135
        assert (round(told["mean_percent"], 3), told["empty"], told["max_percent"]) == (mean, empty, largest)
    bins = [told["bins"] for told in [totals(table.loc[table["year"] == year, "percent"].to_numpy(float)) for year in wanted]]
    assert [count for count in bins[0].values() if count] == [1758, 166, 90, 59, 23, 22, 10, 6, 1]
    assert [count for count in bins[1].values() if count] == [1638, 229, 110, 68, 37, 24, 20, 8, 1]
    raw = pd.concat([pd.read_csv(path) for path in files])
    assert (raw["bin"].str.split("-").str[0].astype(int) // 10 == bins_of(raw["class_percentage"].to_numpy(float))).all()
    ours = table.drop(columns="split").assign(released_id=pd.array([True] * len(table), "boolean"), left=0.0, top=0.0)
    rows, found = against_tables(ours, table)
    assert len(rows) == 4270
    assert found["years"]["2022"]["by_tile"]["correlation"] == pytest.approx(1)
    assert found["years"]["2022"]["by_tile"]["same_bin"] == 1
