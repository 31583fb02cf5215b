"""Which of our tiles learnt their labels from the very masks they are compared with: only the others make an independent comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from smallmines.compare.pairs import Pair
from smallmines.core.layout import UserFolder

if TYPE_CHECKING:
    import pandas as pd

Labels = Literal["imported", "held_out", "own", "unknown"]
"""`imported`: the published mask was read for labels. `held_out`: it was kept out of an import. `own`: the run imported no masks, or
none of this place. `unknown`: the record was not given."""

NOT_INDEPENDENT = "not an independent comparison"


@dataclass(frozen=True)
class Record:
    """What a run imported.

    Attributes:
        known: False where nobody said which run made our patches.
        masks: names of the mask files that were read.
        held_out: our tile ids that were held out, by year.
    """

    known: bool
    masks: frozenset[str] = frozenset()
    held_out: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def of(self, pair: Pair) -> Labels:
        """Where the labels of a pair's tile are from."""
        if not self.known:
            return "unknown"
        if pair.ours.header.tile_id in self.held_out.get(pair.ours.header.year, ()):
            return "held_out"
        mask = pair.published.mask
        return "imported" if mask is not None and mask.name in self.masks else "own"


def read_record(user: Path | None) -> Record:
    """The record of `smallmines labels import-masks` below `resources/user/<run>` (`imported/<year>/<block>.csv`).

    Args:
        user: None: not known.
    """
    if user is None:
        return Record(known=False)
    import pandas as pd

    masks: set[str] = set()
    held: dict[str, set[str]] = {}
    for path in sorted(UserFolder(user).imported.glob("*/*.csv")):
        table = pd.read_csv(path, dtype=str)
        masks |= set(table.loc[table["what"] == "mask", "name"])
        held.setdefault(path.parent.name, set()).update(table.loc[table["what"] == "held_out", "name"])
    return Record(True, frozenset(masks), {year: frozenset(tiles) for year, tiles in held.items()})


def verdict(labels: Iterable[str]) -> str:
    """What the origin of the labels of all compared tiles says about the comparison of the masks."""
    count = {name: 0 for name in ("imported", "held_out", "own", "unknown")}
    for one in labels:
        count[one] += 1
    if count["unknown"]:
        return f"{NOT_INDEPENDENT}, unless these masks were never read as labels: name the run with --config"
    if not count["imported"]:
        return "independent: no label comes from these masks"
    if not count["held_out"]:
        return f"{NOT_INDEPENDENT}: labels come from these masks and no tile is held out (`smallmines labels import-masks --fraction 0.1`)"
    return f"independent in the {count['held_out']} held-out tiles and years only"


def agreement_by_origin(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Agreement of the masks apart for the tiles of each origin, see `differences.mask_agreement`."""
    from smallmines.compare.differences import mask_agreement

    return {str(name): mask_agreement(own) for name, own in rows.groupby("labels", sort=True)}
