"""The verbs people type: `smallmines world …`, `smallmines labels …`, `smallmines splits …`, `smallmines config …`,
`smallmines doctor`, `smallmines compare`, `smallmines terratorch`, `smallmines access`, `smallmines freeze`, `smallmines bench`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from smallmines.compare.verbs import compare
from smallmines.config_keys import keys_table, schema
from smallmines.console import ConfigPath, plain_errors, read_config, show
from smallmines.doctor.verbs import doctor
from smallmines.errors import UserError
from smallmines.loaders.verbs import terratorch
from smallmines.product import S2_BANDS
from smallmines.publish.verbs import app as splits_app
from smallmines.review.verbs import app as labels_app

app = typer.Typer(no_args_is_help=True, add_completion=False, help="SmallMinesDS: tools around the workflow.")
world_app = typer.Typer(no_args_is_help=True, help="The miniature Earth: a small made-up archive with known truth.")
segments_app = typer.Typer(no_args_is_help=True, help="The segmentation.")
config_app = typer.Typer(no_args_is_help=True, help="The configuration.")
app.add_typer(world_app, name="world")
app.add_typer(labels_app, name="labels")
app.add_typer(splits_app, name="splits")
app.add_typer(segments_app, name="segments")
app.add_typer(config_app, name="config")
app.command("doctor")(doctor)
app.command("compare")(compare)
app.command("terratorch")(terratorch)

Seed = Annotated[int, typer.Option(min=0, help="Another seed, another world.")]
Tiles = Annotated[int, typer.Option(min=1, help="Number of tiles of 128 × 128 px.")]


@world_app.command("make")
def make(
    config: ConfigPath,
    tiles: Tiles = 40,
    seed: Seed = 0,
    aoi: Annotated[
        Path | None,
        typer.Option("--aoi", help="Outline of the area, shrunk where it touches more tiles.", exists=True, dir_okay=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite people's files (AOI, samples) too.")] = False,
) -> None:
    """Make archive, truth, area of interest and samples of a run."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from smallmines.world.make import expected_steps, make_world

    console = Console()
    with plain_errors():
        settings = read_config(config)
        columns = (TextColumn("{task.description:<62.62}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            bar = progress.add_task("", total=expected_steps(settings))
            made = make_world(settings, tiles, seed, force, tell=lambda what: progress.update(bar, description=what, advance=1), aoi=aoi)
    console.print(
        "Made:" if made.new else "Already there:", f"{made.tiles} tiles, {made.items} items in {made.folder}/archive/catalog.json"
    )
    console.print(f"truth in {made.folder}/truth")
    if made.forgotten:
        console.print(f"results/{settings.run} was made of an earlier world and is gone")
    if made.tiles != tiles:
        console.print(f"{made.tiles} tiles is as near to {tiles} as this outline comes")
    if made.written:
        console.print(f"people's files: {len(made.written)} written, first {made.written[0]}")
    if made.kept:
        console.print(f"people's files: {len(made.kept)} kept as they were ({made.kept[0]}, …); --force overwrites them")


@world_app.command("score")
def score(
    config: ConfigPath,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file too.")] = None,
) -> None:
    """Compare a run's masks with the truth: prediction alone, and with people's labels."""
    from smallmines.provenance import read_json, write_json
    from smallmines.world import score as scores

    with plain_errors():
        settings = read_config(config)
        rows = [{str(key): value for key, value in row.items()} for row in scores.score(settings).to_dict("records")]
        seen = scores.seen_mines(settings)
    if json:
        write_json(json, rows)
    grid = read_json(Path("results") / settings.run / "grid/grid.json")
    dataset = Path("results") / settings.run / "dataset"
    images, masks = (len(list(dataset.glob(f"*/{kind}/*.tif"))) for kind in ("IMAGE", "MASK"))
    shown = ("masks", "year", "iou", "precision", "recall", "predicted_share", "true_share")
    show("True mine pixels with a valid observation", [{str(key): value for key, value in row.items()} for row in seen.to_dict("records")])
    show("Masks against the truth", [{name.removesuffix("_share"): row[name] for name in shown} for row in rows])
    print(f"The dataset: {dataset}/ ({grid['tiles']} tiles, {len(settings.years)} years: {images} images and {masks} masks)")


@world_app.command("correct")
def correct(
    config: ConfigPath,
    share: Annotated[float, typer.Option(min=0, max=1, help="Part of the review queue that is looked at.")] = 0.1,
    seed: Seed = 0,
) -> None:
    """Let simulated annotators, who err, label a round of working copies, and a third settle what they disagreed about in the last."""
    from smallmines.world import annotators

    with plain_errors():
        paths = annotators.correct(read_config(config), share, seed)
    events = sum(path.read_text(encoding="utf-8").count("\n") for path in paths)
    print(f"{events} events in {len(paths)} files" + (f", first {paths[0]}" if paths else ""))


@world_app.command("difficulty")
def difficulty(
    config: ConfigPath,
    images: Annotated[
        Path | None, typer.Option("--images", help="Real images in TerraMesh's layout, for comparison.", file_okay=False)
    ] = None,
    picture: Annotated[Path | None, typer.Option("--picture", help="Write crops in natural colours to this PNG.")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file too.")] = None,
    seed: Seed = 0,
) -> None:
    """Measure how hard a made world is: its imagery, its segments, and a per-pixel forest on tiles it has not seen."""
    from smallmines.parameters import settings_of
    from smallmines.provenance import write_json
    from smallmines.settings.segmentation import Segmentation
    from smallmines.world import difficulty as measure

    with plain_errors():
        settings = read_config(config)
        found = dict(measure.places(settings, images))
        told = {name: measure.difficulty(tiles, settings_of(settings.segmentation, Segmentation), seed) for name, tiles in found.items()}
        if picture:
            measure.picture(found, picture)
        if json:
            write_json(json, told)
    first = next(iter(told.values()))
    plain = [key for key, value in first.items() if not isinstance(value, list)]
    show("How hard", [{"figure": key.replace("_", " ")} | {name: str(one[key]) for name, one in told.items()} for key in plain])
    for key in (key for key in first if key not in plain):
        show(
            key.replace("_", " "),
            [{"band": band} | {name: str(one[key][index]) for name, one in told.items()} for index, band in enumerate(S2_BANDS)],
        )


@segments_app.command("tune")
def tune(
    config: ConfigPath,
    year: Annotated[str, typer.Option("--year", help="An epoch of the run.")],
    block: Annotated[str, typer.Option("--block", help="A block of the run, whose Sentinel-2 composite exists.")] = "1",
    window_px: Annotated[int, typer.Option("--window-px", min=32, help="Side of the window.")] = 512,
    row: Annotated[int | None, typer.Option(min=0, help="First row of the window in the block; default: where it is clearest.")] = None,
    col: Annotated[int | None, typer.Option(min=0, help="First column of the window; with --row.")] = None,
    spatial: Annotated[str, typer.Option("--spatial", help="Spatial radii in pixels, with commas.")] = "5",
    ranges: Annotated[str, typer.Option("--range", help="Range radii in digital numbers, with commas.")] = "100,200,400",
    min_size: Annotated[str, typer.Option("--min-size", help="Smallest sizes in pixels, with commas.")] = "5,20,50",
    threads: Annotated[int, typer.Option(min=1, help="Threads of Orfeo ToolBox.")] = 2,
    memory_mb: Annotated[int, typer.Option("--memory-mb", min=500, help="Memory of Orfeo ToolBox in MB.")] = 2000,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of table and picture; default: results/<run>/tune/<year>/<block>.")
    ] = None,
) -> None:
    """Try some settings of the segmentation on one window: count, size and fit, as a table and a picture."""
    from rich.progress import Progress

    from smallmines import tuning
    from smallmines.parameters import settings_of
    from smallmines.settings.segmentation import Segmentation

    with plain_errors():
        settings = read_config(config)
        corner = None if row is None or col is None else (row, col)
        tried = [_numbers(text, option) for text, option in ((spatial, "--spatial"), (ranges, "--range"), (min_size, "--min-size"))]
        grid = tuning.grid_of(settings_of(settings.segmentation, Segmentation), *tried)
        folder = out or Path("results") / settings.run / "tune" / year / block
        with Progress(transient=True) as progress:
            bar = progress.add_task("segmenting", total=len(grid))
            table = tuning.tune(
                settings, year, block, grid, window_px, corner, threads, memory_mb, folder, tell=lambda _: progress.advance(bar)
            )
    show("Segmentation of one window", [{str(key): value for key, value in one.items()} for one in table.to_dict("records")])
    print(f"table and picture: {folder}/segments_tune.csv, {folder}/segments_tune.png")


def _numbers(text: str, option: str) -> list[int]:
    """The numbers in "3,5,8".

    Raises:
        UserError: something else.
    """
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UserError(f"whole numbers with commas in {option}", text, "write for example 3,5,8") from None


@app.command("access")
def access(config: ConfigPath) -> None:
    """Try every archive that the configuration names with one tiny read, and say what is missing and how to get it."""
    from rich.console import Console

    from smallmines.archive.access import try_providers
    from smallmines.redaction import redacted

    console, failed = Console(highlight=False, soft_wrap=True), False
    with plain_errors():
        for one in try_providers(read_config(config)):
            failed |= not one.works
            state = "[green]works[/green]" if one.works else "[red]FAILS[/red]"
            console.print(f"{one.sensor:3} {one.provider} ({one.role}): {state}, {one.seconds} s")
            console.print(f"    {redacted(one.found)}", markup=False)
            if one.do:
                console.print(f"    do: {one.do}", markup=False)
    if failed:
        sys.exit(1)


@app.command("freeze")
def freeze(
    config: ConfigPath, force: Annotated[bool, typer.Option("--force", help="Replace manifests that are kept already.")] = False
) -> None:
    """Keep a run's manifests in place of its searches (resources/user/<run>/manifests/): the catalogues may move on then."""
    from smallmines.provenance import written

    with plain_errors():
        run = read_config(config).run
        found = sorted((Path("results") / run / "manifests").glob("*/*.json"))
        if not found:
            raise UserError(f"manifests in results/{run}/manifests", "none", "run the workflow up to the searches first")
        kept = 0
        for path in found:
            target = Path("resources/user") / run / "manifests" / path.parent.name / path.name
            if target.is_file() and target.read_bytes() != path.read_bytes() and not force:
                raise UserError(f"no other manifest at {target}", "one that differs from the run's", "--force replaces it")
            with written(target) as beside:
                beside.write_bytes(path.read_bytes())
            kept += 1
    print(f"{kept} manifests kept in resources/user/{run}/manifests; delete one to search again")


@app.command("bench")
def bench(
    config: ConfigPath,
    stages: Annotated[Path | None, typer.Option(help="Also print the stages of this file (see `make demo`).", exists=True)] = None,
) -> None:
    """Print what each rule of a run took: wall and processor time, and the memory of its hungriest job."""
    from smallmines import benchmarks

    with plain_errors():
        settings = read_config(config)
        table = benchmarks.took(settings.run)
    table.loc[len(table)] = [
        "all",
        table["jobs"].sum(),
        table["seconds"].sum(),
        table["longest"].max(),
        table["cpu"].sum(),
        table["memory"].max(),
    ]
    table.columns = ["rule", "jobs", "seconds", "longest s", "cpu s", "memory MB"]
    show(f"Run {settings.run}", [{str(key): value for key, value in row.items()} for row in table.to_dict("records")], decimals=1)
    if stages:
        show("Stages, wall time", list(benchmarks.stages(stages)), decimals=0)


@config_app.command("keys")
def config_keys() -> None:
    """Print every key with its values, default and meaning, as Markdown."""
    sys.stdout.write(keys_table())


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schema of the configuration."""
    sys.stdout.write(schema())


if __name__ == "__main__":
    app()
