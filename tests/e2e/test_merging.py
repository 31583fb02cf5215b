"""Two runs in two UTM zones and countries, merged: traceable and equal patches, sound for doctor, verify and readers, the same twice."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pystac
import pytest
import rasterio
from odc.geo.geobox import GeoBox

from smallmines.cli.console import read_config
from smallmines.core.files import read_json, sha256
from smallmines.core.readable import read_parquet
from smallmines.dataset.seal import SUMS, published, read_sums
from smallmines.dataset.verify import Pair, check_pair, check_seal, check_splits
from smallmines.doctor.examine import Examined, examine
from smallmines.loaders.folder import read_pairs
from smallmines.settings.doctor import Doctor
from smallmines.settings.parameters import settings_of
from workspace import MINIATURE_TILES, SAME_ARITHMETIC, Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.heavy, pytest.mark.matrix]

WEST_TILES = 8


@pytest.fixture(scope="module")
def west(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A finished run in zone 29."""
    run = replace(Workspace.make(repository, tmp_path_factory.mktemp("west"), "west.yaml", "west"), environment=SAME_ARITHMETIC)
    shutil.copy2(repository / "tests/e2e/west.yaml", run.folder / "west.yaml")
    run.world("make", "--config", "west.yaml", "--tiles", str(WEST_TILES), "--seed", "1")
    run.snakemake("--set-threads", "assistant=1", "segment=1")
    return run


