"""Gather the measurements of all patches: taken where they are at hand and the file is the same, else read and measured.

A tile's years are read together, so that they can be compared; a process holds one tile in memory, and the sums.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallmines.core.product import PATCH_BANDS
from smallmines.dataset.measured import Measured as Kept
from smallmines.dataset.patch_measures import BACKGROUND, MINING, SAMPLE, UNLABELLED, PatchMeasures, bits, measured, pair_counts, places
from smallmines.dataset.patches import read_patch
from smallmines.doctor import correlations
from smallmines.doctor.correlations import B04, B08, OF_IMAGE
from smallmines.doctor.phase_correlation import Complex, Spectra
from smallmines.settings.doctor import Doctor

BANDS = len(PATCH_BANDS)

CHUNK = 24
"""Number of tiles in one task of a process."""


@dataclass
class Measured:
    """Measurements of a folder.

    Attributes:
        table: a row per pair, see `row_of`.
        pixels: SAMPLE rows per pair with an image of all bands: the bands by name (NaN without data), tile, year, place, mask (float, NaN
            without).
        changes: per tile and successive years: tile, before, after, mined, lost (px mining before; of these, not mining after), alike
            (correlation of red).
        spectra: sums of cross-power spectra by kind and group.
    """

    table: pd.DataFrame
    pixels: pd.DataFrame
    changes: pd.DataFrame
    spectra: Spectra


@dataclass(frozen=True)
class AtHand:
    """Measurements made before, and the checksum of each file of the folder by name, as far as it may be used to find one."""

    kept: Kept = field(default_factory=Kept)
    checksums: Mapping[str, str] = field(default_factory=dict)

    def of(self, name: str, kind: str) -> PatchMeasures | None:
        """Return the measurements of an `image` or a `mask`; None without, as where an image was copied over a mask."""
        return self.kept.patch(self.checksums.get(name, ""), kind)

    def member(self, *names: str) -> str:
        """Return what stands for a patch, or for two, among the members of a sum."""
        return " ".join(self.checksums.get(name, f"unknown {name}") for name in names)


@dataclass
class Epoch:
    """A tile in one year.

    Attributes:
        wanted: what must be read from the files: `measure image` and `measure mask`, and kinds of spectra.
    """

    year: int
    group: str
    image: str | None
    mask: str | None
    wanted: set[str]


@dataclass(frozen=True)
class Task:
    """Some tiles of which something must be read."""

    root: Path
    tiles: Sequence[tuple[str, list[Epoch]]]


@dataclass
class Part:
    """Results of tasks: measurements by name of the file, spectra, and correlation of red by tile and later year."""

    measures: dict[str, PatchMeasures] = field(default_factory=dict)
    spectra: Spectra = field(default_factory=Spectra)
    alike: dict[tuple[str, int], float] = field(default_factory=dict)


def measure(
    root: Path,
    pairs: pd.DataFrame,
    groups: Mapping[tuple[str, int], str],
    limits: Doctor,
    threads: int = 1,
    on_progress: Callable[[int], None] = lambda count: None,
    at_hand: AtHand | None = None,
) -> Measured:
    """Measure all pairs.

    Args:
        pairs: as in `folder.Folder`.
        groups: by tile and year the group whose shifts are measured together.
        on_progress: called with the number of pairs done since the last call.
    """
    at_hand = at_hand or AtHand()
    tiles = [
        (
            str(tile),
            [
                Epoch(row["year"], groups[row["tile"], row["year"]], _name(row["image"]), _name(row["mask"]), set())
                for row in rows.to_dict("records")
            ],
        )
        for tile, rows in pairs.groupby("tile", sort=True)
    ]
    whole = Part()
    _take(tiles, at_hand, whole)
    waiting = [(tile, epochs) for tile, epochs in tiles if any(epoch.wanted for epoch in epochs)]
    on_progress(len(pairs) - sum(len(epochs) for _, epochs in waiting))
    tasks = [Task(root, waiting[start : start + CHUNK]) for start in range(0, len(waiting), CHUNK)]
    for task, part in zip(tasks, _mapped(tasks, threads), strict=True):
        whole.measures |= part.measures
        whole.alike |= part.alike
        whole.spectra.merge(part.spectra)
        on_progress(sum(len(epochs) for _, epochs in task.tiles))
    return gathered(tiles, whole, limits)


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _take(tiles: Sequence[tuple[str, list[Epoch]]], at_hand: AtHand, whole: Part) -> None:
    """Take what is at hand, and set what each epoch still wants."""
    summed: dict[tuple[str, str, str], list[tuple[str, str, Epoch]]] = {}
    for tile, epochs in tiles:
        for before, epoch in zip([None, *epochs], epochs, strict=False):
            for kind, name in (("image", epoch.image), ("mask", epoch.mask)):
                if name is not None and (kept := at_hand.of(name, kind)) is not None:
                    whole.measures[name] = kept
                elif name is not None:
                    epoch.wanted.add(f"measure {kind}")
            for kind, years, member in _members(before, epoch, at_hand):
                summed.setdefault((kind, years, epoch.group), []).append((tile, member, epoch))
    for (kind, years, group), entries in summed.items():
        chosen, left = at_hand.kept.usable(kind, [member for _, member, _ in entries])
        alike = {pair: value for own in chosen for pair, value in own.values.get("alike", {}).items()}
        for own in chosen:
            if own.array.size:
                whole.spectra.add((f"{kind}{years}", group), own.array, own.values["count"])
        for tile, member, epoch in entries:
            if left[member]:
                left[member] -= 1
                epoch.wanted.add(kind)
            elif kind == "years":
                whole.alike[tile, epoch.year] = alike[member]


def _members(before: Epoch | None, epoch: Epoch, at_hand: AtHand) -> Iterator[tuple[str, str, str]]:
    """Yield kind, years and member of each sum of spectra that a tile in one year belongs to."""
    if epoch.image is None:
        return
    yield from ((kind, "", at_hand.member(epoch.image)) for kind in OF_IMAGE)
    if epoch.mask is not None:
        yield "mask", "", at_hand.member(epoch.image, epoch.mask)
    if before is not None and before.image is not None:
        yield "years", f" {before.year} {epoch.year}", at_hand.member(before.image, epoch.image)


def _mapped(tasks: Sequence[Task], threads: int) -> Iterator[Part]:
    """Yield the parts in the order of the tasks."""
    if threads <= 1 or len(tasks) <= 1:
        yield from map(_measure_tiles, tasks)
        return
    with ProcessPoolExecutor(threads, mp_context=multiprocessing.get_context("fork")) as pool:
        yield from pool.map(_measure_tiles, tasks)


def _measure_tiles(task: Task) -> Part:
    part = Part()
    for tile, epochs in task.tiles:
        earlier: NDArray[Any] | None = None
        for before, epoch, after in zip([None, *epochs], epochs, [*epochs[1:], None], strict=False):
            image = mask = None
            if epoch.image is not None and (epoch.wanted - {"measure mask"} or _wants_years(after)):
                image = _read(task.root, epoch.image, "image", epoch, part)
            if epoch.mask is not None and epoch.wanted & {"measure mask", "mask"}:
                mask = _read(task.root, epoch.mask, "mask", epoch, part)
            red_near = None if image is None else image[[B04, B08]]
            for kind, cross in _spectra(epoch, image, red_near, mask).items():
                part.spectra.add((kind, epoch.group), cross)
            if before is not None and "years" in epoch.wanted:
                part.alike[tile, epoch.year] = float("nan")
                if earlier is not None and red_near is not None:
                    part.alike[tile, epoch.year] = correlations.alike(earlier, red_near)
                    if (shift := correlations.of_years(earlier, red_near)) is not None:
                        part.spectra.add((f"years {before.year} {epoch.year}", epoch.group), shift)
            earlier = red_near
    return part


def _wants_years(epoch: Epoch | None) -> bool:
    return epoch is not None and "years" in epoch.wanted


def _read(root: Path, name: str, kind: str, epoch: Epoch, part: Part) -> NDArray[Any] | None:
    """Read a patch, and measure it where that is wanted; None unless it has all bands of its kind."""
    if f"measure {kind}" in epoch.wanted:
        part.measures[name], array = measured(root / name, kind)
        return array
    array = read_patch(root / name).array
    return array if array is not None and len(array) == (BANDS if kind == "image" else 1) and not np.iscomplexobj(array) else None


def _spectra(epoch: Epoch, image: NDArray[Any] | None, red_near: NDArray[Any] | None, mask: NDArray[Any] | None) -> dict[str, Complex]:
    """Return the wanted spectra of a tile in one year."""
    spectra: dict[str, Complex] = {}
    if image is None or red_near is None:
        return spectra
    share = correlations.covered(image)
    if epoch.wanted & set(OF_IMAGE):
        spectra |= {kind: cross for kind, cross in correlations.of_image(image, share).items() if kind in epoch.wanted}
    if mask is not None and "mask" in epoch.wanted and (cross := correlations.of_mask(red_near, share, mask[0] == 1)) is not None:
        spectra["mask"] = cross
    return spectra


def gathered(tiles: Sequence[tuple[str, list[Epoch]]], whole: Part, limits: Doctor) -> Measured:
    """Put the measurements of all tiles into tables."""
    rows, changes = [], []
    pairs: list[tuple[str, int, PatchMeasures | None, PatchMeasures | None]] = []
    for tile, epochs in tiles:
        files = [(_of(epoch.image, whole), _of(epoch.mask, whole)) for epoch in epochs]
        for epoch, (image, mask) in zip(epochs, files, strict=True):
            rows.append(row_of(tile, epoch, image, mask, limits))
            pairs.append((tile, epoch.year, image, mask))
        for (before, after), ((_, mask), (_, next_mask)) in zip(pairwise(epochs), pairwise(files), strict=True):
            change = {"tile": tile, "before": before.year, "after": after.year, **_lost(mask, next_mask)}
            changes.append({**change, "alike": whole.alike.get((tile, after.year), np.nan)})
    return Measured(
        pd.DataFrame(rows).sort_values(["year", "tile"], ignore_index=True),
        pixels_of(pairs),
        pd.DataFrame(changes, columns=["tile", "before", "after", "mined", "lost", "alike"]),
        whole.spectra,
    )


def _of(name: str | None, whole: Part) -> PatchMeasures | None:
    return None if name is None else whole.measures[name]


def row_of(tile: str, epoch: Epoch, image: PatchMeasures | None, mask: PatchMeasures | None, limits: Doctor) -> dict[str, Any]:
    """Return the row of a pair.

    Returns:
        tile, year, image, mask; of each file `<kind>_error`, _count, _dtype, _nodata, _crs, _transform, _shape, _bands, _tags
        (the tags' text); the values of `patch_measures.of_image` and `of_mask`, of which specks and holes are the pixels of parts below
        the limit, and strange is text; of both `unsupported` (a class without Sentinel-2 data), unused (Sentinel-2 data without a class).
    """
    row: dict[str, Any] = {"tile": tile, "year": epoch.year, "image": epoch.image, "mask": epoch.mask}
    for kind, patch in (("image", image), ("mask", mask)):
        row |= _form(kind, patch)
    if image is not None and image.planes.size:
        row |= image.values
    if mask is not None and mask.planes.size:
        row |= {**mask.values, "strange": " ".join(map(str, mask.values["strange"]))}
        row |= {name: sum(size for size in mask.values[name] if size < limits.speck_px) for name in ("specks", "holes")}
    if image is not None and mask is not None and (counts := pair_counts(image, mask)) is not None:
        row["unsupported"], row["unused"] = counts.unsupported, counts.unused
    return row


def _form(kind: str, patch: PatchMeasures | None) -> dict[str, Any]:
    """Return the columns of the form of a file."""
    columns: dict[str, Any] = {"error": ""}
    if patch is not None:
        columns["error"] = "complex numbers" if "complex" in patch.values else patch.error
        if (form := patch.form) is not None:
            columns |= {
                "count": len(form.bands),
                "dtype": " ".join(form.dtypes),
                "nodata": form.nodata,
                "crs": str(form.geobox.crs) if form.geobox.crs else "",
                "transform": tuple(form.geobox.transform)[:6],
                "shape": tuple(form.geobox.shape),
                "bands": form.bands,
                "tags": " ".join(f"{key}={value}" for key, value in sorted(form.tags.items())),
            }
    return {f"{kind}_{key}": value for key, value in columns.items()}


def _labels(image: PatchMeasures, mask: PatchMeasures | None) -> NDArray[np.float64]:
    """Return the classes of the sampled pixels, NaN without."""
    labels = np.full(SAMPLE, np.nan)
    if mask is not None and mask.planes.size and mask.size == image.size:
        place = places(mask.size)
        labels[mask.plane(BACKGROUND)[place]] = 0
        labels[mask.plane(MINING)[place]] = 1
    return labels


def _lost(before: PatchMeasures | None, after: PatchMeasures | None) -> dict[str, int]:
    """Return the pixels that were mining and have a class in the later year, and those of them that are not mining any more."""
    if before is None or after is None or not before.planes.size or not after.planes.size or before.size != after.size:
        return {"mined": 0, "lost": 0}
    mined = before.planes[MINING] & ~after.planes[UNLABELLED]
    return {"mined": bits(mined), "lost": bits(mined & after.planes[BACKGROUND])}


def pixels_of(pairs: Sequence[tuple[str, int, PatchMeasures | None, PatchMeasures | None]]) -> pd.DataFrame:
    """Return the sampled pixels of tiles and years with an image and perhaps a mask, see `Measured.pixels`."""
    sampled = [(tile, year, image, mask) for tile, year, image, mask in pairs if image is not None and image.sample.size]
    if not sampled:
        return pd.DataFrame(columns=[*PATCH_BANDS, "tile", "year", "place", "mask"])
    values = np.concatenate([image.sample for _, _, image, _ in sampled], axis=1)
    columns = {
        "tile": np.array([tile for tile, *_ in sampled], dtype=object).repeat(SAMPLE),
        "year": np.array([year for _, year, *_ in sampled], np.int64).repeat(SAMPLE),
        "place": np.tile(np.arange(SAMPLE), len(sampled)),
        "mask": np.concatenate([_labels(image, mask) for _, _, image, mask in sampled]),
    }
    return pd.DataFrame({**dict(zip(PATCH_BANDS, values, strict=True)), **columns})
