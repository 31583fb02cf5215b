"""Read the masks of a released dataset: from a local folder or zip, or from the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from smallmines.archive.release_download import Source, folder_of, masks_from_hub
from smallmines.archive.release_pins import another, read_pins, read_sums, require_sums
from smallmines.archive.release_zip import AGAIN, extract, is_extracted, opened_zip, patches_in, require_tiff, require_year, require_years
from smallmines.core.errors import UserError
from smallmines.core.files import sha256
from smallmines.core.layout import UserFolder
from smallmines.core.log import logger
from smallmines.core.patch_files import Header, patch_files, read_header
from smallmines.core.product import parse_patch_name
from smallmines.core.readable import raster_problem
from smallmines.core.release import Release, ReleasedMask, write_release
from smallmines.grid.lattice import Lattice, read_lattice
from smallmines.settings.released import Released

NEAR = 0.01
"""Distance from whole pixels, in pixels, up to which a mask lies on them."""


def read_released(settings: Released, years: Sequence[str], user_folder: str | Path, grid: str | Path, out: str | Path) -> None:
    """Read the masks of a released dataset and write `release.json`.

    Args:
        settings: where the release is.
        years: of the run.
        user_folder: people's files of the run, where the pins are.
        grid: `grid.json`.
        out: `release.json`.

    Raises:
        UserError: the release cannot be read, is another one than the run is pinned to, or does not lie on the run's lattice.
    """
    lattice, user = read_lattice(grid), UserFolder(Path(user_folder))
    if settings.path is None:
        source = masks_from_hub(settings, years, user)
    elif Path(settings.path).is_dir():
        source = _from_folder(settings, years)
    else:
        source = _from_zip(settings, years)
    masks = tuple(_located(path, lattice) for path in source.paths)
    masks = tuple(sorted(masks, key=lambda mask: (mask.year, mask.name)))
    _require_own_places(masks)
    if settings.path is not None:
        _require_pinned(source, masks, settings, user)
    only_ours, only_released = _unmatched(masks, years, lattice)
    release = Release(
        source.source, source.reading, source.address, source.revision, source.sha256, source.size, masks, only_ours, only_released
    )
    write_release(out, release)
    for year in years:
        count = sum(mask.year == int(year) for mask in masks)
        ours, theirs = len(only_ours[year]), len(only_released[year])
        logger.info("%s: %d released masks; %d tiles of the run without one, %d masks on no tile of the run", year, count, ours, theirs)


def _from_folder(settings: Released, years: Sequence[str]) -> Source:
    """Take the masks of a local folder where they lie."""
    address = str(settings.path)
    if settings.sha256 is not None:
        expected = f"an archive in released.path with SHA-256 {settings.sha256} (released.sha256)"
        raise UserError(expected, f"the folder {address}", "name the zip, or empty released.sha256")
    paths: dict[str, Path] = {}
    present: set[str] = set()
    for path in patch_files(address, ["MASK"]):
        parts = parse_patch_name(path.name)
        assert parts is not None
        if parts.year not in years:
            continue
        require_year(path.relative_to(address), parts.year, address)
        if path.name in paths:
            raise UserError(f"each mask once in {address}", f"{paths[path.name]} and {path}", "name a folder that holds one release")
        paths[path.name] = path
        present.add(parts.year)
    require_years(present, "MASK", years, address)
    return Source("folder", "folder", address, list(paths.values()))


def _from_zip(settings: Released, years: Sequence[str]) -> Source:
    """Extract the masks of a local zip, those that are not there yet."""
    path, checksum = local_zip(settings)
    with opened_zip(path, str(path)) as archive:
        members = patches_in(archive, str(path), "MASK", years)
        paths = [folder_of(checksum) / member.year / "MASK" / member.name for member in members]
        for member, target in zip(members, paths, strict=True):
            if not is_extracted(member, target):
                extract(archive, member, target)
    return Source("zip", "whole", str(path), paths, sha256=checksum, size=path.stat().st_size)


def local_zip(settings: Released) -> tuple[Path, str]:
    """Return the local archive and its SHA-256.

    Raises:
        UserError: there is no such file, or it has another checksum than `released.sha256`.
    """
    path = Path(str(settings.path))
    if not path.is_file():
        raise UserError("a folder or zip in released.path", f"no such file: {path}", "correct released.path, or empty it to download")
    checksum = sha256(path)
    if settings.sha256 not in (None, checksum):
        raise UserError(f"{path} with SHA-256 {settings.sha256} (released.sha256)", checksum, "name the archive that is meant")
    return path, checksum


def _require_pinned(source: Source, masks: Sequence[ReleasedMask], settings: Released, user: UserFolder) -> None:
    """Refuse a local archive, or masks of a folder, of another content than that on the Hub to which the run is pinned, if it is."""
    pins = read_pins(user, settings)
    if pins is not None and source.sha256 not in (None, pins.sha256):
        raise another(user, f"sha256 {pins.sha256}", f"{source.sha256} of {source.address}")
    if pins is not None and source.sha256 is None:
        years = {name.split("/")[0] for name in read_sums(user)}
        require_sums(user, {f"{mask.year}/MASK/{mask.name}": mask.sha256 for mask in masks if str(mask.year) in years})


def _located(path: Path, lattice: Lattice) -> ReleasedMask:
    """Return a mask with its place and checksum.

    Raises:
        UserError: it is no GeoTIFF, cannot be read to its end, has another CRS, resolution or size than the tiles of the run, or does not
            lie on a tile of the lattice.
    """
    if not path.is_file():  # a pipe would be waited for
        raise UserError(f"a readable mask {path}", "no file", AGAIN)
    require_tiff(path, path.read_bytes())
    header = read_header(path)
    if reason := raster_problem(path):
        raise UserError(f"a readable mask {path}", reason, AGAIN)
    _require_on_lattice(header, lattice)
    return ReleasedMask(path.name, int(header.year), str(path), sha256(path), header.left, header.top)


def _require_on_lattice(header: Header, lattice: Lattice) -> None:
    geobox, side = lattice.geobox, lattice.tile_size
    step = geobox.resolution.x
    col, row = (header.left - geobox.transform.c) / step, (geobox.transform.f - header.top) / step
    form = geobox.crs == header.crs and max(abs(axis - step) for axis in header.resolution) < 1e-6
    pixels = max(abs(col - round(col)), abs(row - round(row))) < NEAR
    if form and pixels and (header.width, header.height) == (side, side) and round(col) % side == 0 and round(row) % side == 0:
        return
    size = f"{header.width} × {header.height} px of {header.resolution[0]:g} m"
    raise UserError(
        f"masks on tiles of the run's lattice: {geobox.crs}, {side} × {side} px of {step:g} m, "
        f"corner {geobox.transform.c:.1f}, {geobox.transform.f:.1f}",
        f"{header.path}: {header.crs}, {size}, corner {header.left:.1f}, {header.top:.1f}",
        "set grid.anchor to the corner of a released mask, and grid.crs, grid.resolution and grid.tile_size as the release has them",
    )


def _require_own_places(masks: Sequence[ReleasedMask]) -> None:
    """Refuse masks of a year that lie on one place."""
    first: dict[tuple[int, int, int], ReleasedMask] = {}
    for mask in masks:
        other = first.setdefault((mask.year, round(mask.left), round(mask.top)), mask)
        if other is not mask:
            raise UserError("one released mask a place and year", f"{other.path} and {mask.path} lie on one", "remove the wrong one")


def _unmatched(masks: Sequence[ReleasedMask], years: Sequence[str], lattice: Lattice) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return by year the tiles without a mask, and the names of masks on no tile."""
    transform, side = lattice.geobox.transform, lattice.tile_size * lattice.geobox.resolution.x
    tiles = {(tile.row, tile.col): tile.tile_id for tile in lattice.tiles}
    only_ours, only_released = {}, {}
    for year in years:
        places = {
            (round((transform.f - mask.top) / side), round((mask.left - transform.c) / side)): mask.name
            for mask in masks
            if mask.year == int(year)
        }
        only_ours[year] = sorted(tile for place, tile in tiles.items() if place not in places)
        only_released[year] = sorted(name for place, name in places.items() if place not in tiles)
    return only_ours, only_released
