"""Select the keys of the configuration that a rule or verb reads: those that a type of `smallmines.settings` names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from smallmines.core.files import digest
from smallmines.settings.grid import Grid

T = TypeVar("T")

CONTENT = {
    "aoi": ("base_url", "country", "expected_area_km2", "level", "names", "path", "release", "source"),
    "grid": ("anchor", "block_seed", "blocks", "crs", "resolution", "source", "tile_size"),
    "sentinel2": (
        "cloud_dilation_px",
        "cloud_opening_px",
        "clouds",
        "haze",
        "masked_classes",
        "max_cloud_cover",
        "max_datatakes",
        "max_haze",
        "method",
        "minimum_clear_share",
        "radiometry",
        "resampling_20m",
        "stable_tolerance",
        "unclear",
    ),
    "sentinel1": ("border_erosion_px", "kernel", "orbit_state", "relative_orbit"),
    "elevation": ("asset", "resampling"),
    "segmentation": ("bands", "convergence", "max_iterations", "min_size", "range_radius", "spatial_radius"),
    "assistant": ("features", "folds", "max_depth", "min_samples_split", "on_missing_class", "prevalence", "seed", "threshold", "trees"),
}
"""Keys by section that the digests in tags cover."""

ADDED: Mapping[str, Mapping[str, Any]] = {"sentinel2": {"haze": "auto"}, "assistant": {"features": "paper"}}
"""Keys of `CONTENT` that came later, with the value that gives the earlier products: with it they are left out of the digests."""

NOT_CONTENT = {
    "grid": ("expected_tiles", "file", "folder", "max_tiles", "released_ids_up_to"),
    "sentinel2": ("catalogue", "exclude_items", "fallbacks", "provider", "reader", "undecided"),
    "sentinel1": ("catalogue", "exclude_items", "fallbacks", "provider"),
    "elevation": ("catalogue", "exclude_items", "fallbacks", "project", "provider"),
    "segmentation": ("backend",),
    "assistant": ("prevalence_points",),
}
"""Keys by section that change no pixel: sources of pixels (tags list the item ids instead), values that are only reported, and the
size of a sample that is drawn once."""


def parameters(section: BaseModel, kind: type) -> dict[str, Any]:
    """Return the values of the keys that `kind` names, as params of a rule."""
    names = [field.name for field in dataclasses.fields(kind)]
    values = section.model_dump(include=set(names))
    return {name: values[name] for name in names}


def settings_of(section: BaseModel, kind: type[T]) -> T:
    """Return the same values as an instance of `kind`, for code outside the rules.

    Raises:
        KeyError: the section does not have a key.
    """
    values = parameters(section, kind)
    return Grid.of(values) if kind is Grid else kind(**values)  # type: ignore[return-value]


def content(config: BaseModel, section: str) -> dict[str, Any]:
    """Return the values of a section that the digests in tags cover."""
    values = getattr(config, section).model_dump(mode="json", include=set(CONTENT[section]))
    added = ADDED.get(section, {})
    return {key: value for key, value in values.items() if key not in added or value != added[key]}


def content_digest(config: BaseModel, *sections: str) -> str:
    """Return the digest of some sections of the configuration, for tags."""
    return digest({section: content(config, section) for section in sections})
