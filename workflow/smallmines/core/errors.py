"""The error that a user can correct."""

from __future__ import annotations


class UserError(Exception):
    """An error that the user can correct: what was expected, what was found, what to do."""

    def __init__(self, expected: str, found: str, do: str) -> None:
        self.expected, self.found, self.do = expected, found, do
        super().__init__(f"expected  {expected}\nfound     {found}\ndo        {do}")

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str, str]]:
        """Say how it passes from one process to another."""
        return type(self), (self.expected, self.found, self.do)
