"""Agreement with the released masks: of the forest alone, of the masks, and of the best that the segments allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core import raster
from smallmines.core.files import read_json, write_json
from smallmines.core.json_products import ForestThreshold, read_product
from smallmines.core.log import logger
from smallmines.core.release import LICENSE, read_release
from smallmines.grid.lattice import read_lattice
from smallmines.labels import tables
from smallmines.labels.decide import predicted
from smallmines.labels.released import UNKNOWN, classes_of_segments, held_out, held_pixels
from smallmines.segment.features import read_features
from smallmines.settings.released import ReleasedSamples
from smallmines.settings.transfer import Transfer

COUNTS = ("tn", "fp", "fn", "tp")
"""Keys of counted pixels: true negative, false positive, false negative, true positive; the release counts as true."""


@dataclass(frozen=True)
class Inputs:
    """Products of a block and year.

    Attributes:
        released: released masks on the block's grid.
        mask: mask of the run.
        segments, features, probabilities: label raster, and tables.
        metrics: `metrics.json` of the assistant, which holds its threshold.
        grid: `grid.json`.
    """

    released: str | Path
    mask: str | Path
    segments: str | Path
    features: str | Path
    probabilities: str | Path
    metrics: str | Path
    grid: str | Path


def write_agreement(inputs: Inputs, block: str, settings: ReleasedSamples, seed: int, target: str | Path) -> None:
    """Write the agreement of a block and year, see `agreement`.

    Args:
        seed: `labels.seed`, for the tiles that are held out.
    """
    lattice = read_lattice(inputs.grid)
    geobox = lattice.block(block)
    held = held_out(lattice.cells["tile_id"].tolist(), (), settings.hold_out, seed)
    features = read_features(inputs.features)
    probability = tables.read(inputs.probabilities, "probabilities")["probability"].to_numpy()
    mining, _ = predicted(probability, features["clear_share"].to_numpy(), read_product(inputs.metrics, ForestThreshold)["threshold"])
    released, mask, segments = (raster.read(path, geobox)[0] for path in (inputs.released, inputs.mask, inputs.segments))
    counts = agreement(released, mask, segments, mining, held_pixels(lattice, block, held))
    number = int(lattice.cells_of(block)["tile_id"].isin(held).sum())
    tiles = {"held_out": number, "others": len(lattice.tiles_of(block)) - number}
    write_json(target, {part: {"tiles": tiles[part], **counts[part]} for part in counts})
    for part, own in counts.items():
        logger.info("%s: IoU with the release %s", part, ", ".join(f"{name} {iou(count)}" for name, count in own.items()))


def agreement(
    released: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    segments: NDArray[np.uint32],
    mining: NDArray[np.bool_],
    held: NDArray[np.bool_],
) -> dict[str, dict[str, dict[str, int]]]:
    """Count pixels by their value here and in the release, where both have one.

    Args:
        released, mask: 1 mining, 0 not, 255 nodata (row, column).
        segments: label raster (row, column), 0 outside.
        mining: whether the forest predicts mining, by segment.
        held: pixels (row, column) of tiles that are held out.

    Returns:
        For the tiles that are `held_out` and the `others`: `COUNTS` of the `forest` alone, of the `mask`, and of the `segments` (each with
        the class that most of its pixels have in the release: nothing drawn segment by segment has fewer other pixels).
    """
    none, everything = np.zeros(released.shape, bool), Transfer(covered=0, purity=0.5)
    best = classes_of_segments(segments, released, none, len(mining), everything).majority
    valid = (released != UNKNOWN) & (mask != UNKNOWN) & (segments > 0)
    drawn = {
        "forest": np.concatenate([[0], mining.astype(np.int64)])[segments],
        "mask": mask.astype(np.int64),
        "segments": np.concatenate([[0], best])[segments],
    }
    return {
        part: {name: _counted(values[inside], released[inside]) for name, values in drawn.items()}
        for part, inside in (("held_out", valid & held), ("others", valid & ~held))
    }


def _counted(values: NDArray[np.int64], released: NDArray[np.uint8]) -> dict[str, int]:
    count = np.bincount(2 * released.astype(np.int64) + values, minlength=4)
    return dict(zip(COUNTS, count.tolist(), strict=True))


def iou(count: Mapping[str, int]) -> float | None:
    """Return the IoU of mining, rounded to six decimals; None where there is no mining."""
    union = count["tp"] + count["fp"] + count["fn"]
    return round(count["tp"] / union, 6) if union else None


@dataclass(frozen=True)
class ReleaseFiles:
    """Products about the release that a run's labels come from.

    Attributes:
        release: `release.json`.
        agreement: `agreement.json` of the blocks, by year; empty where nothing is compared.
        grid: `grid.json`, where the masks are the released ones; else None.
    """

    release: str | Path
    agreement: Mapping[str, Sequence[str | Path]]
    grid: str | Path | None = None


def add_released(document: Mapping[str, Any], files: ReleaseFiles) -> dict[str, Any]:
    """Add what is to say about the release to the content of `labels.json`.

    Returns:
        The document with `released`: source, address (of local files only the name), revision, sha256, license; and in each year
        `released`: tiles_without_mask, masks_without_tile (their numbers), and, where the agreement was counted, `held_out` and
        `others`, each with tiles and the IoU with the release of `forest`, `mask` and `segments`, see `agreement`.
    """
    release = read_release(files.release)
    address = release.address if release.source == "hub" else Path(release.address).name
    about = {"source": release.source, "address": address, "revision": release.revision, "sha256": release.sha256, "license": LICENSE}
    years = {}
    for year, values in document["years"].items():
        missing = {
            "tiles_without_mask": len(release.only_ours.get(year, [])),
            "masks_without_tile": len(release.only_released.get(year, [])),
        }
        years[year] = {**values, "released": {**missing, **_merged([read_json(path) for path in files.agreement.get(year, ())])}}
    return {**document, "years": years, "released": about}


def _merged(blocks: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return tiles and IoU over all blocks of a year."""
    merged: dict[str, dict[str, Any]] = {}
    for part in blocks[0] if blocks else ():
        names = [name for name in blocks[0][part] if name != "tiles"]
        sums = {name: {key: sum(block[part][name][key] for block in blocks) for key in COUNTS} for name in names}
        merged[part] = {"tiles": sum(block[part]["tiles"] for block in blocks), **{name: iou(count) for name, count in sums.items()}}
    return merged
