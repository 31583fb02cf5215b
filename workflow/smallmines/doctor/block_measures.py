"""Measure the patches of a block when they are made, for doctor, verification and band statistics: one decoding of each patch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from smallmines.core import raster
from smallmines.core.log import logger
from smallmines.core.product import PATCH_BANDS, parse_patch_name
from smallmines.dataset import band_statistics
from smallmines.dataset.measured import Measured, Sum, checksums_of, read_measured, write_measured
from smallmines.dataset.patch_measures import MINING, measured
from smallmines.dataset.scenes import histograms, scene_tags, scenes
from smallmines.doctor import correlations
from smallmines.doctor.correlations import B04, B08, OF_IMAGE
from smallmines.grid.lattice import Lattice

RED_NEAR = [B04 + 1, B08 + 1]


@dataclass
class _Running:
    """A sum of spectra while it is taken.

    Attributes:
        arrays: sum and number of patches by shape.
        alike: correlation of red by member, of the sums of two years.
    """

    members: list[str] = field(default_factory=list)
    arrays: dict[tuple[int, ...], tuple[NDArray[Any], int]] = field(default_factory=dict)
    alike: dict[str, float] = field(default_factory=dict)

    def add(self, member: str, cross: NDArray[Any] | None) -> None:
        """Add a patch, which may have nothing to add."""
        self.members.append(member)
        if cross is not None:
            total, count = self.arrays.get(cross.shape, (np.zeros_like(cross), 0))
            self.arrays[cross.shape] = total + cross, count + 1

    def total(self, kind: str) -> list[Sum]:
        """Return the sum; none where patches have several sizes, which only the doctor can weigh."""
        if len(self.arrays) > 1:
            return []
        array, count = next(iter(self.arrays.values()), (np.empty(0, np.complex128), 0))
        return [Sum(kind, tuple(self.members), {"count": count, "alike": self.alike}, array)]


def _patches(folder: str | Path) -> dict[str, tuple[Path, str]]:
    """Return path and checksum of the patches of a folder by tile, sorted. Those with side-car files, see `lone`, are left out."""
    names = {parts.tile_id: path.name for path in Path(folder).glob("*.tif") if (parts := parse_patch_name(path.name)) is not None}
    checksums = checksums_of(Path(folder), list(names.values()))
    if left := [name for name in names.values() if name not in checksums]:
        logger.warning(
            "%d patches of %s have side-car files or cannot be read, and are not measured; first %s", len(left), folder, min(left)
        )
    return {tile: (Path(folder) / name, checksums[name]) for tile, name in sorted(names.items()) if name in checksums}


def first_scenes(source: str | Path, s2: str | Path, lattice: Lattice, block: str) -> dict[str, str]:
    """Return the first scene of each tile of a block, empty where a tile has none, as the index names it.

    Args:
        source: scene of each pixel of the Sentinel-2 composite `s2`.
    """
    cells, side = lattice.cells_of(block), lattice.tile_size
    with raster.opened(source) as numbers, raster.opened(s2) as composite:
        raster.require_grid(numbers, lattice.block(block))
        counts = np.stack([histograms(numbers.read(1, window=window), side) for window in raster.strips(numbers.shape, side)])
        of_tiles = scenes(counts[cells["y"].to_numpy() // side, cells["x"].to_numpy() // side], scene_tags(composite, numbers))
    return {str(tile): (items or [""])[0] for tile, (items, _) in zip(cells["tile_id"], of_tiles, strict=True)}


def measure_images(folder: str | Path, before: str | Path | None, scene_of: Mapping[str, str], target: str | Path) -> None:
    """Measure the images of a block and year, each and together with the year before.

    Args:
        before: folder of the same block's images in the year before, None in the first year.
        scene_of: first scene of each tile, see `first_scenes`: the doctor measures shifts by scene.
    """
    whole, running = Measured(), dict[tuple[str, str], _Running]()
    earlier = {} if before is None else _patches(before)
    counts, members = np.zeros((len(PATCH_BANDS), 1 << 16), np.int64), []
    for tile, (path, checksum) in _patches(folder).items():
        scene = scene_of.get(tile, "")
        whole.patches[checksum], image = measured(path, "image")
        spectra = {} if image is None else correlations.of_image(image, correlations.covered(image))
        for kind in OF_IMAGE:
            running.setdefault((kind, scene), _Running()).add(checksum, spectra.get(kind))
        if image is not None:
            band_statistics.add_histograms(image, counts)
            members.append(checksum)
        if tile in earlier and image is not None:
            former, member = _red_near(earlier[tile][0]), f"{earlier[tile][1]} {checksum}"
            years = running.setdefault(("years", scene), _Running())
            years.add(member, correlations.of_years(former, image[[B04, B08]]))
            years.alike[member] = correlations.alike(former, image[[B04, B08]])
    whole.sums = [own for (kind, _), total in sorted(running.items()) for own in total.total(kind)]
    whole.sums.append(Sum(band_statistics.SUM, tuple(members), {}, counts))
    write_measured(whole, target)
    logger.info("%d images measured, of %d scenes", len(whole.patches), len(set(scene_of.values())))


def measure_masks(folder: str | Path, images: str | Path, image_measures: str | Path, target: str | Path) -> None:
    """Measure the masks of a block and year, each and together with its image.

    Args:
        images: folder of the block's images.
        image_measures: their measurements, as `measure_images` writes them.
    """
    whole, running = Measured(), dict[int, _Running]()
    kept = read_measured([image_measures], ["patch", OF_IMAGE[0]])
    groups = {member: number for number, own in enumerate(kept.sums) for member in own.members}
    beside = _patches(images)
    for tile, (path, checksum) in _patches(folder).items():
        whole.patches[checksum], mask = measured(path, "mask")
        if tile not in beside or mask is None:
            continue
        image_path, of_image = beside[tile]
        if (image := kept.patch(of_image, "image")) is None:
            continue
        mining = whole.patches[checksum].plane(MINING)
        cross = correlations.of_mask(_red_near(image_path), image.values["covered"], mining)
        running.setdefault(groups.get(of_image, -1), _Running()).add(f"{of_image} {checksum}", cross)
    whole.sums = [own for _, total in sorted(running.items()) for own in total.total("mask")]
    write_measured(whole, target)
    logger.info("%d masks measured", len(whole.patches))


def _red_near(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as source:
        bands: NDArray[Any] = source.read(RED_NEAR)
        return bands
