"""A block and year of a run: paths of its files, and one table of all its segments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallmines.config.sections import Config
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import flat, remedy
from smallmines.core.json_products import ForestThreshold, read_product
from smallmines.core.layout import Layout, PixelSample
from smallmines.grid.lattice import Lattice, read_lattice
from smallmines.labels import decide, event_files
from smallmines.labels.feature_table import read_table as read_feature_table
from smallmines.labels.tables import read as read_table
from smallmines.labels.user_files import UserFiles
from smallmines.segment.features import read_features

if TYPE_CHECKING:
    import pandas as pd


OF_SEGMENTS = (
    Layout.segments,
    Layout.features,
    Layout.context,
    Layout.samples,
    Layout.decisions,
    Layout.review,
    Layout.forest,
    Layout.forest_metrics,
    Layout.probabilities,
    Layout.labels,
)
"""Products that a run with released masks does not have."""


@dataclass(frozen=True)
class BlockYear:
    """A block and year of a run, and the paths of its files.

    Attributes:
        root: the repository.
    """

    config: Config
    year: str
    block: str
    root: Path = Path()

    @property
    def layout(self) -> Layout:
        """Paths of the run."""
        return Layout(self.config.run, self.root)

    @property
    def results(self) -> Path:
        """`results/<run>`."""
        return self.layout.results

    @property
    def user(self) -> Path:
        """`resources/user/<run>`."""
        return self.layout.user.path

    @property
    def segmented(self) -> bool:
        """Whether the run has segments; else its masks are those of a release."""
        return self.config.labels.source != "released_masks"

    def product(self, path_of: Callable[[Layout, str, str], Path]) -> Path:
        """Return the path of a product of the block and year, e.g. `block_year.product(Layout.mask)`.

        Raises:
            UserError: the file is missing, the run has no such year or block, or no segments.
        """
        path = self._product_path(path_of)
        if not path.is_file():
            raise UserError(f"{path}", "no such file", "run the workflow up to the masks first: snakemake masks --configfile …")
        return path

    def has(self, *paths_of: Callable[[Layout, str, str], Path]) -> bool:
        """Whether all of some products of the block and year are there.

        Raises:
            UserError: the run has no such year or block, or no segments.
        """
        return all(self._product_path(path_of).is_file() for path_of in paths_of)

    def _product_path(self, path_of: Callable[[Layout, str, str], Path]) -> Path:
        if path_of in OF_SEGMENTS and not self.segmented:
            raise UserError(
                "a run with segments (labels.source people or released_samples)",
                f"labels.source released_masks: the masks of run {self.config.run} are those of the release",
                "choose another labels.source in the configuration, and run the workflow up to the masks",
            )
        if self.year not in self.config.year_names or self.block not in self.config.blocks:
            raise UserError(
                f"a year of {', '.join(self.config.year_names)} and a block of {', '.join(self.config.blocks)}",
                f"{self.year}, block {self.block}",
                "choose others",
            )
        return path_of(self.layout, self.year, self.block)

    def events(self) -> list[event_files.Event]:
        """Read all events of the block and year."""
        return event_files.read_events(self.user_files()["events"])

    def user_files(self) -> dict[str, list[str]]:
        """List the files that people made for the block and year, by kind, see `UserFiles.quality_inputs`."""
        return UserFiles(str(self.user), self.config.grid.crs).quality_inputs([self.year], [self.block])

    def references(self, kind: PixelSample = "accuracy") -> list[event_files.Event]:
        """Read all events about a sample of pixels of the block and year."""
        return event_files.read_events(sorted(self.layout.user.references(kind, self.year, self.block).glob("*.jsonl")))

    def segments(self) -> NDArray[np.uint32]:
        """Read the label raster (row, column)."""
        labels: NDArray[np.uint32] = raster.read(self.product(Layout.segments))[0]
        return labels

    @cached_property
    def lattice(self) -> Lattice:
        """The run's lattice.

        Raises:
            UserError: the run has no grid yet.
        """
        path = self.layout.grid
        if not path.is_file():
            raise UserError(f"{path}", "no such file", "run the workflow up to the segments first: snakemake segments --configfile …")
        return read_lattice(path)

    def features(self) -> pd.DataFrame:
        """Read the table of features."""
        return read_features(self.product(Layout.features))

    def forest_features(self) -> pd.DataFrame:
        """Read the table of features with all those that the forest uses."""
        context = self.product(Layout.context) if self.config.assistant.features == "context" else None
        return read_feature_table(self.product(Layout.features), context)

    def review(self) -> pd.DataFrame:
        """Read the segments whose decisions need another look: segment, why.

        Raises:
            UserError: the file is missing or damaged.
        """
        import pandas as pd

        path = self.product(Layout.review)
        try:
            return pd.read_csv(path)[["segment", "why"]].astype({"segment": np.int64})
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"a table with segment and why at {path}", flat(error), remedy(path)) from None

    def table(self) -> pd.DataFrame:
        """Return one row per segment: features, probability and entropy, label, provenance, who; and predicted (0, 1).

        Raises:
            UserError: a table is missing, or is of another segmentation.
        """
        paths = (self.product(path_of) for path_of in (Layout.features, Layout.probabilities, Layout.labels, Layout.forest_metrics))
        return table_of(*paths)


def table_of(features: Path, probabilities: Path, labels: Path, metrics: Path) -> pd.DataFrame:
    """Return one row per segment from the products of a block and year, see `BlockYear.table`.

    Raises:
        UserError: a table is missing, or is of another segmentation.
    """
    table, probability, label = read_features(features), read_table(probabilities, "probabilities"), read_table(labels, "labels")
    if not table["key"].equals(label["key"]) or not table["segment"].equals(probability["segment"]):
        raise UserError("labels of the present segmentation", "labels of another", "run the workflow up to the masks again")
    threshold = read_product(metrics, ForestThreshold)["threshold"]
    mining, _ = decide.predicted(probability["probability"].to_numpy(), table["clear_share"].to_numpy(), threshold)
    return table.assign(
        probability=probability["probability"],
        entropy=probability["entropy"],
        label=label["label"],
        provenance=label["provenance"],
        who=label["who"],
        predicted=mining.astype(np.int8),
    )
