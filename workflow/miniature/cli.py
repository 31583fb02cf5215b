"""Command line of the miniature Earth: `miniature make`, `score`, `correct`, `release`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from smallmines.cli.console import ConfigPath, plain_errors, read_config, show
from smallmines.cli.version import version_option
from smallmines.core.layout import Layout

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The miniature Earth: a small made-up archive with known truth.")
app.callback()(version_option)

Seed = Annotated[int, typer.Option(min=0, help="Seed of the world.")]
CACHE_MB = "64"
"""GDAL's block cache in each process; whole blocks are written, so more serves nothing."""

Tiles = Annotated[int, typer.Option(min=1, help="Number of tiles of 128 × 128 px.")]


@app.command("make")
def make(
    config: ConfigPath,
    tiles: Tiles = 40,
    seed: Seed = 0,
    aoi: Annotated[
        Path | None,
        typer.Option("--aoi", help="Outline of the area, shrunk where it touches more tiles.", exists=True, dir_okay=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite people's files (AOI, samples) too.")] = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="Number of processes; default: the number of processors.")] = None,
) -> None:
    """Make archive, truth, area of interest and samples of a run."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from miniature.make import expected_steps, make_world

    os.environ.setdefault("GDAL_CACHEMAX", CACHE_MB)
    console = Console()
    with plain_errors():
        settings = read_config(config)
        columns = (TextColumn("{task.description:<62.62}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        # a thread that draws the bar might hold a lock while a process is forked
        with Progress(*columns, console=console, transient=True, auto_refresh=False) as progress:
            bar = progress.add_task("", total=expected_steps(settings))

            def tell(what: str) -> None:
                progress.update(bar, description=what, advance=1, refresh=True)

            world = make_world(settings, tiles, seed, force, tell=tell, aoi=aoi, jobs=jobs)
    console.print(
        "Made:" if world.new else "Already there:", f"{world.tiles} tiles, {world.items} items in {world.layout.archive}/catalog.json"
    )
    console.print(f"truth in {world.layout.truth}")
    if world.forgotten:
        console.print(f"{world.layout.results} was made from an earlier world and was removed")
    if world.tiles != tiles:
        console.print(f"{world.tiles} tiles is as near to {tiles} as this outline comes")
    if world.written:
        console.print(f"people's files: {len(world.written)} written, first {world.written[0]}")
    if world.kept:
        console.print(f"people's files: {len(world.kept)} kept as they were ({world.kept[0]}, …); --force overwrites them")


@app.command("score")
def score(
    config: ConfigPath,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file too.")] = None,
) -> None:
    """Compare a run's masks with the truth: prediction alone, and with people's labels."""
    from miniature import score as scores
    from smallmines.core.files import read_json, write_json

    with plain_errors():
        settings = read_config(config)
        rows = [{str(key): value for key, value in row.items()} for row in scores.score(settings).to_dict("records")]
        seen = scores.seen_mines(settings)
    if json:
        write_json(json, rows)
    layout = Layout(settings.run)
    grid, dataset = read_json(layout.grid), layout.dataset
    images, masks = (len(list(dataset.glob(f"*/{kind}/*.tif"))) for kind in ("IMAGE", "MASK"))
    shown = ("masks", "year", "iou", "precision", "recall", "predicted_share", "true_share")
    show("True mine pixels with a valid observation", [{str(key): value for key, value in row.items()} for row in seen.to_dict("records")])
    show("Masks against the truth", [{name.removesuffix("_share"): row[name] for name in shown} for row in rows])
    print(f"The dataset: {dataset}/ ({grid['tiles']} tiles, {len(settings.years)} years: {images} images and {masks} masks)")


@app.command("correct")
def correct(
    config: ConfigPath,
    share: Annotated[float, typer.Option(min=0, max=1, help="Share of the review queue that is labelled.")] = 0.1,
    seed: Seed = 0,
) -> None:
    """Let simulated annotators label a round of working copies, with errors; a third one settles the disputes of the last round."""
    from miniature import annotators

    with plain_errors():
        paths = annotators.correct(read_config(config), share, seed)
    events = sum(path.read_text(encoding="utf-8").count("\n") for path in paths)
    print(f"{events} events in {len(paths)} files" + (f", first {paths[0]}" if paths else ""))


@app.command("release")
def release(
    config: ConfigPath,
    out: Annotated[Path, typer.Option("--out", help="Zip (by its suffix) or folder to write.")],
    dataset: Annotated[Path | None, typer.Option("--from", help="Dataset of the run, whose images are copied.", exists=True)] = None,
) -> None:
    """Imitate a release of SmallMinesDS: the true masks, and the images of a finished run, in the released form."""
    from miniature.release import make_release

    with plain_errors():
        number = make_release(read_config(config), out, dataset)
    print(f"{number} files in {out}")


if __name__ == "__main__":
    app()
