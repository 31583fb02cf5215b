"""Time `load_dataset` on shards of SmallMinesDS's size: those of a finished run, each row repeated.

snakemake huggingface --cores 2 --configfile config/demo.yaml
python tests/bench/shards.py results/demo/huggingface /tmp/shards
"""

from __future__ import annotations

import argparse
import resource
import shutil
import time
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 4268
"""Images of SmallMinesDS, two years of 2134 tiles."""

GROUP = 96
"""Rows of a row group, at most."""


def repeat(shards: Path, target: Path) -> int:
    """Write the shards with each row repeated, in groups of at most `GROUP` rows; return the number of rows."""
    paths = sorted(shards.glob("data/**/*.parquet"))
    times = ROWS // sum(pq.read_metadata(path).num_rows for path in paths)
    for path in paths:
        table = pq.read_table(path)
        file = target / path.relative_to(shards)
        file.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(file, table.schema) as writer:
            for left in range(times * len(table), 0, -GROUP):
                rows = min(left, GROUP)
                writer.write_table(pa.concat_tables([table] * (rows // len(table) + 1)).slice(0, rows), row_group_size=rows)
    shutil.copy(shards / "README.md", target)
    shutil.copytree(shards / "sample", target / "sample")
    return sum(pq.read_metadata(path).num_rows for path in target.glob("data/**/*.parquet"))


def main() -> None:
    """Write the shards, and print seconds, size and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", type=Path)
    parser.add_argument("folder", type=Path, help="for shards and cache; new; some 3 GB")
    args = parser.parse_args()
    rows = repeat(args.shards, args.folder / "shards")
    size = sum(path.stat().st_size for path in args.folder.rglob("data/**/*.parquet"))
    print(f"{rows} rows, {size / 1e6:.0f} MB")
    start = time.perf_counter()
    next(iter(datasets.load_dataset(str(args.folder / "shards"), split="train", streaming=True)))
    print(f"streaming, first row: {time.perf_counter() - start:.1f} s")
    start = time.perf_counter()
    # the card states the number of rows before they were repeated
    loaded = datasets.load_dataset(str(args.folder / "shards"), cache_dir=str(args.folder / "cache"), verification_mode="no_checks")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"load_dataset: {time.perf_counter() - start:.1f} s, {sum(map(len, loaded.values()))} rows of all splits, {peak:.0f} MB")


if __name__ == "__main__":
    main()
