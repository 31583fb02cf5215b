"""Disk use of the cache of pixels: which runs list its files, which files no job reads any more, and their removal.

Composites read the pixels once; after that only the rule `software` reads the versions in their tags. So of each file that is removed a
stub of one pixel with its tags stays in the folder `removed` beside it. Snakemake knows the lists of the files (`fetched/`) and not the
files, so a removal makes it plan nothing. A composite that is to be made again stops and names the list to delete.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from smallmines.core.errors import UserError
from smallmines.core.layout import PIXELS
from smallmines.sensors.manifest import Entry
from smallmines.sensors.manifest_files import read_fetched, read_list

REMOVED = "removed"
"""Folder of the stubs of an item's removed files."""


@dataclass(frozen=True)
class CachedFile:
    """A file of the cache.

    Attributes:
        path: from the root of the repository.
        size: in bytes.
        runs: names of the runs that list it, sorted.
        waiting: lists whose composites are not there or older than the list: they are still to be made from it.
    """

    path: Path
    size: int
    runs: tuple[str, ...] = ()
    waiting: tuple[Path, ...] = ()

    @property
    def item(self) -> str:
        """Id of the item."""
        return self.path.parent.name


def cached_files(root: Path = Path()) -> list[CachedFile]:
    """Return the files of the cache by path, with the runs in `root` that list them.

    Raises:
        UserError: a list of fetched files cannot be read.
    """
    lists: dict[Path, list[Path]] = {}
    for path in sorted(root.glob("results/*/fetched/*/*/*.json")):
        for file in _listed(path):
            lists.setdefault(root / file, []).append(path)
    files = (path for path in sorted((root / PIXELS).glob("*/*.tif")) if not path.name.startswith("."))
    return [_cached(file, lists.get(file, [])) for file in files]


def _cached(file: Path, lists: list[Path]) -> CachedFile:
    runs = {path.parents[3].name for path in lists}
    return CachedFile(file, file.stat().st_size, tuple(sorted(runs)), tuple(path for path in lists if not _is_composed(path)))


def _is_composed(path: Path) -> bool:
    """Return whether the composite of a list of fetched files is there and not older than the list."""
    year, block = path.parent.parent.name, path.parent.name
    folder = path.parents[3] / "composites" / year / block
    products = [folder / f"{path.stem}.tif", folder / path.name]
    return all(product.is_file() and product.stat().st_mtime >= path.stat().st_mtime for product in products)


def removable(files: Iterable[CachedFile], run: str | None) -> list[CachedFile]:
    """Return the files that no run lists (`run` None), or those that only this run lists and no composite waits for."""
    if run is None:
        return [file for file in files if not file.runs]
    return [file for file in files if file.runs == (run,) and not file.waiting]


def remove(files: Iterable[CachedFile], root: Path = Path()) -> list[CachedFile]:
    """Remove files of the cache; of those that a run lists, a stub with their tags stays.

    Returns:
        The files that a run lists and that cannot be read: they are removed without a stub, and their list must be made again.

    Raises:
        UserError: a run is going on.
    """
    if any((root / ".snakemake/locks").glob("*")):
        raise UserError("no run that is going on", f"locks in {root}/.snakemake/locks", "wait until it ends, or snakemake --unlock")
    broken = []
    for file in files:
        if file.runs and not _write_stub(file.path):
            broken.append(file)
        file.path.unlink()
        if not any(file.path.parent.iterdir()):
            file.path.parent.rmdir()
    return broken


def runs_of(root: Path = Path()) -> list[str]:
    """Return the runs that have lists of fetched files, sorted."""
    return sorted({path.parent.name for path in root.glob("results/*/fetched")})


def files_or_stubs(path: str | Path) -> list[Path]:
    """Return the cached files of a list of fetched files; where one was removed, its stub with the same tags.

    Raises:
        UserError: the list cannot be read, or a file is missing and has no stub, cut or longer.
    """
    files = {Path(file): stub_of(Path(file)) for file in _listed(path)}
    if all(file.is_file() or not stub.is_file() for file, stub in files.items()):
        read_fetched(path, Entry)  # checks presence and sizes
    return [_first_there(file, stub, path) for file, stub in files.items()]


def stub_of(file: Path) -> Path:
    """Return the place of the stub of a cached file."""
    return file.parent / REMOVED / file.name


def _first_there(file: Path, stub: Path, path: str | Path) -> Path:
    if not (file.is_file() or stub.is_file()):
        raise UserError(f"the pixels listed in {path}", f"missing: {file}", f"delete {path} and run again to fetch them")
    return file if file.is_file() else stub


def _listed(path: str | Path) -> Iterator[str]:
    for item in read_list(path, Entry).items:
        yield from item.files.values()


def _write_stub(file: Path) -> bool:
    """Write one pixel of nodata with the tags of a file; return False where the file cannot be read."""
    import numpy as np
    import rasterio
    from rasterio.errors import RasterioError

    from smallmines.core.raster import created, geobox_of

    try:
        with rasterio.open(file) as source:
            tags = {key: value for key, value in source.tags().items() if key != "AREA_OR_POINT"}
            nodata = 0 if source.nodata is None else source.nodata
            dtype, box, bands = source.dtypes[0], geobox_of(source)[:1, :1], list(source.descriptions)
    except (RasterioError, ValueError):
        return False
    with created(stub_of(file), box, dtype, nodata, bands, tags) as target:
        target.write(np.full((1, 1), nodata, dtype), 1)
    return True
