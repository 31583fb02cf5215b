"""The section of the configuration about the map."""

from __future__ import annotations

from pathlib import Path

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
        5, ge=1, le=1_000, description="Pixels of the smallest area of change; smaller ones take the class of the land around them."
    )
    change_points: int = Field(
        800,
        ge=50,
        le=100_000,
        description="Pixels of the change sample (`smallmines labels sample --for change_before`), drawn once for the run; rare strata "
        "have 50 each, so that there can be more.",
    )
    units: tuple[PathText, ...] = Field(
        (),
        description="Vector files of polygons with an attribute `name`, e.g. districts or forest reserves, relative to the repository: "
        "`areas.csv` states the area of mining in each, beside the whole run and the units of the area of interest.",
    )

    @field_validator("units")
    @classmethod
    def _each_layer_has_a_name_of_its_own(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse files whose names without folder and suffix are equal, or those of the layers that every run has."""
        names = [*TAKEN, *(Path(path).stem for path in value)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"layers are named as their files, and {', '.join(twice)} stands twice (run and aoi are taken)")
        return value
