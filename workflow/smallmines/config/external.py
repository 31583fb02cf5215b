"""Entries of `labels.external`: polygons that others drew, which `smallmines labels import-polygons` turns into samples."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from smallmines.config.section import PathText, Section


class External(Section):
    """A file of polygons with a class and a day each."""

    path: PathText = Field(description="Vector file of polygons, in any CRS, relative to the repository.")
    class_column: str = Field(min_length=1, description="Attribute that holds the class.")
    classes: dict[str, Literal["mining", "not_mining"]] = Field(
        min_length=1, description="Label of each class; polygons of other classes are left out."
    )
    date_column: str | None = Field(None, min_length=1, description="Attribute that holds the day of the image that shows it, YYYY-MM-DD.")
    within_days: int = Field(365, ge=0, le=36_500, description="Days from the epoch up to which a polygon is used for it.")
    allow_undated: bool = Field(False, description="Use polygons without a day for all epochs. Without it they are refused.")
    points: int = Field(5, ge=1, le=10_000, description="Points drawn in each polygon, at most.")

    @model_validator(mode="after")
    def _days(self) -> Self:
        if self.date_column is None and not self.allow_undated:
            raise ValueError("name date_column, or set allow_undated: true and answer for it that the polygons hold for every epoch")
        return self
