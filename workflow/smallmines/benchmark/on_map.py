"""Apply a fitted row to composites and images, window by window, after a look whether they are what it was trained on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from smallmines.benchmark.blend import blended
from smallmines.benchmark.deep.model import NetworkModel
from smallmines.benchmark.models import Fitted
from smallmines.benchmark.pack import UNKNOWN
from smallmines.benchmark.pixel_model import PixelModel
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.product import IMAGE, IMAGE_NODATA, PATCH_BANDS, PROVES_NONE, S1, S2_BANDS

AT_ONCE = 512 * 512
"""Pixels that a model of single pixels predicts at a time: 13 MB of input with 13 bands."""

SAMPLED = 512
"""Longest side of the decimated read that the looks at the values take."""

FACTOR = 10.0
"""Ratio of the mean of a Sentinel-2 band to that of train beyond which the scale is another: reflectances differ by 10000."""

DARK_PERCENTILE = 0.1
PROVED = {"dn_plus1000": PROVES_NONE}
"""By radiometry of the model: digital numbers that its images never have, see `product.PROVES_NONE`."""

GAPS = (0.0, IMAGE_NODATA)
"""Values of gaps in images of this project, beside NaN: of composites of Sentinel-2, and of patches."""


@dataclass(frozen=True)
class Place:
    """Where a band is: an open raster and the number of the band there, from 1."""

    source: rasterio.DatasetReader
    number: int


def image_model(fitted: Fitted) -> PixelModel | NetworkModel:
    """Return the model of a fitted row that can predict any image.

    Raises:
        UserError: findings stopped the row, or it needs the tiles of a dataset, as controls do.
    """
    if fitted.stopped:
        raise UserError("a fitted model", f"one that findings of the doctor stopped: {fitted.stopped[0]}", "correct the dataset")
    if not isinstance(fitted.model, PixelModel | NetworkModel):
        found, do = "a control, which sees none or needs tiles", "name a random forest, gradient boosting or a network"
        raise UserError("a model that sees images", found, do)
    return fitted.model


def files_of(path: str | Path, bands: Sequence[str]) -> list[Path]:
    """Return the rasters that hold some bands: a file alone, or the composites of a year and block.

    Args:
        path: a GeoTIFF with all the bands, the folder `composites/<year>/<block>`, or the `s2.tif` in it.
    """
    path = Path(path)
    main = path / "s2.tif" if path.is_dir() else path
    beside = [main.with_name("s1.tif"), main.parents[2] / "static" / main.parent.name / "dem.tif"] if main.name == "s2.tif" else []
    wanted = [(PATCH_BANDS[S1], beside[:1]), (PATCH_BANDS[-1:], beside[1:])]
    return [main, *(file for names, files in wanted if set(names) & set(bands) for file in files)]


def predict_images(fitted: Fitted, folder: str | Path, target: str | Path, threads: int, radiometry: str | None = None) -> int:
    """Predict all images of a dataset: `<target>/<year>/<name of the image>`; return their number.

    Raises:
        UserError: no image, or see `predict_image`.
    """
    images = sorted(Path(folder).glob(f"{'[0-9]' * 4}/{IMAGE.kind}/{IMAGE.prefix}_*.tif"))
    if not images:
        raise UserError(f"a GeoTIFF, composites, or images <year>/IMAGE/IMG_….tif in {folder}", "none", "name a file or another folder")
    for image in images:
        predict_image(fitted, [image], Path(target) / image.parts[-3] / image.name, threads, radiometry)
    return len(images)


def predict_image(fitted: Fitted, files: Sequence[Path], target: str | Path, threads: int, radiometry: str | None = None) -> None:
    """Write the probability of mining of an image: uint8, 255 is 1; a mask of the file says where a band has a gap.

    Args:
        files: rasters on one grid that hold the model's bands by name.
        radiometry: of Sentinel-2, where the images do not say it.

    Raises:
        UserError: a raster that cannot be read, or whose bands, grid, radiometry, scale or nodata are not those that the model was trained
            on; the message states both.
    """
    model = image_model(fitted)
    with ExitStack() as stack:
        sources = [stack.enter_context(raster.opened(path)) for path in files]
        for source in sources[1:]:
            raster.require_grid(source, raster.geobox_of(sources[0]))
        places = places_of(sources, model.bands)
        require_nodata(places)
        require_radiometry(fitted, places, radiometry)
        require_scale(fitted, places)
        box = raster.geobox_of(sources[0])
        tags = {"SCALE": "255 is a probability of 1", "RADIOMETRY": ", ".join(fitted.radiometry)}
        stack.enter_context(rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True))
        with raster.created(target, box, "uint8", None, ["probability of mining"], tags) as out:
            for window, probability, whole in _predicted(model, places, (box.shape.y, box.shape.x), radiometry, threads):
                out.write(probability, 1, window=window)
                out.write_mask(np.where(whole, 255, 0).astype(np.uint8), window=window)


def _predicted(
    model: PixelModel | NetworkModel, places: Mapping[str, Place], shape: tuple[int, int], stated: str | None, threads: int
) -> Iterator[tuple[Window, NDArray[np.uint8], NDArray[np.bool_]]]:
    """Yield windows with the probability, and where no band has a gap."""
    if isinstance(model, NetworkModel):
        radiometry = radiometry_of(places, stated) or UNKNOWN
        yield from blended(
            lambda window: read(places, model.bands, window), lambda tiles: model.on_images(tiles, radiometry, threads), shape, model.side
        )
        return
    for window in raster.strips(shape, max(1, AT_ONCE // shape[1])):
        image = read(places, model.bands, window)
        yield window, model.probability(image, threads), np.asarray(np.isfinite(image).all(axis=0))


def places_of(sources: Sequence[rasterio.DatasetReader], bands: Sequence[str]) -> dict[str, Place]:
    """Return where each band is, by its name in the rasters.

    Raises:
        UserError: bands without a name, missing bands, or another order than that of the dataset.
    """
    places: dict[str, Place] = {}
    for source in sources:
        names = list(source.descriptions)
        named = [name for name in names if name in PATCH_BANDS]
        if not named:
            found = f"{source.count} bands without these names: {', '.join(map(str, names[:13]))}"
            raise UserError(f"bands {', '.join(bands)} by name in {source.name}", found, "write the names as band descriptions")
        if named != sorted(named, key=PATCH_BANDS.index) or len(set(named)) < len(named):
            expected = f"bands in the order of the model's dataset, {', '.join(PATCH_BANDS)}, in {source.name}"
            raise UserError(expected, ", ".join(named), "make sure that the names are right, and write the bands in this order")
        places |= {name: Place(source, names.index(name) + 1) for name in named}
    if missing := [band for band in bands if band not in places]:
        found = f"no {', '.join(missing)} in {', '.join(source.name for source in sources)}"
        raise UserError(f"the model's bands {', '.join(bands)}", found, "give an image that has them, or a model of other bands")
    return {band: places[band] for band in bands}


def require_nodata(places: Mapping[str, Place]) -> None:
    """Check that gaps have a value that the model's images have.

    Raises:
        UserError: another nodata value, or none.
    """
    for band, place in places.items():
        nodata = place.source.nodatavals[place.number - 1]
        allowed = GAPS if band in S2_BANDS else GAPS[1:]
        if nodata is None or not (math.isnan(nodata) or nodata in allowed):
            values = ", ".join(f"{value:g}" for value in allowed)
            raise UserError(f"nodata {values} or NaN in {band}, as the model's dataset", f"{nodata} in {place.source.name}", "convert it")


def radiometry_of(places: Mapping[str, Place], stated: str | None) -> str | None:
    """Return the radiometry of Sentinel-2: that of the tag, else the stated one."""
    own = [place for band, place in places.items() if band in S2_BANDS]
    return (own[0].source.tags().get("RADIOMETRY") if own else None) or stated


def require_radiometry(fitted: Fitted, places: Mapping[str, Place], stated: str | None) -> None:
    """Check that Sentinel-2 has the radiometry of train.

    Raises:
        UserError: it has another one, or states none.
    """
    own = [place for band, place in places.items() if band in S2_BANDS]
    if not own or UNKNOWN in fitted.radiometry:
        return
    radiometry = radiometry_of(places, stated)
    expected = f"radiometry {', '.join(fitted.radiometry)}, that the model was trained on"
    if radiometry is None:
        remedy = "find out whether its digital numbers carry the offset of 1000, and say it: --radiometry dn_plus1000 or dn_harmonised"
        raise UserError(expected, f"no tag RADIOMETRY in {own[0].source.name}", remedy)
    if radiometry not in fitted.radiometry:
        raise UserError(expected, f"{radiometry} in {own[0].source.name}", "convert the image")


def require_scale(fitted: Fitted, places: Mapping[str, Place]) -> None:
    """Check that values are of the scale of train: digital numbers with or without offset, decibels.

    Raises:
        UserError: values of another scale; the message states them and those of train.
    """
    if not fitted.statistics:
        return
    remedy = "convert the image to the model's scale"
    darkest: dict[str, float] = {}
    for band, place in places.items():
        values = sampled(place)
        if not values.size:
            continue
        mean, trained = float(values.mean()), fitted.statistics[band]["mean"]
        if band in S2_BANDS:
            if fitted.statistics[band]["count"] and not trained / FACTOR < mean < trained * FACTOR:
                raise UserError(f"{band} of the scale of train, mean {trained:.4g}", f"mean {mean:.4g} in {place.source.name}", remedy)
            darkest[band] = float(np.percentile(values, DARK_PERCENTILE))
        elif band in PATCH_BANDS[S1] and trained < 0 <= values.min():
            raise UserError(f"{band} in dB, mean {trained:.4g} in train", f"none below 0, mean {mean:.4g}: linear power", remedy)
    for radiometry in fitted.radiometry if darkest else ():
        band = min(darkest, key=lambda name: darkest[name])
        if darkest[band] < PROVED.get(radiometry, -np.inf):
            expected = f"digital numbers with the offset of 1000 ({radiometry}), the darkest from {PROVED[radiometry]} on"
            raise UserError(expected, f"{darkest[band]:.0f} in {band}: an image without it", "add the offset, or train without it")


def sampled(place: Place) -> NDArray[np.float64]:
    """Return the values of a band that are no gaps, of a decimated read."""
    source = place.source
    step = max(1.0, max(source.shape) / SAMPLED)
    shape = tuple(max(1, round(side / step)) for side in source.shape)
    values = source.read(place.number, out_shape=shape, out_dtype="float64")
    return np.asarray(values[np.isfinite(values) & (values != source.nodatavals[place.number - 1])], np.float64)


def read(places: Mapping[str, Place], bands: Sequence[str], window: Window) -> NDArray[np.float32]:
    """Read bands of a window: (band, row, column) float32, NaN gaps."""
    image = np.empty((len(bands), int(window.height), int(window.width)), np.float32)
    for number, band in enumerate(bands):
        place = places[band]
        values: NDArray[Any] = place.source.read(place.number, window=window, out_dtype="float32")
        nodata = place.source.nodatavals[place.number - 1]
        image[number] = np.where(values == nodata, np.nan, values) if nodata is not None else values
    return image
