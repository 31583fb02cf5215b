"""List the files that people made for a block and year, and digest their content, for the rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Protocol

from smallmines.core.errors import UserError
from smallmines.core.layout import PixelSample, UserFolder
from smallmines.labels.samples import SUFFIXES, events_digest, samples_digest


def _of_sample(folder: UserFolder, kind: PixelSample, year: str, block: str) -> dict[str, list[Path]]:
    """List the files of a sample of pixels: design (one or none) and references, decisions about it."""
    design = folder.pixel_sample(kind, year, block)
    return {"design": [design] if design.exists() else [], "references": list(folder.references(kind, year, block).glob("*.jsonl"))}


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
    """Samples and events of a run; methods that take wildcards are input or params functions of the rules `samples` and `decisions`.

    Attributes:
        folder: `resources/user/<run>`.
        crs: the grid's CRS.
        configfiles: configuration files of the command line, for messages.
    """

    folder: str
    crs: str
    configfiles: tuple[str, ...] = ()
    _samples: dict[Path, dict[str, list[str]]] = field(default_factory=dict, repr=False, compare=False)
    """Sample files by block, by folder that was listed: a folder has a file for each block of a year and is read once for all of them."""

    def sample_path(self, wildcards: YearAndBlock) -> str:
        """Return the path of the sample file without its suffix."""
        return str(UserFolder(Path(self.folder)).samples(wildcards.year, wildcards.block))

    def samples(self, wildcards: YearAndBlock) -> list[str]:
        """List the sample files that exist. Without any the workflow still plans, and the rule reports what is missing."""
        return self._sample_files(UserFolder(Path(self.folder)).samples(wildcards.year, wildcards.block))

    def _sample_files(self, sample: Path) -> list[str]:
        """List the files with the path of a sample file, whatever their suffix, sorted; the folder is as it was when it was first read."""
        if sample.parent not in self._samples:
            files = self._samples.setdefault(sample.parent, defaultdict(list))
            for path in sorted(sample.parent.iterdir()) if sample.parent.is_dir() else []:
                if path.suffix.lower() in SUFFIXES:
                    files[path.name.partition(".")[0]].append(str(path))
        return list(self._samples[sample.parent].get(sample.name, []))

    def events(self, wildcards: YearAndBlock) -> list[str]:
        """List the event files that exist, sorted."""
        return self.quality_inputs([wildcards.year], [wildcards.block])["events"]

    def quality_inputs(self, years: Iterable[str], blocks: Iterable[str]) -> dict[str, list[str]]:
        """List the input files of the label quality by kind: events, (blind) overlap, design (of the accuracy sample), references; sorted.

        References are decisions about the accuracy sample.
        """
        folder = UserFolder(Path(self.folder))
        files: dict[str, list[Path]] = {"events": [], "overlap": [], "design": [], "references": []}
        for year, block in product(years, blocks):
            files["events"] += folder.events(year, block).glob("*.jsonl")
            files["overlap"] += folder.overlap(year).glob(f"{block}-*.csv")
            for kind, paths in _of_sample(folder, "accuracy", year, block).items():
                files[kind] += paths
        return {kind: sorted(map(str, paths)) for kind, paths in files.items()}

    def prevalence_sample(self, wildcards: YearAndBlock) -> list[str]:
        """List the files of a prevalence sample: the design and the check-ins; none before the first check-in.

        So a draw alone trains no forest again.
        """
        files = _of_sample(UserFolder(Path(self.folder)), "prevalence", wildcards.year, wildcards.block)
        return [str(path) for path in (*files["design"], *sorted(files["references"]))] if files["references"] else []

    def change_sample(self, year: str, blocks: Iterable[str], kind: PixelSample) -> dict[str, list[str]]:
        """List the files of the change sample of a later year: the designs, all alike, and the check-ins of one kind; sorted."""
        folder = UserFolder(Path(self.folder))
        files = [_of_sample(folder, kind, year, block) for block in blocks]
        return {name: sorted(str(path) for own in files for path in own[name]) for name in ("design", "references")}

    def prevalence_digest(self, wildcards: YearAndBlock) -> str:
        """Digest the content of the prevalence sample."""
        return events_digest(self.prevalence_sample(wildcards))

    def require_files(self, years: Iterable[str], blocks: Iterable[str]) -> None:
        """Refuse what is no file in the place of people's files: planning would wait for a pipe, and pass over a link that leads nowhere.

        Raises:
            UserError: naming them.
        """
        paths = [path for kind in self.quality_inputs(years, blocks).values() for path in kind]
        samples = UserFolder(Path(self.folder))
        for year, block in product(years, blocks):
            paths += self._sample_files(samples.samples(year, block))
            kinds: tuple[PixelSample, ...] = ("prevalence", "change_before", "change_after")
            paths += [str(path) for name in kinds for files in _of_sample(samples, name, year, block).values() for path in files]
        if strange := [path for path in paths if not Path(path).is_file()]:
            more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
            do = "restore them, or move them away"
            raise UserError("people's files", f"something that is no file, or a link to none: {', '.join(strange[:5])}{more}", do)

    def samples_digest(self, wildcards: YearAndBlock) -> str:
        """Digest the content of the samples; the same after a touch or when the same content is written in another way."""
        return samples_digest(self.samples(wildcards), self.crs)

    def events_digest(self, wildcards: YearAndBlock) -> str:
        """Digest the content of the events."""
        return events_digest(self.events(wildcards))

    def candidates_command(self, wildcards: YearAndBlock) -> str:
        """Return the command that makes candidates where there are no samples yet; else empty: params must not depend on the call."""
        if self.samples(wildcards):
            return ""
        return " ".join(["snakemake annotate", *(["--configfile", *self.configfiles] if self.configfiles else [])])
