"""Edits of a finished miniature, and checksums of its patches."""

from __future__ import annotations

import hashlib
from pathlib import Path

import geopandas as gpd

from workspace import Workspace


def patches(workspace: Workspace) -> dict[str, str]:
    """SHA-256 of every patch of the dataset, by its name."""
    return {path.name: sha256(path) for path in sorted((workspace.results / "dataset").rglob("*.tif"))}


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def edit_one_label(workspace: Workspace, year: str, block: str) -> None:
    """Turn the first sample of a block from one class into the other."""
    path = workspace.user / "samples" / year / f"{block}.gpkg"
    samples = gpd.read_file(path)
    other = "not_mining" if samples.loc[0, "label"] == "mining" else "mining"
    samples.loc[0, "label"] = other
    path.unlink()
    samples.to_file(path, engine="pyogrio")
