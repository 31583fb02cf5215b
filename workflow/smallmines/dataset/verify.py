"""Check the published folder against its checksum lists, its index, its seal and the grid.

Every file is hashed, and patches are decoded where no measurement of the same bytes is at hand.
The functions `check_…` return what they find wrong and change nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from odc.geo.geobox import GeoBox

from smallmines.core.errors import UserError
from smallmines.core.files import read_json, sha256, write_json
from smallmines.core.finding import Finding
from smallmines.core.log import logger
from smallmines.core.product import IMAGE, KINDS, LARGEST_DB, MASK, MASK_NODATA, PATCH_BANDS, S1, PatchFormat, patch_name, patch_path
from smallmines.dataset.assemble import read_list
from smallmines.dataset.index import read_index
from smallmines.dataset.measured import Measured, hashed, lone, read_measured
from smallmines.dataset.patch_measures import PatchMeasures, classes_of, measured, pair_counts
from smallmines.dataset.seal import SUMS, compare_with_sums
from smallmines.dataset.splits import read_splits
from smallmines.grid.lattice import Lattice
from smallmines.labels.label_quality import missed_gates

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 10
"""Number of findings shown on screen; the log has all."""


@dataclass(frozen=True)
class Expected:
    """What the dataset must hold: one image and one mask for each tile of the lattice and each year."""

    lattice: Lattice
    years: Sequence[str]
    country: str

    @property
    def tiles(self) -> list[tuple[str, str]]:
        """Tile id and year of each pair, by year."""
        return [(str(tile_id), year) for year in self.years for tile_id in self.lattice.cells["tile_id"]]


@dataclass(frozen=True)
class VerifiedFiles:
    """The checksum lists `<year>/<kind>.sha256`, the index beside them, labels.json, and measurements of patches."""

    lists: Sequence[str | Path]
    index: str | Path
    label_quality: str | Path
    measured: Sequence[str | Path] = ()


@dataclass(frozen=True)
class Pair:
    """The image and mask that one tile and year must have.

    Attributes:
        image, mask: paths from the dataset's folder.
        geobox: grid of both.
        row: the tile's row of the index by column, or None where it has none.
    """

    tile_id: str
    year: str
    image: str
    mask: str
    geobox: GeoBox
    row: Mapping[str, Any] | None


def verify(files: VerifiedFiles, expected: Expected, gates: Mapping[str, float | None], run: str, threads: int, target: str | Path) -> None:
    """Check the dataset beside the index and write what was checked to `target`.

    Args:
        gates: `labels.gates` of the configuration, limits for labels.json.
        run: name of the run, for the message.

    Raises:
        UserError: with the first findings; all of them are in the log.
    """
    folder = Path(files.index).parent
    table = read_index(files.index)
    findings, checked = verify_dataset(folder, table, expected, threads, read_measured(files.measured, ["patch"]))
    findings += check_splits(folder, table)
    findings += check_seal(folder, files.lists)
    findings += check_gates(files.label_quality, gates)
    for finding in findings:
        logger.error("%s", _line(finding))
    if findings:
        kinds = ", ".join(f"{count} × {check}" for check, count in sorted(Counter(finding.check for finding in findings).items()))
        first = "\n          ".join(_line(finding) for finding in findings[:SHOWN])
        more = f"\n          … and {len(findings) - SHOWN} more in the log" if len(findings) > SHOWN else ""
        raise UserError(
            f"a sound dataset in {folder}",
            f"{len(findings)} problems ({kinds}):\n          {first}{more}",
            f"move away files that are not the dataset's; then run {run} again with --forcerun assemble where patches are missing, "
            "with --forcerun image_patches mask_patches where they are altered; where a gate is missed, see docs/label_quality.md",
        )
    write_json(target, {"findings": 0, "tiles": len(expected.lattice.cells), "years": list(expected.years), "rows": len(table), **checked})
    logger.info("no findings in %s", ", ".join(f"{number} {name}" for name, number in checked.items()))


def _problem(check: str, name: str, text: str) -> Finding:
    """Return a finding about one file, named from the dataset's folder."""
    return Finding("error", "dataset", check, "", text, tiles=(name,))


