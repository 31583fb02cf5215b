"""The program `smallmines`: registers all verbs."""

from __future__ import annotations

import typer

from smallmines.cli import config, labels, publish, segments, serve, splits
from smallmines.cli.archive import access, freeze
from smallmines.cli.bench import bench
from smallmines.cli.compare import compare
from smallmines.cli.doctor import doctor
from smallmines.cli.loaders import terratorch
from smallmines.cli.merge import merge
from smallmines.cli.pixels import pixels
from smallmines.cli.predict import predict
from smallmines.cli.products import products
from smallmines.cli.upgrade import upgrade
from smallmines.cli.version import version_option

app = typer.Typer(no_args_is_help=True, add_completion=False, help="SmallMinesDS: tools around the workflow.")
app.callback()(version_option)
for name, verbs in (("labels", labels), ("splits", splits), ("segments", segments), ("config", config), ("publish", publish)):
    app.add_typer(verbs.app, name=name)
labels.app.add_typer(serve.app, name="serve")
for verb in (doctor, compare, merge, terratorch, access, freeze, bench, products, pixels, predict, upgrade):
    app.command(verb.__name__)(verb)
