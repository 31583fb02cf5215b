"""The check of the published folder: pure functions that look at lists, files and index and return what they find wrong.

Nothing is believed that can be looked at: every file is hashed and opened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError

from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import read_json, sha256, write_json
from smallmines.core.log import logger
from smallmines.core.product import PATCH_BANDS, S2_BANDS
from smallmines.dataset.assemble import read_list
from smallmines.dataset.index import read_index
from smallmines.dataset.patches import IMAGE_NODATA, KINDS, MASK_NODATA, UNITS, patch_name
from smallmines.dataset.seal import SUMS, compare_with_sums
from smallmines.dataset.splits import read_splits
from smallmines.grid.lattice import Lattice
from smallmines.labels.label_quality import failing

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 10
"""Findings told on screen; the log has all."""

LARGEST_DB = 60.0
"""No backscatter is beyond ± this; a wrapped nodata value (55537) or linear power of corner reflectors is."""


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that is wrong: which check found it, in which file (from the dataset's folder), and what."""

    check: str
    where: str
    what: str

    def __str__(self) -> str:
        """As it is told to people."""
        return f"{self.where}: {self.what} [{self.check}]"


@dataclass(frozen=True)
class Pair:
    """The image and mask that one tile and year must have, and their place.

    Attributes:
        row: the tile's row of the index by column, or None where it has none.
    """

    tile_id: str
    year: str
    image: str
    mask: str
    geobox: GeoBox
    row: Mapping[str, Any] | None


def verify(
    lists: Sequence[str | Path],
    index: str | Path,
    lattice: Lattice,
    years: Sequence[str],
    country: str,
    threads: int,
    run: str,
    quality: str | Path,
    gates: Mapping[str, float | None],
    target: str | Path,
) -> None:
    """Check the dataset beside `index` and write what was checked to `target`.

    Args:
        quality: labels.json, held against `gates` (`labels.gates` of the configuration).

    Raises:
        UserError: with the first findings; all of them are in the log.
    """
    folder = Path(index).parent
    table = read_index(index)
    findings, checked = verify_dataset(folder, table, lattice, years, country, threads)
    findings += check_splits(folder, table)
    findings += check_seal(folder, lists)
    findings += [Finding("gate", "labels.json", what) for what in failing(read_json(quality), gates)]
    for finding in findings:
        logger.error("%s", finding)
    if findings:
        kinds = ", ".join(f"{count} × {check}" for check, count in sorted(Counter(finding.check for finding in findings).items()))
        told = "\n          ".join(str(finding) for finding in findings[:SHOWN])
        more = f"\n          … and {len(findings) - SHOWN} more in the log" if len(findings) > SHOWN else ""
        raise UserError(
            f"a sound dataset in {folder}",
            f"{len(findings)} problems ({kinds}):\n          {told}{more}",
            f"move away files that are not the dataset's; then run {run} again with --forcerun assemble where patches are missing, "
            "with --forcerun image_patches mask_patches where they are altered; where a gate is missed, see docs/quality.md",
        )
    write_json(target, {"findings": 0, "tiles": len(lattice.cells), "years": list(years), "rows": len(table), **checked})
    logger.info("sound: %s", ", ".join(f"{number} {what}" for what, number in checked.items()))


def verify_dataset(
    folder: Path, index: pd.DataFrame, lattice: Lattice, years: Sequence[str], country: str, threads: int = 1
) -> tuple[list[Finding], dict[str, int]]:
    """All findings on a published folder, sorted by the order of the checks, and how much was checked."""
    findings = check_index(index, lattice, years, country)
    lists: dict[str, str] = {}
    for year in years:
        for kind in KINDS:
            try:
                listed = read_list(folder / year / f"{kind}.sha256")
            except UserError as error:
                findings.append(Finding("list", f"{year}/{kind}.sha256", f"{error.found} (expected {error.expected})"))
                continue
            names = [patch_name(kind, country, tile_id, year) for tile_id in lattice.cells["tile_id"]]
            findings += check_list(folder / year, kind, listed, names)
            lists |= {f"{year}/{name}": checksum for name, checksum in listed.items()}
    findings += check_checksums(index, lists)
    with ThreadPoolExecutor(threads) as pool:
        present = sorted(name for name in lists if (folder / name).is_file())
        for some in pool.map(lambda name: check_file(folder, name, lists[name]), present):
            findings += some
        pairs = list(pairs_of(index, lattice, years, country))
        for some in pool.map(lambda pair: check_pair(folder, pair), pairs):
            findings += some
    return findings, {"files": len(present), "pairs": len(pairs), "pixels": len(pairs) * lattice.tile_size**2}


