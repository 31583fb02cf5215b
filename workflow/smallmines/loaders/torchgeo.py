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
from torch import Tensor
from torchgeo.datasets import DatasetNotFoundError, NonGeoDataset, RGBBandsMissingError

from smallmines.core.errors import UserError
from smallmines.core.product import CLASSES, MASK_NODATA, PATCH_BANDS
from smallmines.loaders.folder import band_statistics, read_image, read_pairs, require_bands


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
    """

    all_bands: ClassVar[tuple[str, ...]] = PATCH_BANDS
    rgb_bands: ClassVar[tuple[str, ...]] = ("B04", "B03", "B02")
    classes: ClassVar[tuple[str, ...]] = CLASSES
    ignore_index: ClassVar[int] = MASK_NODATA

    def __init__(
        self,
        root: str | Path = "data",
        split: str | None = "train",
        years: Sequence[int] | None = None,
        bands: Sequence[str] = PATCH_BANDS,
        transforms: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None,
        nodata_fill: float | Sequence[float] = 0.0,
    ) -> None:
        """Find the pairs; images and masks are read later, sample by sample.

        Args:
            root: folder of a published dataset: `<year>/IMAGE`, `<year>/MASK`, and `splits.csv` or the released tables of splits.
            split: train, val or test, or None for all.
            years: None for all.
            bands: names in the order wanted.
            transforms: applied to each sample.
            nodata_fill: value of gaps, one number or one per band of `bands`, in the bands' units.

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
        self.pairs = read_pairs(root, split, years)
        if np.size(nodata_fill) not in (1, len(self.bands)):
            raise UserError(f"one nodata_fill, or {len(self.bands)}", f"{np.size(nodata_fill)}", "give one number per band")

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read a sample, see the class.

        Raises:
            UserError: the image has other bands.
        """
        pair = self.pairs.iloc[index]
        image = read_image(pair["image"], self.bands)
        fill = np.asarray(self.nodata_fill, np.float32).reshape(-1, 1, 1)
        with rasterio.open(pair["mask"]) as source:
            mask = source.read(1)
        sample: dict[str, Any] = {
            "image": torch.from_numpy(np.where(np.isnan(image), fill, image)),
            "mask": torch.from_numpy(mask).long(),
        }
        return sample if self.transforms is None else self.transforms(sample)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the chosen bands over pixels without gaps, float32 (bands,); reads all images."""
        table = band_statistics(self.pairs["image"]).loc[list(self.bands)]
        return torch.tensor(table["mean"].to_numpy(np.float32)), torch.tensor(table["sd"].to_numpy(np.float32))

    def plot(self, sample: dict[str, Any], show_titles: bool = True, suptitle: str | None = None) -> Figure:
        """Draw a sample: true colour, stretched from its 2nd to its 98th percentile, beside mask and, if there is
        one, `prediction`: mining red, unknown grey.

        Raises:
            RGBBandsMissingError: B04, B03 and B02 are not all among the bands.
        """
        if not set(self.rgb_bands) <= set(self.bands):
            raise RGBBandsMissingError
        rgb = sample["image"][[self.bands.index(band) for band in self.rgb_bands]].detach().cpu().numpy().transpose(1, 2, 0)
        labelled = rgb[np.asarray(sample["mask"].cpu()) != MASK_NODATA]
        low, high = np.percentile(labelled if labelled.size else rgb.reshape(-1, 3), (2, 98), axis=0)
        panels = {"Image": ((rgb - low) / np.maximum(high - low, 1e-6)).clip(0, 1)}
        panels |= {name.title(): np.asarray(sample[name].detach().cpu()) for name in ("mask", "prediction") if name in sample}
        figure: Figure
        figure, axes = plt.subplots(ncols=len(panels), figsize=(4 * len(panels), 4), layout="constrained", squeeze=False)
        for axis, (name, panel) in zip(axes[0], panels.items(), strict=True):
            classes = {} if panel.ndim == 3 else {"cmap": ListedColormap(["#e8e4d8", "#c0392b", "#7f7f7f"]), "vmin": 0, "vmax": 2}
            axis.imshow(panel if panel.ndim == 3 else panel.clip(0, 2), interpolation="nearest", **classes)
            axis.axis("off")
            if show_titles:
                axis.set_title(name)
        if suptitle is not None:
            figure.suptitle(suptitle)
        return figure
