"""The lattice of a run, read from `grid/grid.json`: tiles, blocks, and the `GeoBox` of each block."""

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

from smallmines.core.errors import UserError
from smallmines.core.files import read_json, remedy

if TYPE_CHECKING:
    import pandas as pd


class Cell(NamedTuple):
    """A cell of the lattice; rows and columns count from the north-west corner of the lattice."""

    tile_id: str
    row: int
    col: int
    block: str


@dataclass(frozen=True)
class Lattice:
    """The lattice of a run.

    Attributes:
        geobox: bounding grid of all cells; content keys count its pixels row by row.
        tile_size: side of a cell in px.
        windows: by block, the rows and columns of cells that it spans, (row, col, rows, cols).
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
        """Return the tiles of a block, sorted by id."""
        return [tile for tile in self.tiles if tile.block == name]

    def block(self, name: str) -> GeoBox:
        """Return the grid of a block: the bounding rectangle of its cells."""
        row, col, rows, cols = (number * self.tile_size for number in self.windows[name])
        return self.geobox[row : row + rows, col : col + cols]

    def cells_of(self, name: str) -> pd.DataFrame:
        """Return the cells of a block sorted by id, with columns `y` and `x`: the offset of each in the block's grid in px (int64)."""
        row, col, _, _ = self.windows[name]
        own = self.cells[self.cells["block"] == name].reset_index(drop=True)
        return own.assign(y=(own["row"] - row) * self.tile_size, x=(own["col"] - col) * self.tile_size)

    def own(self, name: str) -> NDArray[np.bool_]:
        """Return where the pixels of a block's grid lie in one of its own cells, (row, column)."""
        row, col, rows, cols = self.windows[name]
        coarse = np.zeros((rows, cols), bool)
        for tile in self.tiles_of(name):
            coarse[tile.row - row, tile.col - col] = True
        return np.kron(coarse, np.ones((self.tile_size, self.tile_size), bool))

    def offset(self, name: str) -> tuple[int, int]:
        """Return row and column of the block's first pixel on the run's lattice."""
        row, col, _, _ = self.windows[name]
        return row * self.tile_size, col * self.tile_size


def read_lattice(path: str | Path) -> Lattice:
    """Read `grid/grid.json`.

    Raises:
        UserError: the file is missing, broken, or describes no lattice.
    """
    content = read_json(path)
    try:
        return lattice_of(content)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"the lattice of a run in {path}", f"{type(error).__name__}: {error}", remedy(path)) from error


def lattice_of(content: Mapping[str, Any]) -> Lattice:
    """Return the lattice that the content of `grid/grid.json` describes."""
    return Lattice(
        geobox=GeoBox(tuple(content["shape"]), Affine(*content["transform"]), content["crs"]),
        tile_size=content["tile_size"],
        windows={block: tuple(window) for block, window in content["windows"].items()},
        tiles=tuple(Cell(*cell) for cell in content["cells"]),
    )