def _line(finding: Finding) -> str:
    return f"{finding.tiles[0]}: {finding.found} [{finding.check}]"


def verify_dataset(
    folder: Path, index: pd.DataFrame, expected: Expected, threads: int = 1, kept: Measured | None = None
) -> tuple[list[Finding], dict[str, int]]:
    """Return all findings on a published folder, in the order of the checks, and how much was checked.

    Args:
        kept: measurements, which are used for files whose bytes have their checksum.
    """
    findings = check_index(index, expected)
    lists: dict[str, str] = {}
    for year in expected.years:
        for kind in KINDS:
            try:
                listed = read_list(folder / year / f"{kind}.sha256")
            except UserError as error:
                findings.append(_problem("list", f"{year}/{kind}.sha256", f"{error.found} (expected {error.expected})"))
                continue
            names = [patch_name(kind, expected.country, tile_id, year) for tile_id in expected.lattice.cells["tile_id"]]
            findings += check_list(folder / year, kind, listed, names)
            lists |= {f"{year}/{name}": checksum for name, checksum in listed.items()}
    findings += check_checksums(index, lists)
    present = sorted(name for name in lists if (folder / name).is_file())
    checksums = hashed(folder, present, threads)
    altered = [name for name in present if checksums.get(name) != lists[name]]
    findings += [_problem("altered", name, "its content is not what the checksum list says") for name in altered]
    pairs = list(pairs_of(index, expected))
    alone = lone(folder, checksums)
    measurable = [(name, kind) for pair in pairs for name, kind in ((pair.image, "image"), (pair.mask, "mask")) if name in alone]
    at_hand = {} if kept is None else {name: kept.patch(checksums[name], kind) for name, kind in measurable}
    patches = {name: patch for name, patch in at_hand.items() if patch is not None}
    logger.info("%d of %d files need not be read again", len(patches), len(present))
    with ThreadPoolExecutor(threads) as pool:
        for of_pair in pool.map(lambda pair: check_pair(folder, pair, patches), pairs):
            findings += of_pair
    return findings, {"files": len(present), "pairs": len(pairs), "pixels": len(pairs) * expected.lattice.tile_size**2}


def pairs_of(index: pd.DataFrame, expected: Expected) -> Iterator[Pair]:
    """Yield the pair that each tile of the grid and each year must have."""
    rows: dict[tuple[str, str], Any] = {(str(row["tile_id"]), str(row["year"])): row for row in index.to_dict("records")}
    lattice = expected.lattice
    side = lattice.tile_size
    for year in expected.years:
        for cell in lattice.cells.to_dict("records"):
            tile_id, row, col = str(cell["tile_id"]), int(cell["row"]) * side, int(cell["col"]) * side
            image, mask = (patch_path(kind, expected.country, tile_id, year) for kind in KINDS)
            yield Pair(tile_id, year, image, mask, lattice.geobox[row : row + side, col : col + side], rows.get((tile_id, year)))


def check_list(folder: Path, kind: str, listed: Mapping[str, str], names: Sequence[str]) -> list[Finding]:
    """Check a checksum list against the tiles of the grid, and the folder against the list.

    Args:
        folder: the year's folder.
        listed: checksum by name, e.g. IMAGE/IMG_GH_0001_2016.tif.
        names: file names that the grid asks for.
    """
    year = folder.name
    wanted = {f"{kind}/{name}" for name in names}
    present = {f"{kind}/{path.name}": path.is_file() for path in (folder / kind).iterdir()} if (folder / kind).is_dir() else {}
    files = {name for name, is_file in present.items() if is_file}  # no folder, and no link to nowhere
    problems = {
        ("list", "is not in the checksum list"): wanted - set(listed),
        ("list", "is listed but is not a patch of the grid"): set(listed) - wanted,
        ("missing", "no such file"): (wanted | set(listed)) - files,
        ("extra", "does not belong here"): set(present) - set(listed) - wanted,
    }
    findings = [_problem(check, f"{year}/{name}", text) for (check, text), files in problems.items() for name in sorted(files)]
    if len(names) != len(wanted):
        findings.append(_problem("list", f"{year}/{kind}", f"{len(names)} tiles in the grid but {len(wanted)} different names"))
    return findings


