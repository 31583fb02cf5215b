"""Defects for copies of a sound dataset, and the doctor's findings that each must cause."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
from affine import Affine

from smallmines.core.files import sha256
from smallmines.core.product import IMAGE_NODATA, MASK_NODATA

Spoil = Callable[[Path], object]


@dataclass(frozen=True)
class Defect:
    """A defect.

    Attributes:
        spoil: adds the defect to a dataset's folder.
        family, check: finding that it must cause (check: beginning of its name).
        also: families and checks of findings that it may cause as well.
        documents: keep checksums, facts and documents, which show any change; else they are removed first.
    """

    name: str
    spoil: Spoil
    family: str
    check: str
    also: tuple[tuple[str, str], ...] = ()
    documents: bool = False


def prepare(source: Path, folder: Path, documents: bool) -> Path:
    """Copy a dataset; without `documents`, only patches, index, splits and labels.json are kept, so that no checksum shows the change."""
    shutil.copytree(source, folder, copy_function=shutil.copyfile)
    if not documents:
        for path in [*folder.glob("SHA256SUMS"), *folder.glob("*/*.sha256"), folder / "facts.json", folder / "croissant.json"]:
            path.unlink()
    return folder


def patches(folder: Path, kind: str, year: str = "*", tiles: slice = slice(None)) -> list[Path]:
    """Return the paths of images or masks, by year and tile."""
    return sorted(folder.glob(f"{year}/{kind}/*.tif"))[tiles]


def rewrite(
    path: Path, change: Callable[[np.ndarray], np.ndarray] = lambda array: array, tags: dict[str, str] | None = None, **profile: Any
) -> None:
    """Rewrite a patch with other pixels, tags or profile."""
    with rasterio.open(path) as source:
        array, old, bands, known = source.read(), source.profile, source.descriptions, source.tags()
    array = change(array)
    old |= {"count": array.shape[0], "height": array.shape[1], "width": array.shape[2], "dtype": array.dtype.name} | profile
    if old["height"] != old.get("blockysize"):
        old["blockysize"] = old["height"]
    with rasterio.open(path, "w", **old) as target:
        target.write(array.astype(old["dtype"]))
        target.descriptions = bands[: array.shape[0]]
        target.update_tags(**known, **(tags or {}))


def images(change: Callable[[np.ndarray], np.ndarray], year: str = "*", tiles: slice = slice(None), **profile: Any) -> Spoil:
    """Return a function that changes images."""
    return lambda folder: [rewrite(path, change, **profile) for path in patches(folder, "IMAGE", year, tiles)]


def masks(change: Callable[[np.ndarray], np.ndarray], year: str = "*", tiles: slice = slice(None), **profile: Any) -> Spoil:
    """Return a function that changes masks."""
    return lambda folder: [rewrite(path, change, **profile) for path in patches(folder, "MASK", year, tiles)]


def bands(which: Any, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Change some bands where they have data."""

    def changed(image: np.ndarray) -> np.ndarray:
        out = image.copy()
        valid = out[which] != IMAGE_NODATA
        out[which] = np.where(valid, change(out[which]), out[which])
        return out

    return changed


def shifted(which: Any, down: int, right: int) -> Callable[[np.ndarray], np.ndarray]:
    """Move some bands by whole pixels, wrapping around."""

    def moved(image: np.ndarray) -> np.ndarray:
        out = image.copy()
        out[which] = np.roll(image[which], (down, right), axis=(-2, -1))
        return out

    return moved


S2 = slice(0, 10)
FEW = slice(0, 4)
INDEX = (("documents", "index"),)
"""Findings of defects of the masks, which the shares in the index show, too."""


def half_a_pixel(folder: Path) -> None:
    for path in patches(folder, "IMAGE", "2016", FEW) + patches(folder, "MASK", "2016", FEW):
        with rasterio.open(path) as source:
            transform = source.transform
        rewrite(path, transform=transform * Affine.translation(0.5, 0.5))


def delete(pattern: str) -> Spoil:
    return lambda folder: sorted(folder.glob(pattern))[0].unlink()


def truncate(folder: Path) -> None:
    path = patches(folder, "IMAGE")[0]
    path.write_bytes(path.read_bytes()[:4000])


