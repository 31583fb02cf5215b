"""The doctor on a sound dataset, on a copy of it per defect, and on a dataset of full size made of its patches.

Usage: PYTHONPATH=tests python tests/bench/doctor.py DATASET [--full]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import rasterio
from affine import Affine

from defects import DEFECTS, prepare
from sections import Doctor
from smallmines.core.finding import Finding
from smallmines.doctor.examine import examine

TILES = 2135


def told(findings: list[Finding]) -> set[tuple[str, str]]:
    return {(one.family, one.check) for one in findings if one.severity != "note"}


def table(dataset: Path) -> None:
    before = told(examine(dataset, Doctor(), 2).findings)
    print(f"sound: {sorted(before) or 'nothing found'}\n")
    print("| defect | finding | found | false alarms |\n| --- | --- | --- | --- |")
    found_all, false_all = 0, 0
    for defect in DEFECTS:
        with tempfile.TemporaryDirectory() as folder:
            copy = prepare(dataset, Path(folder) / "dataset", defect.documents)
            defect.spoil(copy)
            after = told(examine(copy, Doctor(), 2).findings)
        hit = any(family == defect.family and check.startswith(defect.check) for family, check in after)
        known = [(defect.family, defect.check), *defect.also, *before]
        false = [one for one in sorted(after) if not any(one[0] == family and one[1].startswith(check) for family, check in known)]
        said = ", ".join(map(": ".join, false)) or "–"
        print(f"| {defect.name} | {defect.family}: {defect.check} | {'yes' if hit else '**no**'} | {said} |", flush=True)
        found_all, false_all = found_all + hit, false_all + len(false)
    print(f"\n{len(DEFECTS)} defects, {found_all} found, {false_all} false alarms")


def full(dataset: Path) -> None:
    """A dataset of 2135 tiles and two years of the given one's patches, each turned and flipped another way, on a lattice of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for year in ("2016", "2022"):
            sources = sorted((dataset / year / "IMAGE").glob("*.tif"))
            for tile in range(TILES):
                source, turn = sources[tile % len(sources)], tile // len(sources)
                square = Affine(10, 0, 586600 + 1280 * (tile % 60), 0, -10, 729640 - 1280 * (tile // 60))
                for kind, prefix in (("IMAGE", "IMG"), ("MASK", "MASK")):
                    path = dataset / year / kind / source.name.replace("IMG", prefix)
                    target = folder / year / kind / f"{prefix}_GH_{tile + 1:04d}_{year}.tif"
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with rasterio.open(path) as opened:
                        array, profile, bands = opened.read(), opened.profile, opened.descriptions
                    array = np.rot90(array, turn, axes=(1, 2))
                    if kind == "IMAGE":
                        valid = array[:10] != -9999
                        array = np.concatenate([np.where(valid, array[:10] + turn // 4, array[:10]), array[10:]])
                    with rasterio.open(target, "w", **(profile | {"transform": square})) as opened:
                        opened.write(np.ascontiguousarray(array))
                        opened.descriptions = bands
        start, own = time.time(), psutil.Process()
        most = [0]

        def watch(_: int) -> None:
            most[0] = max(most[0], sum(one.memory_info().rss for one in (own, *own.children(recursive=True))))

        found = examine(folder, Doctor(), 2, watch)
        watch(0)
        print(f"{len(found.measured.table)} pairs: {time.time() - start:.0f} s, {most[0] / 1e6:.0f} MB over all processes")
        print(sorted(told(found.findings)))


if __name__ == "__main__":
    if "--full" in sys.argv:
        full(Path(sys.argv[1]))
    else:
        table(Path(sys.argv[1]))
