"""Find the tiles whose labels come from the masks they are compared with: only the others make an independent comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from smallmines.compare.pairs import Pair
from smallmines.core.layout import UserFolder
from smallmines.core.release import read_release
from smallmines.grid.lattice import read_lattice
from smallmines.labels.released import held_out

if TYPE_CHECKING:
    import pandas as pd

Labels = Literal["imported", "held_out", "own", "unknown"]
"""Origin of the labels of a tile. `imported`: from the published mask. `held_out`: its mask was kept out of an import. `own`: the run
imported no mask of this tile. `unknown`: the run is not known."""

NOT_INDEPENDENT = "not an independent comparison"


@dataclass(frozen=True)
class Record:
    """Masks that a run imported as labels.

    Attributes:
        is_known: False where the run of our patches is not known.
        masks: names of the imported mask files.
        held_out: our tile ids that were held out, by year.
    """

    is_known: bool
    masks: frozenset[str] = frozenset()
    held_out: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def of(self, pair: Pair) -> Labels:
        """Return where the labels of a pair's tile come from."""
        if not self.is_known:
            return "unknown"
        mask = pair.published.mask
        if mask is None:
            return "own"
        if pair.ours.header.tile_id in self.held_out.get(pair.ours.header.year, ()):
            return "held_out"
        return "imported" if mask.name in self.masks else "own"


def read_record(user: Path | None) -> Record:
    """Read the record of `smallmines labels import-masks` below `resources/user/<run>` (`imported/<year>/<block>.csv`).

    Args:
        user: the folder, or None where the run is not known.
    """
    if user is None:
        return Record(is_known=False)
    import pandas as pd

    masks: set[str] = set()
    held: dict[str, set[str]] = {}
    for path in sorted(UserFolder(user).imported.glob("*/*.csv")):
        table = pd.read_csv(path, dtype=str)
        masks |= set(table.loc[table["what"] == "mask", "name"])
        held.setdefault(path.parent.name, set()).update(table.loc[table["what"] == "held_out", "name"])
    return Record(True, frozenset(masks), {year: frozenset(tiles) for year, tiles in held.items()})


def released_record(release: str | Path, grid: str | Path, hold_out: float, seed: int) -> Record:
    """Return the record of a run whose labels are a release's.

    Args:
        release: `release.json`.
        grid: `grid.json`.
        hold_out: share of the tiles that took nothing from the release; 0 with `labels.source` `released_masks`.
        seed: `labels.seed`.
    """
    masks = read_release(release).masks
    tiles = read_lattice(grid).cells["tile_id"].tolist()
    held = frozenset(held_out(tiles, (), hold_out, seed))
    return Record(True, frozenset(mask.name for mask in masks), {str(mask.year): held for mask in masks})


def verdict(labels: Iterable[str]) -> str:
    """Return whether the comparison of the masks is independent, given the origin of the labels of all compared tiles."""
    count = Counter(labels)
    if count["unknown"]:
        return f"{NOT_INDEPENDENT}, unless these masks were never read as labels: name the run with --config"
    if not count["imported"]:
        return "independent: no label comes from these masks"
    if not count["held_out"]:
        return f"{NOT_INDEPENDENT}: labels come from these masks and no tile is held out (`released.hold_out`; `import-masks --fraction`)"
    return f"independent in the {count['held_out']} held-out tiles and years only"


def agreement_by_origin(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the agreement of the masks by origin of the labels, see `differences.mask_agreement`."""
    from smallmines.compare.differences import mask_agreement

    return {str(name): mask_agreement(group) for name, group in rows.groupby("labels", sort=True)}