def copy_tile(folder: Path) -> None:
    first, second = patches(folder, "IMAGE", "2016")[:2]
    with rasterio.open(first) as source:
        array = source.read()
    rewrite(second, lambda _: array)


def copy_year(folder: Path) -> None:
    for first, second in zip(patches(folder, "IMAGE", "2016", FEW), patches(folder, "IMAGE", "2022", FEW), strict=True):
        with rasterio.open(first) as source:
            array = source.read()
        noise = np.random.default_rng(0).normal(0, 1, array[S2].shape).round()
        rewrite(
            second, lambda _, array=array, noise=noise: np.concatenate([np.maximum(array[S2] + noise, 1001), array[10:]]).astype(np.float32)
        )


def specks(mask: np.ndarray) -> np.ndarray:
    out = mask.copy()
    out[0, 4:-4:5, 4:-4:5] = np.where(out[0, 4:-4:5, 4:-4:5] == 0, 1, out[0, 4:-4:5, 4:-4:5])
    return out


def noise_of_labels(mask: np.ndarray) -> np.ndarray:
    return np.random.default_rng(int(mask.sum())).permutation(mask.ravel()).reshape(mask.shape)


def stripes(image: np.ndarray) -> np.ndarray:
    out = image.copy()
    out[3, ::6] += 400
    return out


def clouded(image: np.ndarray) -> np.ndarray:
    out = image.copy()
    out[S2, :90, :90] = 6000 + 50 * np.random.default_rng(0).normal(size=(90, 90)).round()
    return out


def wedge(image: np.ndarray) -> np.ndarray:
    out = image.copy()
    out[S2, :40, :60] = IMAGE_NODATA
    return out


def random_splits(folder: Path) -> None:
    table = pd.read_csv(folder / "splits.csv", dtype={"tile_id": str})
    table["split"] = np.random.default_rng(0).choice(["train", "test"], len(table), p=[0.7, 0.3])
    table.to_csv(folder / "splits.csv", index=False)


def forget_split(folder: Path) -> None:
    pd.read_csv(folder / "splits.csv", dtype={"tile_id": str}).iloc[1:].to_csv(folder / "splits.csv", index=False)


def wrong_card(folder: Path) -> None:
    path = folder / "README.md"
    path.write_text(path.read_text(encoding="utf-8") + "\nThere are 2175 tiles.\n", encoding="utf-8")


def wrong_facts(folder: Path) -> None:
    path = folder / "facts.json"
    known = json.loads(path.read_text(encoding="utf-8"))
    known["bands"]["all"]["B08"]["mean"] += 30
    path.write_text(json.dumps(known), encoding="utf-8")
    reseal(folder, "facts.json")


def reseal(folder: Path, name: str) -> None:
    path = folder / "SHA256SUMS"
    lines = [line for line in path.read_text().splitlines() if not line.endswith(f"  {name}")]
    path.write_text("\n".join([*lines, f"{sha256(folder / name)}  {name}"]) + "\n")


def append(name: str, text: str) -> Spoil:
    def added(folder: Path) -> None:
        path = folder / name
        path.write_text((path.read_text(encoding="utf-8") if path.is_file() else "") + text, encoding="utf-8")

    return added


def low_kappa(folder: Path) -> None:
    path = folder / "labels.json"
    known = json.loads(path.read_text(encoding="utf-8"))
    pair = {"people": ["A01", "A02"], "segments": 100, "tiles": 9, "unsure": 0, "raw": 0.9, "ac1": 0.8, "area": 0.9, "iou": 0.1}
    known["years"]["2016"]["agreement"]["year"] = [{**pair, "kappa": 0.1, "low": 0.0, "high": 0.2}]
    path.write_text(json.dumps(known), encoding="utf-8")


def nobody(folder: Path) -> None:
    table = pd.read_parquet(folder / "index.parquet")
    table.assign(validated_share=0.0).to_parquet(folder / "index.parquet")


def wrong_index(folder: Path) -> None:
    table = pd.read_parquet(folder / "index.parquet")
    table.loc[3, "mining_percent"] += 1.0
    table.to_parquet(folder / "index.parquet")


def lost_mines(folder: Path) -> None:
    for path in patches(folder, "MASK", "2022"):
        rewrite(path, lambda mask: np.where((mask == 1) & (np.arange(128)[:, None] < 100), 0, mask).astype(np.uint8))


