"""The task that every chain does: a block of a made-up world, its grid, its items and its samples, and where a chain writes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

S2_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
DATES = ("2022-01-01", "2022-01-31")
YEAR, BLOCK, COUNTRY = "2022", "1", "GH"
SPATIAL_RADIUS, RANGE_RADIUS, MIN_SIZE = 5, 100, 5
"""The segmentation of every chain."""

STAGES = ("composite_s2", "composite_s1", "composite_dem", "segment", "features", "forest", "mask", "patches")


@dataclass(frozen=True)
class Case:
    """A block of a made-up world, of one chain.

    Attributes:
        world: folder with `resources/` and, after a run of the workflow, `results/`.
        run: name of the run there.
        out: folder that the chain writes into.
        crs: of the grid.
        bounds: west, south, east, north of the block in m.
        tiles: id of each tile with its row and column in the block.
    """

    world: Path
    run: str
    out: Path
    crs: str
    bounds: tuple[float, float, float, float]
    tiles: dict[str, tuple[int, int]]

    @property
    def epsg(self) -> int:
        """Code of the grid's CRS."""
        return int(self.crs.removeprefix("EPSG:"))

    @property
    def geobox(self) -> Any:
        """Grid of the block: 10 m pixels."""
        from odc.geo.geobox import GeoBox

        return GeoBox.from_bbox(self.bounds, crs=self.crs, resolution=10, tight=True)

    @property
    def results(self) -> Path:
        """Products of the workflow."""
        return self.world / "results" / self.run

    @property
    def samples(self) -> Path:
        """Points with the attribute `label`, made with the world."""
        return next((self.world / "resources/user" / self.run / "samples" / YEAR).glob(f"{BLOCK}.*"))

    def items(self, collection: str) -> list[dict[str, Any]]:
        """Return the items of a collection as STAC documents with absolute addresses; those of satellites within the dates."""
        items = []
        for path in sorted((self.world / "resources/automatic" / self.run / "archive" / collection).glob("*/*.json")):
            item = json.loads(path.read_text(encoding="utf-8"))
            date = str(item["properties"]["datetime"])[:10]
            if collection.startswith("sentinel") and not DATES[0] <= date <= DATES[1]:
                continue
            for asset in item["assets"].values():
                asset["href"] = str((path.parent / asset["href"]).resolve())
            items.append(item | {"links": []})
        return items

    def patch(self, kind: str, tile: str) -> Path:
        """Path of a patch of `kind`, IMG or MASK."""
        return self.out / "patches" / kind / f"{kind}_{COUNTRY}_{tile}_{YEAR}.tif"


def read_case(path: Path, chain: str) -> Case:
    """Read `case.json`, as written by `write_case`, for a chain that writes into a folder of its own beside it."""
    values = json.loads(path.read_text(encoding="utf-8"))
    tiles = {tile: (place[0], place[1]) for tile, place in values["tiles"].items()}
    return Case(Path(values["world"]), values["run"], path.parent / chain, values["crs"], tuple(values["bounds"]), tiles)


def write_case(path: Path, world: Path, run: str) -> None:
    """Write the grid of a run's only block, from its `grid.json`."""
    from smallmines.grid.lattice import read_lattice

    lattice = read_lattice(world / "results" / run / "grid/grid.json")
    row, col, _, _ = lattice.windows[BLOCK]
    values = {
        "world": str(world),
        "run": run,
        "crs": str(lattice.geobox.crs),
        "bounds": tuple(lattice.block(BLOCK).boundingbox.bbox),
        "tiles": {tile.tile_id: (tile.row - row, tile.col - col) for tile in lattice.tiles_of(BLOCK)},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=1), encoding="utf-8")
