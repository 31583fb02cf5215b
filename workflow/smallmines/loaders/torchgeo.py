"""Load the published dataset in TorchGeo: `SmallMinesDS`. Needs the extra `loaders`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import matplotlib.pyplot as plt
import numpy as np
import rasterio
import torch
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torchgeo.datasets import DatasetNotFoundError, NonGeoDataset, RGBBandsMissingError

from smallmines.core.errors import UserError
from smallmines.core.product import CLASSES, MASK_NODATA, PATCH_BANDS
from smallmines.dataset import change
from smallmines.loaders.folder import band_statistics, read_image, read_masks, read_pairs, read_year_pairs, require_bands

MASK_COLOURS = ("#e8e4d8", "#c0392b", "#7f7f7f")
CHANGE_COLOURS = ("#e8e4d8", "#c0392b", "#2b6cb0", "#8a5a2b", "#7f7f7f")
"""Colours of the classes in pictures; the last one is that of unknown pixels."""


class SmallMinesDS(NonGeoDataset):
    """Images and masks of artisanal mines: 13 bands at 10 m, one pair per tile and year.

    A sample is `{"image": float32 (bands, 128, 128), "mask": int64 (128, 128)}`. Sentinel-2 is in DN (10000 · reflectance + 1000
    by default, see the tag RADIOMETRY), VV and VH in dB, DEM in m. The mask is 0 not mining, 1 mining, 255 unknown: pass
    `ignore_index=SmallMinesDS.ignore_index` to the loss and the metrics.

    Gaps are −9999 in the files and `nodata_fill` in a sample. Where Sentinel-2 has a gap the mask is 255 (`verify` checks it); where
    only Sentinel-1 or the elevation has one, the mask may have a class. With the bands' means as `nodata_fill` a gap is 0 after
    normalising:

        train = SmallMinesDS(root, "train")
        mean, sd = train.statistics()
        train.nodata_fill = mean.tolist()
        val = SmallMinesDS(root, "val", nodata_fill=mean.tolist())

    With `pairs=True` a sample is a tile in two years: `{"image1": …, "image2": …, "mask": …}`, the earlier year first, and the mask is the
    change: 0 stable other, 1 new mining, 2 mining that is gone, 3 stable mining, 255 unknown in either year (`change_classes` of
    `smallmines.dataset.change`, within the tile, with a tolerance of one pixel at the edges of mines). Tiles whose years are in
    different splits are in none. The published masks are 0 where Sentinel-2 never saw the ground and nobody decided: a mine under a
    cloud of one year counts as new or gone.
    """

    all_bands: ClassVar[tuple[str, ...]] = PATCH_BANDS
    rgb_bands: ClassVar[tuple[str, ...]] = ("B04", "B03", "B02")
    classes: ClassVar[tuple[str, ...]] = CLASSES
    change_classes: ClassVar[tuple[str, ...]] = change.CLASSES
    ignore_index: ClassVar[int] = MASK_NODATA

    def __init__(
        self,
        root: str | Path = "data",
        split: str | None = "train",
        years: Sequence[int] | None = None,
        bands: Sequence[str] = PATCH_BANDS,
        transforms: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None,
        nodata_fill: float | Sequence[float] = 0.0,
        pairs: bool = False,
    ) -> None:
        """Find the pairs; images and masks are read later, sample by sample.

        Args:
            root: folder of a published dataset: `<year>/IMAGE`, `<year>/MASK`, and `splits.csv` or the released tables of splits.
            split: train, val or test, or None for all.
            years: None for all.
            bands: names in the order wanted.
            transforms: applied to each sample.
            nodata_fill: value of gaps, one number or one per band of `bands`, in the bands' units.
            pairs: whether a sample is a tile in two years and its change.

        Raises:
            DatasetNotFoundError: no such folder, or no images in it.
            UserError: an unknown split, year or band, a patch or the table of splits missing, or a wrong number of fills.
        """
        self.root = root
        self.bands = require_bands(bands)
        self.transforms = transforms
        self.nodata_fill = nodata_fill
        if not any(Path(root).glob(f"{'[0-9]' * 4}/IMAGE")):
            raise DatasetNotFoundError(self)
        self.pairs = read_year_pairs(root, split, years) if pairs else read_pairs(root, split, years)
        self.of_two_years = pairs
        if np.size(nodata_fill) not in (1, len(self.bands)):
            raise UserError(f"one nodata_fill, or {len(self.bands)}", f"{np.size(nodata_fill)}", "give one number per band")

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read a sample, see the class.

        Raises:
            UserError: the image has other bands, or the masks of the two years are on different grids.
        """
        pair = self.pairs.iloc[index]
        if self.of_two_years:
            mask = change.change_classes(*read_masks(pair["mask_first"], pair["mask_last"]), change.TOLERANCE_OF_A_TILE, 1)
            sample: dict[str, Any] = {"image1": self._image(pair["image_first"]), "image2": self._image(pair["image_last"])}
        else:
            mask = self._mask(pair["mask"])
            sample = {"image": self._image(pair["image"])}
        sample["mask"] = torch.from_numpy(mask).long()
        return sample if self.transforms is None else self.transforms(sample)

    def _image(self, path: str) -> Tensor:
        image = read_image(path, self.bands)
        fill = np.asarray(self.nodata_fill, np.float32).reshape(-1, 1, 1)
        return torch.from_numpy(np.where(np.isnan(image), fill, image))

    def _mask(self, path: str) -> NDArray[np.uint8]:
        with rasterio.open(path) as source:
            return np.asarray(source.read(1), np.uint8)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the chosen bands over pixels without gaps, float32 (bands,); reads all images."""
        columns = ("image_first", "image_last") if self.of_two_years else ("image",)
        table = band_statistics(dict.fromkeys(path for name in columns for path in self.pairs[name])).loc[list(self.bands)]
        return torch.tensor(table["mean"].to_numpy(np.float32)), torch.tensor(table["sd"].to_numpy(np.float32))

    def plot(self, sample: dict[str, Any], show_titles: bool = True, suptitle: str | None = None) -> Figure:
        """Draw a sample: true colour, stretched from its 2nd to its 98th percentile, beside mask and, if there is
        one, `prediction`: mining red, unknown grey; of two years both images beside the change: new red, gone blue, stable mining brown.

        Raises:
            RGBBandsMissingError: B04, B03 and B02 are not all among the bands.
        """
        if not set(self.rgb_bands) <= set(self.bands):
            raise RGBBandsMissingError
        panels = {name.title(): self._true_colour(sample, name) for name in ("image", "image1", "image2") if name in sample}
        panels |= {name.title(): np.asarray(sample[name].detach().cpu()) for name in ("mask", "prediction") if name in sample}
        figure: Figure
        figure, axes = plt.subplots(ncols=len(panels), figsize=(4 * len(panels), 4), layout="constrained", squeeze=False)
        colours = CHANGE_COLOURS if self.of_two_years else MASK_COLOURS
        last = len(colours) - 1
        for axis, (name, panel) in zip(axes[0], panels.items(), strict=True):
            classes = {} if panel.ndim == 3 else {"cmap": ListedColormap(colours), "vmin": 0, "vmax": last}
            axis.imshow(panel if panel.ndim == 3 else panel.clip(0, last), interpolation="nearest", **classes)
            axis.axis("off")
            if show_titles:
                axis.set_title(name)
        if suptitle is not None:
            figure.suptitle(suptitle)
        return figure

    def _true_colour(self, sample: dict[str, Any], name: str) -> NDArray[np.float64]:
        """Return an image of a sample in true colour (row, column, 3), 0 to 1, stretched by its pixels with a class."""
        rgb = sample[name][[self.bands.index(band) for band in self.rgb_bands]].detach().cpu().numpy().transpose(1, 2, 0)
        labelled = rgb[np.asarray(sample["mask"].cpu()) != MASK_NODATA]
        low, high = np.percentile(labelled if labelled.size else rgb.reshape(-1, 3), (2, 98), axis=0)
        return np.asarray(((rgb - low) / np.maximum(high - low, 1e-6)).clip(0, 1))
