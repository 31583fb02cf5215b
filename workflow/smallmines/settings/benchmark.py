"""Settings of the rows of the benchmark: a type a kind of model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Variant = Literal["as_published", "fixed"]
"""As the released scripts did it, or as this project does it: docs/benchmark.md lists the differences."""

ControlName = Literal["place", "other_year", "index", "everything"]


@dataclass(frozen=True)
class Forest:
    """A random forest on the values of single pixels; config/benchmark/README.md describes the keys."""

    bands: tuple[str, ...]
    trees: int
    max_depth: int | None
    min_samples_leaf: int
    max_samples: int | None
    pixels_per_class: int | None


@dataclass(frozen=True)
class Boosting:
    """Histogram gradient boosting on the values of single pixels."""

    bands: tuple[str, ...]
    rounds: int
    learning_rate: float
    leaves: int
    pixels_per_class: int


@dataclass(frozen=True)
class Control:
    """A control: what is reached without a model of the pixels."""

    bands: tuple[str, ...]
    control: ControlName


RowSettings = Forest | Boosting | Control

KINDS: dict[str, type[Forest] | type[Boosting] | type[Control]] = {"random_forest": Forest, "boosting": Boosting, "control": Control}


def settings_of_row(values: Mapping[str, Any]) -> RowSettings:
    """Return the settings of a row from the params of a rule: `kind` and the keys of its type."""
    kind: Any = KINDS[values["kind"]]
    own = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items() if name != "kind"}
    settings: RowSettings = kind(**own)
    return settings
