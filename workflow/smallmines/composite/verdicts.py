"""The verdict on the radiometry of a composite: what the pixels of its items, of all of them together and of the result say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallmines.composite.seams import SEVERAL
from smallmines.core.errors import UserError
from smallmines.core.product import OFFSET
from smallmines.sensors.dark_pixels import DarkPixels
from smallmines.sensors.manifest import Sentinel2Entry
from smallmines.sensors.radiometry import VERDICT_TAG, Verdict, check_offset, jump_of, report_undecided

SAMPLES = 128
"""Number of samples along a row of the block, for the comparison of items."""

ENOUGH = 1 << 22
"""Pixels of a block from which every second one in rows and columns is evidence: a million or more, of which six bands have 20 m pixels."""

LEAST_COMMON = 100
"""Minimum number of samples with data in both of two items."""


@dataclass(frozen=True)
class Judged:
    """Verdicts of a block.

    Attributes:
        tags: of the composite.
        block: for the stats: verdict, and what the pixels of the composite say (see `Evidence`).
        items: for the stats, by item: verdict, declared_by, and what its pixels say.
    """

    tags: dict[str, str]
    block: dict[str, Any]
    items: dict[str, dict[str, Any]]


class OffsetEvidence:
    """Pixels of a block's items and of its composite, collected strip by strip."""

    def __init__(self, entries: Sequence[Sentinel2Entry], pixels: int = 0) -> None:
        """Start without pixels; `pixels` is the number of pixels of the block, see `ENOUGH`."""
        self.entries = entries
        self.step = 2 if pixels >= ENOUGH else 1
        self.pixels = {entry.id: DarkPixels() for entry in entries}
        self.composite = DarkPixels()
        self.samples: dict[str, list[NDArray[np.int32]]] = {entry.id: [] for entry in entries}

    def add(self, entry: Sentinel2Entry, dn: NDArray[np.uint16], valid: NDArray[np.bool_], scl: NDArray[np.uint8] | None) -> None:
        """Add a strip of an item; all items have the same strips.

        Args:
            dn: (band, row, column) as delivered.
            valid: (row, column).
            scl: (row, column) scene classes, or None.
        """
        every = np.s_[:: self.step, :: self.step]
        self.pixels[entry.id].add(dn[:, *every], valid[every], None if scl is None else scl[every])
        step = max(4, dn.shape[2] // SAMPLES)
        sample = dn[:, ::step, ::step].astype(np.int32) - OFFSET * entry.offset
        self.samples[entry.id].append(np.where(valid[::step, ::step], sample, np.iinfo(np.int32).min).reshape(len(dn), -1))

    def add_composite(self, dn: NDArray[np.uint16]) -> None:
        """Add a strip of the composite, (band, row, column), 0 = no data."""
        some = dn[:, :: self.step, :: self.step]
        self.composite.add(some, some[0] > 0)

    def judge(self, used: NDArray[np.int64], radiometry: str, undecided: str) -> Judged:
        """Return the verdicts; report an offset that nothing confirms.

        Args:
            used: pixels of the composite by index of the scene, (256).
            radiometry: `sentinel2.radiometry`.
            undecided: `sentinel2.undecided`.

        Raises:
            UserError: pixels contradict what is declared, or nothing confirms it and `undecided` is `stop`.
        """
        evidence = {name: pixels.evidence() for name, pixels in self.pixels.items()}
        verdicts = {entry.id: check_offset(entry, evidence[entry.id]) for entry in self.entries}
        self._compare_items(verdicts)
        composite = self.composite.evidence()
        offset = OFFSET * (radiometry == "dn_plus1000" or (radiometry == "native" and self.entries[0].offset))
        if composite.offset not in (None, offset):
            raise UserError(
                f"a composite with an offset of {offset} (sentinel2.radiometry: {radiometry})",
                f"{composite.offset}: {composite}",
                "find out which of its items has another offset than it declares, and leave it out of the catalogue",
            )
        in_composite = {entry.id: verdicts[entry.id] for entry in self.entries if used[entry.index] or used[SEVERAL]}
        verdict = report_undecided(in_composite, evidence, undecided)
        items = {
            entry.id: {"verdict": verdicts[entry.id], "declared_by": entry.declared_by, "pixels_say": asdict(evidence[entry.id])}
            for entry in self.entries
        }
        return Judged({VERDICT_TAG: verdict}, {"verdict": verdict, "pixels_say": asdict(composite)}, items)

    def _compare_items(self, verdicts: dict[str, Verdict]) -> None:
        """Compare the levels of each two items of which one is not proved: bright ground without dark targets still has one level.

        Raises:
            UserError: they differ by the offset.
        """
        samples = {name: np.concatenate(parts, axis=1) for name, parts in self.samples.items() if parts}
        for first, second in combinations(sorted(samples), 2):
            if verdicts[first] == verdicts[second] == "proved":
                continue
            both = (samples[first][0] > -OFFSET - 1) & (samples[second][0] > -OFFSET - 1)
            if both.sum() < LEAST_COMMON:
                continue
            differences = np.median(samples[second][:, both] - samples[first][:, both], axis=1)
            if jump_of(differences.tolist()):
                raise UserError(
                    f"one level of {first} and {second} over the same ground, their declared offsets taken off",
                    f"a difference of {np.median(differences):+.0f} DN in all ten bands, which is the offset of {OFFSET}",
                    "find out which of the two has another offset than it declares, and leave it out of the catalogue",
                )
