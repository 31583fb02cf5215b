"""The verb `smallmines compare`: compare a dataset with another, or with published tables; infer how released patches were made."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smallmines.cli.console import plain_errors, read_config
from smallmines.cli.output import Json, Output, output
from smallmines.core.errors import UserError
from smallmines.core.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from smallmines.compare.pairs import Patch

MEASURED = "These are measured differences; whether they are small enough is for the reader to judge."


def compare(
    ours: Annotated[Path, typer.Argument(help="Our dataset, e.g. results/<run>/dataset.", exists=True, file_okay=False)],
    published: Annotated[
        Path | None, typer.Argument(help="The other: a folder with its patches at any depth, or only its split tables.", exists=True)
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Configuration of our run, from which imported labels are known."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder of table, figures and maps; default: compare, or results/<run>/compare.")
    ] = None,
    identify: Annotated[
        bool,
        typer.Option(
            "--identify", help="Compare nothing: infer from the patches named last how they were made, and print that as a configuration."
        ),
    ] = False,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Patches that are read at a time.")] = 2,
    json: Json = False,
) -> None:
    """Measure the differences between a dataset and a published one, tile by tile; patches are joined by location, not by number."""
    with plain_errors():
        if identify:
            _identify(published or ours)
            return
        if published is None:
            raise UserError("two datasets", "one", "name the published one too, or ask with --identify how this one was made")
        run = None if config is None else read_config(config).run
        folder = folder or (Path("compare") if run is None else Layout(run).comparison)
        with output(json) as out:
            _compare(ours, published, None if run is None else Layout(run).user.path, folder, threads, out)


def _compare(ours: Path, published: Path, user: Path | None, folder: Path, threads: int, out: Output) -> None:
    from smallmines.compare.pairs import find_patches
    from smallmines.compare.published import tables_in

    theirs = find_patches(published) if published.is_dir() else []
    if theirs:
        mine = find_patches(ours)
        if not mine:
            raise UserError(f"patches IMG_… or MASK_… below {ours}", "none", "name the folder of a dataset, e.g. results/<run>/dataset")
        _patches(mine, theirs, {"ours": str(ours), "published": str(published)}, user, folder, threads, out)
    elif tables := tables_in(published):
        _tables(ours, tables, {"ours": str(ours), "published": str(published)}, folder, out)
    else:
        raise UserError(
            f"patches IMG_… or MASK_…, or tables with patch_name and class_percentage, in {published}",
            "neither",
            "name the folder of the published dataset",
        )


def _patches(
    mine: Sequence[Patch], theirs: Sequence[Patch], about: dict[str, str], user: Path | None, folder: Path, threads: int, out: Output
) -> None:
    import pandas as pd

    from smallmines.compare import maps, origin
    from smallmines.compare.differences import all_pixels_equal, compare_pairs, mask_agreement, pooled
    from smallmines.compare.pairs import join, require_two_datasets
    from smallmines.core.files import write_json

    joined = join(mine, theirs)
    same = require_two_datasets(joined, Path(about["ours"]), Path(about["published"]))
    record = origin.read_record(user)
    with _progress("comparing", len(joined.pairs)) as tell:
        rows = compare_pairs(joined.pairs, record.of, threads, tell)
    alone = {"only ours": _places(joined.only_ours), "only published": _places(joined.only_published)}
    side = mine[0].header.width * mine[0].header.resolution[0]
    years: dict[str, Any] = {}
    for year, own in rows.groupby("year"):
        lonely = {name: table[table["year"] == year] for name, table in alone.items()}
        years[str(year)] = {
            **pooled(own),
            **{name.replace(" ", "_"): len(table) for name, table in lonely.items()},
            "mask_by_labels": origin.agreement_by_origin(own),
            "verdict": origin.verdict(own["labels"]),
        }
        maps.difference_maps(own, lonely["only ours"], str(year), side, folder / f"compare_{year}.png")
    verdict = origin.verdict(rows["labels"])
    sameness = {"same_files": len(same), "all_pixels_equal": all_pixels_equal(rows)}
    whole = {**sameness, "mask": mask_agreement(rows), "mask_by_labels": origin.agreement_by_origin(rows), "verdict": verdict}
    write_json(folder / "compare.json", {**about, "with": "patches", "years": years, **whole})
    tables = [rows, *(table.assign(match=name) for name, table in alone.items() if len(table))]
    _write_csv(pd.concat(tables, ignore_index=True), folder)
    _show_patches(years, out)
    out.message(f"The masks: {verdict}.")
    if same:
        out.message(f"{len(same)} files are the same in both (links), e.g. {same[0]}: their comparison says nothing.")
    elif sameness["all_pixels_equal"]:
        out.message("Every compared pixel is equal: one dataset is a copy of the other.")
    _say_where(folder, years, out)


def _places(patches: Sequence[Patch]) -> pd.DataFrame:
    import pandas as pd

    headers = [patch.header for patch in patches]
    columns = {"tile_id": [header.tile_id for header in headers], "year": [int(header.year) for header in headers]}
    table = pd.DataFrame(columns | {"left": [header.left for header in headers], "top": [header.top for header in headers]})
    return table.astype({"tile_id": str, "year": "int64", "left": float, "top": float})


def _show_patches(years: dict[str, Any], out: Output) -> None:
    from smallmines.compare.radiometry import offset_between, offsets_in_words

    grid = ("tiles", "exact", "shifted", "other", "only_ours", "only_published")
    tiles = [
        {
            "year": year,
            **{name: values[name] for name in grid},
            "median_shift_m": None if values["shift"] is None else "{:g}, {:g}".format(*values["shift"]),
        }
        for year, values in years.items()
    ]
    bands = [{"year": year, "band": band, **row} for year, values in years.items() for band, row in values["bands"].items()]
    masks = [
        {"year": year, "labels": name, **row}
        for year, values in years.items()
        for name, row in (("all", values["mask"]), *values["mask_by_labels"].items())
    ]
    out.table("Tiles joined by location, and how their grids match", tiles, "tiles")
    out.table("Bands: ours − published", bands, "bands")
    out.table("Masks: IoU of mining, by the source of our labels", masks, "masks")
    if shares := [{"year": year, **values["class_share"]} for year, values in years.items() if values["class_share"]]:
        out.table("Mining in % of a tile", shares, "class_share")
    for year, values in years.items():
        if offset := offset_between(values["bands"]):
            sides = {side: values[f"offset_{side}"] for side in ("ours", "published")}
            out.message(f"{year}: {offsets_in_words(offset, sides)}")
        for name in ("ours", "published"):
            if count := values[f"s1_linear_{name}"]:
                out.message(f"{year}: Sentinel-1 of {count} tiles of {name} was linear power, compared in dB")


def _tables(ours: Path, tables: Sequence[Path], about: dict[str, str], folder: Path, out: Output) -> None:
    from smallmines.compare import maps
    from smallmines.compare.published import BIN_NAMES, against_tables, read_ours, read_published
    from smallmines.core.files import write_json

    mine = read_ours(ours)
    rows, document = against_tables(mine, read_published(tables))
    write_json(folder / "compare.json", {**about, "with": "tables", **document})
    _write_csv(rows, folder)
    years = document["years"]
    drawn = {}
    for year in years:
        own = rows[rows["year"] == int(year)]
        if len(own):
            drawn[year] = own
            maps.share_map(own, year, float(mine["side"].iloc[0]), folder / f"compare_{year}.png")
    sides = [(year, side, values[side]) for year, values in years.items() for side in ("ours", "published")]
    tiles = [{"year": year, "dataset": side, **{key: row[key] for key in row if key != "bins"}} for year, side, row in sides]
    out.table("All tiles", tiles, "tiles")
    bins = [{"share": name, **{f"{year} {side}": row["bins"][name] for year, side, row in sides}} for name in BIN_NAMES]
    out.table("Tiles by mining", bins, "bins")
    if shares := [{"year": year, **values["by_tile"]} for year, values in years.items() if values["by_tile"]]:
        out.table("Tile by tile, in points of %", shares, "by_tile")
    out.message(f"Joined tile by tile: {document['joined']}.")
    _say_where(folder, drawn, out)


def _identify(folder: Path) -> None:
    from smallmines.compare.identify import TILES, as_config, evidence, identify
    from smallmines.compare.pairs import find_patches

    patches = find_patches(folder) if folder.is_dir() else []
    with _progress("examining", min(TILES, sum(patch.image is not None for patch in patches))) as tell:
        answers = identify(patches, tell)
    for row in evidence(answers):
        print(f"# {row['key']}: {row['found']}: {row['by']}", file=sys.stderr)
    sys.stdout.write(as_config(answers))


def _write_csv(rows: pd.DataFrame, folder: Path) -> None:
    from smallmines.core.files import written

    with written(folder / "compare.csv") as beside:
        rows.to_csv(beside, index=False, lineterminator="\n", float_format="%.9g")


def _say_where(folder: Path, years: dict[str, Any], out: Output) -> None:
    maps = "".join(f", compare_{year}.png" for year in years)
    out.message(f"{MEASURED}\nWritten to {folder}: compare.json, compare.csv{maps}")


@contextmanager
def _progress(text: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a transient progress bar on standard error; yield a function that advances it."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(text, total=total)
        yield lambda: bar.advance(task)
