"""The verbs `smallmines labels …`: check out, check in, adjudicate and report on labels."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smallmines.cli.console import ConfigPath, plain_errors, read_config
from smallmines.cli.output import STDOUT, Json, JsonFile, Output, output, print_json
from smallmines.core.errors import UserError
from smallmines.core.failures import explained
from smallmines.core.layout import Layout, PixelSample
from smallmines.core.readable import read_parquet

if TYPE_CHECKING:
    from smallmines.annotation.checkin import Keys
    from smallmines.annotation.checkout_files import CheckedOut
    from smallmines.annotation.working_copy import Kind
    from smallmines.config.sections import Config

app = typer.Typer(no_args_is_help=True, help="Labels that people make: check out, check in, adjudicate, report (docs/labelling.md).")

Year = Annotated[str, typer.Option("--year", help="A year of the run.")]
Block = Annotated[str, typer.Option("--block", help="A block of the run.")]
AnyYear = Annotated[str, typer.Option("--year", help="A year of the run; default: all.")]
AnyBlock = Annotated[str, typer.Option("--block", help="A block of the run; default: all.")]
Annotator = Annotated[str, typer.Option("--annotator", help="Code of the person, one of labels.annotators.")]
Dry = Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would happen, write nothing.")]


def _places(settings: Config, year: str, block: str) -> list[tuple[str, str]]:
    """Return the years and blocks of the run that a verb is about."""
    return [(name, code) for name in ([year] if year else settings.year_names) for code in ([block] if block else settings.blocks)]


# --- check-out and check-in -----------------------------------------------------------------------------------------------


@app.command("checkout")
def checkout(
    config: ConfigPath,
    year: Year,
    block: Block,
    annotator: Annotator,
    size: Annotated[int | None, typer.Option(min=1, help="Segments of this round over all annotators; default: labels.queue.size.")] = None,
    tiles: Annotated[str, typer.Option("--tiles", help="All segments of these tiles (with commas), in place of the queue.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Every segment of the block, in place of the queue.")] = False,
    dry: Dry = False,
    json: Json = False,
) -> None:
    """Check out a working copy: GeoPackage, QGIS project, and a file per tile for Google Earth."""
    from smallmines.annotation.block_year import BlockYear
    from smallmines.annotation.checkout import checkout as check_out
    from smallmines.annotation.checkout_pixels import asked_first

    with plain_errors(), output(json) as out:
        names = [name.strip() for name in tiles.split(",") if name.strip()]
        block_year = BlockYear(read_config(config), year, block)
        copy = check_out(block_year, annotator, size, names, everything, dry)
        first = asked_first(block_year)
        if first:
            out.message(f"{first}\n")
        _report(copy, dry, out)
        if first:
            out.message(f"\n{first}")  # beside the path that people open, too


@app.command("adjudicate")
def adjudicate(
    config: ConfigPath,
    year: Year,
    block: Block,
    by: Annotated[str, typer.Option("--by", help="Code of the person who adjudicates.")],
    dry: Dry = False,
    json: Json = False,
) -> None:
    """Check out the segments that people label differently, with the decision of each; the copy is checked in like any other."""
    from smallmines.annotation.block_year import BlockYear
    from smallmines.annotation.checkout import checkout_disputed

    with plain_errors(), output(json) as out:
        _report(checkout_disputed(BlockYear(read_config(config), year, block), by, dry), dry, out)


@app.command("sample")
def sample(
    config: ConfigPath,
    year: Year,
    block: Block,
    annotator: Annotator,
    kind: Annotated[
        PixelSample,
        typer.Option(
            "--for",
            help="accuracy: of the masks. prevalence: the share of mining, with assistant.prevalence sample. "
            "change_before, change_after: gain and loss up to the year, looked at in the year before and in the year itself.",
        ),
    ] = "accuracy",
    dry: Dry = False,
    json: Json = False,
) -> None:
    """Check out the pixels of a sample, drawn once by chance; decisions about them never become labels."""
    from smallmines.annotation.block_year import BlockYear
    from smallmines.annotation.checkout_pixels import checkout_pixel_sample, other_number
    from smallmines.annotation.images import year_to_label

    with plain_errors(), output(json) as out:
        settings = read_config(config)
        block_year = BlockYear(settings, year, block)
        _report(checkout_pixel_sample(block_year, annotator, kind, dry), dry, out)
        if kind == "change_before" or kind == "change_after":
            out.message(f"label what was there in {year_to_label(block_year, kind)}, whose images lie on top")
        if kind == "prevalence" and (changed_number := other_number(block_year)):
            out.message(changed_number)
        if kind == "prevalence" and settings.assistant.prevalence != "sample":
            out.message(f"assistant.prevalence is {settings.assistant.prevalence}: set it to sample, else nothing uses this sample")


def _report(copy: CheckedOut, dry: bool, out: Output) -> None:
    rows = [{"reason": reason, "segments": number} for reason, number in copy.reasons.items()]
    out.table("Would be checked out" if dry else "Checked out", rows)
    out.message(f"{copy.segments} segments in {copy.tasks} tiles: {copy.path}" + ("" if dry else f" ({copy.megabytes} MB)"))
    if not dry:
        tasks = copy.path.with_name(f"{copy.path.stem}-tasks")
        out.message(f"open {copy.path.with_suffix('.qgs')} in QGIS" + (f"; tiles for Google Earth: {tasks}/" if tasks.is_dir() else ""))


@app.command("checkin")
def checkin(
    config: ConfigPath,
    copies: Annotated[list[Path], typer.Argument(help="Working copies that `checkout`, `adjudicate` or `sample` wrote.")],
    dry: Dry = False,
    plan: Annotated[bool, typer.Option(help="List the jobs that a run would repeat, and how long they took last time.")] = True,
    json: Json = False,
) -> None:
    """Check in the edits of working copies: one immutable event file each; nothing of a copy with a faulty row."""
    from smallmines.annotation import checkin as check_in

    rows, errors = [], []
    changed: set[Kind] = set()
    with plain_errors(), output(json) as out:
        settings = read_config(config)
        for path in copies:
            try:
                result = check_in.checkin(Layout(settings.run).user.path, path, _keys(settings.run), dry, settings.run)
            except UserError as error:  # the other copies are checked in all the same
                errors.append(str(explained(error)))
                continue
            changed |= {result.about.kind} if result.events else set()
            row = {"copy": str(path), "annotator": result.about.annotator, **result.counts}
            rows.append({**row, "checked_in_before": result.checked_in_before, "stale": result.stale})
            for warning in result.warnings:
                print(f"{path}: {warning}", file=sys.stderr)
            if settings.labels.source == "released_masks" and result.about.kind in ("review", "adjudication"):
                print(f"{path}: labels.source is released_masks: decisions about segments are not in its masks", file=sys.stderr)
            if result.open_elsewhere:
                print(f"{path} is open in a program: edits that are not saved are not checked in", file=sys.stderr)
            if result.file:
                out.message(f"events: {result.file}\nkept:   {result.kept}")
        if rows:
            title = "Would be checked in" if dry else "Checked in"
            out.table(f"{title} (new decisions; stale: on segments that the present segmentation lacks)", rows, "copies")
        if changed and plan and not dry:
            _plan(config, changed, settings.run, out)
    if errors:
        raise SystemExit("\n".join(errors))


def _keys(run: str) -> Keys:
    """Return a function that reads the content keys of the present segmentation of a year and block; None where there is none."""

    def keys(year: int, block: str) -> frozenset[int] | None:
        path = Layout(run).features(str(year), block)
        try:
            return frozenset(read_parquet(path, columns=["key"])["key"].tolist()) if path.is_file() else None
        except UserError:  # damaged: the workflow makes it again
            return None

    return keys


def _plan(config: Path, kinds: set[Kind], run: str, out: Output) -> None:
    """List the jobs that Snakemake would run after decisions of some kinds, and how long they took last time."""
    from smallmines.annotation.server.rerun import plan, targets_of

    planned = plan(config, run, targets=targets_of(kinds))
    if planned.rows:
        out.table("To be made again", planned.rows, "plan", decimals=1)
    out.message(planned.summary)


# --- reports --------------------------------------------------------------------------------------------------------------


@app.command("status")
def status(config: ConfigPath, json: Json = False) -> None:
    """Count labels by provenance, open labels, validated area, pixels of samples, edits not checked in; say what comes first."""
    from smallmines.annotation.status import change_samples_of, copies_of, first_steps, ignored_numbers, labels_of, prevalence_samples_of

    with plain_errors(), output(json) as out:
        settings = read_config(config)
        title = "Segments by provenance of their label (open: without a label; validated: share of the area that people decided on)"
        segmented = settings.labels.source != "released_masks"
        if segmented or json:
            out.table(f"Run {settings.run}: {title}", labels_of(settings) if segmented else [], "labels")
        if not segmented:
            out.message(f"Run {settings.run}: the masks are those of the release (labels.source released_masks); there are no segments")
        if samples := prevalence_samples_of(settings):
            out.table("Prevalence samples (pixels; they set the threshold of mining)", samples, "prevalence_samples")
        if changes := change_samples_of(settings):
            out.table(
                "Change sample (year: the later one; looked at: pixels in the earlier and in the later year; with class: in both)",
                changes,
                "change_samples",
            )
        if (copies := copies_of(settings)) or json:
            out.table("Working copies (not checked in: edits)", copies, "copies")
        for text in [*ignored_numbers(settings), *first_steps(settings)] if segmented else []:
            out.message(text)


@app.command("rounds")
def rounds(
    config: ConfigPath,
    year: AnyYear = "",
    block: AnyBlock = "",
    threads: Annotated[int, typer.Option(min=1, help="Threads of the forests.")] = 2,
    json: Json = False,
) -> None:
    """Report what each round of labelling changed and what a forest learned from it, and advise when to stop."""
    from smallmines.annotation.block_year import BlockYear
    from smallmines.annotation.rounds import advice, differing, progress

    with plain_errors(), output(json) as out:
        settings = read_config(config)
        rows, advices = [], []
        for name, code in _places(settings, year, block):
            block_year = BlockYear(settings, name, code)
            steps = progress(block_year, threads)
            for step in steps:
                share = step.corrected / step.decisions if step.decisions else None
                rows.append({"year": int(name), "block": code, **vars(step), "corrected_share": share})
            advices.append(f"{name}, block {code}: {advice(steps, differing(block_year))}")
        out.table("Rounds (F1: forest trained on all decisions so far, cross-validated on the samples, at its best threshold)", rows)
        out.message("\n".join(advices))


@app.command("agreement")
def agreement(config: ConfigPath, json: JsonFile = None) -> None:
    """Report how well annotators agree on the blind overlap."""
    from smallmines.annotation.status import agreement_of, quality_of
    from smallmines.core.files import write_json

    with plain_errors():
        rows = agreement_of(quality_of(read_config(config)))
    if json == STDOUT:
        print_json(rows)
        return
    if json:
        write_json(json.absolute(), rows)
    with output(False) as out:
        if rows:
            columns = [{key: value for key, value in row.items() if key not in ("tiles", "unsure")} for row in rows]
            title = "Agreement on the blind overlap (raw: share of the segments with the same label; low, high: 95 % interval of kappa)"
            out.table(title, columns, decimals=2)
        else:
            out.message("no segment of the blind overlap has been labelled by two people yet")


@app.command("accuracy")
def accuracy(config: ConfigPath, json: JsonFile = None) -> None:
    """Estimate the accuracy of the masks and the area of mining with 95 % intervals, from the accuracy sample."""
    from smallmines.annotation.status import accuracy_of, quality_of
    from smallmines.core.files import write_json

    with plain_errors():
        quality = quality_of(read_config(config))
    document = {year: values["accuracy"] for year, values in quality["years"].items()}
    if json == STDOUT:
        print_json(document)
    else:
        if json:
            write_json(json.absolute(), document)
        if rows := accuracy_of(quality):
            with output(False) as out:
                out.table("Accuracy of the masks (low, high: 95 % interval)", rows)
    for year, values in quality["years"].items():
        if values["accuracy"] is None:
            print(f"{year}: {values['accuracy_lacks']}", file=sys.stderr)


# --- released masks and new segmentations ---------------------------------------------------------------------------------


@app.command("import-masks")
def import_masks(
    config: ConfigPath,
    folder: Annotated[Path, typer.Argument(help="Folder with the masks `MASK_…_<year>.tif`, at any depth.")],
    year: AnyYear = "",
    block: AnyBlock = "",
    tiles: Annotated[str, typer.Option("--tiles", help="Hold these tiles out (with commas).")] = "",
    fraction: Annotated[float, typer.Option("--fraction", min=0, max=1, help="Hold this share of the tiles out, by chance.")] = 0.0,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Segments of each class for the samples of a block and year.")] = 1000,
    dry: Dry = False,
    json: Json = False,
) -> None:
    """Turn released masks into samples, where there are none, and into corrections of labels that differ."""
    from smallmines.annotation.block_year import BlockYear
    from smallmines.annotation.released_masks import import_masks
    from smallmines.labels.released import held_out, masks_of

    with plain_errors(), output(json) as out:
        settings = read_config(config)
        rows = []
        for name, code in _places(settings, year, block):
            paths = masks_of(folder, name)
            block_year = BlockYear(settings, name, code)
            named = [tile.strip() for tile in tiles.split(",") if tile.strip()]
            held = held_out(block_year.lattice.cells["tile_id"].tolist(), named, fraction, settings.labels.seed)
            imported = import_masks(block_year, paths, held, samples, dry)
            rows.append({"year": int(name), "block": code, **asdict(imported)})
        out.table("Would be imported" if dry else "Imported", rows)
        if any(row["samples"] is None for row in rows):
            out.message("samples –: there are samples already; files that people made are never replaced")
        if any(row["corrections"] is None for row in rows):
            out.message("corrections –: no labels yet; run the workflow up to the masks, then import again")


@app.command("import-polygons")
def import_polygons(config: ConfigPath, year: AnyYear = "", block: AnyBlock = "", dry: Dry = False, json: Json = False) -> None:
    """Turn polygons that others drew (labels.external) into samples of blocks and years that have none."""
    from smallmines.annotation.polygons import import_all

    with plain_errors(), output(json) as out:
        settings = read_config(config)
        rows = import_all(settings, _places(settings, year, block), dry)
        out.table("Would be imported" if dry else "Imported", rows)
        if any(row["samples"] is None for row in rows):
            out.message("samples –: there are samples already; files that people made are never replaced")


@app.command("transfer")
def transfer(
    config: ConfigPath,
    year: AnyYear = "",
    block: AnyBlock = "",
    covered: Annotated[float | None, typer.Option(min=0, max=1, help="Try another labels.transfer.covered.")] = None,
    purity: Annotated[float | None, typer.Option(min=0, max=1, help="Try another labels.transfer.purity.")] = None,
    lineage: Annotated[Path | None, typer.Option("--lineage", help="Write what became of each decision to this CSV.")] = None,
    json: Json = False,
) -> None:
    """Count what becomes of the decisions on the present segmentation. The workflow transfers them by itself; this changes nothing."""
    import pandas as pd

    from smallmines.annotation.status import transferred
    from smallmines.core.files import written
    from smallmines.settings.parameters import settings_of
    from smallmines.settings.transfer import Transfer

    with plain_errors(), output(json) as out:
        settings = read_config(config)
        rule = settings_of(settings.labels.transfer, Transfer)
        changes = {name: value for name, value in (("covered", covered), ("purity", purity)) if value is not None}
        results = [transferred(settings, name, code, replace(rule, **changes)) for name, code in _places(settings, year, block)]
        out.table("Decisions on the present segmentation", [row for row, _ in results])
        if lineage:
            with written(lineage.absolute()) as beside:
                pd.concat([table for _, table in results], ignore_index=True).to_csv(beside, index=False, lineterminator="\n")
            out.message(f"lineage: {lineage}")