def pairs_of(index: pd.DataFrame, lattice: Lattice, years: Sequence[str], country: str) -> Iterable[Pair]:
    """What must be there, from the grid alone; one `Pair` per tile and year."""
    rows: dict[tuple[str, str], Any] = {(str(row["tile_id"]), str(row["year"])): row for row in index.to_dict("records")}
    side = lattice.tile_size
    for year in years:
        for cell in lattice.cells.to_dict("records"):
            name, row, col = str(cell["tile_id"]), int(cell["row"]) * side, int(cell["col"]) * side
            image, mask = (f"{year}/{kind}/{patch_name(kind, country, name, year)}" for kind in KINDS)
            yield Pair(name, year, image, mask, lattice.geobox[row : row + side, col : col + side], rows.get((name, year)))


def check_list(folder: Path, kind: str, listed: Mapping[str, str], names: Sequence[str]) -> list[Finding]:
    """A checksum list against the tiles of the grid, and the folder against the list.

    Args:
        folder: the year's folder.
        listed: checksum by name, e.g. IMAGE/IMG_GH_0001_2016.tif.
        names: file names that the grid asks for.
    """
    year = folder.name
    wanted = {f"{kind}/{name}" for name in names}
    here = {f"{kind}/{path.name}" for path in (folder / kind).iterdir()} if (folder / kind).is_dir() else set()
    found = [Finding("list", f"{year}/{name}", "is not in the checksum list") for name in sorted(wanted - set(listed))]
    found += [Finding("list", f"{year}/{name}", "is listed but is not a patch of the grid") for name in sorted(set(listed) - wanted)]
    found += [Finding("missing", f"{year}/{name}", "no such file") for name in sorted(wanted | set(listed)) if name not in here]
    found += [Finding("extra", f"{year}/{name}", "does not belong here") for name in sorted(here - set(listed) - wanted)]
    if len(names) != len(wanted):
        found.append(Finding("list", f"{year}/{kind}", f"{len(names)} tiles in the grid but {len(wanted)} different names"))
    return found


def check_file(folder: Path, name: str, checksum: str) -> list[Finding]:
    """A file's bytes against its listed checksum."""
    return [] if sha256(folder / name) == checksum else [Finding("altered", name, "its content is not what the checksum list says")]


def check_index(index: pd.DataFrame, lattice: Lattice, years: Sequence[str], country: str) -> list[Finding]:
    """The index's rows against the grid: one per tile and year, in its block, with its square and file names."""
    import shapely

    keys = list(zip(index["tile_id"].astype(str), index["year"].astype(str), strict=True))
    wanted = {(str(tile_id), year) for tile_id in lattice.cells["tile_id"] for year in years}
    where = "index.parquet"
    found = [Finding("index", where, f"no row for tile {tile} of {year}") for tile, year in sorted(wanted - set(keys))]
    found += [
        Finding("index", where, f"a row for tile {tile} of {year}, which is not in the grid") for tile, year in sorted(set(keys) - wanted)
    ]
    found += [
        Finding("index", where, f"{count} rows for tile {tile} of {year}")
        for (tile, year), count in sorted(Counter(keys).items())
        if count > 1
    ]
    cells = lattice.cells.set_index(lattice.cells["tile_id"].astype(str))
    known = index[[key in wanted for key in keys]]
    own = cells.loc[known["tile_id"].astype(str).to_list()]
    transform, side = lattice.geobox.transform, lattice.tile_size
    left, top = transform.c + own["col"].to_numpy() * side * transform.a, transform.f + own["row"].to_numpy() * side * transform.e
    squares = shapely.box(left, top + side * transform.e, left + side * transform.a, top)
    tests = {
        "block": known["block"].astype(str).to_numpy() == own["block"].astype(str).to_numpy(),
        "row and col": (known[["row", "col"]].to_numpy() == own[["row", "col"]].to_numpy()).all(axis=1),
        "geometry": shapely.equals(shapely.normalize(known.geometry.to_numpy()), shapely.normalize(squares)),
    }
    for kind, column in zip(KINDS, ("image", "mask"), strict=True):
        paths = [f"{year}/{kind}/{patch_name(kind, country, tile, year)}" for tile, year in keys]
        tests[column] = known[column].to_numpy() == np.array(paths, dtype=object)[[key in wanted for key in keys]]
    for what, good in tests.items():
        bad = known[~np.asarray(good, bool)]
        found += [
            Finding("index", where, f"wrong {what} for tile {tile} of {year}")
            for tile, year in zip(bad["tile_id"], bad["year"], strict=True)
        ]
    return found


