"""Measure how a run grows with its area: time, memory and disk at several sizes of one outline, each made and run from scratch.

    python tests/bench/growth.py [--aoi OUTLINE] [--sizes 267 534 1067 2134] [--finished CONFIG] [--folder .growth] [--picture growth.png]

Each size is a made-up world of its own, two years, in FOLDER/<tiles>, deleted when it is measured (`--keep` keeps it). The number of blocks
grows with the area, so that a block is as large in each run: the work is then the same jobs, more often, as in a country. The smallest
size has one block of half the size of the others, where sizes begin with an eighth of the full one. What was measured is a line of
FOLDER/growth.jsonl; a size that has one is not run again, and a run that was interrupted goes on. `--finished` adds a run that was made
elsewhere: its configuration file lies in the folder of the run. The picture and the tables are of all lines.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests"))
sys.path.insert(0, str(REPOSITORY / "workflow"))

from smallmines.cli.console import read_config, show  # noqa: E402
from smallmines.core.layout import Layout  # noqa: E402
from smallmines.report import canvas, run_times  # noqa: E402
from workspace import Workspace  # noqa: E402

TILES_OF_A_BLOCK = 533
"""A quarter of SmallMinesDS, which has four blocks."""

FIGURES = {
    "wall": ("wall time", 60, "minutes"),
    "seconds": ("sum of the jobs", 60, "minutes"),
    "cpu": ("processor time", 60, "minutes"),
    "results": ("results", 1e9, "GB"),
    "pixels": ("pixels", 1e9, "GB"),
}
"""Figures that may grow with the area: words, divisor and unit."""


def make(folder: Path, tiles: int, outline: Path | None, cores: int) -> Workspace:
    """Make a world of some tiles and run everything; what is there already is kept."""
    run = f"growth{tiles}"
    workspace = Workspace(folder, "growth.yaml", run)
    if not (folder / "Snakefile").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        workspace = Workspace.make(REPOSITORY, folder, "growth.yaml", run)
    values = yaml.safe_load((REPOSITORY / "config/demo.yaml").read_text().replace("/demo/", f"/{run}/"))
    values |= {"run": run, "grid": values["grid"] | {"blocks": max(1, round(tiles / TILES_OF_A_BLOCK))}}
    (folder / "growth.yaml").write_text(yaml.safe_dump(values))
    shape = ["--aoi", str(outline.absolute())] if outline else []
    workspace.world("make", "--config", "growth.yaml", "--tiles", str(tiles), *shape)
    workspace.snakemake(cores=cores)
    return workspace


def measured(folder: Path, config: Path, cores: int) -> dict[str, Any]:
    """Return what a finished run took: seconds, bytes, peak memory in MB, in all and by rule."""
    settings = read_config(config)
    layout = Layout(settings.run, folder)
    jobs = run_times.jobs(settings.run, folder)
    start = (jobs["ended"] - jobs["seconds"]).sort_values()
    # A run that was interrupted has gaps; seconds in which no job ran for ten seconds or more do not count.
    order = jobs.loc[start.index]
    busy_until = order["ended"].cummax().shift(fill_value=start.iloc[0])
    gaps = (start - busy_until).where(lambda gap: gap > 10, 0.0).sum()
    return {
        "tiles": json.loads((layout.results / "grid/grid.json").read_text())["tiles"],
        "years": len(settings.years),
        "blocks": len(settings.blocks),
        "cores": cores,
        "jobs": len(jobs),
        "wall": float(jobs["ended"].max() - start.iloc[0] - gaps),
        "seconds": float(jobs["seconds"].sum()),
        "cpu": float(jobs["cpu"].sum()),
        "start": float((jobs["seconds"] - jobs["body"]).sum()),
        "memory": float(jobs["memory"].max()),
        "results": size_of(layout.results),
        "pixels": size_of(folder / "resources/automatic/pixels"),
        "dataset": size_of(layout.results / "dataset"),
        "rules": {
            rule: {
                "seconds": float(table["seconds"].sum()),
                "longest": float(table["seconds"].max()),
                "memory": float(table["memory"].max()),
            }
            for rule, table in jobs.groupby("rule", sort=False)
        },
    }


def size_of(folder: Path) -> int:
    """Return the bytes on disk of the files of a folder; hard links count once."""
    stats = [path.lstat() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return sum({stat.st_ino: stat.st_blocks * 512 for stat in stats}.values())


def tables(lines: list[dict[str, Any]]) -> None:
    """Print the figures, what a tile takes against the smallest runs, and the rules whose jobs grow with the run."""
    rows = [
        {
            "tiles": line["tiles"],
            "blocks": line["blocks"],
            "jobs": line["jobs"],
            **{f"{words}, {unit}": line[key] / divisor for key, (words, divisor, unit) in FIGURES.items()},
            "largest job, MB": line["memory"],
        }
        for line in lines
    ]
    show(f"Growth, {lines[0]['years']} years, {lines[0]['cores']} cores", rows, decimals=2)
    last = lines[-1]
    ratios = [
        {"figure": words, **{f"against {line['tiles']} tiles": per_tile(last, key) / per_tile(line, key) for line in lines[:-1]}}
        for key, (words, _, _) in FIGURES.items()
    ]
    show(f"What a tile takes in the run of {last['tiles']} tiles, against smaller runs (1: linear)", ratios, decimals=3)
    rules = [
        {"rule": rule, **{f"{line['tiles']} tiles, s": line["rules"].get(rule, {}).get("longest") for line in lines}, "MB": took["memory"]}
        for rule, took in sorted(last["rules"].items(), key=lambda item: -item[1]["longest"])
    ]
    show("Longest job of each rule", rows=rules, decimals=1)
    memory = [
        {"rule": rule, **{f"{line['tiles']} tiles, MB": line["rules"].get(rule, {}).get("memory") for line in lines}}
        for rule, _ in sorted(last["rules"].items(), key=lambda item: -item[1]["memory"])
    ]
    show("Largest memory of a job of each rule", rows=memory, decimals=0)


def per_tile(line: dict[str, Any], key: str) -> float:
    """Return a figure of a run by tile and year."""
    return float(line[key]) / line["tiles"] / line["years"]


def draw(lines: list[dict[str, Any]], target: Path) -> None:
    """Draw time, disk and memory over the number of tiles, with lines through the origin and the smallest run."""
    tiles = np.array([line["tiles"] for line in lines])
    with mpl.rc_context(canvas.STYLE):
        figure = canvas.figure(11, 3.8)
        time, disk, memory = figure.subplots(1, 3)
        for axes, keys, unit in ((time, ("seconds", "cpu", "wall"), "minutes"), (disk, ("pixels", "results"), "GB")):
            for colour, key in zip(canvas.SERIES, keys, strict=False):
                words, divisor, _ = FIGURES[key]
                values = np.array([line[key] for line in lines]) / divisor
                axes.plot(tiles, values, "o-", color=colour, label=words)
                axes.plot([0, tiles[-1]], [0, values[0] / tiles[0] * tiles[-1]], ":", color=colour, linewidth=1)
            axes.set_ylabel(unit)
        time.set_title("Time (dotted: linear, from the smallest)")
        disk.set_title("Disk")
        largest = sorted(lines[-1]["rules"], key=lambda rule: -lines[-1]["rules"][rule]["memory"])[:5]
        for colour, rule in zip(canvas.SERIES, largest, strict=False):
            memory.plot(tiles, [line["rules"].get(rule, {}).get("memory", np.nan) for line in lines], "o-", color=colour, label=rule)
        memory.set_title("Largest jobs")
        memory.set_ylabel("MB")
        for axes in (time, disk, memory):
            axes.set_xlim(0)
            axes.set_ylim(0)
            axes.set_xlabel("tiles")
            axes.grid()
            axes.legend(loc="upper left")
        memory.set_ylim(0, 1.5 * lines[-1]["memory"])  # room for the legend
        target.parent.mkdir(parents=True, exist_ok=True)
        canvas.save(figure, target)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--aoi", type=Path, help="outline of the area; without it the miniature's own shape")
    parser.add_argument("--sizes", type=int, nargs="*", default=[267, 534, 1067, 2134], help="tiles of the runs to make")
    parser.add_argument("--finished", type=Path, nargs="*", default=[], help="configuration files of runs that are finished")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", type=Path, default=Path(".growth"))
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    file = options.folder / "growth.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    asked = {line["asked"] for line in lines}
    for what in [*options.sizes, *map(str, options.finished)]:
        if what in asked:
            continue
        if isinstance(what, int):
            folder = options.folder.absolute() / str(what)
            workspace = make(folder, what, options.aoi, options.cores)
            line = measured(folder, folder / workspace.config, options.cores)
            if not options.keep:
                shutil.rmtree(folder)
        else:
            line = measured(Path(what).absolute().parent, Path(what), options.cores)
        lines.append({"asked": what, **line})
        with file.open("a") as target:
            target.write(json.dumps(lines[-1]) + "\n")
    lines.sort(key=lambda line: line["tiles"])
    tables(lines)
    if options.picture:
        draw(lines, options.picture)


if __name__ == "__main__":
    main()