def flipped(mask: np.ndarray) -> np.ndarray:
    return np.where(mask == MASK_NODATA, mask, 1 - mask).astype(np.uint8)


DEFECTS = (
    Defect("mask missing", delete("2016/MASK/*.tif"), "structure", "mask missing", INDEX),
    Defect("image missing", delete("2022/IMAGE/*.tif"), "structure", "image missing"),
    Defect(
        "tile missing in a year",
        lambda folder: [delete(f"2016/{kind}/*.tif")(folder) for kind in ("IMAGE", "MASK")],
        "structure",
        "years differ",
        (("structure", "index"), ("leakage", "split incomplete")),
    ),
    Defect("name of no patch", lambda folder: shutil.copyfile(patches(folder, "IMAGE")[0], folder / "2016/IMAGE/tile_1.tif"), "structure", "file names"),
    Defect("truncated file", truncate, "structure", "unreadable"),
    Defect("another CRS", images(lambda a: a, "2016", FEW, crs="EPSG:32631"), "structure", "CRS", (("structure", "mask elsewhere"),)),
    Defect("half a pixel off the lattice", half_a_pixel, "structure", "lattice", (("structure", "moved tile"),)),
    Defect("a row short", images(lambda a: a[:, :-1], "2016", FEW), "structure", "size", (("structure", "mask elsewhere"),)),
    Defect("a band missing", images(lambda a: a[:12], "2016", FEW), "structure", "bands"),
    Defect("float64", images(lambda a: a.astype(np.float64), "2016", FEW), "structure", "type"),
    Defect("nodata not declared", images(lambda a: a, "2016", FEW, nodata=None), "structure", "nodata"),
    Defect("mask value 2", masks(lambda a: np.where(a == 1, 2, a).astype(np.uint8), "2022"), "structure", "mask values", (*INDEX, ("labels", "class missing"), ("labels", "mines vanish"))),
    Defect("NaN", images(lambda a: np.where(a > 4000, np.nan, a), "2016", FEW), "structure", "not finite", (("structure", "nodata in some bands"), ("labels", "label without image"))),
    Defect("offset of 1000 missing in a year", images(bands(S2, lambda v: np.maximum(v - 1000, 1)), "2016"), "radiometry", "offset", (("radiometry", "years differ"),)),
    Defect("offset missing in some patches", images(bands(S2, lambda v: np.maximum(v - 1000, 1)), "2022", FEW), "radiometry", "offset", (("labels", "patch against image"),)),
    Defect("offset of 1000 added twice everywhere", images(bands(S2, lambda v: v + 1000), "*"), "radiometry", "offset"),
    Defect("offset of 1000 missing everywhere", images(bands(S2, lambda v: np.maximum(v - 1000, 1)), "*"), "radiometry", "offset"),
    Defect("reflectance from 0 to 1", images(bands(S2, lambda v: v / 10000), "*"), "radiometry", "scale", (("radiometry", "fractions"),)),
    Defect("linear Sentinel-1 among dB", images(bands(slice(10, 12), lambda v: 10 ** (v / 10)), "2022", FEW), "radiometry", "VV linear", (("radiometry", "VH linear"), ("labels", "patch against image"))),
    Defect("wrapped nodata in Sentinel-1", images(lambda a: np.where((np.arange(13) == 10)[:, None, None] & (np.arange(128) < 3), 55537, a).astype(np.float32), "2016", FEW), "radiometry", "wrapped nodata", (("radiometry", "VV range"),)),
    Defect("saturated", images(bands(S2, lambda v: np.minimum(3 * v, 6500)), "2016", FEW), "radiometry", "saturation", (("labels", "patch against image"), ("radiometry", "years differ"), ("coverage", "cloud"))),
    Defect("stripes", images(stripes, "2016", FEW), "radiometry", "stripes"),
    Defect("gain of 1.4 in a year", images(bands(S2, lambda v: (1000 + (v - 1000) * 1.4).round()), "2022"), "radiometry", "years differ"),
    Defect("B04 and B02 exchanged", images(lambda a: a[[2, 1, 0, *range(3, 13)]], "*"), "radiometry", "band swapped", (("coverage", "cloud"), ("geometry", "masks on Sentinel-2"))),
    Defect("B05 and B07 exchanged", images(lambda a: a[[0, 1, 2, 5, 4, 3, *range(6, 13)]], "*"), "radiometry", "band swapped"),
    Defect("elevation missing in a patch", images(bands(12, lambda v: v * 0), "*", slice(0, 1)), "radiometry", "DEM flat"),
    Defect("elevation of nodata", images(bands(12, lambda v: v * 0 - 32768), "2016", FEW), "radiometry", "DEM range", (("radiometry", "DEM flat"),)),
    Defect("a year of Sentinel-2 two pixels east", images(shifted(S2, 0, 2), "2022"), "geometry", "years on each other", (("geometry", "masks on Sentinel-2"), ("labels", "label without image"), ("labels", "patch"))),
    Defect("Sentinel-1 five pixels south", images(shifted(slice(10, 12), 5, 0), "2016"), "geometry", "Sentinel-1 on Sentinel-2"),
    Defect("elevation twelve pixels off", images(shifted(12, 12, 0), "*"), "geometry", "elevation under Sentinel-2"),
    Defect("masks four pixels west", masks(shifted(slice(None), 0, -4), "2022"), "geometry", "masks on Sentinel-2", (*INDEX, ("labels", "label without image"), ("labels", "mines vanish"), ("labels", "patch"))),
    Defect("cloud", images(clouded, "2016", FEW), "coverage", "cloud", (("radiometry", "saturation"), ("labels", "patch against image"))),
    Defect("data missing, class given", images(wedge, "2016", FEW), "labels", "label without image"),
    Defect("much data missing", images(lambda a: np.where(np.arange(128) < 50, IMAGE_NODATA, a).astype(np.float32), "2016", FEW), "coverage", "Sentinel-2 nodata", (("labels", "label without image"), ("coverage", ""))),
    Defect("classes exchanged", masks(flipped, "*"), "labels", "class share", (*INDEX, ("labels", "holes"))),
    Defect("a year without mining", masks(lambda a: np.where(a == 1, 0, a).astype(np.uint8), "2022"), "labels", "class missing", (*INDEX, ("labels", "mines vanish"))),
    Defect("specks", masks(specks, "2016"), "labels", "specks", (*INDEX, ("labels", ""))),
    Defect("mines that vanish", lost_mines, "labels", "mines vanish", (*INDEX, ("geometry", "masks"))),
    Defect("labels strewn at random", masks(noise_of_labels, "*"), "labels", "labels against image", (*INDEX, ("labels", ""), ("geometry", "masks"))),
    Defect("classes exchanged in one mask", masks(flipped, "2022", slice(0, 1)), "labels", "patch against image", (*INDEX, ("labels", ""))),
    Defect("people disagree", low_kappa, "labels", "agreement"),
    Defect("nobody looked at the labels", nobody, "labels", "nobody looked"),
    Defect("one image in two tiles", copy_tile, "duplicates", "same image", (("labels", ""),)),
    Defect("one year's images in another, with noise", copy_year, "duplicates", "same year twice", (("labels", ""),)),
    Defect("a tile's years on both sides", random_splits, "leakage", "twins", (("leakage", "place tells"),)),
    Defect("a patch in no split", forget_split, "leakage", "split incomplete"),
    Defect("count in the card", wrong_card, "documents", "counts in the card", (("documents", "checksums"),), True),
    Defect("mean in the facts", wrong_facts, "documents", "numbers in the card", (), True),
    Defect("a file altered", append("LICENSE", "x"), "documents", "checksums", (), True),
    Defect("a table altered", append("splits.csv", "\n"), "documents", "croissant", (("documents", "checksums"),), True),
    Defect("a file that is not sealed", append("notes.txt", "x"), "documents", "not sealed", (), True),
    Defect("a share in the index", wrong_index, "documents", "index"),
    Defect("no licence", lambda folder: (folder / "LICENSE").unlink(), "documents", "no licence"),
    Defect("home folder in a tag", lambda folder: rewrite(patches(folder, "IMAGE")[0], tags={"SOURCE": "/home/ama/x.tif"}), "privacy", "a path of somebody's machine"),
    Defect("signed address", append("sources.txt", "https://x.example/a.tif?se=2026-01-01&sig=abcdef123456"), "privacy", "a signature or key"),
    Defect("e-mail address", append("notes.txt", "ask kofi.mensah@example.org"), "privacy", "an e-mail address"),
)  # fmt: skip
