"""Write what TerraTorch reads of tiles in two years: both images as one virtual raster, and the change as a mask.

TerraTorch's generic dataset takes a file of all bands of the first year and then all bands of the second one, and makes (band, year, row,
column) of it with `expand_temporal_dimension`. A virtual raster (VRT) of GDAL says where the bands lie and holds no pixels.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as xml

import pandas as pd
import rasterio

from smallmines.core.product import IMAGE, MASK
from smallmines.dataset.change import CLASSES, TOLERANCE_OF_A_TILE, change_classes
from smallmines.loaders.folder import read_masks


def write_pairs(pairs: pd.DataFrame, folder: str | Path) -> pd.DataFrame:
    """Write `IMAGE/IMG_<tile>_<first>_<last>.vrt` and `MASK/MASK_<tile>_<first>_<last>.tif` of tiles in two years.

    Args:
        pairs: as `folder.read_year_pairs` returns it.
        folder: where to write; created if it does not exist.

    Returns:
        split, image and mask (paths as text) of each pair.
    """
    folder = Path(folder)
    for kind in (IMAGE.kind, MASK.kind):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    rows = []
    for pair in pairs.itertuples():
        name = f"{pair.tile_id}_{pair.year_first}_{pair.year_last}"
        image, mask = folder / IMAGE.kind / f"{IMAGE.prefix}_{name}.vrt", folder / MASK.kind / f"{MASK.prefix}_{name}.tif"
        image.write_bytes(stacked([Path(str(pair.image_first)), Path(str(pair.image_last))]))
        _write_change(Path(str(pair.mask_first)), Path(str(pair.mask_last)), mask)
        rows.append((pair.split, str(image), str(mask)))
    return pd.DataFrame(rows, columns=["split", "image", "mask"])


def stacked(images: list[Path]) -> bytes:
    """Return a virtual raster of all bands of some images on one grid, one image after the other."""
    with rasterio.open(images[0]) as first:
        width, height, transform, crs = first.width, first.height, first.transform.to_gdal(), first.crs.to_wkt()
        descriptions, dtype, nodata = first.descriptions, first.dtypes[0], first.nodata
    root = xml.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    xml.SubElement(root, "SRS").text = crs
    xml.SubElement(root, "GeoTransform").text = ", ".join(map(repr, transform))
    for image in images:
        for number, description in enumerate(descriptions, 1):
            band = xml.SubElement(root, "VRTRasterBand", dataType=dtype.title(), band=str(len(root) - 1))
            xml.SubElement(band, "Description").text = description
            xml.SubElement(band, "NoDataValue").text = f"{nodata:g}"
            source = xml.SubElement(band, "SimpleSource")
            xml.SubElement(source, "SourceFilename", relativeToVRT="0").text = str(image.resolve())
            xml.SubElement(source, "SourceBand").text = str(number)
    return bytes(xml.tostring(root, encoding="utf-8"))


def _write_change(first: Path, last: Path, target: Path) -> None:
    """Write the change between two masks as a mask of the values of `CLASSES`, within the tile."""
    masks = read_masks(first, last)
    with rasterio.open(first) as before:
        profile = before.profile
    with rasterio.open(target, "w", **profile) as output:
        output.write(change_classes(masks[0], masks[1], TOLERANCE_OF_A_TILE, 1), 1)
        output.update_tags(CLASSES=", ".join(f"{value} {name}" for value, name in enumerate(CLASSES)))
