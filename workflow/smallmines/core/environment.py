"""Environment variables of a job."""

from __future__ import annotations

import os

GDAL_CACHE_MB = "256"
"""GDAL's block cache in a job. GDAL's default is 5 % of the machine's memory, whatever the job may use."""


def prepare() -> None:
    """Set the environment of a job; values that are set already stay."""
    os.environ.setdefault("GDAL_CACHEMAX", GDAL_CACHE_MB)
