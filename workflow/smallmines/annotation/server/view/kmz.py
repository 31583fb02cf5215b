"""A tile of a session for Google Earth."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallmines.annotation.google_earth import write_kmz
from smallmines.annotation.server.view.places import Box, reaches_edge, widened
from smallmines.annotation.working_copy import polygons_of
from smallmines.core.crs import DEGREES, reproject
from smallmines.core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from smallmines.annotation.server.edits.session import Session


def tile_kmz(session: Session, tile_id: str) -> bytes:
    """Return the outlines of a tile and of the session's segments in it as a KMZ.

    Raises:
        UserError: the block has no such tile.
    """
    import geopandas as gpd
    import shapely

    lattice, block = session.block_year.lattice, session.about.block
    place = {tile.tile_id: tile for tile in lattice.tiles_of(block)}.get(tile_id)
    if place is None:
        raise UserError(f"a tile of block {block}", f"{tile_id[:40]!r}", "see grid/fishnet.parquet for the tiles of each block")
    geobox, side, (top, left) = lattice.block(block), lattice.tile_size, lattice.windows[block][:2]
    row, col = (place.row - top) * side, (place.col - left) * side
    position = np.flatnonzero(session.queue["tile_id"].to_numpy() == tile_id)
    rows = session.queue.iloc[position]
    frame = gpd.GeoDataFrame(
        {"rank": position + 1, "prediction": _predictions(session, rows)},
        geometry=_outlines(session, rows, (row, col, row + side, col + side)),
        crs=str(geobox.crs),
    )
    square = gpd.GeoSeries([shapely.box(*geobox[row : row + side, col : col + side].boundingbox.bbox)], crs=str(geobox.crs))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tile.kmz"
        write_kmz(path, tile_id, reproject(square, DEGREES), reproject(frame, DEGREES))
        return path.read_bytes()


def _predictions(session: Session, rows: pd.DataFrame) -> list[str]:
    if session.snapshot is None:
        return [""] * len(rows)
    predicted = session.snapshot.table["predicted"].to_numpy()[rows["segment"].to_numpy(np.int64) - 1]
    return ["mining" if mining else "not_mining" for mining in predicted.tolist()]


def _outlines(session: Session, rows: pd.DataFrame, box: Box) -> NDArray[np.object_]:
    """Return the outlines of the segments, whose interior points lie in a window, or of the pixels of a sample."""
    geobox = session.block_year.lattice.block(session.about.block)
    if session.snapshot is None:
        import shapely

        half = abs(geobox.transform.a) / 2
        x, y = rows["x"].to_numpy(np.float64), rows["y"].to_numpy(np.float64)
        return np.asarray(shapely.box(x - half, y - half, x + half, y + half), object)
    segments, ids = session.snapshot.segments, rows["segment"].to_numpy(np.int64)
    step = 0
    while True:
        top, left, bottom, right = wider = widened(box, step, segments.shape)
        window = segments[top:bottom, left:right]
        if not reaches_edge(np.isin(window, ids), wider, segments.shape):
            return polygons_of(window, ids, geobox[top:bottom, left:right])
        step = max(32, 2 * step)
