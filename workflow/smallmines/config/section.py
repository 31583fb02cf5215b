"""The base class of all sections of the configuration."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

LARGEST_NUMBER = 10**15
"""Numbers of more digits are no values of a key, and float64 does not keep them."""

DATE = re.compile(r"\d{4}-\d{2}-\d{2}")

PathText = Annotated[str, Field(pattern=r"^[^{}<>\x00-\x1f]+$", max_length=1000)]
"""The path of a file. Snakemake takes braces and angle brackets in paths for placeholders."""


class Section(BaseModel):
    """A section of the configuration. Unknown keys are refused and values cannot be changed. No number may be NaN or infinite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _plain_values(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse values that pydantic would convert to something that was not meant."""
        kind = cls.model_fields[info.field_name].annotation if info.field_name else None
        for part in value if isinstance(value, list | tuple) else [value]:
            if isinstance(part, bool) and kind is not bool:
                raise ValueError("yes, no, on and off are read as true or false; write a number, or a text in quotes")
            if isinstance(part, int | float) and abs(part) > LARGEST_NUMBER:
                raise ValueError("the number is too large")
        if kind is dt.date or dt.date in get_args(kind):
            text = value if isinstance(value, str) else None
            if isinstance(value, int | float) or (text is not None and not DATE.fullmatch(text)):
                raise ValueError("write a date as year-month-day, e.g. 2016-01-31")
        return value
