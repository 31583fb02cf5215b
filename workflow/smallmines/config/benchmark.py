"""The benchmark: its section of the configuration, and the files `config/benchmark/<row>.yaml`, one a row."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationError, field_validator, model_validator

from smallmines.config.section import PathText, Section
from smallmines.config.yaml_file import read_yaml
from smallmines.core.errors import UserError
from smallmines.core.product import PATCH_BANDS
from smallmines.settings.benchmark import Architecture, ControlName, InputKind, Variant

SplitName = Literal["in_force", "released", "paper_histogram", "spatial_block", "leave_block_out", "years"]
ROW = r"^[a-z0-9][a-z0-9_]*/(as_published|fixed)$"
UNPRETRAINED = "_unpretrained"
LARGEST_SEED = 2**32 - 1

BandName = Annotated[str, Field(pattern=f"^({'|'.join(PATCH_BANDS)})$")]


def _each_band_once(bands: tuple[str, ...]) -> tuple[str, ...]:
    if twice := sorted({band for band in bands if bands.count(band) > 1}):
        raise ValueError(f"{', '.join(twice)} stands twice")
    return bands


Bands = Annotated[tuple[BandName, ...], Field(min_length=1), AfterValidator(_each_band_once)]

CPU_ROWS = (
    "random_forest_rgb/fixed",
    "random_forest_rgb_plus/fixed",
    "boosting_6/fixed",
    "boosting_13/fixed",
    "place_and_year/fixed",
    "other_year_mask/fixed",
    "index_threshold/fixed",
    "everything_mining/fixed",
)
"""Rows that every machine can run."""

DEEP_ROWS = (
    "unet_rgb/as_published",
    "unet_rgb/fixed",
    "unet_rgb_plus_scratch/as_published",
    "unet_rgb_plus_scratch/fixed",
    "unet_rgb_plus/fixed",
    "sam2_rgb/as_published",
    "sam2_rgb/fixed",
    "prithvi_300/as_published",
    "prithvi_300/fixed",
    "prithvi_600/as_published",
    "prithvi_600/fixed",
    "terramind_tiny/fixed",
    "terramind_base/fixed",
)
"""Rows of networks."""


class Benchmark(Section):
    """The paper's experiments on the finished dataset (`snakemake benchmark`, docs/benchmark.md). Nothing else runs them."""

    rows: tuple[Annotated[str, Field(pattern=ROW)], ...] = Field(
        CPU_ROWS, description="Rows as `<name>/<variant>`, each a file `config/benchmark/<name>.yaml`; variants `as_published` and `fixed`."
    )
    deep_rows: tuple[Annotated[str, Field(pattern=ROW)], ...] = Field(
        DEEP_ROWS, description="Rows of networks, in addition, for `snakemake benchmark_deep`: PyTorch and a GPU (docs/benchmark.md)."
    )
    allow_unpretrained: bool = Field(
        False,
        description="Start networks from random numbers instead of pretrained weights. Their names in folders, tables and plots then end "
        "in `_unpretrained`, and their scores say nothing of the pretrained network.",
    )
    splits: tuple[SplitName, ...] = Field(
        ("in_force", "paper_histogram", "spatial_block"),
        description="Splits side by side. `in_force`: the dataset's own. `released`: the published tables. `paper_histogram`: as in the "
        "release. `spatial_block`: five folds of blocks of tiles. `leave_block_out`: each geographic block in turn. `years`: each year "
        "tests a model of the year before or after it, on other tiles.",
    )
    seeds: tuple[Annotated[int, Field(ge=0, le=LARGEST_SEED)], ...] = Field(
        (0,), min_length=1, description="Seeds of the models. Several show the spread; models without chance run the first only."
    )
    split_seed: int = Field(0, ge=0, le=LARGEST_SEED, description="Seed of splits that are made here.")
    dataset: PathText | None = Field(
        None, description="Folder of another dataset in the released layout, e.g. SmallMinesDS. Empty: that of the run, made first."
    )
    doctor: PathText | None = Field(
        None, description="With `dataset`: its `doctor.json` (`smallmines doctor FOLDER --out FOLDER`). Empty: no finding stops a row."
    )
    radiometry: Literal["dn_plus1000", "dn_harmonised"] | None = Field(
        None,
        description="Radiometry of a `dataset` whose index and images state none; the published SmallMinesDS is dn_plus1000. Rows that "
        "need reflectances stop without it.",
    )
    released_splits: PathText | None = Field(None, description="Folder of `train_test_splits_<year>.csv` for the split `released`.")
    stop_on_findings: bool = Field(True, description="Stop rows that use a band with an error of the doctor; the table names them.")

    @field_validator("rows", "deep_rows", "splits", "seeds")
    @classmethod
    def _each_once(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if twice := sorted({str(value) for value in values if values.count(value) > 1}):
            raise ValueError(f"{', '.join(twice)} stands twice")
        return values

    @model_validator(mode="after")
    def _tables_of_the_release(self) -> Self:
        if "released" in self.splits and self.released_splits is None:
            raise ValueError("the split released needs released_splits, the folder of train_test_splits_<year>.csv")
        return self


class ForestRow(Section):
    """A random forest."""

    kind: Literal["random_forest"]
    bands: Bands
    trees: int = Field(ge=1, le=10_000)
    max_depth: int | None = Field(ge=1)
    min_samples_leaf: int = Field(ge=1)
    max_samples: int | None = Field(ge=1)
    pixels_per_class: int | None = Field(ge=1)


class BoostingRow(Section):
    """Histogram gradient boosting."""

    kind: Literal["boosting"]
    bands: Bands
    rounds: int = Field(ge=1, le=10_000)
    learning_rate: float = Field(gt=0, le=1)
    leaves: int = Field(ge=2)
    pixels_per_class: int = Field(ge=1)


class ControlRow(Section):
    """A control."""

    kind: Literal["control"]
    bands: tuple[BandName, ...] = ()
    control: ControlName


INPUT_NOTES: Mapping[InputKind, str] = MappingProxyType(
    {
        "standardised": "input: values less the mean of train, divided by its standard deviation",
        "pretraining": "input: reflectances, decibels and metres with mean and standard deviation of the pretraining",
        "stretched": "input: reflectances of 0 to 0.3 as 0 to 1, with ImageNet's mean and standard deviation",
        "stored": "input: digital numbers as they are, with ImageNet's mean and standard deviation",
    }
)
"""What the table says of the input of a network."""


class WeightsRow(Section):
    """A file of pretrained weights on the Hugging Face Hub."""

    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    file: str = Field(min_length=1)
    revision: Annotated[str, Field(pattern="^[0-9a-f]{40}$")] | None = None


class NetworkRow(Section):
    """A network."""

    kind: Literal["network"]
    bands: Bands
    architecture: Architecture
    weights: WeightsRow | None
    band_names: tuple[str, ...] | None = None
    train_encoder: bool
    inputs: InputKind
    mask_gaps: bool
    train_on_val: bool
    epochs: int = Field(ge=1, le=10_000)
    patience: int | None = Field(ge=1)
    batch: int = Field(ge=1)
    accumulate: int = Field(1, ge=1)
    shuffle: bool = True
    augment: Literal["none", "flips", "turns"]
    learning_rate: float = Field(gt=0, le=1)
    tenth_every: int | None = Field(ge=1)
    weight_decay: float = Field(ge=0, le=1)
    class_weights: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] | None
    head_dropout: float = Field(0.0, ge=0, lt=1)
    prompts: Literal["none", "truth"] = "none"

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.train_on_val and self.patience is not None:
            raise ValueError("patience looks at val, which train_on_val trains on")
        if self.prompts == "truth" and self.architecture != "sam2_small":
            raise ValueError("prompts are for sam2_small")
        if self.architecture == "sam2_small" and len(self.bands) != 3:
            raise ValueError(f"sam2_small takes three bands, red, green and blue, not {len(self.bands)}")
        if self.band_names is not None and len(self.band_names) != len(self.bands):
            raise ValueError("band_names names each of bands")
        return self


