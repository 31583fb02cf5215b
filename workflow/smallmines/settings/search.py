"""Keys of the rule `search`, per sensor: they decide which items of an archive are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Archive:
    """Keys of every sensor: provider, fallbacks in order, and catalogue addresses that replace the providers' own."""

    provider: str
    fallbacks: tuple[str, ...]
    catalogue: str | Mapping[str, str] | None

    def address(self, provider: str) -> str | None:
        """Return the configured address of a provider's catalogue; None: the provider's own."""
        return address_of(self.catalogue, self.provider, provider)


def address_of(catalogue: str | Mapping[str, str] | None, first: str, provider: str) -> str | None:
    """Return the address of `provider` in the key `catalogue`, which is a mapping by provider or the address of the `first` provider."""
    if isinstance(catalogue, Mapping):
        return catalogue.get(provider)
    return catalogue if provider == first else None


@dataclass(frozen=True)
class SearchSentinel2(Archive):
    """Keys of `sentinel2` that the rule `search` reads."""

    method: str
    clouds: str
    masked_classes: tuple[int, ...]
    max_cloud_cover: float
    minimum_clear_share: float
    max_haze: float | None
    max_datatakes: int


@dataclass(frozen=True)
class SearchSentinel1(Archive):
    """Keys of `sentinel1` that the rule `search` reads."""

    orbit_state: str
    relative_orbit: int | None


@dataclass(frozen=True)
class SearchElevation(Archive):
    """Keys of `elevation` that the rule `search` reads."""

    asset: str
    project: str | None


Search = SearchSentinel2 | SearchSentinel1 | SearchElevation
SEARCH: dict[str, type[SearchSentinel2] | type[SearchSentinel1] | type[SearchElevation]] = {
    "s2": SearchSentinel2,
    "s1": SearchSentinel1,
    "dem": SearchElevation,
}
"""The type of each sensor."""
