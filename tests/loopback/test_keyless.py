"""`config/keyless.yaml` at reduced size in one command: every service on loopback, an imitated release, nothing drawn by hand.

An imitation proves the plumbing only: the release is made from the same small Earth as the imagery.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boundaries_service
import geopandas as gpd
import hub_service
import numpy as np
import pandas as pd
import pytest
import rasterio
import services
import yaml
from rasterio.transform import Affine
from through_archives import planted

from miniature.release import NAME, pack
from workspace import Workspace

pytestmark = [pytest.mark.loopback, pytest.mark.heavy, pytest.mark.matrix]

REVISION = "5" * 40
FAULTS = 0.05
HUB_FAULTS = 1 / 3
"""Few requests go to the Hub: at five percent none would fail."""
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "PC_SDK_SUBSCRIPTION_KEY", "CDSE_USERNAME", "CDSE_PASSWORD")
KEYS += ("GOOGLE_APPLICATION_CREDENTIALS", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
DISTRICT = "Amansie West"
OTHER_VALUES, SHIFTED, OTHER_GRID = "0001", "0002", "0003"
"""Ids in the release of the tiles whose images are not those of the run."""


@dataclass(frozen=True)
class World:
    """A run of `config/keyless.yaml` and the services around it."""

    run: Workspace
    archives: services.Archives
    hub: hub_service.Hub
    boundaries: boundaries_service.Boundaries


def rewritten(path: Path, image: np.ndarray, **changes: Any) -> None:
    """Replace an image of the release."""
    with rasterio.open(path) as source:
        profile, names = source.profile | changes, source.descriptions
    profile |= {"height": image.shape[1], "width": image.shape[2], "tiled": False}
    for key in ("blockxsize", "blockysize"):
        profile.pop(key, None)
    path.unlink()
    with rasterio.open(path, "w", **profile) as target:
        target.write(image)
        target.descriptions = names


def make_others(release: Path) -> None:
    """Make three tiles of 2016 differ from the run: the values of a band, the place by one pixel, and the pixels' size, without a mask."""
    paths = {tile: release / f"2016/IMAGE/IMG_GH_{tile}_2016.tif" for tile in (OTHER_VALUES, SHIFTED, OTHER_GRID)}
    images, transforms = {}, {}
    for tile, path in paths.items():
        with rasterio.open(path) as source:
            images[tile], transforms[tile] = source.read(), source.transform
    images[OTHER_VALUES][1] += 7
    rewritten(paths[OTHER_VALUES], images[OTHER_VALUES])
    rewritten(paths[SHIFTED], images[SHIFTED], transform=transforms[SHIFTED] @ Affine.translation(1, 0))
    (release / f"2016/MASK/MASK_GH_{OTHER_GRID}_2016.tif").unlink()  # a mask that is not on the lattice would be refused
    rewritten(paths[OTHER_GRID], images[OTHER_GRID][:, ::2, ::2], transform=transforms[OTHER_GRID] @ Affine.scale(2))


def reduced(run: Workspace, archives: services.Archives, boundaries: boundaries_service.Boundaries) -> None:
    """Write the shipped configuration with the size of the small Earth and the addresses of the services."""
    values = yaml.safe_load((run.folder / "config/keyless.yaml").read_text(encoding="utf-8"))
    values["aoi"] = {"source": "geoboundaries", "names": [DISTRICT], "base_url": boundaries.address}
    values["grid"] = {key: values["grid"][key] for key in ("crs", "resolution", "tile_size", "anchor")} | {"blocks": 2}
    for section in ("sentinel2", "sentinel1", "elevation"):
        names = (values[section]["provider"], *values[section].get("fallbacks", ()))
        values[section]["catalogue"] = {name: archives.catalogue(name) for name in names}
    small = yaml.safe_load((run.folder / "small.yaml").read_text(encoding="utf-8"))
    values["assistant"] = small["assistant"] | {"on_missing_class": "pooled_model"}
    values["released"] = {"hold_out": 0.2}
    values["labels"]["seed"] = 2  # holds out four of the twelve tiles, two of them with mines
    (run.folder / run.config).write_text(yaml.safe_dump(values), encoding="utf-8")


