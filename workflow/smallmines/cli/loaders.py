"""Verb `smallmines terratorch`: write the files that TerraTorch reads. Needs no PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smallmines.cli.console import plain_errors


def terratorch(
    folder: Annotated[Path, typer.Argument(help="Folder of the dataset.", exists=True, file_okay=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder for the split files and the configuration.")] = Path("training"),
    model: Annotated[str, typer.Option("--model", help="unet, or a model Prithvi-EO-2.0, e.g. prithvi_eo_v2_300.")] = "unet",
    bands: Annotated[list[str] | None, typer.Option("--band", help="A band, repeatable; default: the six of Prithvi.")] = None,
    year: Annotated[list[int] | None, typer.Option("--year", help="A year, repeatable; default: all.")] = None,
    pretrained: Annotated[bool, typer.Option("--pretrained/--from-scratch", help="Start from published weights or from none.")] = True,
) -> None:
    """Write a file of patch names per split, and a configuration for `terratorch fit`."""
    from smallmines.loaders.folder import band_statistics, read_pairs
    from smallmines.loaders.terratorch import PRITHVI_BANDS, Training, split_files, terratorch_config

    with plain_errors():
        pairs = read_pairs(folder, years=year)
        files = split_files(pairs, out)
        statistics = band_statistics(pairs["image"][pairs["split"] == "train"])
        training = Training(tuple(bands or PRITHVI_BANDS), model, pretrained)  # type: ignore[arg-type]
        target = out / f"{model}.yaml"
        terratorch_config(folder, files, statistics, target, training)
    print(f"written: {', '.join(str(path) for path in files.values())} and {target}; now: terratorch fit --config {target}")
