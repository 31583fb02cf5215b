"""Make the miniature Earth: archive, truth, area of interest and samples."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rasterio.windows import Window as RasterWindow

from miniature import optical, people, radar
from miniature.landscape import CLASSES, Land, make_land
from miniature.layers import Scratch, scratch, windows
from miniature.place import Epoch, place
from miniature.processes import available, in_processes
from miniature.spectra import make_ground
from miniature.stac import Catalogue
from miniature.weather import datatakes
from smallmines.config.sections import Config
from smallmines.core import raster
from smallmines.core.files import digest, read_json, sha256, write_json
from smallmines.core.layout import PIXELS, Layout
from smallmines.core.product import S2_BANDS
from smallmines.core.rerun import digest_of, tree_of
from smallmines.core.upgrade import earlier_versions


@dataclass(frozen=True)
class Made:
    """Result of `make_world`.

    Attributes:
        new: whether archive and truth were written.
        tiles, items: their numbers.
        written, kept: people's files that were written, and that were kept as they were.
        forgotten: whether the results of an earlier world were removed.
    """

    layout: Layout
    new: bool
    tiles: int
    items: int
    written: list[Path]
    kept: list[Path]
    forgotten: bool = False


def make_world(
    config: Config,
    tiles: int = 40,
    seed: int = 0,
    force: bool = False,
    root: str | Path = ".",
    tell: Callable[[str], None] = lambda _: None,
    aoi: str | Path | None = None,
    jobs: int | None = None,
) -> Made:
    """Make the world of a config below `root`, window by window; memory hardly grows with its size.

    `resources/automatic/<run>/{archive,truth}` are kept if the same recipe made them, or an earlier version that makes the same world;
    else they are replaced as a whole, and the products of the old world, `results/<run>`, are removed. Existing files of people in
    `resources/user/<run>/` are kept unless `force`. The same arguments give the same bytes.

    Args:
        tiles: number of tiles; the nearest that the outline allows is taken.
        force: overwrite people's files.
        tell: called with the name of each step, `expected_steps` times.
        aoi: vector file with the outline of the area, see `place`; None: made up.
        jobs: number of processes; None: the number of processors. It changes no byte.

    Raises:
        UserError: fewer tiles than blocks; an unusable AOI.
    """
    layout = Layout(config.run, Path(root))
    world = layout.truth / "world.json"
    tell("land")
    where = place(config, tiles, seed, aoi)
    years = config.year_names
    recipe = recipe_of(config, tiles, seed, aoi)
    record = read_json(world) if world.is_file() else {}
    same = {recipe, *(recipe_of(config, tiles, seed, aoi, earlier.world) for earlier in earlier_versions() if earlier.world)}
    new = record.get("recipe") not in same or not (layout.archive / "catalog.json").is_file()
    with scratch(layout.automatic, where.shape, jobs or available()) as layers:
        land = make_land(where, years, seed, layers)
        items = _write_archive(config, land, layout, seed, layers, tell) if new else record["items"]
        if new:
            with _replaced(layout.truth) as folder:
                _write_truth(folder, land, {"recipe": recipe, "seed": seed, "items": items})
            if record:
                _forget(layout)
        tell("area of interest and samples")
        written, kept = people.write_people(layout.user, where, land, years, seed, force, layers.jobs)
    return Made(layout, new, len(where.cells), items, written, kept, forgotten=bool(record) and new)


def sources() -> list[str]:
    """Return the digests of the modules of this package."""
    return [digest_of(tree_of(path)) for path in sorted(Path(__file__).parent.glob("*.py"))]


def recipe_of(config: Config, tiles: int, seed: int, aoi: str | Path | None = None, code: Sequence[str] | None = None) -> str:
    """Return a digest of all that the world depends on: grid, years, outline, size, seed and code.

    Args:
        code: digests of the code; None: of this package. An earlier version whose worlds are the same has its own.
    """
    years = {year: epoch.model_dump(mode="json") for year, epoch in config.years.items()}
    return digest([config.grid.model_dump(mode="json"), years, tiles, seed, aoi and sha256(aoi), list(code or sources())])


def _forget(layout: Layout) -> None:
    """Remove the products of an earlier world of the run, whose items have the same names and other pixels.

    Snakemake does not notice the change: existing results need no manifest, and the catalogue that lists the items is the same.
    """
    for item in layout.archive.glob("*/*/"):
        shutil.rmtree(layout.root / PIXELS / item.name, ignore_errors=True)
    shutil.rmtree(layout.results, ignore_errors=True)


def _write_archive(config: Config, land: Land, layout: Layout, seed: int, layers: Scratch, tell: Callable[[str], None]) -> int:
    """Write all items, each overpass in a process; return their number."""
    years, geobox = config.year_names, land.where.geobox
    grounds = make_ground(land, years, seed, layers)
    rough = partial(land.height, years[0], share=0.6)
    optics, radars = [], []
    for number, year in enumerate(years):
        ground, epoch = grounds[year], Epoch(config.years[int(year)], number, len(years), geobox, seed)
        for take in datatakes(epoch.dates, number, epoch.count):
            optics.append(partial(optical.write_datatake, ground=ground, epoch=epoch, take=take))
        for overpass in radar.passes(epoch.dates):
            radars.append(partial(radar.write_pass, power=ground.power, elevation=land.elevation, epoch=epoch, overpass=overpass))
    scenes = [*optics, *radars, partial(radar.write_elevation, height=rough, geobox=geobox, seed=seed)]
    with _replaced(layout.archive) as folder:
        catalogue = Catalogue(folder)

        def write(scene: int) -> Catalogue:
            part = Catalogue(folder)
            scenes[scene](part)
            return part

        for part in in_processes(write, range(len(scenes)), layers.jobs):
            items = catalogue.join(part)
            for item in items if radar.DEM not in part.collections else []:
                tell(item)
        catalogue.close()
    return catalogue.items


def expected_steps(config: Config) -> int:
    """Return the number of steps that `make_world` reports: land, samples, and the Sentinel items of each year."""
    years = len(config.years)
    return 2 + years * (12 + 6) + (years > 1)


def _write_truth(folder: Path, land: Land, about: dict[str, str | int]) -> None:
    where = land.where
    shares = {}
    for year in land.cover:
        mined = inside = 0
        with (
            raster.created(folder / f"{year}.tif", where.geobox, "uint8", None, ["mining"]) as truth,
            raster.created(folder / f"classes_{year}.tif", where.geobox, "uint8", None, ["class"]) as classes,
        ):
            for window in windows(where.shape):
                mine, own = land.truth(year, window), where.in_tiles(window)
                area = RasterWindow.from_slices(*window.at)
                truth.write(mine.astype(np.uint8), 1, window=area)
                classes.write(land.classes(year, window), 1, window=area)
                mined, inside = mined + int(mine[own].sum()), inside + int(own.sum())
        shares[year] = round(mined / inside, 6)
    write_json(
        folder / "world.json",
        {**about, "tiles": len(where.cells), "classes": list(CLASSES), "bands": list(S2_BANDS), "mining_share": shares},
    )


@contextmanager
def _replaced(target: Path) -> Iterator[Path]:
    """Replace a folder: yield a new one beside `target`, which takes its place on success."""
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