class Resources(Section):
    """What a job of a row declares."""

    memory_mb: int = Field(ge=100)
    threads: int = Field(ge=1)
    minutes: int = Field(ge=1)


def _kind(values: Any) -> Any:
    return values.get("kind") if isinstance(values, dict) else getattr(values, "kind", None)


ModelRow = Annotated[
    Annotated[ForestRow, Tag("random_forest")]
    | Annotated[BoostingRow, Tag("boosting")]
    | Annotated[ControlRow, Tag("control")]
    | Annotated[NetworkRow, Tag("network")],
    Discriminator(_kind),
]


class VariantFile(Section):
    """A variant of a row: the model, and what its jobs declare."""

    variant: Variant
    model: ModelRow
    resources: Resources
    seeded: bool = Field(description="Whether the seed changes the model.")
    note: str = Field("", description="One sentence for the table.")

    @model_validator(mode="after")
    def _mistakes_are_as_published(self) -> Self:
        if self.variant == "fixed" and isinstance(self.model, NetworkRow):
            own = {"band_names": None, "prompts": "none", "train_on_val": False, "mask_gaps": True}
            if wrong := [name for name, value in own.items() if getattr(self.model, name) != value]:
                raise ValueError(f"{wrong[0]} {getattr(self.model, wrong[0])} is for as_published")
        return self


