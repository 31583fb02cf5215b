"""Outlines of the segments of a tile for Google Earth (KMZ): outlines only, so that the imagery is visible."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import geopandas as gpd


def write_kmz(path: Path, tile_id: str, square: gpd.GeoSeries, segments: gpd.GeoDataFrame) -> None:
    """Write the outline of a tile and of its segments.

    Args:
        square: the tile, in degrees.
        segments: rank, prediction, geometry in degrees.
    """
    import geopandas as gpd
    import pandas as pd
    import pyogrio

    names = [f"{rank}: {prediction}" for rank, prediction in zip(segments["rank"], segments["prediction"], strict=True)]
    parts = [
        gpd.GeoDataFrame({"Name": [f"tile {tile_id}"]}, geometry=square.boundary.to_numpy(), crs=square.crs),
        gpd.GeoDataFrame({"Name": names}, geometry=segments.geometry.boundary.to_numpy(), crs=segments.crs),
    ]
    pyogrio.write_dataframe(pd.concat(parts), path, driver="LIBKML", layer="task")