@pytest.fixture
def world(miniature: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A clone without results, and services that hold its small Earth and a release made from a finished run of it."""
    clone = miniature.clone(tmp_path / "clone", finished=False)
    clone.world("release", "--config", "small.yaml", "--from", str(miniature.results / "dataset"), "--out", str(tmp_path / "made"))
    make_others(tmp_path / "made" / NAME)
    pack(tmp_path / "made", tmp_path / "SmallMinesDS.zip")
    area = gpd.read_file(clone.user / "aoi.gpkg").to_crs(4326).geometry.iloc[0]
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    run = replace(clone, config="keyless.yaml", run="keyless")
    with ExitStack() as stack:
        boundaries = stack.enter_context(boundaries_service.serving([boundaries_service.unit(DISTRICT, area)]))
        hub = stack.enter_context(hub_service.serving(hub_service.Hub({REVISION: tmp_path / "SmallMinesDS.zip"})))
        archives = stack.enter_context(services.serving(clone.folder / "resources/automatic/small/archive"))
        reduced(run, archives, boundaries)
        places = {key: value for key, value in archives.environment.items() if key not in KEYS}
        none = {"AWS_SHARED_CREDENTIALS_FILE": os.devnull, "HF_HOME": str(tmp_path / "home")}
        archives.faults, hub.fault_rate, boundaries.faults = services.Faults(rate=FAULTS, expire_after=60), HUB_FAULTS, 1
        run = replace(run, environment={**run.environment, **hub.environment, **places, **none})
        yield World(run, archives, hub, boundaries)


def test_one_command_makes_the_dataset_and_another_compares_it(world: World) -> None:
    run = world.run
    run.snakemake("--set-threads", "assistant=1", "segment=1")
    the_services_stumbled_and_gave_no_image_of_the_release(world)
    nothing_was_drawn_by_hand(run)
    the_dataset_is_sealed(run)
    the_card_says_what_is_whose(run)
    printed = run.snakemake("compare")
    assert "Signature=" not in printed
    assert planted(run.folder, world.archives) == []
    assert {200, 302, 503} <= {status for _, _, status in world.hub.asked}
    the_comparison_tells_the_tiles_apart(run)
    the_page_says_what_is_whose(run)
    assert run.planned() == {}
    assert run.planned("compare") == {}


def the_services_stumbled_and_gave_no_image_of_the_release(world: World) -> None:
    assert len(world.boundaries.asked) == 2
    assert {403, 503} <= {status for _, _, status in world.archives.asked}
    assert {service for service, _, _ in world.archives.asked} == {"stac", "earth-search-data", "sas", "blob", "s3"}
    size = world.hub.commits[REVISION].stat().st_size
    print(f"requests: archives {len(world.archives.asked)}, Hub {len(world.hub.asked)}; of the zip {world.hub.sent} of {size} bytes")
    assert world.hub.sent < 0.2 * size, "masks alone"


def nothing_was_drawn_by_hand(run: Workspace) -> None:
    assert sorted(path.relative_to(run.user).as_posix() for path in run.user.rglob("*")) == ["released.json", "released.sha256"]
    pins = json.loads((run.user / "released.json").read_text())
    assert pins["revision"] == REVISION
    assert not list(run.folder.glob("resources/automatic/released/**/IMG_*"))


def the_dataset_is_sealed(run: Workspace) -> None:
    assert (run.results / "dataset/SHA256SUMS").is_file()
    verified = json.loads((run.results / "verify.json").read_text())
    assert verified["findings"] == 0
    index = pd.read_parquet(run.results / "dataset/index.parquet")
    assert index["tile_id"].nunique() == 12
    assert len(index) == 24


def the_card_says_what_is_whose(run: Workspace) -> None:
    card = (run.results / "dataset/README.md").read_text(encoding="utf-8")
    assert "license: cc-by-sa-4.0" in card
    assert f"ellaampy/SmallMinesDS/SmallMinesDS.zip on the Hugging Face Hub, revision {REVISION}" in card
    assert "**That the masks agree with the release proves nothing about their accuracy**" in card
    sources = re.search(r"## Sources\n(.*?)\n## ", card, re.DOTALL)
    assert sources is not None
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in sources[1].splitlines() if line.startswith("| ")][2:]
    assert [(row[0], row[2]) for row in rows] == [
        ("Sentinel-2 L2A", "earth_search"),
        ("Sentinel-1 RTC", "planetary_computer"),
        ("Copernicus DEM GLO-30", "aws, edition 2021"),
    ]
    assert "not all of them: dates may be missing" in rows[0][3]
    assert rows[2][3] == "the 2021 edition of the DEM"
    assert "| 2016 | 1 | 0 |" in card, "the release lacks a mask"


def rows_by_tile(run: Workspace) -> Mapping[str, pd.DataFrame]:
    rows = pd.read_csv(run.results / "compare/compare.csv", dtype={"tile_id": str, "published_id": str})
    return {year: table.set_index("published_id") for year, table in rows.astype({"year": str}).groupby("year")}


def the_comparison_tells_the_tiles_apart(run: Workspace) -> None:
    rows = rows_by_tile(run)
    others = {OTHER_VALUES: "other values", SHIFTED: "shifted", OTHER_GRID: "other grid"}
    assert rows["2016"]["images"].to_dict() == {tile: others.get(tile, "equal") for tile in rows["2016"].index}
    assert set(rows["2022"]["images"]) == {"equal"}, "the archives that need no account hold the same pixels here"
    assert {year: len(table) for year, table in rows.items()} == {"2016": 12, "2022": 12}
    assert rows["2016"].loc[SHIFTED, ["dx", "dy"]].tolist() == [-10, 0]
    assert rows["2016"].loc[OTHER_VALUES, ["B02_equal", "B03_equal", "B03_bias"]].tolist() == [1, 0, -7]
    assert rows["2022"]["labels"].value_counts().to_dict() == {"imported": 8, "held_out": 4}
    assert (rows["2016"].index != rows["2016"]["tile_id"]).any(), "joined by place"


def the_page_says_what_is_whose(run: Workspace) -> None:
    page = (run.results / "compare/compare.html").read_text(encoding="utf-8")
    assert "against ellaampy/SmallMinesDS/SmallMinesDS.zip." in page
    assert f"Revision {REVISION}." in page
    assert "Comparing its masks with those of the release proves nothing, but for the tiles that are held out" in page
    counts = "9 equal in every value, 1 on the same pixels with other values, 1 shifted, 1 on another grid"
    assert f"Images of 12 tiles: {counts}." in page
    assert "Images of 12 tiles: 12 equal in every value." in page
    assert re.search(rf"<td>2016</td><td>\d+</td><td>{SHIFTED}</td><td>shifted</td><td>−10, 0</td>", page)
    assert len(re.findall(r"<td>20(?:16|22)</td><td>\d{4}</td><td>\d{4}</td>", page)) == 24
