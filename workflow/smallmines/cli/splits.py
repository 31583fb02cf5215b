"""The verbs `smallmines splits …`: look at the splits, freeze them, make them again."""

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
    no_args_is_help=True, help="Train, val and test of the dataset: what they leak, freeze them, make them again (docs/splits.md)."
)

Dry = Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would happen, write nothing.")]


def _made(run: str) -> Path:
    path = Layout(run).splits
    if not path.is_file():
        raise UserError(f"{path}", "no such file", "run the workflow first: snakemake --configfile …")
    return path


def _frozen(run: str) -> Path:
    return Layout(run).user.frozen_splits


@app.command("show")
def show_splits(config: ConfigPath) -> None:
    """Numbers of the splits in force, and what they and every other method let a model know from the place alone."""
    from smallmines.core.files import read_json

    with plain_errors():
        run = read_config(config).run
        _made(run)
        report = read_json(Layout(run).split_report)
    rows = [
        {"split": name, "tiles and years": number, "share of mining": report["mining_share"].get(name, "–")}
        for name, number in report["rows"].items()
    ]
    show(f"Splits of run {run} ({report['source']})", rows)
    found = {"in force": report["leakage"], **report["methods"]}
    keys = list(report["leakage"])
    show(
        "Leakage: test rows with a twin or a neighbour in train; class share and mining by place and year alone",
        [
            {"method": name, **{key: one.get(key) if one.get(key) is not None else "–" for key in keys}, "": one.get("error", "")}
            for name, one in found.items()
        ],
    )


@app.command("freeze")
def freeze(config: ConfigPath) -> None:
    """Keep the splits in force among people's files: from now on nothing but `make` moves a tile."""
    from smallmines.core.files import written

    with plain_errors():
        run = read_config(config).run
        made, target = _made(run), _frozen(run)
        text = made.read_text(encoding="utf-8")
        if target.is_file() and target.read_text(encoding="utf-8") != text:
            raise UserError(f"no other splits at {target}", "there are", "move the file away, or run the workflow with it")
        with written(target) as beside:
            beside.write_text(text, encoding="utf-8")
    print(f"frozen: {target}")


@app.command("make")
def make(
    config: ConfigPath,
    seed: Annotated[int | None, typer.Option("--seed", help="In place of splits.seed.")] = None,
    dry: Dry = False,
) -> None:
    """Assign the tiles anew by the masks of today, say what moves, and freeze that; the file before is kept beside it."""
    from smallmines.core.files import digest, written
    from smallmines.dataset.split_methods import moves
    from smallmines.dataset.splits import described, with_folds
    from smallmines.settings.parameters import settings_of
    from smallmines.settings.splits import Splits

    with plain_errors():
        settings = read_config(config)
        table = _shares(settings)
        how = settings_of(settings.splits, Splits)
        how = how if seed is None else replace(how, seed=seed)
        made = with_folds(table, how)
        target = _frozen(settings.run)
        before = _before(settings)
        if before is not None:
            moved = moves(before, made)
            show("Moves", [{"from → to": name, "tiles and years": number} for name, number in moved.items()] or [{"from → to": "none"}])
        told = described(table.merge(made, on=["tile_id", "year"]))
        show("New splits", [{"split": name, "tiles and years": number} for name, number in told["rows"].items()])
        print("leakage: " + ", ".join(f"{name} {value}" for name, value in told["leakage"].items()))
        if dry:
            return
        text = made.to_csv(index=False, lineterminator="\n")
        if target.is_file() and (old := target.read_text(encoding="utf-8")) != text:
            with written(target.with_name(f"splits-{digest(old)[:8]}.csv")) as beside:
                beside.write_text(old, encoding="utf-8")
        with written(target) as beside:
            beside.write_text(text, encoding="utf-8")
    print(f"frozen: {target}; run the workflow again")


def _shares(settings: Config) -> pd.DataFrame:
    """Class shares of every tile and year by the masks of today."""
    from smallmines.dataset.splits import class_shares
    from smallmines.grid.lattice import read_lattice

    layout = Layout(settings.run)
    masks = {(year, block): layout.mask(year, block) for year in settings.year_names for block in settings.blocks}
    for path in masks.values():
        if not path.is_file():
            raise UserError(f"{path}", "no such file", "run the workflow up to the masks first: snakemake masks --configfile …")
    return class_shares({key: str(path) for key, path in masks.items()}, read_lattice(layout.grid))


def _before(settings: Config) -> pd.DataFrame | None:
    """The splits in force: frozen, or those of the last run."""
    import pandas as pd

    for path in (_frozen(settings.run), Layout(settings.run).splits):
        if path.is_file():
            return pd.read_csv(path, dtype={"tile_id": str})
    return None