def check_splits(folder: Path, index: pd.DataFrame) -> list[Finding]:
    """The file of splits against the tiles and years of the index, and against its column `split`."""
    try:
        known = read_splits(folder / "splits.csv", index)
    except UserError as error:
        return [Finding("splits", "splits.csv", f"{error.found} (expected {error.expected})")]
    both = index[["tile_id", "year", "split"]].merge(known, on=["tile_id", "year"], suffixes=("", "_listed"))
    return [
        Finding("splits", "splits.csv", f"tile {row['tile_id']} of {row['year']} is {row['split_listed']}, in the index {row['split']}")
        for row in both[both["split"] != both["split_listed"]].to_dict("records")
    ]


def check_seal(folder: Path, lists: Sequence[str | Path]) -> list[Finding]:
    """The seal against the folder: all files and no others; patches by the lists, whose bytes `check_file` reads."""
    try:
        sums = read_list(folder / SUMS)
        listed = {f"{path.parent.name}/{name}": checksum for path in map(Path, lists) for name, checksum in read_list(path).items()}
    except UserError as error:
        return [Finding("seal", SUMS, f"{error.found} (expected {error.expected})")]
    missing, extra = compare_with_sums(folder, sums)
    found = [Finding("seal", name, "is sealed but not there") for name in missing if name not in listed]
    found += [Finding("extra", name, "does not belong here") for name in extra if name not in listed]
    for name, checksum in sums.items():
        if name not in missing and checksum != (listed.get(name) or sha256(folder / name)):
            found.append(Finding("seal", name, "its content is not what was sealed"))
    return found


def check_checksums(index: pd.DataFrame, lists: Mapping[str, str]) -> list[Finding]:
    """The checksums in the index against those in the lists."""
    found = []
    for column in ("image", "mask"):
        for name, checksum in zip(index[column], index[f"{column}_sha256"], strict=True):
            if name in lists and lists[name] != checksum:
                found.append(Finding("index", name, "the index and the checksum list disagree"))
    return found


def check_pair(folder: Path, pair: Pair) -> list[Finding]:
    """The image and the mask of a tile: form, place, values, and both together and with the index's row."""
    image, found = open_patch(folder, pair.image, pair, PATCH_BANDS, UNITS, "float32", IMAGE_NODATA)
    mask, more = open_patch(folder, pair.mask, pair, ("mask",), None, "uint8", MASK_NODATA)
    found += more
    if image is not None:
        found += check_image(pair.image, image)
    if mask is not None:
        found += check_mask(pair.mask, mask[0])
    if image is not None and mask is not None and image.shape[1:] == mask.shape[1:]:
        found += check_together(pair, image, mask[0])
    return found


def open_patch(
    folder: Path, name: str, pair: Pair, bands: Sequence[str], units: Sequence[str] | None, dtype: str, nodata: float
) -> tuple[NDArray[Any] | None, list[Finding]]:
    """Read a patch and check its form: bands and their order, units, type, nodata, grid, tags.

    Returns:
        The (band, row, column) array, or None where the file is not fit for a look at its values, and the findings.
    """
    if not (folder / name).is_file():
        return None, []  # check_list says so
    try:
        with rasterio.open(folder / name) as source:
            geobox, tags = raster.geobox_of(source), source.tags()
            array = source.read()
            descriptions, types, has = source.descriptions, set(source.dtypes), source.nodata
            found_units = tuple(unit or "" for unit in source.units)
    except (RasterioError, ValueError) as error:
        return None, [Finding("readable", name, f"cannot be read: {error}")]
    found = []
    if geobox.shape != pair.geobox.shape:
        found.append(Finding("shape", name, f"{geobox.shape.x}×{geobox.shape.y} px instead of {pair.geobox.shape.x}×{pair.geobox.shape.y}"))
    if geobox.crs != pair.geobox.crs:
        found.append(Finding("crs", name, f"{geobox.crs} instead of {pair.geobox.crs}"))
    if geobox.transform != pair.geobox.transform:
        found.append(Finding("place", name, f"lies at {geobox.transform.to_gdal()} instead of {pair.geobox.transform.to_gdal()}"))
    if types != {dtype}:
        found.append(Finding("dtype", name, f"{', '.join(sorted(types))} instead of {dtype}"))
    if descriptions != tuple(bands):
        found.append(Finding("bands", name, f"bands {descriptions} instead of {tuple(bands)}"))
    elif units is not None and found_units != tuple(units):
        found.append(Finding("units", name, f"units {found_units} instead of {tuple(units)}"))
    if has != nodata:
        found.append(Finding("nodata", name, f"nodata {has} instead of {nodata:g}"))
    wrong = {key: tags.get(key) for key, value in (("TILE_ID", pair.tile_id), ("YEAR", pair.year)) if tags.get(key) != value}
    if wrong:
        found.append(Finding("tags", name, f"tags {wrong} do not name tile {pair.tile_id} of {pair.year}"))
    return (array if len(array) == len(bands) and types == {dtype} else None), found


