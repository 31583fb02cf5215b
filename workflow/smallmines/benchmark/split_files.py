"""Names of the splits that a configuration asks for. The Snakefile imports this module at every planning: it imports little."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from smallmines.core.errors import UserError

FOLDS = 5
GEOGRAPHIC_BLOCKS = 4
"""Blocks of a dataset without an index, as the authors made them: KMeans of the tiles' centres with seed 0."""


def splits_of(groups: Sequence[str], years: Sequence[str], blocks: Sequence[str], dataset: str | None) -> list[str]:
    """Return the names of all splits, see `split_names.assign`.

    Args:
        groups: of the key `benchmark.splits`.
        years, blocks: of the run.
        dataset: folder of another dataset, whose years and blocks count instead; None: that of the run.

    Raises:
        UserError: one block or one year, where several are needed.
    """
    if dataset is not None:
        years, blocks = years_of(dataset), blocks_of(dataset)
    return [name for group in groups for name in _names(group, years, blocks)]


def _names(group: str, years: Sequence[str], blocks: Sequence[str]) -> Iterator[str]:
    if group == "spatial_block":
        yield from (f"spatial_block_{fold}" for fold in range(1, FOLDS + 1))
    elif group == "leave_block_out":
        if len(blocks) < 2:
            raise UserError("several geographic blocks for the split leave_block_out", f"{len(blocks)}", "leave it out of benchmark.splits")
        yield from (f"leave_block_out_{block}" for block in blocks)
    elif group == "years":
        if len(years) < 2:
            raise UserError("several years for the split years", f"{len(years)}", "leave it out of benchmark.splits")
        for first, second in pairwise(years):
            yield from (f"{first}_to_{second}", f"{second}_to_{first}")
    else:
        yield group


def years_of(dataset: str | Path) -> list[str]:
    """Return the years of a dataset: its folders with images."""
    return sorted(path.parent.name for path in Path(dataset).glob(f"{'[0-9]' * 4}/IMAGE"))


def blocks_of(dataset: str | Path) -> list[str]:
    """Return the geographic blocks of a dataset: those of its index, else as many as `packing` makes."""
    from smallmines.core.readable import read_parquet

    index = Path(dataset) / "index.parquet"
    if index.is_file():
        return sorted(set(read_parquet(index, ["block"])["block"].astype(str)))
    return [str(number) for number in range(1, GEOGRAPHIC_BLOCKS + 1)]
