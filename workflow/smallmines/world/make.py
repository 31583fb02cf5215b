"""Make the miniature Earth: archive, truth, area of interest and samples."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smallmines import raster
from smallmines.config import S2_BANDS, Config
from smallmines.provenance import write_json
from smallmines.world import optical, people, radar
from smallmines.world.landscape import CLASSES, Land, Place, make_land, place
from smallmines.world.spectra import backscatter, reflectance
from smallmines.world.stac import Catalogue


@dataclass(frozen=True)
class Made:
    """What a run of `make_world` left behind: folder of the machine's files, tiles, items, people's files new and kept."""

    folder: Path
    tiles: int
    items: int
    written: list[Path]
    kept: list[Path]


def make_world(
    config: Config,
    tiles: int = 40,
    seed: int = 0,
    force: bool = False,
    root: str | Path = ".",
    tell: Callable[[str], None] = lambda _: None,
) -> Made:
    """Make the world of a config below `root`.

    `resources/automatic/<run>/{archive,truth}` are replaced as a whole; people's files under `resources/user/<run>/`
    that exist are kept unless `force`. The same arguments give the same bytes.

    Raises:
        UserError: fewer tiles than blocks.
    """
    root = Path(root)
    automatic, user = root / "resources" / "automatic" / config.run, root / "resources" / "user" / config.run
    tell("land")
    where = place(config, tiles, seed)
    years = config.year_names
    land = make_land(where, years, seed)
    items = 0
    with _replaced(automatic / "archive") as folder:
        catalogue = Catalogue(folder)
        for _ in radar.write_elevation(catalogue, land.elevation, land.canopy[years[0]], where.geobox, seed):
            items += 1
        for number, year in enumerate(years):
            epoch = config.years[int(year)]
            ground = reflectance(land, year, seed)
            surface = land.elevation + 0.3 * land.canopy[year]
            for item in optical.write_year(catalogue, ground, surface, where.geobox, epoch, number, len(years), seed):
                tell(item)
                items += 1
            del ground
            for item in radar.write_year(catalogue, backscatter(land, year), land.elevation, where.geobox, epoch, number, seed):
                tell(item)
                items += 1
        catalogue.close()
    with _replaced(automatic / "truth") as folder:
        _write_truth(folder, where, land, seed)
    tell("area of interest and samples")
    written, kept = people.write_people(user, where, land, years, seed, force)
    return Made(automatic, len(where.cells), items, written, kept)


def expected_steps(config: Config) -> int:
    """How often `make_world` tells something: land, samples, and the Sentinel items of each year."""
    years = len(config.years)
    return 2 + years * (12 + 6) + (years > 1)


def _write_truth(folder: Path, where: Place, land: Land, seed: int) -> None:
    inside = where.tiles_of_pixels() >= 0
    for year, truth in land.truth.items():
        raster.write(folder / f"{year}.tif", truth.astype(np.uint8), where.geobox, None, ["mining"])
        raster.write(folder / f"classes_{year}.tif", land.classes[year], where.geobox, None, ["class"])
    write_json(
        folder / "world.json",
        {
            "seed": seed,
            "tiles": len(where.cells),
            "classes": list(CLASSES),
            "bands": list(S2_BANDS),
            "mining_share": {year: round(float(truth[inside].mean()), 6) for year, truth in land.truth.items()},
        },
    )


@contextmanager
def _replaced(target: Path) -> Iterator[Path]:
    """A new folder beside `target` that takes its place when the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    new, old = (target.with_name(f".{target.name}.{kind}{os.getpid()}") for kind in ("new", "old"))
    try:
        new.mkdir()
        yield new
        if target.exists():
            os.replace(target, old)
        os.replace(new, target)
    finally:
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