def check_image(name: str, image: NDArray[np.float32]) -> list[Finding]:
    """The values of an image: finite, Sentinel-2 whole digital numbers or in no band, backscatter in dB."""
    found = []
    if not np.isfinite(image).all():
        found.append(Finding("nodata", name, "NaN or infinite values"))
    s2, s1 = image[: len(S2_BANDS)], image[len(S2_BANDS) : len(S2_BANDS) + 2]
    gap = s2 == IMAGE_NODATA
    if (gap.any(axis=0) != gap.all(axis=0)).any():
        found.append(Finding("nodata", name, "Sentinel-2 nodata in some bands only"))
    values = s2[~gap]
    if not ((values >= 1) & (values <= 65535) & (values == np.floor(values))).all():
        found.append(Finding("values", name, "Sentinel-2 values that are no digital numbers from 1 to 65535"))
    backscatter = [band[(band != IMAGE_NODATA) & np.isfinite(band)] for band in s1]
    if any((np.abs(band) > LARGEST_DB).any() for band in backscatter):
        found.append(Finding("values", name, f"Sentinel-1 values beyond ±{LARGEST_DB:g} dB: a wrapped nodata value?"))
    if all(band.size and band.min() > 0 for band in backscatter):
        found.append(Finding("values", name, "no Sentinel-1 value below 0 dB: linear power instead of dB?"))
    return found


def check_mask(name: str, mask: NDArray[np.uint8]) -> list[Finding]:
    """The values of a mask."""
    strange = np.setdiff1d(mask, (0, 1, MASK_NODATA))
    return [Finding("values", name, f"mask values {strange[:5].tolist()} besides 0, 1 and {MASK_NODATA}")] if strange.size else []


def check_together(pair: Pair, image: NDArray[np.float32], mask: NDArray[np.uint8]) -> list[Finding]:
    """Mask 255 exactly where Sentinel-2 has no data or a label is open; shares as the index says."""
    gap = (image[: len(S2_BANDS)] == IMAGE_NODATA).any(axis=0)
    none = mask == MASK_NODATA
    found = []
    if (gap & ~none).any():
        found.append(Finding("pair", pair.mask, f"{(gap & ~none).sum()} pixels have a class but no Sentinel-2 data"))
    row = pair.row
    if row is None:
        return found
    pixels, valid = mask.size, int((~none).sum())
    still_open = round(row["open_percent"] * pixels / 100)
    if int((none & ~gap).sum()) != still_open:
        found.append(
            Finding("pair", pair.mask, f"{(none & ~gap).sum()} pixels have Sentinel-2 data but no class; labels are open on {still_open}")
        )
    s1, dem = image[len(S2_BANDS) : len(S2_BANDS) + 2], image[-1]
    shares = {
        "mining_percent": 100 * int((mask == 1).sum()) / valid if valid else np.nan,
        "mask_nodata_percent": 100 * int(none.sum()) / pixels,
        "image_nodata_percent": 100 * int(gap.sum()) / pixels,
        "s1_nodata_percent": 100 * int((s1 == IMAGE_NODATA).any(axis=0).sum()) / pixels,
        "dem_nodata_percent": 100 * int((dem == IMAGE_NODATA).sum()) / pixels,
    }
    for column, value in shares.items():
        if not np.isclose(row[column], value, rtol=0, atol=1e-6, equal_nan=True):
            where = pair.mask if column.startswith("m") else pair.image
            found.append(Finding("index", where, f"{column} is {value:.6g} but {row[column]:.6g} in the index"))
    return found
