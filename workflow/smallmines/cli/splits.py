"""The verbs `smallmines splits …`: show the splits, freeze them, make them again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smallmines.cli.console import ConfigPath, plain_errors, read_config
from smallmines.cli.output import Json, output
from smallmines.config.sections import LARGEST_SEED
from smallmines.core.errors import UserError
from smallmines.core.layout import Layout
from smallmines.settings.splits import METHODS

if TYPE_CHECKING:
    import pandas as pd

    from smallmines.config.sections import Config

app = typer.Typer(
    no_args_is_help=True, help="Train, val and test of the dataset: measure their leakage, freeze them, make them again (docs/splits.md)."
)

Dry = Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would happen, write nothing.")]


def _dataset_splits(run: str) -> Path:
    path = Layout(run).splits
    if not path.is_file():
        raise UserError(f"{path}", "no such file", "run the workflow first: snakemake --configfile …")
    return path


def _frozen(run: str) -> Path:
    return Layout(run).user.frozen_splits


@app.command("show")
def show_splits(config: ConfigPath, json: Json = False) -> None:
    """Count the tiles of the splits in force, and measure the leakage of these and of every other method."""
    from smallmines.core.json_products import SplitReport, read_product

    with plain_errors():
        run = read_config(config).run
        _dataset_splits(run)
        report = read_product(Layout(run).split_report, SplitReport)
    rows = [
        {"split": name, "tiles_and_years": number, "share_of_mining": report["mining_share"].get(name)}
        for name, number in report["rows"].items()
    ]
    methods = {"in force": report["leakage"], **report["methods"]}
    keys = [*report["leakage"], *(["error"] if any("error" in values for values in methods.values()) else [])]
    leakage = [{"method": name, **{key: values.get(key) for key in keys}} for name, values in methods.items()]
    with output(json) as out:
        out.table(f"Splits of run {run} ({report['source']})", rows, "splits")
        title = "Leakage: test rows with a twin or a neighbour in train; class share and mining predicted from place and year alone"
        out.table(title, leakage, "leakage")
        if reason := report.get("reason"):
            better = f" Better: {report['advice']}." if report["advice"] else ""
            out.message(f"Train and test: {report['leakage']['judgement']}: {reason}.{better}")


@app.command("freeze")
def freeze(config: ConfigPath) -> None:
    """Keep the splits in force among people's files: from now on nothing but `make` moves a tile."""
    from smallmines.core.files import written
    from smallmines.core.json_products import SplitSource, read_product
    from smallmines.dataset.split_files import frozen_text, read_split_rows

    with plain_errors():
        settings = read_config(config)
        target = _frozen(settings.run)
        rows = read_split_rows(_dataset_splits(settings.run), with_fold=True)
        if target.is_file():
            before = read_split_rows(target, with_fold=True)
            if not before.reset_index(drop=True).equals(rows.reset_index(drop=True)):
                raise UserError(f"no other splits at {target}", "there are", "move the file away, or run the workflow with it")
        else:
            report = Layout(settings.run).split_report
            source = str(read_product(report, SplitSource)["source"]) if report.is_file() else ""
            method = f"{source} seed={settings.splits.seed}" if source in METHODS else ""
            with written(target) as beside:
                beside.write_text(frozen_text(rows, method), encoding="utf-8")
    print(f"frozen: {target}")


@app.command("make")
def make(
    config: ConfigPath,
    seed: Annotated[int | None, typer.Option("--seed", min=0, max=LARGEST_SEED, help="In place of splits.seed.")] = None,
    dry: Dry = False,
    json: Json = False,
) -> None:
    """Assign the tiles anew by the present masks, list what moves, and freeze the result; the file before is kept beside it."""
    from smallmines.core.files import digest, written
    from smallmines.dataset.split_files import frozen_text
    from smallmines.dataset.split_methods import moves
    from smallmines.dataset.splits import described, with_folds
    from smallmines.settings.parameters import settings_of
    from smallmines.settings.splits import Splits

    with plain_errors(), output(json) as out:
        settings = read_config(config)
        table = _shares(settings)
        rule = settings_of(settings.splits, Splits)
        rule = rule if seed is None else replace(rule, seed=seed)
        new = with_folds(table, rule)
        target = _frozen(settings.run)
        if (before := _before(settings)) is not None:
            moved = [{"from_to": name, "tiles_and_years": number} for name, number in moves(before, new).items()]
            out.table("Moves between splits", moved, "moves")
        report = described(table.merge(new, on=["tile_id", "year"]), settings.doctor.location_r2)
        out.table("New splits", [{"split": name, "tiles_and_years": number} for name, number in report["rows"].items()], "splits")
        out.message("leakage: " + ", ".join(f"{name} {value}" for name, value in report["leakage"].items()))
        out.message(f"train and test: {report['leakage']['judgement']}: {report['reason']}")
        if dry:
            return
        text = frozen_text(new, f"{rule.method} seed={rule.seed}")
        if target.is_file() and (old := target.read_text(encoding="utf-8")) != text:
            with written(target.with_name(f"splits-{digest(old)[:8]}.csv")) as beside:
                beside.write_text(old, encoding="utf-8")
        with written(target) as beside:
            beside.write_text(text, encoding="utf-8")
        out.message(f"frozen: {target}; run the workflow again")


def _shares(settings: Config) -> pd.DataFrame:
    """Return the class shares of every tile and year by the present masks."""
    from smallmines.dataset.splits import class_shares
    from smallmines.grid.lattice import read_lattice

    layout = Layout(settings.run)
    masks = {(year, block): layout.mask(year, block) for year in settings.year_names for block in settings.blocks}
    for path in masks.values():
        if not path.is_file():
            raise UserError(f"{path}", "no such file", "run the workflow up to the masks first: snakemake masks --configfile …")
    return class_shares({key: str(path) for key, path in masks.items()}, read_lattice(layout.grid))


def _before(settings: Config) -> pd.DataFrame | None:
    """Return the splits in force: frozen, or those of the last run."""
    from smallmines.dataset.split_files import read_split_rows

    for path in (_frozen(settings.run), Layout(settings.run).splits):
        if path.is_file():
            return read_split_rows(path)
    return None
