"""The benchmark: its section of the configuration, and the files `config/benchmark/<row>.yaml`, one a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Discriminator, Field, Tag, ValidationError, field_validator, model_validator

from smallmines.config.section import PathText, Section
from smallmines.config.yaml_file import read_yaml
from smallmines.core.errors import UserError
from smallmines.core.product import PATCH_BANDS
from smallmines.settings.benchmark import ControlName, Variant

SplitName = Literal["in_force", "released", "paper_histogram", "spatial_block", "leave_block_out", "years"]
ROW = r"^[a-z0-9][a-z0-9_]*/(as_published|fixed)$"
LARGEST_SEED = 2**32 - 1

BandName = Annotated[str, Field(pattern=f"^({'|'.join(PATCH_BANDS)})$")]
Bands = Annotated[tuple[BandName, ...], Field(min_length=1)]

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


class Benchmark(Section):
    """The paper's experiments on the finished dataset (`snakemake benchmark`, docs/benchmark.md). Nothing else runs them."""

    rows: tuple[Annotated[str, Field(pattern=ROW)], ...] = Field(
        CPU_ROWS, description="Rows as `<name>/<variant>`, each a file `config/benchmark/<name>.yaml`; variants `as_published` and `fixed`."
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
    released_splits: PathText | None = Field(None, description="Folder of `train_test_splits_<year>.csv` for the split `released`.")
    stop_on_findings: bool = Field(True, description="Stop rows that use a band with an error of the doctor; the table names them.")

    @field_validator("rows", "splits", "seeds")
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


class Resources(Section):
    """What a job of a row declares."""

    memory_mb: int = Field(ge=100)
    threads: int = Field(ge=1)
    minutes: int = Field(ge=1)


def _kind(values: Any) -> Any:
    return values.get("kind") if isinstance(values, dict) else getattr(values, "kind", None)


ModelRow = Annotated[
    Annotated[ForestRow, Tag("random_forest")] | Annotated[BoostingRow, Tag("boosting")] | Annotated[ControlRow, Tag("control")],
    Discriminator(_kind),
]


class VariantFile(Section):
    """A variant of a row: the model, and what its jobs declare."""

    variant: Variant
    model: ModelRow
    resources: Resources
    seeded: bool = Field(description="Whether the seed changes the model.")
    note: str = Field("", description="One sentence for the table.")


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


def read_rows(folder: str | Path, names: Sequence[str]) -> list[Row]:
    """Read the rows that a configuration names.

    Args:
        folder: `config/benchmark`.
        names: `<name>/<variant>`.

    Raises:
        UserError: a row without a file or variant, or a file with other keys or values.
    """
    rows = []
    for full in names:
        name, variant = full.split("/")
        path = Path(folder) / f"{name}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in Path(folder).glob("*.yaml")))
            raise UserError(f"benchmark.rows among {known}", name, f"write {path}, or correct the name")
        try:
            file = RowFile.model_validate(read_yaml(path))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise UserError(f"a row as docs/benchmark.md describes it in {path}", f"{place}: {first['msg']}", "correct the file") from None
        own = {entry.variant: entry for entry in file.variants}
        if variant not in own:
            raise UserError(f"variants {', '.join(own)} of {name}", variant, f"correct benchmark.rows, or add the variant to {path}")
        chosen = own[variant]
        rows.append(
            Row(
                name,
                variant,
                file.title,
                file.published_iou,
                chosen.note,
                chosen.model.model_dump(mode="json"),
                **chosen.resources.model_dump(include={"memory_mb", "threads", "minutes"}),
                seeded=chosen.seeded,
            )
        )
    return rows


SPLIT_NAMES: tuple[str, ...] = get_args(SplitName)
