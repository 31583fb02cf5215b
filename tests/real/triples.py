"""Real co-registered Sentinel-2, Sentinel-1 and DEM images as a static STAC archive, with labels from a land-cover map."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
import yaml
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from miniature.stac import Catalogue, corners, lonlat, write_cog
from smallmines.core.product import S2_BANDS

SOURCE_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
"""Bands of the S2L2A files, in order."""

TILE = 28
HELD_OUT_EVERY = 3


@dataclass(frozen=True)
class Triple:
    """One real place.

    Attributes:
        s2: (10, row, column) uint16 DN without offset, bands `S2_BANDS`.
        s1: (2, row, column) float32 linear power, VV and VH.
        dem: (row, column) float32 m.
        positive: (row, column) True where the land cover is the class that plays the mines.
        held_out: (row, column) True in the tiles that no label is drawn from.
    """

    name: str
    year: int
    geobox: GeoBox
    s2: NDArray[np.uint16]
    s1: NDArray[np.float32]
    dem: NDArray[np.float32]
    positive: NDArray[np.bool_]
    held_out: NDArray[np.bool_]


def read_triple(folder: Path, name: str, year: int, positive: int) -> Triple:
    """Read one of the triples; S1 goes from dB back to linear power."""

    def read(kind: str) -> NDArray[np.generic]:
        with rasterio.open(folder / kind / f"{name}.tif") as source:
            return source.read()

    with rasterio.open(folder / "S2L2A" / f"{name}.tif") as source:
        geobox = GeoBox((source.height, source.width), source.transform, source.crs)
        cube = source.read()
    rows, cols = np.indices(geobox.shape) // TILE
    return Triple(
        name=name,
        year=year,
        geobox=geobox,
        s2=cube[[SOURCE_BANDS.index(band) for band in S2_BANDS]].astype(np.uint16),
        s1=(10 ** (read("S1RTC").astype(np.float64) / 10)).astype(np.float32),
        dem=read("DEM")[0].astype(np.float32),
        positive=read("LULC")[0] == positive,
        held_out=(rows + cols) % HELD_OUT_EVERY == 0,
    )


def write_archive(triple: Triple, root: Path) -> None:
    """One item per sensor, COGs on the images' own grid. The baseline N0214 says what is true of the pixels: no offset."""
    catalogue = Catalogue(root)
    ring = lonlat(corners(triple.geobox), f"EPSG:{triple.geobox.crs.epsg}")
    day = dt.datetime(triple.year, 6, 15, 10, 30, tzinfo=dt.UTC)
    crs = {"proj:code": f"EPSG:{triple.geobox.crs.epsg}"}
    stamp = day.strftime("%Y%m%dT%H%M%S")
    product = f"S2A_MSIL2A_{stamp}_N0214_R001_T00AAA_{stamp}"
    optical = {"platform": "sentinel-2a", "eo:cloud_cover": 0.0, "s2:product_uri": f"{product}.SAFE", "s2:processing_baseline": "02.14"}
    optical |= {"s2:datatake_id": f"GS2A_{stamp}_000001_N02.14", "sat:relative_orbit": 1, "s2:generation_time": "2023-06-16T00:00:00Z"}
    for band, values in zip(S2_BANDS, triple.s2, strict=True):
        write_cog(catalogue.folder("sentinel-2-l2a", product) / f"{band}.tif", values, triple.geobox, 0)
    catalogue.add("sentinel-2-l2a", product, day, ring, optical | crs, {band: {} for band in S2_BANDS})
    scene = f"S1A_IW_GRDH_1SDV_{stamp}_{stamp}_000001_000001_rtc"
    for band, values in zip(("vv", "vh"), triple.s1, strict=True):
        write_cog(catalogue.folder("sentinel-1-rtc", scene) / f"{band}.tif", values, triple.geobox, -32768)
    radar = {"platform": "sentinel-1a", "sat:orbit_state": "ascending", "sat:relative_orbit": 1}
    radar |= {"start_datetime": "2023-06-15T10:30:00Z", "end_datetime": "2023-06-15T10:30:25Z"} if triple.year == 2023 else {}
    catalogue.add("sentinel-1-rtc", scene, day, ring, radar | crs, {"vv": {}, "vh": {}})
    tile = "Copernicus_DSM_COG_10_N00_00_E000_00_DEM"
    write_cog(catalogue.folder("cop-dem-glo-30", tile) / "data.tif", triple.dem, triple.geobox, None)
    catalogue.add("cop-dem-glo-30", tile, day, ring, crs, {"data": {}})
    catalogue.close()


def write_people(triple: Triple, folder: Path, per_class: int, seed: int) -> None:
    """The area of interest (the image less a metre) and points of both classes, drawn outside the held-out tiles."""
    (folder / "samples" / str(triple.year)).mkdir(parents=True)
    box = shapely.box(*triple.geobox.boundingbox.bbox).buffer(-1)
    gpd.GeoDataFrame(geometry=[box], crs=f"EPSG:{triple.geobox.crs.epsg}").to_file(folder / "aoi.gpkg")
    rng = np.random.default_rng(seed)
    parts = []
    for label, where in (("mining", triple.positive), ("not_mining", ~triple.positive)):
        offered = np.flatnonzero(where & ~triple.held_out)
        row, col = np.divmod(rng.choice(offered, min(per_class, offered.size), replace=False), triple.geobox.shape.x)
        x, y = triple.geobox.transform * (col + 0.5, row + 0.5)
        parts.append(gpd.GeoDataFrame({"label": [label] * len(x)}, geometry=gpd.points_from_xy(x, y), crs=f"EPSG:{triple.geobox.crs.epsg}"))
    gpd.pd.concat(parts, ignore_index=True).to_file(folder / "samples" / str(triple.year) / "1.gpkg")


def write_config(triple: Triple, path: Path) -> None:
    """One block, one year, small tiles on the image's own lattice; no scene classification, no eroded borders (these are cut-outs)."""
    archive = {"provider": "static", "catalogue": "resources/automatic/triple/archive/catalog.json"}
    transform = triple.geobox.transform
    grid = {"crs": f"EPSG:{triple.geobox.crs.epsg}", "tile_size": TILE, "anchor": {"x": transform.c, "y": transform.f}, "blocks": 1}
    values = {
        "run": "triple",
        "country": "XX",
        "grid": grid,
        "years": {triple.year: {"start": f"{triple.year}-06-01", "end": f"{triple.year}-06-30"}},
        "sentinel2": {**archive, "clouds": "none"},
        "sentinel1": {**archive, "border_erosion_px": 0},
        "elevation": archive,
    }
    path.write_text(yaml.safe_dump(values, sort_keys=False))