def check_index(index: pd.DataFrame, expected: Expected) -> list[Finding]:
    """Check the index's rows against the grid: one per tile and year, in its block, with its square and file names."""
    keys = list(zip(index["tile_id"].astype(str), index["year"].astype(str), strict=True))
    wanted = set(expected.tiles)
    problems = [f"no row for tile {tile} of {year}" for tile, year in sorted(wanted - set(keys))]
    problems += [f"a row for tile {tile} of {year}, which is not in the grid" for tile, year in sorted(set(keys) - wanted)]
    problems += [f"{count} rows for tile {tile} of {year}" for (tile, year), count in sorted(Counter(keys).items()) if count > 1]
    rows = index[[key in wanted for key in keys]]
    for name, good in _row_checks(rows, expected).items():
        wrong = rows[~np.asarray(good, bool)]
        problems += [f"wrong {name} for tile {tile} of {year}" for tile, year in zip(wrong["tile_id"], wrong["year"], strict=True)]
    return [_problem("index", "index.parquet", text) for text in problems]


def _row_checks(rows: pd.DataFrame, expected: Expected) -> dict[str, Any]:
    """Return by column or columns whether each row of the index has the values that the grid gives."""
    import shapely

    lattice = expected.lattice
    cells = lattice.cells.set_index(lattice.cells["tile_id"].astype(str)).loc[rows["tile_id"].astype(str).to_list()]
    transform, side = lattice.geobox.transform, lattice.tile_size
    left, top = transform.c + cells["col"].to_numpy() * side * transform.a, transform.f + cells["row"].to_numpy() * side * transform.e
    squares = shapely.box(left, top + side * transform.e, left + side * transform.a, top)
    checks = {
        "block": rows["block"].astype(str).to_numpy() == cells["block"].astype(str).to_numpy(),
        "row and col": (rows[["row", "col"]].to_numpy() == cells[["row", "col"]].to_numpy()).all(axis=1),
        "geometry": shapely.equals(shapely.normalize(rows.geometry.to_numpy()), shapely.normalize(squares)),
    }
    for kind, column in zip(KINDS, ("image", "mask"), strict=True):
        paths = [patch_path(kind, expected.country, str(tile), str(year)) for tile, year in zip(rows["tile_id"], rows["year"], strict=True)]
        checks[column] = rows[column].to_numpy() == np.array(paths, dtype=object)
    return checks


def check_splits(folder: Path, index: pd.DataFrame) -> list[Finding]:
    """Check splits.csv against the tiles and years of the index, and against its column `split`."""
    try:
        splits = read_splits(folder / "splits.csv", index)
    except UserError as error:
        return [_problem("splits", "splits.csv", f"{error.found} (expected {error.expected})")]
    both = index[["tile_id", "year", "split"]].merge(splits, on=["tile_id", "year"], suffixes=("", "_listed"))
    return [
        _problem("splits", "splits.csv", f"tile {row['tile_id']} of {row['year']} is {row['split_listed']}, in the index {row['split']}")
        for row in both[both["split"] != both["split_listed"]].to_dict("records")
    ]


