"""The verbs `smallmines labels …`: what people hand out, take in and look at."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smallmines.cli.console import ConfigPath, plain_errors, read_config, show
from smallmines.core.errors import UserError
from smallmines.core.layout import Layout

if TYPE_CHECKING:
    from smallmines.annotation.checkin import Keys
    from smallmines.annotation.checkout_files import CheckedOut

app = typer.Typer(no_args_is_help=True, help="People's labels: hand out, take in, settle, and see how far they are (docs/labelling.md).")

Year = Annotated[str, typer.Option("--year", help="An epoch of the run.")]
Block = Annotated[str, typer.Option("--block", help="A block of the run.")]
Dry = Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would happen, write nothing.")]


@app.command("checkout")
def checkout(
    config: ConfigPath,
    year: Year,
    block: Block,
    annotator: Annotated[str, typer.Option("--annotator", help="Code of the person, one of labels.annotators.")],
    size: Annotated[int | None, typer.Option(min=1, help="Segments of this round over all annotators; default: labels.queue.size.")] = None,
    tiles: Annotated[str, typer.Option("--tiles", help="These tiles whole, with commas, in place of the queue.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Every segment of the block, in place of the queue.")] = False,
    dry: Dry = False,
) -> None:
    """Hand out a working copy: GeoPackage, QGIS project, and a file per tile for Google Earth."""
    from smallmines.annotation.block_year import Place
    from smallmines.annotation.checkout import checkout as hand_out

    with plain_errors():
        names = [name.strip() for name in tiles.split(",") if name.strip()]
        given = hand_out(Place(read_config(config), year, block), annotator, size, names, everything, dry)
    _told(given, dry)


@app.command("adjudicate")
def adjudicate(
    config: ConfigPath,
    year: Year,
    block: Block,
    by: Annotated[str, typer.Option("--by", help="Code of the person who settles the disputes.")],
    dry: Dry = False,
) -> None:
    """Hand out the segments about which people disagree, with what each said; the copy is checked in like any other."""
    from smallmines.annotation.block_year import Place
    from smallmines.annotation.checkout import disputes

    with plain_errors():
        given = disputes(Place(read_config(config), year, block), by, dry)
    _told(given, dry)


def _told(given: CheckedOut, dry: bool) -> None:
    show("Would be handed out" if dry else "Handed out", [{"reason": name, "segments": number} for name, number in given.reasons.items()])
    print(f"{given.segments} segments in {given.tasks} tiles: {given.path}" + ("" if dry else f" ({given.megabytes} MB)"))
    if not dry:
        tasks = given.path.with_name(f"{given.path.stem}-tasks")
        print(f"open {given.path.with_suffix('.qgs')} in QGIS" + (f"; tiles for Google Earth: {tasks}/" if tasks.is_dir() else ""))


@app.command("checkin")
def checkin(
    config: ConfigPath,
    copies: Annotated[list[Path], typer.Argument(help="Working copies that `checkout`, `adjudicate` or `sample` wrote.")],
    dry: Dry = False,
    plan: Annotated[bool, typer.Option(help="Say what a run would make again, and how long that took last time.")] = True,
) -> None:
    """Take in the edits of working copies: one immutable event file each; nothing where a row is wrong."""
    from smallmines.annotation import checkin as taking

    rows, failed, new = [], [], 0
    with plain_errors():
        settings = read_config(config)
        user = Layout(settings.run).user.path
        for path in copies:
            try:
                found = taking.checkin(user, path, _keys(settings.run), dry, settings.run)
            except UserError as error:  # the other copies are taken in all the same
                failed.append(str(error))
                continue
            new += len(found.events)
            rows.append({"copy": str(path), "who": found.about.annotator, **found.counts, "known": found.known, "stale": found.stale})
            if found.open_elsewhere:
                print(f"{path} is open in a program: what is not saved there is not seen", file=sys.stderr)
            if found.withdrawn:
                print(f"{path}: {found.withdrawn} labels emptied since an earlier check-in stay in force (set unsure to take them back)")
            if found.file:
                print(f"events: {found.file}\nkept:   {found.kept}")
        if rows:
            show("Would be checked in" if dry else "Checked in", rows)
        if new and plan and not dry:
            _plan(config, settings.run)
        if failed:
            raise SystemExit("\n".join(failed))


def _keys(run: str) -> Keys:
    """Looks up the content keys of the present segmentation of a year and block; None where there is none."""
    import pandas as pd

    def keys(year: int, block: str) -> frozenset[int] | None:
        path = Layout(run).features(str(year), block)
        return frozenset(pd.read_parquet(path, columns=["key"])["key"].tolist()) if path.is_file() else None

    return keys


def _plan(config: Path, run: str) -> None:
    """What Snakemake would make again, and what it took last time."""
    from smallmines.report.run_times import took

    command = ["snakemake", "--configfile", str(config)]
    done = subprocess.run([sys.executable, "-m", *command, "--dry-run", "--quiet", "rules"], capture_output=True, text=True, check=False)
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, re.MULTILINE))
    if done.returncode or not jobs:
        print(f"what is to be made again: {' '.join(command)} --dry-run")
        return
    each: dict[str, float] = {}
    with suppress(UserError):
        each = {str(row["rule"]): row["seconds"] / row["jobs"] for row in took(run).to_dict("records")}
    rows = [
        {"rule": rule, "jobs": int(number), "seconds": round(each.get(rule, 0.0) * int(number), 1)}
        for rule, number in jobs.items()
        if rule not in ("total", "all")
    ]
    show("To be made again", rows, decimals=1)
    print(f"about {sum(row['seconds'] for row in rows):.0f} s of work: {' '.join(command)} --cores …")


@app.command("status")
def status(config: ConfigPath) -> None:
    """How far people are: labels by provenance, disputes, validated area, and copies with edits that are not checked in."""
    from smallmines.annotation.status import standing

    with plain_errors():
        settings = read_config(config)
        rows, copies = standing(settings)
        show(f"Labels of run {settings.run} (segments; validated: share of the area that people looked at)", rows)
        if copies:
            show("Working copies", copies)


@app.command("rounds")
def rounds(
    config: ConfigPath,
    year: Annotated[str, typer.Option("--year", help="An epoch of the run; default: all.")] = "",
    block: Annotated[str, typer.Option("--block", help="A block of the run; default: all.")] = "",
    threads: Annotated[int, typer.Option(min=1, help="Threads of the forests.")] = 2,
) -> None:
    """When to stop: what each round changed, and what a forest still learns from it (cross-validated on the samples)."""
    from smallmines.annotation.block_year import Place
    from smallmines.annotation.rounds import advice, differing, progress

    with plain_errors():
        settings = read_config(config)
        rows, said = [], []
        for name in [year] if year else settings.year_names:
            for one in [block] if block else settings.blocks:
                place = Place(settings, name, one)
                found = progress(place, threads)
                for step in found:
                    share = step.corrected / step.decisions if step.decisions else float("nan")
                    rows.append({"year": name, "block": one, **vars(step), "corrected share": share})
                said.append(f"{name}, block {one}: {advice(found, differing(place))}")
        show("Rounds of labelling (F1: forest with all decisions so far, cross-validated on the samples, at its best threshold)", rows)
    print("\n".join(said))


@app.command("agreement")
def agreement(
    config: ConfigPath,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file too.")] = None,
) -> None:
    """How well people agree where they labelled the same segments without knowing of each other."""
    from smallmines.annotation.status import agreed, worth
    from smallmines.core.files import write_json

    with plain_errors():
        rows = agreed(worth(read_config(config)))
    if json:
        write_json(json, rows)
    if rows:
        shown = [{key: value for key, value in row.items() if key not in ("tiles", "unsure")} for row in rows]
        show("Agreement in the blind overlap (low, high: 95 % interval of kappa)", shown, decimals=2)
    else:
        print("no segment of the blind overlap has been labelled by two people yet")


@app.command("sample")
def sample(
    config: ConfigPath,
    year: Year,
    block: Block,
    annotator: Annotated[str, typer.Option("--annotator", help="Code of the person, one of labels.annotators.")],
    dry: Dry = False,
) -> None:
    """Hand out the pixels of the accuracy sample, drawn once by chance; what is said about them is never a label."""
    from smallmines.annotation.block_year import Place
    from smallmines.annotation.checkout import sample as hand_out

    with plain_errors():
        given = hand_out(Place(read_config(config), year, block), annotator, dry)
    _told(given, dry)


@app.command("accuracy")
def accuracy(
    config: ConfigPath,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file too.")] = None,
) -> None:
    """Accuracy of the masks and area of mining with 95 % intervals, from the accuracy sample."""
    from smallmines.annotation.status import estimated, worth
    from smallmines.core.files import write_json

    with plain_errors():
        known = worth(read_config(config))
    rows = estimated(known)
    if json:
        write_json(json, {year: one["accuracy"] for year, one in known["years"].items()})
    if rows:
        show("Accuracy of the masks (low, high: 95 % interval)", rows, decimals=3)
    for year, one in known["years"].items():
        if one["accuracy"] is None:
            print(f"{year}: {one['accuracy_lacks']}", file=sys.stderr)


@app.command("import-masks")
def import_masks(
    config: ConfigPath,
    folder: Annotated[Path, typer.Argument(help="Folder with the masks `MASK_…_<year>.tif`, at any depth.")],
    year: Annotated[str, typer.Option("--year", help="An epoch of the run; default: all.")] = "",
    block: Annotated[str, typer.Option("--block", help="A block of the run; default: all.")] = "",
    tiles: Annotated[str, typer.Option("--tiles", help="Hold these tiles out, with commas.")] = "",
    fraction: Annotated[float, typer.Option("--fraction", min=0, max=1, help="Hold this share of the tiles out, by chance.")] = 0.0,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Segments of each class for the samples of a block and year.")] = 1000,
    dry: Dry = False,
) -> None:
    """Turn released masks into samples (where there are none) and corrections (where there are labels that differ)."""
    from dataclasses import asdict

    from smallmines.annotation import released_masks
    from smallmines.annotation.block_year import Place

    with plain_errors():
        settings = read_config(config)
        rows = []
        for name in [year] if year else settings.year_names:
            paths = released_masks.masks_of(folder, name)
            for one in [block] if block else settings.blocks:
                place = Place(settings, name, one)
                named = [tile.strip() for tile in tiles.split(",") if tile.strip()]
                held = released_masks.held_out(place.lattice.cells["tile_id"].tolist(), named, fraction, settings.labels.seed)
                found = asdict(released_masks.import_masks(place, paths, held, samples, dry))
                rows.append({"year": name, "block": one, **{key: "–" if value is None else value for key, value in found.items()}})
        show("Would be imported" if dry else "Imported", rows)
    if any(row["samples"] == "–" for row in rows):
        print("–: there are samples already (people's files are never replaced), or no labels yet to correct")
    if any(row["corrections"] == "–" for row in rows):
        print("run the workflow up to the masks, then import again: what the labels still lack becomes corrections")


@app.command("transfer")
def transfer(
    config: ConfigPath,
    year: Annotated[str, typer.Option("--year", help="An epoch of the run; default: all.")] = "",
    block: Annotated[str, typer.Option("--block", help="A block of the run; default: all.")] = "",
    covered: Annotated[float | None, typer.Option(min=0, max=1, help="Try another labels.transfer.covered.")] = None,
    purity: Annotated[float | None, typer.Option(min=0, max=1, help="Try another labels.transfer.purity.")] = None,
    lineage: Annotated[Path | None, typer.Option("--lineage", help="Write what became of each decision to this CSV.")] = None,
) -> None:
    """Say what becomes of people's decisions on the present segmentation. The workflow moves them by itself; this changes nothing."""
    import pandas as pd

    from smallmines.annotation.status import moved
    from smallmines.settings.parameters import settings_of
    from smallmines.settings.transfer import Transfer

    with plain_errors():
        settings = read_config(config)
        rule = settings_of(settings.labels.transfer, Transfer)
        changes = {name: value for name, value in (("covered", covered), ("purity", purity)) if value is not None}
        found = moved(settings, [year] if year else settings.year_names, [block] if block else settings.blocks, replace(rule, **changes))
        show("Decisions on the present segmentation", [row for row, _ in found])
        if lineage:
            pd.concat([table for _, table in found], ignore_index=True).to_csv(lineage, index=False)
            print(f"lineage: {lineage}")
