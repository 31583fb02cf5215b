"""Verbs `smallmines splits …`: show the splits of a run, freeze them, make new ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smallmines.cli.console import ConfigPath, plain_errors, read_config, show
from smallmines.core.errors import UserError
from smallmines.core.layout import Layout

if TYPE_CHECKING:
    import pandas as pd

    from smallmines.config.sections import Config

app = typer.Typer(
    no_args_is_help=True, help="Train, val and test of the dataset: show sizes and leakage, freeze them, make new ones (docs/splits.md)."
)

Dry = Annotated[bool, typer.Option("--dry-run", "-n", help="Print the result, write nothing.")]


def _present(run: str) -> Path:
    """Return the splits of the last run."""
    path = Layout(run).splits
    if not path.is_file():
        raise UserError(f"{path}", "no such file", "run the workflow first: snakemake --configfile …")
    return path


def _frozen(run: str) -> Path:
    """Return the place of frozen splits."""
    return Layout(run).user.frozen_splits


@app.command("show")
def show_splits(config: ConfigPath) -> None:
    """Print the sizes of the present splits, and the leakage of these and of every other method."""
    from smallmines.core.files import read_json

    with plain_errors():
        run = read_config(config).run
        _present(run)
        report = read_json(Layout(run).split_report)
    rows = [
        {"split": split, "tiles and years": count, "share of mining": report["mining_share"].get(split, "–")}
        for split, count in report["rows"].items()
    ]
    show(f"Splits of run {run} ({report['source']})", rows)
    measures = list(report["leakage"])
    leakage = [
        {"method": method, **{name: "–" if values.get(name) is None else values[name] for name in measures}, "": values.get("error", "")}
        for method, values in {"in force": report["leakage"], **report["methods"]}.items()
    ]
    show("Leakage: test rows with a twin or a neighbour in train; class share and mining by place and year alone", leakage)


@app.command("freeze")
def freeze(config: ConfigPath) -> None:
    """Copy the present splits to resources/user/<run>/splits.csv: from then on only `splits make` moves a tile."""
    from smallmines.core.files import written

    with plain_errors():
        run = read_config(config).run
        target = _frozen(run)
        text = _present(run).read_text(encoding="utf-8")
        if target.is_file() and target.read_text(encoding="utf-8") != text:
            raise UserError(f"no other splits at {target}", "other ones", "move the file away, or run the workflow with it")
        with written(target) as beside:
            beside.write_text(text, encoding="utf-8")
    print(f"frozen: {target}")


@app.command("make")
def make(
    config: ConfigPath,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed in place of splits.seed.")] = None,
    dry: Dry = False,
) -> None:
    """Assign the tiles again from the present masks, print which move, and freeze the result. Frozen splits are kept beside it."""
    from smallmines.core.files import digest, written
    from smallmines.dataset.split_methods import moves
    from smallmines.dataset.splits import described, with_folds
    from smallmines.settings.parameters import settings_of
    from smallmines.settings.splits import Splits

    with plain_errors():
        settings = read_config(config)
        table = _shares(settings)
        method = settings_of(settings.splits, Splits)
        splits = with_folds(table, method if seed is None else replace(method, seed=seed))
        target = _frozen(settings.run)
        before = _before(settings)
        if before is not None:
            moved = moves(before, splits)
            show("Moves", [{"from → to": name, "tiles and years": count} for name, count in moved.items()] or [{"from → to": "none"}])
        report = described(table.merge(splits, on=["tile_id", "year"]))
        show("New splits", [{"split": name, "tiles and years": count} for name, count in report["rows"].items()])
        print("leakage: " + ", ".join(f"{name} {value}" for name, value in report["leakage"].items()))
        if dry:
            return
        text = splits.to_csv(index=False, lineterminator="\n")
        if target.is_file() and (old := target.read_text(encoding="utf-8")) != text:
            with written(target.with_name(f"splits-{digest(old)[:8]}.csv")) as beside:
                beside.write_text(old, encoding="utf-8")
        with written(target) as beside:
            beside.write_text(text, encoding="utf-8")
    print(f"frozen: {target}; run the workflow again")


def _shares(settings: Config) -> pd.DataFrame:
    """Return the class shares of every tile and year in the present masks."""
    from smallmines.dataset.splits import class_shares
    from smallmines.grid.lattice import read_lattice

    layout = Layout(settings.run)
    masks = {(year, block): layout.mask(year, block) for year in settings.year_names for block in settings.blocks}
    for path in masks.values():
        if not path.is_file():
            raise UserError(f"{path}", "no such file", "run the workflow up to the masks first: snakemake masks --configfile …")
    return class_shares({key: str(path) for key, path in masks.items()}, read_lattice(layout.grid))


def _before(settings: Config) -> pd.DataFrame | None:
    """Return the frozen splits, or else those of the last run."""
    import pandas as pd

    for path in (_frozen(settings.run), Layout(settings.run).splits):
        if path.is_file():
            return pd.read_csv(path, dtype={"tile_id": str})
    return None
