"""Verb `smallmines compare`: compare a dataset with another one or with published tables; identify how patches were made."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
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

    from smallmines.compare.pairs import Joined, Patch

MEASURED = "These are measured differences, without limits for what is acceptable."
"""Last words of a comparison."""


def compare(
    ours: Annotated[Path, typer.Argument(help="Our dataset, e.g. results/<run>/dataset.", exists=True, file_okay=False)],
    published: Annotated[
        Path | None,
        typer.Argument(help="The other dataset: its patches at any depth, or only its split tables.", exists=True),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Configuration of our run, to separate imported labels.", exists=True, dir_okay=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for tables, figures and maps; default: compare, or results/<run>/compare.")
    ] = None,
    identify: Annotated[
        bool,
        typer.Option(
            "--identify", help="Compare nothing: infer how the patches (of the last folder) were made, and print a configuration."
        ),
    ] = False,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Number of patches that are read at a time.")] = 2,
) -> None:
    """Measure the differences between a dataset and a published one, tile by tile. Patches are joined by place, not by number."""
    with plain_errors():
        if identify:
            _identify(published or ours)
            return
        if published is None:
            raise UserError("two datasets", "one", "name the published one too, or use --identify to see how this one was made")
        run = None if config is None else read_config(config).run
        folder = out or (Path("compare") if run is None else Layout(run).comparison)
        _compare(ours, published, None if run is None else Layout(run).user.path, folder, threads)


def _compare(ours: Path, published: Path, user: Path | None, folder: Path, threads: int) -> None:
    from smallmines.compare.pairs import find_patches, join
    from smallmines.compare.published import tables_in

    about = {"ours": str(ours), "published": str(published)}
    theirs = find_patches(published) if published.is_dir() else []
    if theirs:
        own = find_patches(ours)
        if not own:
            raise UserError(f"patches IMG_… or MASK_… below {ours}", "none", "name the folder of a dataset, e.g. results/<run>/dataset")
        header = own[0].header
        _patches(join(own, theirs), header.width * header.resolution[0], about, user, folder, threads)
    elif tables := tables_in(published):
        _tables(ours, tables, about, folder)
    else:
        raise UserError(
            f"patches IMG_… or MASK_…, or tables with patch_name and class_percentage, in {published}",
            "neither",
            "name the folder of the published dataset",
        )


def _patches(joined: Joined, side: float, about: dict[str, str], user: Path | None, folder: Path, threads: int) -> None:
    import pandas as pd

    from smallmines.compare import maps, origin
    from smallmines.compare.differences import compare_pairs, mask_agreement, pooled
    from smallmines.core.files import write_json

    record = origin.read_record(user)
    with _progress("comparing", len(joined.pairs)) as advance:
        rows = compare_pairs(joined.pairs, record.of, threads, advance)
    unmatched = {"only ours": _places(joined.only_ours), "only published": _places(joined.only_published)}
    years: dict[str, Any] = {}
    for year, pairs in rows.groupby("year"):
        alone = {name: table[table["year"] == year] for name, table in unmatched.items()}
        years[str(year)] = {
            **pooled(pairs),
            **{name.replace(" ", "_"): len(table) for name, table in alone.items()},
            "mask_by_labels": origin.agreement_by_origin(pairs),
            "verdict": origin.verdict(pairs["labels"]),
        }
        maps.difference_maps(pairs, alone["only ours"], str(year), side, folder / f"compare_{year}.png")
    verdict = origin.verdict(rows["labels"])
    overall = {"mask": mask_agreement(rows), "mask_by_labels": origin.agreement_by_origin(rows), "verdict": verdict}
    write_json(folder / "compare.json", {**about, "with": "patches", "years": years, **overall})
    tables = [rows, *(table.assign(match=name) for name, table in unmatched.items() if len(table))]
    _write_csv(pd.concat(tables, ignore_index=True), folder)
    _show_patches(years)
    print(f"The masks: {verdict}.")
    _print_folder(folder, years)


def _places(patches: Sequence[Patch]) -> pd.DataFrame:
    """Return tile, year and north-west corner of patches: tile_id (str), year (int64), left, top (float64)."""
    import pandas as pd

    rows = [(header.tile_id, int(header.year), header.left, header.top) for header in (patch.header for patch in patches)]
    return pd.DataFrame(rows, columns=["tile_id", "year", "left", "top"]).astype(
        {"tile_id": str, "year": "int64", "left": float, "top": float}
    )


def _dashed(values: dict[str, Any]) -> dict[str, Any]:
    """Return a row of a table with a dash for each missing value."""
    return {name: "–" if value is None else value for name, value in values.items()}


def _show_patches(years: dict[str, Any]) -> None:
    from smallmines.compare.differences import offset_between

    grid = ("tiles", "exact", "shifted", "other", "only_ours", "only_published")
    show(
        "Tiles joined by place, and how their grids match",
        [
            {
                "year": year,
                **{name: report[name] for name in grid},
                "median shift in m": "–" if report["shift"] is None else "{:g}, {:g}".format(*report["shift"]),
            }
            for year, report in years.items()
        ],
    )
    bands = [{"year": year, "band": band, **_dashed(values)} for year, report in years.items() for band, values in report["bands"].items()]
    show("Bands: ours − published", bands)
    masks = [
        {"year": year, "labels": origin, **_dashed(values)}
        for year, report in years.items()
        for origin, values in (("all", report["mask"]), *report["mask_by_labels"].items())
    ]
    show("Masks: IoU of mining, by the origin of our labels", masks)
    shares = [{"year": year, **report["class_share"]} for year, report in years.items() if report["class_share"]]
    if shares:
        show("Mining in % of a tile", shares)
    for year, report in years.items():
        if offset := offset_between(report["bands"]):
            dataset = "ours" if offset > 0 else "the published"
            print(f"{year}: only {dataset} carry the +1000 offset of the digital numbers (sentinel2.radiometry)")
        for dataset in ("ours", "published"):
            if count := report[f"s1_linear_{dataset}"]:
                print(f"{year}: Sentinel-1 of {count} tiles of {dataset} was linear power, compared in dB")


def _tables(ours: Path, tables: Sequence[Path], about: dict[str, str], folder: Path) -> None:
    from smallmines.compare import maps
    from smallmines.compare.published import BIN_NAMES, against_tables, read_ours, read_published
    from smallmines.core.files import write_json

    index = read_ours(ours)
    rows, report = against_tables(index, read_published(tables))
    write_json(folder / "compare.json", {**about, "with": "tables", **report})
    _write_csv(rows, folder)
    years: dict[str, Any] = report["years"]
    mapped = []
    for year in years:
        tiles = rows[rows["year"] == int(year)]
        if len(tiles):
            mapped.append(year)
            maps.share_map(tiles, year, float(index["side"].iloc[0]), folder / f"compare_{year}.png")
    sides = ("ours", "published")
    totals = [
        {"year": year, "dataset": side, **_dashed({key: value for key, value in values[side].items() if key != "bins"})}
        for year, values in years.items()
        for side in sides
    ]
    show("All tiles", totals)
    bins = [
        {"share": name, **{f"{year} {side}": values[side]["bins"][name] for year, values in years.items() for side in sides}}
        for name in BIN_NAMES
    ]
    show("Tiles by mining", bins)
    differences = [{"year": year, **_dashed(values["by_tile"])} for year, values in years.items() if values["by_tile"]]
    if differences:
        show("Tile by tile, in points of %", differences)
    print(f"Joined tile by tile: {report['joined']}.")
    _print_folder(folder, mapped)


def _identify(folder: Path) -> None:
    from smallmines.compare.identify import TILES, as_config, evidence, identify
    from smallmines.compare.pairs import find_patches

    patches = find_patches(folder) if folder.is_dir() else []
    with _progress("looking", min(TILES, sum(patch.image is not None for patch in patches))) as advance:
        answers = identify(patches, advance)
    for row in evidence(answers):
        print(f"# {row['key']}: {row['found']}: {row['by']}", file=sys.stderr)
    sys.stdout.write(as_config(answers))


def _write_csv(rows: pd.DataFrame, folder: Path) -> None:
    from smallmines.core.files import written

    with written(folder / "compare.csv") as beside:
        rows.to_csv(beside, index=False, lineterminator="\n", float_format="%.9g")


def _print_folder(folder: Path, years: Iterable[str]) -> None:
    maps = "".join(f", compare_{year}.png" for year in years)
    print(f"{MEASURED}\nWritten to {folder}: compare.json, compare.csv{maps}")


@contextmanager
def _progress(title: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar on stderr until the block ends; yield a function that advances it by one."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda: bar.advance(task)
