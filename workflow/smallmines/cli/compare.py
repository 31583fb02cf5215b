"""The verb `smallmines compare`: one dataset against another, or against published tables; and what released patches tell."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smallmines.cli.console import plain_errors, read_config, show
from smallmines.core.errors import UserError
from smallmines.core.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from smallmines.compare.pairs import Patch

MEASURED = "These are measured differences. How near is near enough is for the reader to say."


def compare(
    ours: Annotated[Path, typer.Argument(help="Our dataset, e.g. results/<run>/dataset.", exists=True, file_okay=False)],
    published: Annotated[
        Path | None, typer.Argument(help="The other: a folder with its patches at any depth, or only its split tables.", exists=True)
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Our run's configuration: tells which labels were imported.", exists=True, dir_okay=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of table, figures and maps; default: compare, or results/<run>/compare.")
    ] = None,
    identify: Annotated[
        bool,
        typer.Option(
            "--identify", help="Compare nothing: infer from the (last named) patches how they were made, print the configuration."
        ),
    ] = False,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Patches that are read at a time.")] = 2,
) -> None:
    """Measure how far a dataset is from a published one, tile by tile; patches are joined by where they lie, not by their numbers."""
    with plain_errors():
        if identify:
            _identify(published or ours)
            return
        if published is None:
            raise UserError("two datasets", "one", "name the published one too, or ask with --identify how this one was made")
        run = None if config is None else read_config(config).run
        folder = out or (Path("compare") if run is None else Layout(run).comparison)
        _compare(ours, published, None if run is None else Layout(run).user.path, folder, threads)


def _compare(ours: Path, published: Path, user: Path | None, folder: Path, threads: int) -> None:
    from smallmines.compare.pairs import find_patches
    from smallmines.compare.published import tables_in

    theirs = find_patches(published) if published.is_dir() else []
    if theirs:
        mine = find_patches(ours)
        if not mine:
            raise UserError(f"patches IMG_… or MASK_… below {ours}", "none", "name the folder of a dataset, e.g. results/<run>/dataset")
        _patches(mine, theirs, {"ours": str(ours), "published": str(published)}, user, folder, threads)
    elif tables := tables_in(published):
        _tables(ours, tables, {"ours": str(ours), "published": str(published)}, folder)
    else:
        raise UserError(
            f"patches IMG_… or MASK_…, or tables with patch_name and class_percentage, in {published}",
            "neither",
            "name the folder of the published dataset",
        )


def _patches(mine: Sequence[Patch], theirs: Sequence[Patch], about: dict[str, str], user: Path | None, folder: Path, threads: int) -> None:
    import pandas as pd

    from smallmines.compare import maps, origin
    from smallmines.compare.differences import compare_pairs, mask_agreement, pooled
    from smallmines.compare.pairs import join
    from smallmines.core.files import write_json

    joined = join(mine, theirs)
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
    whole = {"mask": mask_agreement(rows), "mask_by_labels": origin.agreement_by_origin(rows), "verdict": verdict}
    write_json(folder / "compare.json", {**about, "with": "patches", "years": years, **whole})
    tables = [rows, *(table.assign(match=name) for name, table in alone.items() if len(table))]
    _write_csv(pd.concat(tables, ignore_index=True), folder)
    _show_patches(years)
    print(f"The masks: {verdict}.")
    _say_where(folder, years)


def _places(patches: Sequence[Patch]) -> pd.DataFrame:
    import pandas as pd

    headers = [patch.header for patch in patches]
    columns = {"tile_id": [one.tile_id for one in headers], "year": [int(one.year) for one in headers]}
    table = pd.DataFrame(columns | {"left": [one.left for one in headers], "top": [one.top for one in headers]})
    return table.astype({"tile_id": str, "year": "int64", "left": float, "top": float})


def _show_patches(years: dict[str, Any]) -> None:
    from smallmines.compare.differences import offset_between

    def number(value: Any) -> Any:
        return "–" if value is None else value

    grid = ("tiles", "exact", "shifted", "other", "only_ours", "only_published")
    show(
        "Tiles joined by place, and how their grids match",
        [
            {
                "year": year,
                **{name: one[name] for name in grid},
                "median shift in m": "–" if one["shift"] is None else "{:g}, {:g}".format(*one["shift"]),
            }
            for year, one in years.items()
        ],
    )
    show(
        "Bands: ours − published",
        [
            {"year": year, "band": band, **{key: number(value) for key, value in values.items()}}
            for year, one in years.items()
            for band, values in one["bands"].items()
        ],
    )
    masks = [
        {"year": year, "labels": name, **{key: number(value) for key, value in values.items()}}
        for year, one in years.items()
        for name, values in (("all", one["mask"]), *one["mask_by_labels"].items())
    ]
    show("Masks: IoU of mining, apart by where our labels come from", masks)
    shares = [{"year": year, **one["class_share"]} for year, one in years.items() if one["class_share"]]
    if shares:
        show("Mining in % of a tile", shares)
    for year, one in years.items():
        if offset := offset_between(one["bands"]):
            which = "ours" if offset > 0 else "the published"
            print(f"{year}: only {which} carry the +1000 offset of the digital numbers (sentinel2.radiometry)")
        for name in ("ours", "published"):
            if count := one[f"s1_linear_{name}"]:
                print(f"{year}: Sentinel-1 of {count} tiles of {name} was linear power, compared in dB")


def _tables(ours: Path, tables: Sequence[Path], about: dict[str, str], folder: Path) -> None:
    from smallmines.compare import maps
    from smallmines.compare.published import BIN_NAMES, against_tables, read_ours, read_published
    from smallmines.core.files import write_json

    mine = read_ours(ours)
    rows, found = against_tables(mine, read_published(tables))
    write_json(folder / "compare.json", {**about, "with": "tables", **found})
    _write_csv(rows, folder)
    drawn = {}
    for year in found["years"]:
        own = rows[rows["year"] == int(year)]
        if len(own):
            drawn[year] = own
            maps.share_map(own, year, float(mine["side"].iloc[0]), folder / f"compare_{year}.png")
    sides = ("ours", "published")
    several = [
        {"year": year, "dataset": side, **{key: "–" if value is None else value for key, value in one[side].items() if key != "bins"}}
        for year, one in found["years"].items()
        for side in sides
    ]
    show("All tiles", several)
    show(
        "Tiles by mining",
        [
            {"share": name, **{f"{year} {side}": one[side]["bins"][name] for year, one in found["years"].items() for side in sides}}
            for name in BIN_NAMES
        ],
    )
    shares = [
        {"year": year, **{key: "–" if value is None else value for key, value in one["by_tile"].items()}}
        for year, one in found["years"].items()
        if one["by_tile"]
    ]
    if shares:
        show("Tile by tile, in points of %", shares)
    print(f"Joined tile by tile: {found['joined']}.")
    _say_where(folder, drawn)


def _identify(folder: Path) -> None:
    from smallmines.compare.identify import TILES, as_config, evidence, identify
    from smallmines.compare.pairs import find_patches

    patches = find_patches(folder) if folder.is_dir() else []
    with _progress("looking", min(TILES, sum(patch.image is not None for patch in patches))) as tell:
        answers = identify(patches, tell)
    for row in evidence(answers):
        print(f"# {row['key']}: {row['found']}: {row['by']}", file=sys.stderr)
    sys.stdout.write(as_config(answers))


def _write_csv(rows: pd.DataFrame, folder: Path) -> None:
    from smallmines.core.files import written

    with written(folder / "compare.csv") as beside:
        rows.to_csv(beside, index=False, lineterminator="\n", float_format="%.9g")


def _say_where(folder: Path, years: dict[str, Any]) -> None:
    maps = "".join(f", compare_{year}.png" for year in years)
    print(f"{MEASURED}\nWritten to {folder}: compare.json, compare.csv{maps}")


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar that vanishes, on the error stream; gives what moves it on."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
