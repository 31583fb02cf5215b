"""Mean and deviation of the bands in the forms that configurations of models take: `statistics.json` beside the shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from smallmines.core.product import IMAGE_NODATA, MASK_NODATA, PATCH_BANDS, S1, S2_BANDS
from smallmines.loaders.terratorch import NAMES, PRITHVI_BANDS

TERRAMIND: Mapping[str, tuple[str, ...]] = MappingProxyType({"S2L2A": S2_BANDS, "S1RTC": PATCH_BANDS[S1], "DEM": PATCH_BANDS[-1:]})
"""Bands by TerraMind's name of each modality."""

DIGITS = 4


def statistics(bands: Mapping[str, Mapping[str, float]], split: str, patches: int) -> dict[str, Any]:
    """Return the content of `statistics.json`.

    Args:
        bands: count, mean and sd of each band over the images of a split, as `pack.Sums.result` returns them.
        split: train, or all for a dataset without it.
        patches: number of these images.

    Returns:
        split, patches, nodata (of images and masks), bands (count, mean, sd and nodata_fill by band, in its unit), prithvi (six bands with
        TerraTorch's names, lists `means` and `stds`), terramind (lists by modality). nodata_fill is the mean, so that a gap is 0 after
        normalising.
    """

    def values(names: Sequence[str], key: str) -> list[float]:
        return [round(float(bands[name][key]), DIGITS) for name in names]

    def form(names: Sequence[str]) -> dict[str, list[float]]:
        return {"means": values(names, "mean"), "stds": values(names, "sd"), "nodata_fill": values(names, "mean")}

    by_modality = {modality: form(names) for modality, names in TERRAMIND.items()}
    return {
        "split": split,
        "patches": patches,
        "nodata": {"image": IMAGE_NODATA, "mask": MASK_NODATA},
        "bands": {
            name: {
                "count": int(bands[name]["count"]),
                "mean": values([name], "mean")[0],
                "sd": values([name], "sd")[0],
                "nodata_fill": values([name], "mean")[0],
            }
            for name in PATCH_BANDS
        },
        "prithvi": {"bands": list(PRITHVI_BANDS), "names": [NAMES[name] for name in PRITHVI_BANDS], **form(PRITHVI_BANDS)},
        "terramind": {
            "bands": {modality: list(names) for modality, names in TERRAMIND.items()},
            **{key: {modality: own[key] for modality, own in by_modality.items()} for key in ("means", "stds", "nodata_fill")},
        },
    }
