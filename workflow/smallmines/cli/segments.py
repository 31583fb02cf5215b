"""The verbs `smallmines segments …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smallmines.cli.console import ConfigPath, plain_errors, read_config
from smallmines.cli.output import Json, output
from smallmines.core.errors import UserError
from smallmines.core.layout import Layout

app = typer.Typer(no_args_is_help=True, help="The segmentation.")


@app.command("tune")
def tune(
    config: ConfigPath,
    year: Annotated[str, typer.Option("--year", help="A year of the run.")],
    block: Annotated[str, typer.Option("--block", help="A block of the run, whose Sentinel-2 composite exists.")] = "1",
    window_px: Annotated[int, typer.Option("--window-px", min=32, help="Side of the window.")] = 512,
    row: Annotated[int | None, typer.Option(min=0, help="First row of the window in the block; default: where it is clearest.")] = None,
    col: Annotated[int | None, typer.Option(min=0, help="First column of the window; with --row.")] = None,
    spatial: Annotated[str, typer.Option("--spatial", help="Spatial radii in pixels (with commas).")] = "5",
    ranges: Annotated[str, typer.Option("--range", help="Range radii in digital numbers (with commas).")] = "100,200,400",
    min_size: Annotated[str, typer.Option("--min-size", help="Smallest sizes in pixels (with commas).")] = "2,5,20",
    mask: Annotated[
        Path | None,
        typer.Option(help="Raster with 1 = mining, 0 = not, for the ceiling; default: released masks, else samples.", dir_okay=False),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of Orfeo ToolBox.")] = 2,
    memory_mb: Annotated[int, typer.Option("--memory-mb", min=500, help="Memory of Orfeo ToolBox in MB.")] = 2000,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder of table and picture; default: results/<run>/tune/<year>/<block>.")
    ] = None,
    json: Json = False,
) -> None:
    """Try settings of the segmentation on one window: number, size and fit of the segments, as a table and a picture."""
    from rich.console import Console
    from rich.progress import Progress

    from smallmines.annotation import segment_tuning
    from smallmines.annotation.block_year import BlockYear
    from smallmines.settings.parameters import settings_of
    from smallmines.settings.segmentation import Segmentation

    with plain_errors(), output(json) as out:
        settings = read_config(config)
        if (row is None) != (col is None):
            raise UserError("--row and --col together, or neither", "one of them", "give both")
        square = segment_tuning.Square(window_px, None if row is None or col is None else (row, col))
        values = [_numbers(text, option) for text, option in ((spatial, "--spatial"), (ranges, "--range"), (min_size, "--min-size"))]
        grid = segment_tuning.grid_of(settings_of(settings.segmentation, Segmentation), *values)
        folder = folder or Layout(settings.run).tuning(year, block)
        with Progress(console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task("segmenting", total=len(grid))
            block_year = BlockYear(settings, year, block)
            limits = segment_tuning.Limits(threads, memory_mb)
            tuned = segment_tuning.tune(block_year, grid, square, limits, folder, mask, lambda: progress.advance(bar))
        title = (
            "Segmentations of one window (within: share of the variance inside segments; contrast: across borders, 1: none; "
            "ceiling: IoU of mining if every segment were labelled right)"
        )
        out.table(title, [{str(key): value for key, value in row.items()} for row in tuned.table.to_dict("records")])
        out.message(tuned.classes)
        out.message(f"table and picture: {folder}/segments_tune.csv, {folder}/segments_tune.png")


def _numbers(text: str, option: str) -> list[int]:
    """Parse numbers as in "3,5,8".

    Raises:
        UserError: something else.
    """
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise UserError(f"whole numbers from 1, with commas, in {option}", text, "write for example 3,5,8")
    return numbers
