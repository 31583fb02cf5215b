"""Configurations of the shards: a way to split the tiles each, all from the same files.

The rows that have the same splits in all configurations lie in one folder, so that each split of each configuration is a pattern of
folders and no patch is written twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallmines.core.errors import UserError
from smallmines.core.log import logger
from smallmines.core.product import SPLITS
from smallmines.dataset.split_methods import make_splits
from smallmines.settings.splits import METHODS, Splits

if TYPE_CHECKING:
    import pandas as pd

DEFAULT = "default"
"""Name of the configuration with the split in force, that of `splits.csv`."""

SAMPLE = "sample"
"""Name of the configuration with a few tiles."""

DATA = "data"
"""Folder of the shards."""

Names = NDArray[np.object_]


@dataclass(frozen=True)
class Configurations:
    """The splits of all rows in each configuration.

    Attributes:
        levels: train, val, test or buffer of each row, by configuration; each assignment once, `DEFAULT` first.
        same_as: the configuration of `levels` by name of each configuration.
    """

    levels: Mapping[str, Names]
    same_as: Mapping[str, str]

    def folders(self) -> dict[str, NDArray[np.int64]]:
        """Return the numbers of the rows in each folder, by its path; sorted."""
        labels = [np.char.add(f"{name}-", split.astype(str)) for name, split in self.levels.items()]
        paths = np.array([f"{DATA}/{'/'.join(parts)}" for parts in zip(*labels, strict=True)], object)
        return {path: np.flatnonzero(paths == path) for path in sorted(set(paths))}

    def splits(self, configuration: str) -> list[str]:
        """Return the splits of a configuration that have rows."""
        present = set(self.levels[self.same_as[configuration]])
        return [name for name in SPLITS if name in present]

    def pattern(self, configuration: str, split: str) -> str:
        """Return the pattern of the shards of a split."""
        level = self.same_as[configuration]
        return "/".join([DATA, *(f"{name}-{split}" if name == level else "*" for name in self.levels), "*.parquet"])


def sample_pattern(split: str) -> str:
    """Return the pattern of the sample's shards of a split."""
    return f"{SAMPLE}/{split}/*.parquet"


def configurations(index: pd.DataFrame, settings: Splits) -> Configurations:
    """Return the configurations of a dataset: the split in force, and those that the methods give now with the run's settings.

    `leave_block_out` is left out: it would make many small shards, and the column `block` gives the same. A method that cannot split so
    few tiles is left out, too.

    Args:
        index: as `index.read_index` returns it.
        settings: section `splits` of the run.
    """
    table = index[["tile_id", "year", "row", "col", "block"]].assign(class_percent=index["mining_percent"])
    levels: dict[str, Names] = {DEFAULT: index["split"].to_numpy(object)}
    same_as = {DEFAULT: DEFAULT}
    for method in METHODS:
        if method == "leave_block_out":
            continue
        try:
            made = make_splits(table, replace(settings, method=method, test_block=None))
        except UserError as error:
            logger.warning("no configuration %s: expected %s, found %s", method, error.expected, error.found)
            continue
        both = index[["tile_id", "year"]].merge(made, on=["tile_id", "year"], how="left", validate="one_to_one")
        split = both["split"].to_numpy(object)
        equal = next((name for name, own in levels.items() if (own == split).all()), None)
        same_as[method] = equal or method
        if equal is None:
            levels[method] = split
    return Configurations(levels, same_as)
