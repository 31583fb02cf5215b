"""The base class of all sections of the configuration."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section of the configuration. Unknown keys are refused and values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)
