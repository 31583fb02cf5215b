"""The lattice of a run: tiles, blocks, and the one `GeoBox` of each block, as `grid/grid.json` states them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from smallmines.core.files import read_json

if TYPE_CHECKING:
    import pandas as pd


class Cell(NamedTuple):
    """A cell of the lattice; row and column are counted from the lattice's north-west corner."""

    tile_id: str
    row: int
    col: int
    block: str


@dataclass(frozen=True)
class Lattice:
    """The whole lattice of a run as every later stage needs it; read from `grid/grid.json`.

    Attributes:
        geobox: all cells' bounding grid; content keys count its pixels row by row.
        tile_size: pixels along the side of a cell.
        windows: per block the cell rows and columns it spans, (row, col, rows, cols).
        tiles: the cells, sorted by id.
    """

    geobox: GeoBox
    tile_size: int
    windows: dict[str, tuple[int, int, int, int]]
    tiles: tuple[Cell, ...]

    @cached_property
    def cells(self) -> pd.DataFrame:
        """The tiles as a table: tile_id (str), row, col (int64), block (str)."""
        import pandas as pd

        return pd.DataFrame(self.tiles, columns=list(Cell._fields))

    def tiles_of(self, name: str) -> list[Cell]:
        """The tiles of a block, sorted by id."""
        return [tile for tile in self.tiles if tile.block == name]

    def block(self, name: str) -> GeoBox:
        """The grid of a block: the bounding rectangle of its cells."""
        row, col, rows, cols = (number * self.tile_size for number in self.windows[name])
        return self.geobox[row : row + rows, col : col + cols]

    def cells_of(self, name: str) -> pd.DataFrame:
        """The cells of a block in id order, with `y`, `x`: the pixel offset of each in the block's grid (int64)."""
        row, col, _, _ = self.windows[name]
        own = self.cells[self.cells["block"] == name].reset_index(drop=True)
        return own.assign(y=(own["row"] - row) * self.tile_size, x=(own["col"] - col) * self.tile_size)

    def own(self, name: str) -> NDArray[np.bool_]:
        """True where a pixel of the block's grid lies in one of its own cells, (row, column)."""
        row, col, rows, cols = self.windows[name]
        coarse = np.zeros((rows, cols), bool)
        for tile in self.tiles_of(name):
            coarse[tile.row - row, tile.col - col] = True
        return np.kron(coarse, np.ones((self.tile_size, self.tile_size), bool))

    def offset(self, name: str) -> tuple[int, int]:
        """Row and column of the block's first pixel on the run's lattice."""
        row, col, _, _ = self.windows[name]
        return row * self.tile_size, col * self.tile_size


def read_lattice(path: str | Path) -> Lattice:
    """Read `grid/grid.json`."""
    return lattice_of(read_json(path))


def lattice_of(known: Mapping[str, Any]) -> Lattice:
    """The lattice that the content of `grid/grid.json` describes."""
    return Lattice(
        geobox=GeoBox(tuple(known["shape"]), Affine(*known["transform"]), known["crs"]),
        tile_size=known["tile_size"],
        windows={block: tuple(window) for block, window in known["windows"].items()},
        tiles=tuple(Cell(*cell) for cell in known["cells"]),
    )
