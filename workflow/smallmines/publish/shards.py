"""Write rows of a table with their files into Parquet shards, a row group at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smallmines.publish.features import FILES, PICTURES, writer_options

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

ROWS = 100
GROUP_BYTES = 100_000_000
SHARD_BYTES = 480_000_000
"""Most rows and bytes of a row group, and most bytes of a shard; the Hub's viewer reads groups of up to 200 MB, shards of up to 500 MB."""

BESIDES = 4_000
"""Bytes of a row besides its files, at most."""

Files = Mapping[str, bytes]
"""Content of the files of a row by column: those of `PICTURES` and `FILES`."""


@dataclass
class Written:
    """What was written: rows, their bytes in memory as `datasets` counts them, bytes of the shards."""

    rows: int = 0
    memory: int = 0
    disk: int = 0


def total(counts: Iterable[Written]) -> Written:
    """Return the sum of what was written."""
    parts = list(counts)
    return Written(*(sum(getattr(part, name) for part in parts) for name in ("rows", "memory", "disk")))


@dataclass
class Shards:
    """The shards of one folder, `00000.parquet` and on. To be closed.

    Attributes:
        folder: where they are written.
        table: the columns of the index, a row a tile and year, with the names that they have in the shards.
        schema: as `features.shard_schema` returns it.
        group_bytes, shard_bytes: limits.
    """

    folder: Path
    table: pa.Table
    schema: pa.Schema
    group_bytes: int = GROUP_BYTES
    shard_bytes: int = SHARD_BYTES
    written: Written = field(default_factory=Written)
    _rows: list[int] = field(default_factory=list)
    _files: list[Files] = field(default_factory=list)
    _waiting: int = 0
    _in_shard: int = 0
    _number: int = 0
    _writer: pq.ParquetWriter | None = None
    _path: Path = Path()

    def add(self, row: int, files: Files) -> None:
        """Add a row of the table with its files.

        Args:
            row: its number in `table`.
        """
        size = sum(map(len, files.values())) + BESIDES
        if self._in_shard + self._waiting + size > self.shard_bytes:
            self._end_shard()
        elif self._waiting + size > self.group_bytes or len(self._rows) == ROWS:
            self._end_group()
        self._rows.append(row)
        self._files.append(files)
        self._waiting += size

    def close(self) -> Written:
        """Write what is left and return what was written."""
        self._end_shard()
        return self.written

    def _end_group(self) -> None:
        """Write the waiting rows as a row group."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._rows:
            return
        if self._writer is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._path = self.folder / f"{self._number:05}.parquet"
            self._writer = pq.ParquetWriter(self._path, self.schema, **writer_options(self.schema))
        rows = self.table.take(pa.array(self._rows))
        group = pa.Table.from_arrays([self._column(rows, name) for name in self.schema.names], schema=self.schema)
        self._writer.write_table(group, row_group_size=len(group))
        self.written.rows += len(group)
        self.written.memory += group.nbytes
        self._in_shard += self._waiting
        self._rows, self._files, self._waiting = [], [], 0

    def _column(self, rows: pa.Table, name: str) -> Any:
        """Return a column of the row group."""
        import pyarrow as pa

        kind = self.schema.field(name).type
        if name in FILES:
            return pa.array([files[name] for files in self._files], kind)
        if name in PICTURES:
            names = rows["id"].to_pylist()
            values = [{"bytes": files[name], "path": f"{own}.png"} for own, files in zip(names, self._files, strict=True)]
            return pa.array(values, kind)
        return rows[name].combine_chunks().cast(kind)

    def _end_shard(self) -> None:
        """Write the waiting rows and close the shard."""
        self._end_group()
        if self._writer is not None:
            self._writer.close()
            self.written.disk += self._path.stat().st_size
            self._writer, self._in_shard, self._number = None, 0, self._number + 1
