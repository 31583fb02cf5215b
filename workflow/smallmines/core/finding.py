"""Finding of a check on a dataset, as `verify` and the doctor report it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Finding:
    """Something that is wrong with a dataset, or may be.

    Attributes:
        severity: error (not to be published), warning (look at it) or note.
        family, check: which check reports it.
        expected, found: in words, with numbers.
        remedy: what to do; empty where the report as a whole says it.
        tiles: the patches ("0001 2016") or files that it concerns; empty: the whole dataset.
    """

    severity: str
    family: str
    check: str
    expected: str
    found: str
    remedy: str = ""
    tiles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Family:
    """Checks of one kind; makes their findings.

    Attributes:
        name: `Finding.family` of all of them.
        remedy: where a finding states none.
    """

    name: str
    remedy: str = ""

    def error(self, check: str, expected: str, found: str, remedy: str = "", tiles: tuple[str, ...] = ()) -> Finding:
        """Return a finding of severity error."""
        return Finding("error", self.name, check, expected, found, remedy or self.remedy, tiles)

    def warning(self, check: str, expected: str, found: str, remedy: str = "", tiles: tuple[str, ...] = ()) -> Finding:
        """Return a finding of severity warning."""
        return Finding("warning", self.name, check, expected, found, remedy or self.remedy, tiles)

    def note(self, check: str, expected: str, found: str, remedy: str = "", tiles: tuple[str, ...] = ()) -> Finding:
        """Return a finding of severity note."""
        return Finding("note", self.name, check, expected, found, remedy or self.remedy, tiles)
