"""Hard-link every block's patches into the published folder of a year, and write its checksum list.

`dataset/<year>/IMAGE/IMG_…tif` with `dataset/<year>/IMAGE.sha256`, whose names are relative to the list, so that
`cd dataset/2016 && sha256sum -c IMAGE.sha256` checks it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from smallmines.core.errors import UserError
from smallmines.core.files import link_or_copy, sha256, written
from smallmines.core.log import logger
from smallmines.core.product import FORMATS, patch_name
from smallmines.core.readable import unreadable
from smallmines.dataset.measured import measured_checksums
from smallmines.grid.lattice import Lattice


def assemble(
    folders: Mapping[str, str | Path],
    lattice: Lattice,
    year: str,
    kind: str,
    country: str,
    target: str | Path,
    measured: Sequence[str | Path] = (),
) -> dict[str, int]:
    """Make the folder beside the list `target` hold exactly the blocks' patches, and write the list.

    A published file whose bytes are right stays as it is, with its inode and modification time. Patches that are not listed,
    side-car files of viewers (`*.aux.xml`) and temporary files of earlier runs are removed. Any other file may be a user's: it
    stays, is logged, and `verify` refuses it.

    Args:
        folders: per block the folder of its patches.
        kind: IMAGE or MASK.
        target: the list, `…/dataset/<year>/<kind>.sha256`.
        measured: tables of measurements: a patch with the checksum of a measurement has been decoded to its end.

    Returns:
        Counts of files: linked, copied, kept, removed, strange.

    Raises:
        UserError: a tile is missing from its block's folder, or is there twice, or a folder holds a patch of another block; a patch cannot
            be decoded to its end.
    """
    target = Path(target)
    folder = target.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    patches = find_patches(folders, lattice, year, kind, country)
    checksums = {name: sha256(source) for name, source in sorted(patches.items())}
    decoded = measured_checksums(measured)
    _refuse_broken({name: source for name, source in patches.items() if checksums[name] not in decoded}, year, kind)
    count: Counter[str] = Counter(linked=0, copied=0, kept=0, removed=0, strange=0)
    lines = []
    for name, checksum in checksums.items():
        count[_place(patches[name], folder / name, checksum)] += 1
        lines.append(f"{checksum}  {folder.name}/{name}\n")
    for path in sorted(folder.iterdir()):
        if path.name not in patches:
            count[_clear(path, kind)] += 1
    with written(target) as beside:
        beside.write_text("".join(lines), encoding="ascii")
    logger.info("%s %s: %s", year, kind, ", ".join(f"{number} {name}" for name, number in count.items()))
    return dict(count)


def find_patches(folders: Mapping[str, str | Path], lattice: Lattice, year: str, kind: str, country: str) -> dict[str, Path]:
    """Return the patch of every tile by file name, each from the folder of its own block.

    Raises:
        UserError: see `assemble`.
    """
    patches: dict[str, Path] = {}
    missing: list[str] = []
    strange: list[str] = []
    for block, folder in folders.items():
        present = {path.name: path for path in sorted(Path(folder).glob("*.tif"))}
        wanted = [patch_name(kind, country, tile.tile_id, year) for tile in lattice.tiles_of(block)]
        missing += [f"{folder}/{name}" for name in wanted if name not in present]
        strange += [str(path) for name, path in present.items() if name not in wanted or name in patches]
        patches |= {name: present[name] for name in wanted if name in present}
    if not missing and not strange and len(patches) != len(lattice.tiles):
        missing += sorted({patch_name(kind, country, tile.tile_id, year) for tile in lattice.tiles} - set(patches))
    if missing or strange:
        problems = [
            f"{len(paths)} {problem} ({', '.join(paths[:3])}{' …' if len(paths) > 3 else ''})"
            for problem, paths in (("missing", missing), ("too many or double", strange))
            if paths
        ]
        rule = "image_patches" if kind == "IMAGE" else "mask_patches"
        raise UserError(
            f"one {kind} patch of {year} for each of {len(lattice.tiles)} tiles", "; ".join(problems), f"run again with --forcerun {rule}"
        )
    return patches


def _refuse_broken(patches: Mapping[str, Path], year: str, kind: str) -> None:
    """Decode patches whole, 3 ms each, before any is published.

    The published files are hard links: what cuts one short cuts its source too, and its checksum would vouch for the rest.
    """
    broken = list(unreadable(patches.values()))
    if broken:
        named = "; ".join(f"{path}: {reason}" for path, reason in broken[:3])
        folders = " ".join(sorted({str(path.parent) for path, _ in broken}))
        raise UserError(
            f"{len(patches)} readable {kind} patches of {year}",
            f"{len(broken)} that cannot be read ({named}{'; …' if len(broken) > 3 else ''})",
            f"delete {folders} and run again, which makes them anew",
        )


def _place(source: Path, target: Path, checksum: str) -> str:
    """Link or copy `source` to `target` unless its bytes are there; return kept, linked or copied."""
    if target.is_file() and not target.is_symlink() and (target.samefile(source) or sha256(target) == checksum):
        return "kept"
    if target.is_dir() and not target.is_symlink():
        raise UserError(f"a file or nothing at {target}", "a folder", "move the folder elsewhere")
    with written(target, sweep=False) as beside:  # `_clear` sweeps the whole folder once
        beside.unlink(missing_ok=True)
        return link_or_copy(source, beside)


def _clear(path: Path, kind: str) -> str:
    """Remove a patch that is not listed, or a side-car file; log any other file. Return removed or strange."""
    ours = path.suffix == ".tif" and path.name.lstrip(".").startswith(tuple(f"{form.prefix}_" for form in FORMATS.values()))
    if (ours or path.name.endswith(".tif.aux.xml")) and (path.is_file() or path.is_symlink()):
        path.unlink()
        logger.info("removed %s, which is no longer part of this dataset", path)
        return "removed"
    logger.warning("%s is not a patch of %s: `verify` will refuse it, move it elsewhere", path, kind)
    return "strange"


def read_list(path: str | Path) -> dict[str, str]:
    """Read a checksum list: checksum by name, e.g. {"IMAGE/IMG_GH_0001_2016.tif": "9f86…"}.

    Raises:
        UserError: the list is missing, or a line is not a checksum and a name.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"the checksum list {path}", "no such file", "run the rule `assemble` again")
    listed: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        checksum, _, name = line.partition("  ")
        if len(checksum) != 64 or not name or name in listed:
            raise UserError(
                "lines of a SHA-256, two spaces and a name that is not listed yet",
                f"{line[:80]!r} in line {number} of {path}",
                f"delete {path} and run again",
            )
        listed[name] = checksum
    return listed
