"""Measure the transfer of decisions to a segmentation with other parameters: shares moved, sent to review, and wrong.

Usage: PYTHONPATH=tests python tests/bench/transfer.py CONFIG YEAR BLOCK [TRIPLES]

It uses a block of the miniature and, with the folder TRIPLES (`…/terramesh`), real images whose mines are a land-cover class. A third
of the segments are decided by their true majority; then Orfeo ToolBox segments again with other parameters.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio.windows
from numpy.typing import NDArray

from miniature.annotators import truth_path
from miniature.place import window_in
from real.test_triples import PLACES
from real.triples import read_triple, write_archive, write_config, write_people
from sections import Transfer
from smallmines.cli.console import read_config, show
from smallmines.core import raster
from smallmines.grid.lattice import Lattice, read_lattice
from smallmines.labels import footprint
from smallmines.labels.event_files import Event
from smallmines.labels.transfer import decisions_in_force
from smallmines.segment.features import content_keys
from smallmines.segment.segmentation import Outputs, segment
from smallmines.settings.parameters import settings_of
from smallmines.settings.segmentation import Segmentation
from workspace import Workspace

CHANGES: dict[str, dict[str, Any]] = {
    "as before": {},
    "range radius 100 → 50": {"range_radius": 50.0},
    "range radius 100 → 150": {"range_radius": 150.0},
    "spatial radius 5 → 8": {"spatial_radius": 8},
    "minimum size 5 → 20": {"min_size": 20},
    "10 bands → B02 B03 B04 B08": {"bands": ("B02", "B03", "B04", "B08")},
}
DECIDED = 3


def moved(name: str, results: Path, year: str, block: str, truth: NDArray[np.bool_], settings: Segmentation) -> list[dict[str, Any]]:
    """Return a row for each change of the parameters."""
    grid = results / "grid/grid.json"
    lattice = read_lattice(grid)
    before = raster.read(results / f"segments/{year}/{block}/segments.tif")[0]
    events = decided(before, truth, lattice, int(year), block)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for change, values in CHANGES.items():
            path = Path(folder) / "segments.tif"
            composite = results / f"composites/{year}/{block}/s2.tif"
            segment(composite, grid, block, replace(settings, **values), 2, 4000, Outputs(path, Path(folder) / "report.json"))
            after = raster.read(path)[0]
            area = np.bincount(after.ravel())[1:]
            table = pd.DataFrame({"segment": np.arange(1, len(area) + 1, dtype=np.uint32), "area": area})
            table["key"] = content_keys(after, len(area), lattice, block)
            transferred = decisions_in_force(events, table, lambda after=after: after, lattice.block(block), Transfer())  # type: ignore[misc]
            fates = transferred.lineage["fate"].value_counts() / len(events)
            ids = transferred.decisions["segment"].to_numpy(np.int64)
            mined = np.bincount(after.ravel(), truth.ravel(), minlength=len(area) + 1)[ids] / area[ids - 1]
            wrong = (mined >= 0.5) != (transferred.decisions["label"].to_numpy() == 1)
            shares = {f"{fate}_%": 100 * float(fates.get(fate, 0)) for fate in ("kept", "moved", "review", "lost")}
            review = {"to_review": int(transferred.review["segment"].nunique()), "labelled": len(ids)}
            rows.append({"place": name, "change": change, "segments": len(area), **shares, **review, "wrong_%": 100 * float(wrong.mean())})
            print(rows[-1], flush=True)
    return rows


def decided(segments: NDArray[np.uint32], truth: NDArray[np.bool_], lattice: Lattice, year: int, block: str) -> list[Event]:
    """Decide every third segment by its true majority."""
    count = int(segments.max())
    area = np.bincount(segments.ravel(), minlength=count + 1)
    mined = np.bincount(segments.ravel(), truth.ravel(), minlength=count + 1) / np.maximum(area, 1) >= 0.5
    keys = content_keys(segments, count, lattice, block)
    ids = np.arange(1, count + 1, DECIDED)
    prints = footprint.encode(footprint.runs_of(segments, ids), len(ids), lattice.block(block))
    return [
        Event(
            year,
            block,
            int(keys[segment - 1]),
            0.0,
            0.0,
            "mining" if mined[segment] else "not_mining",
            "confirmed",
            "A01",
            "2026-01-01T00:00:00Z",
            footprint=text,
        )
        for segment, text in zip(ids.tolist(), prints, strict=True)
    ]


def main() -> None:
    """See the module."""
    config, year, block = read_config(Path(sys.argv[1])), sys.argv[2], sys.argv[3]
    results = Path("results") / config.run
    box = read_lattice(results / "grid/grid.json").block(block)
    with raster.opened(truth_path(config, year)) as source:
        window = rasterio.windows.Window.from_slices(*window_in(raster.geobox_of(source), box))
        truth = source.read(1, window=window) == 1
    rows = moved("miniature", results, year, block, truth, settings_of(config.segmentation, Segmentation))
    for name, (image, taken, positive, per_class) in PLACES.items() if len(sys.argv) > 4 else ():
        with tempfile.TemporaryDirectory() as folder:
            triple = read_triple(Path(sys.argv[4]), image, taken, positive)
            workspace = Workspace.make(Path.cwd(), Path(folder), "triple.yaml", "triple")
            write_config(triple, workspace.folder / "triple.yaml")
            write_archive(triple, workspace.folder / "resources/automatic/triple/archive")
            write_people(triple, workspace.user, per_class, seed=1)
            workspace.snakemake("segments")
            rows += moved(name, workspace.results, str(taken), "1", triple.positive, settings_of(config.segmentation, Segmentation))
    show("Decisions after a change of the segmentation's parameters", rows, decimals=2)


main()
