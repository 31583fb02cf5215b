"""The verb `smallmines predict`: apply a model of the benchmark to composites or images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smallmines.cli.console import plain_errors


def predict(
    model: Annotated[Path, typer.Argument(help="benchmark/<row>/<variant>/<split>/<seed>/model.joblib, from a source you trust.")],
    images: Annotated[
        Path,
        typer.Argument(help="Composites of a year and block (folder or s2.tif), a GeoTIFF with named bands, or a dataset."),
    ],
    out: Annotated[Path, typer.Option("--out", help="GeoTIFF of the probability; of a dataset, their folder.")],
    radiometry: Annotated[
        str | None, typer.Option("--radiometry", help="Radiometry of an image that does not state it: dn_plus1000 or dn_harmonised.")
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads that predict.")] = 2,
) -> None:
    """Predict mining on images like those that a model was trained on; refuse images of other bands, radiometry, scale or nodata."""
    with plain_errors():
        from smallmines.benchmark.models import load
        from smallmines.benchmark.on_map import files_of, image_model, predict_image, predict_images
        from smallmines.core.errors import UserError

        if radiometry not in (None, "dn_plus1000", "dn_harmonised"):
            raise UserError("--radiometry dn_plus1000 or dn_harmonised", str(radiometry), "correct the option")
        fitted = load(model)
        bands = image_model(fitted).bands
        if images.is_dir() and not (images / "s2.tif").is_file():
            number = predict_images(fitted, images, out, threads, radiometry)
            print(f"{number} images predicted: {out}")
            return
        predict_image(fitted, files_of(images, bands), out, threads, radiometry)
        print(f"written: {out}, 255 is a probability of 1")
