"""Make miniature worlds of the demo's size with several seeds, each run up to its forests, and read them as places.

Usage: PYTHONPATH=tests:workflow python tests/bench/assistant/worlds.py FOLDER [--seeds 5]
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, TypeVar

import typer
import yaml

from bench.assistant.experiment import Row
from bench.assistant.places import Place, miniature_places, real_places
from smallmines.cli.console import plain_errors
from smallmines.config.parse import parse_config
from smallmines.core.errors import UserError
from smallmines.core.layout import Layout
from smallmines.settings.parameters import settings_of
from smallmines.settings.segmentation import Segmentation

T = TypeVar("T")

REPOSITORY = Path(__file__).parents[3]


def make_world(folder: Path, seed: int, cores: int) -> None:
    """Make a world in a folder and run the workflow there up to the forests; what is there already stays."""
    config = folder / "config/demo.yaml"
    config.parent.mkdir(parents=True, exist_ok=True)
    content = yaml.safe_load((REPOSITORY / "config/demo.yaml").read_text(encoding="utf-8"))
    config.write_text(yaml.safe_dump(content | {"assistant": {**content["assistant"], "features": "context"}}), encoding="utf-8")
    programs = Path(sys.executable).parent
    options = ["--configfile", "config/demo.yaml", "--cores", str(cores)]
    settings = parse_config(yaml.safe_load(config.read_text(encoding="utf-8")))
    layout = Layout(settings.run)
    targets = [layout.forest_metrics(year, block) for year in settings.year_names for block in settings.blocks]
    for command in (
        [programs / "miniature", "make", "--config", "config/demo.yaml", "--seed", str(seed)],
        [programs / "snakemake", "-s", REPOSITORY / "Snakefile", *options, *targets],
    ):
        done = subprocess.run([*map(str, command)], cwd=folder, env=os.environ | {"PYTHONPATH": str(REPOSITORY / "workflow")}, check=False)
        if done.returncode:
            raise UserError(f"the world of seed {seed} in {folder}", f"{command[0]} ended with {done.returncode}", "read its messages")


def demo_segmentation() -> Segmentation:
    """Return the demo's settings of the segmentation."""
    return settings_of(
        parse_config(yaml.safe_load((REPOSITORY / "config/demo.yaml").read_text(encoding="utf-8"))).segmentation, Segmentation
    )


def all_places(images: Path | None, worlds: Path | None) -> Mapping[str, list[Place]]:
    """Return the places by kind, `real images` and `miniature worlds`; a kind that is not there is left out with a message.

    Args:
        images: real images in TerraMesh's layout; their segments are kept in `worlds` or, without it, in `.bench-assistant`.
        worlds: folder with worlds `s0`, `s1` …
    """
    result: dict[str, list[Place]] = {}
    scratch = (worlds or Path(".bench-assistant")).resolve()
    if images is not None and (images / "S2L2A").is_dir():
        result["real images"] = list(real_places(images, scratch / "real", demo_segmentation()))
    else:
        print(f"no real images at {images}: left out", file=sys.stderr)
    made = sorted(worlds.glob("s*/config/demo.yaml")) if worlds is not None else []
    if made:
        result["miniature worlds"] = [place for path in made for place in _places_of(path.resolve().parents[1])]
    else:
        print(f"no miniature worlds in {worlds} (tests/bench/assistant/worlds.py makes them): left out", file=sys.stderr)
    return result


def rows_of_all(places: Sequence[T], rows_of: Callable[[T], list[Row]], jobs: int) -> list[Row]:
    """Measure all places by several processes, with a progress bar; `rows_of` can be pickled."""
    from rich.progress import track

    with ProcessPoolExecutor(jobs) as pool:
        parts = list(track(pool.map(rows_of, places), "places", len(places)))
    return [row for part in parts for row in part]


def _places_of(folder: Path) -> list[Place]:
    config = parse_config(yaml.safe_load((folder / "config/demo.yaml").read_text(encoding="utf-8")))
    return list(miniature_places(config, folder, folder.name))


def main(
    folder: Annotated[Path, typer.Argument(help="Where the worlds are made, one folder each.")],
    seeds: Annotated[int, typer.Option(min=1, help="Number of worlds.")] = 5,
    cores: Annotated[int, typer.Option(min=1, help="Processor cores.")] = 2,
) -> None:
    """Make miniature worlds for the measurements of the assistant."""
    with plain_errors():
        for seed in range(seeds):
            make_world(folder.resolve() / f"s{seed}", seed, cores)


if __name__ == "__main__":
    typer.run(main)