def check_seal(folder: Path, lists: Sequence[str | Path]) -> list[Finding]:
    """Check that SHA256SUMS lists all files of the folder and no others; patches by their lists, whose bytes `check_file` reads."""
    try:
        sums = read_list(folder / SUMS)
        listed = {f"{path.parent.name}/{name}": checksum for path in map(Path, lists) for name, checksum in read_list(path).items()}
    except UserError as error:
        return [_problem("seal", SUMS, f"{error.found} (expected {error.expected})")]
    missing, extra = compare_with_sums(folder, sums)
    findings = [_problem("seal", name, "is sealed but not there") for name in missing if name not in listed]
    findings += [_problem("extra", name, "does not belong here") for name in extra if name not in listed]
    for name, checksum in sums.items():
        if name not in missing and checksum != (listed.get(name) or sha256(folder / name)):
            findings.append(_problem("seal", name, "its content is not what was sealed"))
    return findings


def check_gates(label_quality: str | Path, gates: Mapping[str, float | None]) -> list[Finding]:
    """Check the limits of `labels.gates` against labels.json."""
    try:
        missed = missed_gates(read_json(label_quality), gates)
    except (UserError, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        found = error.found if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        return [_problem("labels", "labels.json", f"is not what label_quality writes: {found}")]
    return [_problem("gate", "labels.json", text) for text in missed]


def check_checksums(index: pd.DataFrame, lists: Mapping[str, str]) -> list[Finding]:
    """Check the checksums in the index against those in the lists."""
    return [
        _problem("index", name, "the index and the checksum list disagree")
        for column in ("image", "mask")
        for name, checksum in zip(index[column], index[f"{column}_sha256"], strict=True)
        if name in lists and lists[name] != checksum
    ]


def check_pair(folder: Path, pair: Pair, patches: Mapping[str, PatchMeasures]) -> list[Finding]:
    """Check the image and the mask of a tile: form, grid, values, both together, and the shares in the index's row.

    Args:
        patches: measurements by name, where they are at hand.
    """
    image, findings = check_form(folder, pair.image, pair, IMAGE, patches)
    mask, of_mask = check_form(folder, pair.mask, pair, MASK, patches)
    findings += of_mask
    if image is not None:
        findings += check_image(pair.image, image)
    if mask is not None:
        if strange := list(classes_of(mask).strange):
            findings.append(_problem("values", pair.mask, f"mask values {strange} besides 0, 1 and {MASK_NODATA}"))
        if image is not None:
            findings += check_together(pair, image, mask)
    return findings


def check_form(
    folder: Path, name: str, pair: Pair, wanted: PatchFormat, patches: Mapping[str, PatchMeasures]
) -> tuple[PatchMeasures | None, list[Finding]]:
    """Check the form of a patch: bands and their order, units, type, nodata, grid, tags.

    Returns:
        The measurements, or None where the values cannot be checked, and the findings.
    """
    if not (folder / name).is_file():
        return None, []  # check_list reports it
    patch = patches.get(name) or measured(folder / name, wanted.kind.lower())[0]
    if patch.error or patch.form is None:
        return None, [_problem("readable", name, f"cannot be read: {patch.error}")]
    form, geobox = patch.form, patch.form.geobox
    problems = []
    if geobox.shape != pair.geobox.shape:
        problems.append(("shape", f"{geobox.shape.x}×{geobox.shape.y} px instead of {pair.geobox.shape.x}×{pair.geobox.shape.y}"))
    if geobox.crs != pair.geobox.crs:
        problems.append(("crs", f"{geobox.crs} instead of {pair.geobox.crs}"))
    if geobox.transform != pair.geobox.transform:
        problems.append(("place", f"lies at {geobox.transform.to_gdal()} instead of {pair.geobox.transform.to_gdal()}"))
    if form.dtypes != (wanted.dtype,):
        problems.append(("dtype", f"{', '.join(form.dtypes)} instead of {wanted.dtype}"))
    if form.bands != wanted.bands:
        problems.append(("bands", f"bands {form.bands} instead of {wanted.bands}"))
    elif any(wanted.units) and form.units != wanted.units:
        problems.append(("units", f"units {form.units} instead of {wanted.units}"))
    if form.nodata != wanted.nodata:
        problems.append(("nodata", f"nodata {form.nodata} instead of {wanted.nodata:g}"))
    own_tags = {"TILE_ID": pair.tile_id, "YEAR": pair.year}
    if wrong := {key: form.tags.get(key) for key, value in own_tags.items() if form.tags.get(key) != value}:
        problems.append(("tags", f"tags {wrong} do not name tile {pair.tile_id} of {pair.year}"))
    fit = bool(patch.planes.size) and form.dtypes == (wanted.dtype,)
    return (patch if fit else None), [_problem(check, name, text) for check, text in problems]


def check_image(name: str, image: PatchMeasures) -> list[Finding]:
    """Check the values of an image: finite, Sentinel-2 whole digital numbers or in no band, backscatter in dB."""
    values = image.values
    problems = []
    if values["nonfinite"]:
        problems.append(("nodata", "NaN or infinite values"))
    if values["partial"]:
        problems.append(("nodata", "Sentinel-2 nodata in some bands only"))
    if values["fraction"] or values["outside"]:
        problems.append(("values", "Sentinel-2 values that are no digital numbers from 1 to 65535"))
    radar = PATCH_BANDS[S1]
    if any(values[f"n_{band}"] and max(-values[f"min_{band}"], values[f"max_{band}"]) > LARGEST_DB for band in radar):
        problems.append(("values", f"Sentinel-1 values beyond ±{LARGEST_DB:g} dB: a wrapped nodata value?"))
    if all(values[f"n_{band}"] and values[f"min_{band}"] > 0 for band in radar):
        problems.append(("values", "no Sentinel-1 value below 0 dB: linear power instead of dB?"))
    return [_problem(check, name, text) for check, text in problems]


def check_together(pair: Pair, image: PatchMeasures, mask: PatchMeasures) -> list[Finding]:
    """Check that the mask is 255 exactly where Sentinel-2 has no data or a label is open, and the shares in the index.

    Where labels come from a release, the index says how many pixels have a class without Sentinel-2 data.
    """
    counts, classes = pair_counts(image, mask), classes_of(mask)
    findings: list[Finding] = []
    if counts is None:
        return findings
    row = pair.row
    pixels = mask.size[0] * mask.size[1]
    labelled = pixels - classes.unlabelled
    if counts.unsupported != (0 if row is None else _pixels(row.get("unsupported_percent", 0.0), pixels)):
        findings.append(_problem("pair", pair.mask, f"{counts.unsupported} pixels have a class but no Sentinel-2 data"))
    if row is None:
        return findings
    still_open = _pixels(row["open_percent"], pixels)
    if counts.unused != still_open:
        text = f"{counts.unused} pixels have Sentinel-2 data but no class; labels are open on {still_open}"
        findings.append(_problem("pair", pair.mask, text))
    shares = {
        "mining_percent": 100 * classes.mining / labelled if labelled else np.nan,
        "mask_nodata_percent": 100 * classes.unlabelled / pixels,
        "image_nodata_percent": 100 * counts.s2_gap / pixels,
        "s1_nodata_percent": 100 * counts.s1_gap / pixels,
        "dem_nodata_percent": 100 * counts.dem_gap / pixels,
    }
    for column, value in shares.items():
        if not np.isclose(row[column], value, rtol=0, atol=1e-6, equal_nan=True):
            name = pair.mask if column.startswith("m") else pair.image
            findings.append(_problem("index", name, f"{column} is {value:.6g} but {row[column]:.6g} in the index"))
    return findings


def _pixels(percent: float, pixels: int) -> int:
    """Return the number of pixels that a percentage of the index stands for; -1 where it is none."""
    return round(percent * pixels / 100) if np.isfinite(percent) else -1
