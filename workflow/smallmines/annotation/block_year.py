"""A block and year of a run: where its files lie, and all that is known of its segments."""

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
from smallmines.core.files import read_json
from smallmines.core.layout import Layout
from smallmines.grid.lattice import Lattice, read_lattice
from smallmines.labels import decide, event_files
from smallmines.labels.tables import read as read_table
from smallmines.labels.user_files import UserFiles
from smallmines.segment.features import read_features

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Place:
    """A block and year of a run, and where its files lie.

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

    def product(self, path_of: Callable[[Layout, str, str], Path]) -> Path:
        """A product of the block and year, e.g. `place.product(Layout.mask)`.

        Raises:
            UserError: it is not there, or the run has no such year or block.
        """
        if self.year not in self.config.year_names or self.block not in self.config.blocks:
            raise UserError(
                f"a year of {', '.join(self.config.year_names)} and a block of {', '.join(self.config.blocks)}",
                f"{self.year}, block {self.block}",
                "name others",
            )
        path = path_of(self.layout, self.year, self.block)
        if not path.is_file():
            raise UserError(f"{path}", "no such file", "run the workflow up to the masks first: snakemake masks --configfile …")
        return path

    def events(self) -> list[event_files.Event]:
        """All events of the block and year."""
        return event_files.read_events(self.given()["events"])

    def given(self) -> dict[str, list[str]]:
        """The files that people gave for the block and year, by kind, see `UserFiles.opinions`."""
        return UserFiles(str(self.user), self.config.grid.crs).opinions([self.year], [self.block])

    def references(self) -> list[event_files.Event]:
        """All that people said about the accuracy sample of the block and year."""
        return event_files.read_events(self.given()["references"])

    def segments(self) -> NDArray[np.uint32]:
        """The label raster (row, column)."""
        found: NDArray[np.uint32] = raster.read(self.product(Layout.segments))[0]
        return found

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
        """The segments' table."""
        return read_features(self.product(Layout.features))

    def table(self) -> pd.DataFrame:
        """One row per segment: features, probability and entropy, label, provenance, who; and predicted (0, 1)."""
        table = self.features()
        said = read_table(self.product(Layout.probabilities), "probabilities")
        decided = read_table(self.product(Layout.labels), "labels")
        if not table["key"].equals(decided["key"]) or not table["segment"].equals(said["segment"]):
            raise UserError("labels of the present segmentation", "labels of another", "run the workflow up to the masks again")
        threshold = read_json(self.product(Layout.forest_metrics))["threshold"]
        mining, _ = decide.predicted(said["probability"].to_numpy(), table["clear_share"].to_numpy(), threshold)
        return table.assign(
            probability=said["probability"],
            entropy=said["entropy"],
            label=decided["label"],
            provenance=decided["provenance"],
            who=decided["who"],
            predicted=mining.astype(np.int8),
        )
