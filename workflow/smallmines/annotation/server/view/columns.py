"""Columns of a session's segments as bytes, by which the page colours the label tiles: entry 0 is outside, entry `id` the segment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallmines.core.errors import UserError
from smallmines.labels.tables import PROVENANCES

if TYPE_CHECKING:
    import pandas as pd

    from smallmines.annotation.server.edits.fold import OwnState
    from smallmines.annotation.server.edits.session import Session

NAMES = ("prediction", "probability", "label", "provenance", "own", "tile")
"""Columns of segments; samples of pixels have `own` and `tile` alone, since nothing of the map may show."""

OPEN = 2
"""Label that is open."""

NO_TILE = 65535


def column(session: Session, name: str, own_state: OwnState) -> bytes:
    """Return a column, little-endian: uint8, but uint16 for `tile`.

    prediction: 0, 1. probability: 255 · p. label: 0, 1, 2 open. provenance: place in `PROVENANCES`. own: 0 none, 1 mining,
    2 not mining, 3 unsure. tile: place in `tile_ids`, or 65535. Label and provenance of the blind overlap are those of a prediction, so
    that nothing marks it.

    Args:
        own_state: the person's own labels.

    Raises:
        UserError: the session has no such column.
    """
    allowed = NAMES if session.snapshot is not None else ("own", "tile")
    if name not in allowed:
        raise UserError(f"a column of {', '.join(allowed)}", f"{name[:40]!r}", "ask for another")
    if name == "own":
        return own_state.label.astype(np.uint8).tobytes()
    if name == "tile":
        return _tiles(session).astype("<u2").tobytes()
    assert session.snapshot is not None
    return _of_table(name, session.snapshot.table, session.blind).tobytes()


def tile_ids(session: Session) -> list[str]:
    """Return the ids of the block's tiles, in the order to which the column `tile` refers."""
    return [tile.tile_id for tile in session.block_year.lattice.tiles_of(session.about.block)]


def _tiles(session: Session) -> NDArray[np.uint16]:
    import pandas as pd

    place = {tile: number for number, tile in enumerate(tile_ids(session))}
    numbers = pd.Series(session.tile_of).map(place).fillna(NO_TILE).to_numpy(np.uint16)
    return np.concatenate([np.array([NO_TILE], np.uint16), numbers])


def _of_table(name: str, table: pd.DataFrame, blind: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return a column of the table of segments, (segments + 1,)."""
    predicted = table["predicted"].to_numpy(np.uint8)
    if name == "prediction":
        values = predicted
    elif name == "probability":
        values = np.rint(255 * table["probability"].to_numpy(np.float64)).astype(np.uint8)
    elif name == "label":
        label = table["label"].to_numpy()
        values = np.where(label < 0, OPEN, label).astype(np.uint8)
        values[blind] = predicted[blind]
    else:
        place = {provenance: number for number, provenance in enumerate(PROVENANCES)}
        values = table["provenance"].map(place).to_numpy(np.uint8, copy=True)
        values[blind] = place["predicted"]
    return np.concatenate([np.zeros(1, np.uint8), values])
