"""What a job sets in its environment before it works."""

from __future__ import annotations

import os

GDAL_CACHE_MB = "256"
"""GDAL's block cache in a job; its own default is 5 % of the machine's memory, whatever the job was given."""


def prepare() -> None:
    """Set the environment of a job; a value that is there already stays."""
    os.environ.setdefault("GDAL_CACHEMAX", GDAL_CACHE_MB)
