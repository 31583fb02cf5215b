"""The section of the configuration about the map."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from smallmines.config.section import PathText, Section

TAKEN = ("run", "aoi")
"""Names of layers of units that every run has."""


class Map(Section):
    """The map of a run (`snakemake map`, docs/map.md)."""

    smallest_mine_px: int = Field(
        0, ge=0, le=1_000_000, description="Mines of fewer connected pixels become no polygon; mask and areas keep them. 0: all."
    )
    change_tolerance_px: int = Field(
        1,
        ge=0,
        le=100,
        description="Change (`snakemake change`): distance in pixels up to which the outlines of a mine in two years may differ without "
        "change.",
    )
    smallest_change_px: int = Field(
        30, ge=1, le=1_000, description="Pixels of the smallest area of change; smaller ones take the class of the land around them."
    )
    change_points: int = Field(
        800,
        ge=50,
        le=100_000,
        description="Pixels of the change sample (`smallmines labels sample --for change_before`), drawn once for the run; rare strata "
        "have 50 each, so that there can be more.",
    )
    model: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9_]*/(as_published|fixed)/[a-z0-9_]+/\d+$",
        description="A fitted row of the benchmark, `<row>/<variant>/<split>/<seed>`, e.g. `boosting_13/fixed/in_force/0`, for "
        "`snakemake map_model`: the same map from its predictions.",
    )
    units: tuple[PathText, ...] = Field(
        (),
        description="Vector files of polygons with an attribute `name`, e.g. districts or forest reserves, relative to the repository: "
        "`areas.csv` states the area of mining in each, beside the whole run and the units of the area of interest.",
    )

    public: Literal["areas", "polygons"] = Field(
        "areas",
        description="What the folder `map/public` holds, which is made to be given away: `areas`: areas of mining by unit alone; "
        "`polygons`: mines as polygons, too, as far as the two keys below let them.",
    )
    smallest_published_ha: float = Field(0.0, ge=0, le=1_000_000, description="With `polygons`: mines below this size in ha are left out.")
    delay_days: int = Field(
        0,
        ge=0,
        le=36_500,
        description="With `polygons`: mines whose latest image is less than this number of days older than `publish.date` are left out.",
    )

    @field_validator("units")
    @classmethod
    def _each_layer_has_a_name_of_its_own(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse files whose names without folder and suffix are equal, or those of the layers that every run has."""
        names = [*TAKEN, *(Path(path).stem for path in value)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"layers are named as their files, and {', '.join(twice)} stands twice (run and aoi are taken)")
        return value
