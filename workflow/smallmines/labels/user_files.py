"""Where people's files of a block and year lie, for the rules: only those that exist, and a digest of what they say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Protocol

from smallmines.core.files import only_file
from smallmines.core.layout import UserFolder
from smallmines.labels.samples import SUFFIXES, events_digest, samples_digest


class YearAndBlock(Protocol):
    """Snakemake's wildcards of a rule for one year and block."""

    @property
    def year(self) -> str:
        """The year as in paths."""

    @property
    def block(self) -> str:
        """Name of the block."""


@dataclass(frozen=True)
class UserFiles:
    """People's samples and events of a run; methods of wildcards are input or params functions of the rules `labels` and `decisions`.

    Attributes:
        folder: `resources/user/<run>`.
        crs: the grid's CRS.
        configfiles: as given on the command line, for messages.
    """

    folder: str
    crs: str
    configfiles: tuple[str, ...] = ()

    def wanted(self, wildcards: YearAndBlock) -> str:
        """Path of the sample file without its suffix."""
        return str(UserFolder(Path(self.folder)).samples(wildcards.year, wildcards.block))

    def samples(self, wildcards: YearAndBlock) -> list[str]:
        """The sample files that exist: without any the workflow still plans, and the rule then says what is missing."""
        return only_file(Path(self.wanted(wildcards)).parent, wildcards.block, SUFFIXES)

    def events(self, wildcards: YearAndBlock) -> list[str]:
        """The event files that exist, sorted."""
        return self.opinions([wildcards.year], [wildcards.block])["events"]

    def opinions(self, years: Iterable[str], blocks: Iterable[str]) -> dict[str, list[str]]:
        """What people gave, by kind: events, overlap (blind), design (of the accuracy sample), references (said about it); sorted."""
        folder = UserFolder(Path(self.folder))
        files: dict[str, list[Path]] = {"events": [], "overlap": [], "design": [], "references": []}
        for year, block in product(years, blocks):
            design = folder.accuracy_sample(year, block)
            files["events"] += folder.events(year, block).glob("*.jsonl")
            files["overlap"] += folder.overlap(year).glob(f"{block}-*.csv")
            files["design"] += [design] if design.exists() else []
            files["references"] += folder.references(year, block).glob("*.jsonl")
        return {kind: sorted(map(str, paths)) for kind, paths in files.items()}

    def samples_digest(self, wildcards: YearAndBlock) -> str:
        """What the samples say; the same after a touch or another way of writing the same content."""
        return samples_digest(self.samples(wildcards), self.crs)

    def events_digest(self, wildcards: YearAndBlock) -> str:
        """What the events say."""
        return events_digest(self.events(wildcards))

    def command(self, wildcards: YearAndBlock) -> str:
        """What to type where there are no samples yet; empty where there are: params must not depend on how the run was called."""
        if self.samples(wildcards):
            return ""
        return " ".join(["snakemake annotate", *(["--configfile", *self.configfiles] if self.configfiles else [])])
