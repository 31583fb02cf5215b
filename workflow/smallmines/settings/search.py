"""Keys of the rule `search`, per sensor: they decide which items of an archive are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Archive:
    """Keys of every sensor: provider, fallbacks in order, catalogue addresses that replace the providers' own, ids of items left out."""

    provider: str
    fallbacks: tuple[str, ...]
    catalogue: str | Mapping[str, str] | None
    exclude_items: tuple[str, ...]

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


UNSET: Mapping[str, Any] = MappingProxyType({"exclude_items": ()})
"""Keys that came after the first version, with the value that they had before."""


def without_unset(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of keys without those of `UNSET` that have their old value, so that no finished search is repeated for a new key."""
    return {key: value for key, value in values.items() if key not in UNSET or tuple(value) != UNSET[key]}


Search = SearchSentinel2 | SearchSentinel1 | SearchElevation
SEARCH: dict[str, type[SearchSentinel2] | type[SearchSentinel1] | type[SearchElevation]] = {
    "s2": SearchSentinel2,
    "s1": SearchSentinel1,
    "dem": SearchElevation,
}
"""The type of each sensor."""