class RowFile(Section):
    """A file `config/benchmark/<row>.yaml`."""

    title: str = Field(min_length=1, max_length=80)
    published_iou: float | None = Field(None, ge=0, le=1, description="IoU of this row in Table I of the paper.")
    variants: tuple[VariantFile, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Row:
    """A row and variant to run.

    Attributes:
        name, variant: of the paths of its products.
        title, published_iou, note: for the table.
        values: `kind` and settings of the model, as params.
        memory_mb, threads, minutes: of its jobs.
        seeded: whether the seed changes the model.
        deep: whether it is a network.
        prompted: whether it is told points of the truth.
    """

    name: str
    variant: str
    title: str
    published_iou: float | None
    note: str
    values: dict[str, Any]
    memory_mb: int
    threads: int
    minutes: int
    seeded: bool
    deep: bool
    prompted: bool


def read_rows(folder: str | Path, settings: Benchmark) -> list[Row]:
    """Read the rows that a configuration names.

    Args:
        folder: `config/benchmark`.

    Raises:
        UserError: a row without a file or variant, or a file with other keys or values; a network among `rows`, or another row among
            `deep_rows`; a name that is that of rows without pretrained weights.
    """
    rows = []
    for deep, full in [*((False, name) for name in settings.rows), *((True, name) for name in settings.deep_rows)]:
        key = "deep_rows" if deep else "rows"
        name, variant = full.split("/")
        path = Path(folder) / f"{name}.yaml"
        if name.endswith(UNPRETRAINED):
            expected = f"names of rows that do not end in {UNPRETRAINED}, as those with benchmark.allow_unpretrained do"
            raise UserError(expected, name, f"rename {path}")
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in Path(folder).glob("*.yaml")))
            raise UserError(f"benchmark.{key} among {known}", name, f"write {path}, or correct the name")
        try:
            file = _row_file(path, path.stat().st_mtime_ns)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise UserError(f"a row as docs/benchmark.md describes it in {path}", f"{place}: {first['msg']}", "correct the file") from None
        own = {entry.variant: entry for entry in file.variants}
        if variant not in own:
            raise UserError(f"variants {', '.join(own)} of {name}", variant, f"correct benchmark.{key}, or add the variant to {path}")
        if isinstance(own[variant].model, NetworkRow) != deep:
            raise UserError(f"{'networks' if deep else 'no networks'} in benchmark.{key}", full, "move it to rows or to deep_rows")
        rows.append(_row(name, file, own[variant], settings.allow_unpretrained))
    return rows


@functools.cache
def _row_file(path: Path, changed: int) -> RowFile:
    """Return the content of a file of rows, which is read again where its time is another. Several rows are of one file."""
    return RowFile.model_validate(read_yaml(path))


def _row(name: str, file: RowFile, chosen: VariantFile, allow_unpretrained: bool) -> Row:
    deep = isinstance(chosen.model, NetworkRow)
    unpretrained = isinstance(chosen.model, NetworkRow) and chosen.model.weights is not None and allow_unpretrained
    return Row(
        f"{name}{UNPRETRAINED}" if unpretrained else name,
        chosen.variant,
        f"{file.title} (unpretrained)" if unpretrained else file.title,
        None if unpretrained else file.published_iou,
        "; ".join(filter(None, [chosen.note, INPUT_NOTES[chosen.model.inputs] if isinstance(chosen.model, NetworkRow) else ""])),
        chosen.model.model_dump(mode="json"),
        **chosen.resources.model_dump(include={"memory_mb", "threads", "minutes"}),
        seeded=chosen.seeded,
        deep=deep,
        prompted=isinstance(chosen.model, NetworkRow) and chosen.model.prompts == "truth",
    )


SPLIT_NAMES: tuple[str, ...] = get_args(SplitName)
