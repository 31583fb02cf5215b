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


Architecture = Literal["unet_resnet50", "prithvi_300", "prithvi_600", "terramind_tiny", "terramind_base", "sam2_small"]

InputKind = Literal["standardised", "pretraining", "stretched", "stored"]
"""How a network takes the values of images, see `benchmark.deep.inputs`."""


@dataclass(frozen=True)
class Weights:
    """A file of pretrained weights on the Hugging Face Hub.

    Attributes:
        revision: commit, 40 digits; None: the newest one, which the first run pins.
    """

    repository: str
    file: str
    revision: str | None


@dataclass(frozen=True)
class Network:
    """A network that segments tiles; config/benchmark/README.md describes the keys."""

    bands: tuple[str, ...]
    architecture: Architecture
    weights: Weights | None
    band_names: tuple[str, ...] | None
    train_encoder: bool
    inputs: InputKind
    mask_gaps: bool
    train_on_val: bool
    epochs: int
    patience: int | None
    batch: int
    accumulate: int
    shuffle: bool
    augment: Literal["none", "flips", "turns"]
    learning_rate: float
    tenth_every: int | None
    weight_decay: float
    class_weights: tuple[float, float] | None
    head_dropout: float
    prompts: Literal["none", "truth"]


RowSettings = Forest | Boosting | Control | Network

KINDS: Mapping[str, Any] = {"random_forest": Forest, "boosting": Boosting, "control": Control, "network": Network}


def settings_of_row(values: Mapping[str, Any]) -> RowSettings:
    """Return the settings of a row from the params of a rule: `kind` and the keys of its type."""
    kind: Any = KINDS[values["kind"]]
    own: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items() if name != "kind"}
    if own.get("weights"):
        own["weights"] = Weights(**own["weights"])
    settings: RowSettings = kind(**own)
    return settings
