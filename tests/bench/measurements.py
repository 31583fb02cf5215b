"""Time doctor, verification's reading and band statistics of a finished run, with and without kept measurements.

    PYTHONPATH=tests python tests/bench/measurements.py results/RUN/dataset results/RUN/measured [--fresh]

Each step runs in a process of its own. Without `--fresh`, only with measurements.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

from sections import Doctor
from smallmines.core.files import read_json
from smallmines.dataset.band_statistics import SUM, band_statistics
from smallmines.dataset.index import read_index
from smallmines.dataset.measured import Measured, read_measured
from smallmines.dataset.verify import Expected, verify_dataset
from smallmines.doctor.examine import KEPT, examine
from smallmines.grid.lattice import read_lattice

THREADS = 2


def doctor(dataset: Path, tables: list[Path]) -> None:
    examine(dataset, Doctor(), THREADS, kept=read_measured(tables, KEPT))


def verify(dataset: Path, tables: list[Path]) -> None:
    index = read_index(dataset / "index.parquet")
    years = sorted({str(year) for year in index["year"]})
    country = Path(index["image"].iloc[0]).name.split("_")[1]
    lattice = read_lattice(dataset.parent / "grid/grid.json")
    verify_dataset(dataset, index, Expected(lattice, years, country), THREADS, read_measured(tables, ["patch"]))


def statistics(dataset: Path, tables: list[Path]) -> None:
    for year in sorted(read_json(dataset / "labels.json")["years"]):
        kept = read_measured([table for table in tables if table.name == "IMAGE.parquet" and year in table.parts], ["patch", SUM])
        band_statistics(sorted((dataset / year / "IMAGE").glob("*.tif")), kept if tables else Measured())


STEPS: dict[str, Callable[[Path, list[Path]], None]] = {"doctor": doctor, "verify": verify, "band_statistics": statistics}


def timed(name: str, dataset: Path, tables: list[Path]) -> None:
    began = time.monotonic()
    STEPS[name](dataset, tables)
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    kept = "kept" if tables else "read"
    print(f"| {name} | {kept} | {time.monotonic() - began:.1f} | {cpu:.1f} | {own.ru_maxrss / 1024:.0f} |", flush=True)


def main() -> None:
    dataset, measured = map(Path, sys.argv[1:3])
    print("| step | patches | s | CPU s | MB |\n| --- | --- | --- | --- | --- |", flush=True)
    for tables in (sorted(measured.rglob("*.parquet")), *([[]] if "--fresh" in sys.argv else [])):
        for name in STEPS:
            process = get_context("spawn").Process(target=timed, args=(name, dataset, tables))
            process.start()
            process.join()


if __name__ == "__main__":
    main()