@pytest.fixture(scope="module")
def merged(miniature: Workspace, west: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return merge(miniature, west, tmp_path_factory.mktemp("merged") / "both/dataset")


def merge(miniature: Workspace, west: Workspace, target: Path) -> Path:
    """Merge with the verb; return the new folder."""
    datasets = [str(run.results / "dataset") for run in (miniature, west)]
    said = miniature.smallmines("merge", *datasets, "--out", str(target), "--title", "Two zones", "--version", "2.0.0")
    assert "files: 48 linked, 0 copied, 16 rewritten" in said
    return target


def test_every_label_is_traceable_and_every_pixel_is_that_of_its_origin(miniature: Workspace, west: Workspace, merged: Path) -> None:
    index = read_parquet(merged / "index.parquet")
    assert len(index) == 2 * MINIATURE_TILES + WEST_TILES
    assert index["tile_id"].nunique() == MINIATURE_TILES + WEST_TILES
    origins = {run.run: read_parquet(run.results / "dataset/index.parquet").set_index(["tile_id", "year"]) for run in (miniature, west)}
    folders = {run.run: run.results for run in (miniature, west)}
    for row in index.to_dict("records"):
        own = origins[row["origin_run"]].loc[(row["origin_tile_id"], row["year"])]
        assert own["block"] == row["origin_block"]
        assert (folders[row["origin_run"]] / f"labels/{row['year']}/{row['origin_block']}.parquet").is_file()
        for column in ("image", "mask"):
            here, there = merged / row[column], folders[row["origin_run"]] / "dataset" / own[column]
            with rasterio.open(here) as one, rasterio.open(there) as other:
                assert one.read().tobytes() == other.read().tobytes()
                assert (one.crs, one.transform, one.tags()["BLOCK"]) == (other.crs, other.transform, row["origin_block"])
                assert one.tags()["TILE_ID"] == row["tile_id"]
            assert here.samefile(there) == (row["origin_run"] == "small")
    assert index[index["origin_run"] == "west"].groupby("proj:code").size().to_dict() == {"EPSG:32629": WEST_TILES}


def test_the_doctor_finds_nothing_that_the_parts_do_not_have(miniature: Workspace, west: Workspace, merged: Path) -> None:
    limits = settings_of(read_config(miniature.folder / "small.yaml").doctor, Doctor)

    def kinds(examined: Examined) -> set[tuple[str, str, str]]:
        return {(finding.severity, finding.family, finding.check) for finding in examined.findings}

    of_parts = set.union(*(kinds(examine(run.results / "dataset", limits)) for run in (miniature, west)))
    whole = examine(merged, limits)
    assert whole.count("error") == 0
    assert kinds(whole) <= of_parts
    assert len(whole.measured.table) == 2 * MINIATURE_TILES + WEST_TILES


def test_the_checks_of_verify_find_nothing(merged: Path) -> None:
    index = read_parquet(merged / "index.parquet")
    for row in index.to_dict("records"):
        height, width = row["proj:shape"]
        geobox = GeoBox((int(height), int(width)), rasterio.Affine(*row["proj:transform"]), row["proj:code"])
        pair = Pair(row["tile_id"], str(row["year"]), row["image"], row["mask"], geobox, row)
        assert check_pair(merged, pair, {}) == []
    assert check_seal(merged, sorted(merged.glob("*/*.sha256"))) == []
    assert check_splits(merged, index) == []
    assert all(sha256(merged / name) == checksum for name, checksum in read_sums(merged / SUMS).items())


def test_readers_take_it_as_any_other(west: Workspace, merged: Path, tmp_path: Path) -> None:
    import odc.stac
    import rustac

    splits = pd.read_csv(west.results / "dataset/splits.csv", dtype=str)
    pairs = read_pairs(merged)
    assert pairs[pairs["tile_id"] > f"{MINIATURE_TILES:04d}"]["split"].tolist() == splits.sort_values("tile_id")["split"].tolist()
    said = west.smallmines("terratorch", str(merged), "--out", str(tmp_path / "training"), "--from-scratch")
    lines = [line for name in ("train", "val", "test") for line in (tmp_path / f"training/{name}.txt").read_text().splitlines()]
    assert "terratorch fit" in said
    assert len(lines) == 2 * int((pairs["split"] != "buffer").sum())
    items = list(pystac.Collection.from_file(str(merged / "stac/collection.json")).get_items())
    codes = {item.properties["origin_run"]: item.properties["proj:code"] for item in items}
    assert codes == {"small": "EPSG:32630", "west": "EPSG:32629"}
    item = next(item for item in items if item.id == "CI_0013_2022")
    loaded = odc.stac.load([item], bands=["B02"], crs="EPSG:32629", resolution=10)["B02"].values[0]
    with rasterio.open(merged / "2022/IMAGE/IMG_CI_0013_2022.tif") as source:
        assert loaded.tobytes() == source.read(1).tobytes()
    assert len(rustac.read_sync(str(merged / "index.parquet"))["features"]) == len(items)


def test_the_documents_are_of_the_whole_and_of_each_region(merged: Path) -> None:
    facts, card = read_json(merged / "facts.json"), (merged / "README.md").read_text(encoding="utf-8")
    assert (facts["tiles"], facts["patches"], facts["version"], facts["run"]) == (MINIATURE_TILES + WEST_TILES, 32, "2.0.0", "both")
    assert [(region["name"], list(region["years"])) for region in facts["regions"]] == [("small", ["2016", "2022"]), ("west", ["2022"])]
    assert facts["years"]["2022"]["patches"] == MINIATURE_TILES + WEST_TILES
    assert facts["border"] == {"touching": 0, "overlapping": 0, "test_tiles": 0}
    assert f"| west | CI | EPSG:32629 | {WEST_TILES} | 2022 |" in card
    assert "# Two zones" in card


def test_merged_twice_it_has_the_same_bytes_and_what_is_there_stays(
    miniature: Workspace, west: Workspace, merged: Path, tmp_path: Path
) -> None:
    again = merge(miniature, west, tmp_path / "both/dataset")
    names = list(published(merged))
    assert names == list(published(again))
    assert [name for name in [*names, SUMS] if sha256(merged / name) != sha256(again / name)] == []
    datasets = [str(run.results / "dataset") for run in (miniature, west)]
    said = miniature.smallmines("merge", *datasets, "--out", str(again), succeeds=False)
    assert "a folder that is not empty" in said
    assert "Traceback" not in said
    same = miniature.smallmines("merge", datasets[0], datasets[0], "--out", str(tmp_path / "twice"), succeeds=False)
    assert "expected  each dataset once" in same
