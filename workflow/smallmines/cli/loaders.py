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
    change: Annotated[bool, typer.Option("--change", help="Samples of two years of a tile and its change (models Prithvi).")] = False,
) -> None:
    """Write a file of patch names per split, and a configuration for `terratorch fit`."""
    from smallmines.loaders.folder import band_statistics, read_pairs, read_year_pairs
    from smallmines.loaders.terratorch import PRITHVI_BANDS, Training, split_files, terratorch_config
    from smallmines.loaders.terratorch_pairs import write_pairs

    with plain_errors():
        training = Training(tuple(bands or PRITHVI_BANDS), model, pretrained, pairs=change)  # type: ignore[arg-type]  # a model, checked there
        target = out / (f"{model}_change.yaml" if change else f"{model}.yaml")
        if change:
            root, years = out / "pairs", read_year_pairs(folder, years=year)
            pairs, train = write_pairs(years, root), years[years["split"] == "train"]
            images = dict.fromkeys([*train["image_first"], *train["image_last"]])
        else:
            root, pairs = folder, read_pairs(folder, years=year)
            images = dict.fromkeys(pairs["image"][pairs["split"] == "train"])
        files = split_files(pairs, out / "pairs" if change else out, 2 if change else 1)
        terratorch_config(root, files, band_statistics(images), target, training)
    print(f"written: {', '.join(str(path) for path in files.values())} and {target}; now: terratorch fit --config {target}")
