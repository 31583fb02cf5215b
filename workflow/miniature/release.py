"""An imitated release of the miniature Earth: masks that are the truth, and the images of a finished dataset, in the released form.

Ids are counted from the north-west, other than those of a run: a reader must go by the place of a patch, not by its name.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from miniature.score import required, truth_of
from smallmines.config.sections import Config
from smallmines.core import raster
from smallmines.core.files import written
from smallmines.core.layout import Layout
from smallmines.core.product import IMAGE, MASK, patch_path, patch_profile
from smallmines.grid.make import fishnet
from smallmines.settings.grid import Grid
from smallmines.settings.parameters import settings_of

if TYPE_CHECKING:
    import geopandas as gpd

NAME = "SmallMinesDS"
"""Top folder of the release."""


def make_release(config: Config, target: str | Path, dataset: str | Path | None = None, root: str | Path = ".") -> int:
    """Write an imitated release of a made world; return the number of its files. The same world gives the same bytes.

    Args:
        target: a zip (by its suffix), else a folder; existing files of the same names are replaced.
        dataset: folder of the run's dataset, whose images are copied; None: masks alone.

    Raises:
        UserError: the world is not made, or an image is missing.
    """
    target = Path(target)
    cells = _cells(config, Path(root))
    if target.suffix != ".zip":
        return _write_files(config, cells, target / NAME, dataset, root)
    with tempfile.TemporaryDirectory() as folder, written(target) as beside:
        number = _write_files(config, cells, Path(folder) / NAME, dataset, root)
        pack(Path(folder), beside)
    return number


def _cells(config: Config, root: Path) -> gpd.GeoDataFrame:
    """Return the tiles of the run with their ids in the release, `released_id`."""
    import geopandas as gpd

    path = required(Layout(config.run, root).user.aoi.with_suffix(".gpkg"))
    cells = fishnet(gpd.read_file(path), settings_of(config.grid, Grid)).sort_values(["row", "col"], ignore_index=True)
    return cells.assign(released_id=[f"{number:04d}" for number in range(1, len(cells) + 1)])


def _write_files(config: Config, cells: gpd.GeoDataFrame, folder: Path, dataset: str | Path | None, root: str | Path) -> int:
    """Write the patches of all years; return their number."""
    side, size = config.grid.tile_size, config.grid.resolution
    number = 0
    for year in config.year_names:
        for own, released, square in zip(cells["tile_id"], cells["released_id"], cells.geometry, strict=True):
            west, _, _, north = square.bounds
            geobox = GeoBox((side, side), Affine(size, 0, west, 0, -size, north), config.grid.crs)
            mined = (truth_of(config, year, geobox, root) == 1).astype(np.uint8)
            path = folder / patch_path(MASK.kind, config.country, released, year)
            raster.write(path, mined, geobox, MASK.nodata, MASK.bands, **patch_profile(side))
            number += 1
            if dataset is not None:
                image = required(Path(dataset) / patch_path(IMAGE.kind, config.country, own, year))
                copy = folder / patch_path(IMAGE.kind, config.country, released, year)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(image, copy)
                number += 1
    return number


def pack(folder: Path, target: Path) -> None:
    """Write all files below a folder into a zip: deflated, sorted, without times."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr, entry.compress_type = 3, 0o644 << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
