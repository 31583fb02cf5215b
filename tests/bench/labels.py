"""People's verbs on one full-size block: seconds and peak memory of check-out, check-in and transfer (after `make bench`).

Usage: PYTHONPATH=tests python tests/bench/labels.py CONFIG YEAR BLOCK [EDITS]

Each step runs in a process of its own, on a copy of people's files; nothing of the run is changed.
"""

from __future__ import annotations

import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from place import edit
from sections import Transfer
from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.checkin import checkin
from smallmines.annotation.checkout import checkout
from smallmines.cli.console import read_config, show
from smallmines.core import raster
from smallmines.core.layout import Layout
from smallmines.grid.lattice import read_lattice
from smallmines.labels.transfer import decisions_in_force
from smallmines.segment.features import content_keys

SIDE = 7
"""Cells of this many pixels divide the segments of today into those of the new segmentation."""


def measured(name: str, step: Callable[[], int]) -> dict[str, object]:
    """Run a step in a fresh process; its seconds, peak memory and count."""

    def work(queue: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
        begin = time.perf_counter()
        count = step()
        queue.put((time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, count))

    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[tuple[float, float, int]] = context.Queue()
    process = context.Process(target=work, args=(queue,))
    process.start()
    seconds, memory, count = queue.get(timeout=900)
    process.join()
    return {"step": name, "count": count, "seconds": seconds, "peak MB": memory}


def main() -> None:
    """See the module."""
    config, year, block = read_config(Path(sys.argv[1])), sys.argv[2], sys.argv[3]
    edits = int(sys.argv[4]) if len(sys.argv) > 4 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "results").symlink_to(Path("results").absolute())
        config = config.model_copy(update={"labels": config.labels.model_copy(update={"annotators": ("A01",)})})
        block_year = BlockYear(config, year, block, root)
        path = block_year.user / f"work/A01/{year}-{block}.gpkg"
        rows = [measured("check-out of the queue", lambda: checkout(block_year, "A01", edits).segments)]
        edit(path, "UPDATE segments SET label = CASE fid % 3 WHEN 0 THEN 'unsure' ELSE prediction END")
        rows.append(measured("check-in", lambda: len(checkin(block_year.user, path).events)))
        rows.append(measured("transfer to another segmentation", lambda: transferred(block_year)))
        shutil.rmtree(block_year.user)
        rows.append(measured("check-out of the whole block", lambda: checkout(block_year, "A01", everything=True).segments))
        rows[-1]["step"] = f"check-out of the whole block ({path.stat().st_size / 1e6:.0f} MB)"
    show(f"Labels of {year}, block {block}", rows, decimals=1)


def transferred(block_year: BlockYear) -> int:
    """Settle the decisions on today's segments divided by a lattice; the number of segments that took a label."""
    segments = raster.read(block_year.product(Layout.segments))[0]
    rows, cols = np.indices(segments.shape, np.int32, sparse=True)
    cell = (rows // SIDE) * (segments.shape[1] // SIDE + 1) + cols // SIDE
    joint = np.where(segments > 0, segments.astype(np.int64) // 2 * cell.max() + cell, 0)
    _, new = np.unique(joint, return_inverse=True)
    new = new.reshape(segments.shape).astype(np.uint32)
    count = int(new.max())
    lattice = read_lattice(block_year.results / "grid/grid.json")
    table = pd.DataFrame({"segment": np.arange(1, count + 1, dtype=np.uint32), "area": np.bincount(new.ravel())[1:].astype(np.uint32)})
    table["key"] = content_keys(new, count, lattice, block_year.block)
    events = block_year.events()
    begin = time.perf_counter()
    found = decisions_in_force(events, table, lambda: new, lattice.block(block_year.block), Transfer())
    print(
        f"settling alone: {time.perf_counter() - begin:.1f} s; {found.lineage['fate'].value_counts().to_dict()} of {count} segments",
        flush=True,
    )
    return len(found.decisions)


main()
