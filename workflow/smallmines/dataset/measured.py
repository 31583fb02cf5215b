"""Keep measurements of patches by the checksum of the file, so that nothing that lies unchanged in the folder is decoded again.

A table of Parquet holds measurements of patches, and sums over several: of histograms, of spectra. A sum is kept with the checksums of its
patches and counts only where all of them still lie in the folder. Snakemake makes the tables again where their code changes.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallmines.core.errors import UserError
from smallmines.core.files import remedy, sha256, written
from smallmines.core.readable import innermost
from smallmines.dataset.patch_measures import PLANES, PatchMeasures, form_as_json, form_of_json

VERSION = 1
"""Version of the tables. One of another version counts as empty."""

COLUMNS = ("what", "key", "members", "values", "tags", "data")


@dataclass(frozen=True)
class Sum:
    """A sum over patches.

    Attributes:
        what: what is summed, e.g. `radar`.
        members: the patches that it is taken over, by checksum; for sums over pairs two checksums with a space between. A patch may be
            among them that adds nothing.
        values: numbers beside the array.
        array: float64, complex128 or int64.
    """

    what: str
    members: tuple[str, ...]
    values: Mapping[str, Any]
    array: NDArray[Any]


@dataclass
class Measured:
    """Measurements of patches by their checksum, and sums over patches."""

    patches: dict[str, PatchMeasures] = field(default_factory=dict)
    sums: list[Sum] = field(default_factory=list)

    def patch(self, checksum: str, kind: str) -> PatchMeasures | None:
        """Return the measurements of an `image` or a `mask`; None without, and where the bytes were measured as another kind."""
        patch = self.patches.get(checksum)
        return patch if patch is not None and len(patch.planes) == PLANES[kind] else None

    def usable(self, what: str, members: Iterable[str]) -> tuple[list[Sum], Counter[str]]:
        """Return sums whose members are all among some patches, each used once, and the patches that are left."""
        left, chosen = Counter(members), []
        for kept in self.sums:
            if kept.what == what and kept.members and (own := Counter(kept.members)) <= left:
                chosen.append(kept)
                left -= own
        return chosen, left


def hashed(root: Path, names: Sequence[str], threads: int = 1) -> dict[str, str]:
    """Return the SHA-256 of files by name, where they can be read. Threads share the work, since hashing releases the interpreter."""

    def checksum(name: str) -> str | None:
        try:
            return sha256(root / name)
        except OSError:
            return None

    with ThreadPoolExecutor(threads) as pool:
        return {name: digest for name, digest in zip(names, pool.map(checksum, names), strict=True) if digest is not None}


def lone(root: Path, names: Iterable[str]) -> set[str]:
    """Return the patches without side-car files (`x.tif.aux.xml`, `x.tif.msk`), which GDAL reads together with the patch."""
    by_folder: dict[Path, list[str]] = {}
    for name in names:
        by_folder.setdefault((root / name).parent, []).append(name)
    alone: set[str] = set()
    for folder, own in by_folder.items():
        beside = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        stems = Counter(name.split(".")[0] for name in beside)
        alone |= {name for name in own if stems[Path(name).name.split(".")[0]] == 1}
    return alone


def checksums_of(root: Path, names: Sequence[str], threads: int = 1) -> dict[str, str]:
    """Return the SHA-256 by name of the patches whose measurements their bytes alone tell, see `lone`."""
    alone = lone(root, names)
    return hashed(root, [name for name in names if name in alone], threads)


def write_measured(measured: Measured, target: str | Path) -> None:
    """Write measurements in their order. Patches that cannot be read are left out: their error names the file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [_patch_row(key, patch) for key, patch in measured.patches.items() if not patch.error and patch.form is not None]
    rows += [_sum_row(own) for own in measured.sums]
    types = [pa.string(), pa.string(), pa.list_(pa.string()), pa.string(), pa.string(), pa.binary()]
    schema = pa.schema(list(zip(COLUMNS, types, strict=True)), metadata={"measured": str(VERSION)})
    with written(target) as beside, pq.ParquetWriter(beside, schema, compression="zstd", write_page_checksum=True) as file:
        for _, own in groupby(rows, key=lambda row: row["what"]):  # a reader skips groups of what it does not want
            file.write_table(pa.Table.from_pylist(list(own), schema=schema), row_group_size=64)


def _patch_row(key: str, patch: PatchMeasures) -> dict[str, Any]:
    assert patch.form is not None
    shapes = {"sample": patch.sample.shape, "planes": patch.planes.shape, "size": patch.size}
    values = json.dumps({"form": form_as_json(patch.form), "values": patch.values, **shapes})
    tags = json.dumps(dict(patch.form.tags), sort_keys=True)
    data = patch.sample.tobytes() + patch.planes.tobytes()
    return {"what": "patch", "key": key, "members": [], "values": values, "tags": tags, "data": data}


def _sum_row(own: Sum) -> dict[str, Any]:
    values = json.dumps({"values": own.values, "type": own.array.dtype.name, "shape": list(own.array.shape)})
    return {"what": own.what, "key": "", "members": list(own.members), "values": values, "tags": "", "data": own.array.tobytes()}


def read_measured(paths: Iterable[str | Path], what: Sequence[str] | None = None) -> Measured:
    """Read measurements.

    Args:
        what: `patch` and the sums that are wanted; None: all.

    Raises:
        UserError: a file cannot be read.
    """
    import pyarrow.parquet as pq

    measured = Measured()
    for path in paths:
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                if (file.schema_arrow.metadata or {}).get(b"measured") != str(VERSION).encode():
                    continue
                for group in range(file.num_row_groups):
                    statistics = file.metadata.row_group(group).column(0).statistics
                    if what is None or statistics is None or statistics.min in what:
                        for row in file.read_row_group(group, use_threads=False).to_pylist():
                            _take(row, measured)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"measurements of patches in {path}", innermost(error), remedy(path)) from error
    return measured


def measured_checksums(paths: Iterable[str | Path]) -> set[str]:
    """Return the checksums of the patches that tables of measurements have, see `read_measured`."""
    import pyarrow.parquet as pq

    checksums: set[str] = set()
    for path in paths:
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                if (file.schema_arrow.metadata or {}).get(b"measured") == str(VERSION).encode():
                    checksums |= set(file.read(["key"], use_threads=False)["key"].to_pylist())
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"measurements of patches in {path}", innermost(error), remedy(path)) from error
    return checksums - {""}


def _take(row: Mapping[str, Any], measured: Measured) -> None:
    """Add a row of the table to the measurements."""
    values = json.loads(row["values"])
    if row["what"] != "patch":
        array = np.frombuffer(row["data"], values["type"]).reshape(values["shape"])
        measured.sums.append(Sum(row["what"], tuple(row["members"]), values["values"], array))
        return
    sample, planes = tuple(values["sample"]), tuple(values["planes"])
    size = 4 * int(np.prod(sample))
    measured.patches[row["key"]] = PatchMeasures(
        "",
        form_of_json(values["form"], _shared(json.loads(row["tags"]))),
        _shared(values["values"]),
        np.frombuffer(row["data"], np.float32, count=size // 4).reshape(sample),
        np.frombuffer(row["data"], np.uint8, offset=size).reshape(planes),
        tuple(values["size"]),
    )


def _shared(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping whose texts are in memory once, however many patches have them."""
    return {sys.intern(key): sys.intern(value) if isinstance(value, str) else value for key, value in values.items()}
