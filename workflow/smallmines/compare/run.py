"""Compare a dataset with another, or with published tables: `compare.json`, `compare.csv`, maps, and tables to show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smallmines.compare.origin import Record, agreement_by_origin, verdict
from smallmines.compare.pairs import Patch, find_patches, join, require_two_datasets
from smallmines.compare.radiometry import offset_between, offsets_in_words
from smallmines.core.errors import UserError
from smallmines.core.files import write_json, written

if TYPE_CHECKING:
    import pandas as pd

MEASURED = "These are measured differences; whether they are small enough is for the reader to judge."

Progress = Callable[[str, int], AbstractContextManager[Callable[[], None]]]
"""Shows the progress of a task with a text and a number of steps; yields the function that counts a step."""


@dataclass(frozen=True)
class Table:
    """A table to show: title, rows, and a short name."""

    title: str
    rows: list[dict[str, Any]]
    name: str


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Attributes:
        document: content of `compare.json`.
        tables: to show, in order.
        messages: to show below them.
        maps: files with a map, by year.
        tiles: a row per tile and year, see `tiles.tile_rows`.
    """

    document: dict[str, Any]
    tables: list[Table]
    messages: list[str]
    maps: dict[str, Path]
    tiles: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def silent(text: str, total: int) -> Iterator[Callable[[], None]]:
    """Show no progress."""
    yield lambda: None


def compare_folders(ours: Path, published: Path, record: Record, folder: Path, threads: int, progress: Progress = silent) -> Comparison:
    """Compare our dataset with a published one, tile by tile, or with its tables where it has no patches; write the results to `folder`.

    Raises:
        UserError: one of the two has nothing to compare, or both are one dataset.
    """
    from smallmines.compare.published import tables_in

    about = {"ours": str(ours), "published": str(published)}
    theirs = find_patches(published) if published.is_dir() else []
    if theirs:
        mine = find_patches(ours)
        if not mine:
            raise UserError(f"patches IMG_… or MASK_… below {ours}", "none", "name the folder of a dataset, e.g. results/<run>/dataset")
        result = _patches(mine, theirs, about, record, folder, threads, progress)
    elif tables := tables_in(published):
        result = _tables(ours, tables, about, folder)
    else:
        raise UserError(
            f"patches IMG_… or MASK_…, or tables with patch_name and class_percentage, in {published}",
            "neither",
            "name the folder of the published dataset",
        )
    maps = "".join(f", {path.name}" for path in result.maps.values())
    result.messages.append(f"{MEASURED}\nWritten to {folder}: compare.json, compare.csv{maps}")
    return result


def _patches(
    mine: Sequence[Patch], theirs: Sequence[Patch], about: dict[str, str], record: Record, folder: Path, threads: int, progress: Progress
) -> Comparison:
    import pandas as pd

    from smallmines.compare.differences import all_pixels_equal, compare_pairs, mask_agreement, pooled
    from smallmines.compare.maps import difference_maps
    from smallmines.compare.tiles import image_verdicts, tile_rows

    joined = join(mine, theirs)
    same = require_two_datasets(joined, Path(about["ours"]), Path(about["published"]))
    with progress("comparing", len(joined.pairs)) as step:
        rows = compare_pairs(joined.pairs, record.of, threads, step)
    rows["images"] = image_verdicts(rows)
    alone = {"only ours": _places(joined.only_ours), "only published": _places(joined.only_published)}
    side = mine[0].header.width * mine[0].header.resolution[0]
    years: dict[str, Any] = {}
    maps: dict[str, Path] = {}
    for year, own in rows.groupby("year"):
        lonely = {name: table[table["year"] == year] for name, table in alone.items()}
        years[str(year)] = {
            **pooled(own),
            "images": own["images"].value_counts().to_dict(),
            **{name.replace(" ", "_"): len(table) for name, table in lonely.items()},
            "mask_by_labels": agreement_by_origin(own),
            "verdict": verdict(own["labels"]),
        }
        maps[str(year)] = folder / f"compare_{year}.png"
        difference_maps(own, lonely["only ours"], str(year), side, maps[str(year)])
    sameness = {"same_files": len(same), "all_pixels_equal": all_pixels_equal(rows)}
    origin = {"mask_by_labels": agreement_by_origin(rows), "verdict": verdict(rows["labels"])}
    document = {**about, "with": "patches", "years": years, **sameness, "mask": mask_agreement(rows), **origin}
    write_json(folder / "compare.json", document)
    tables = [rows, *(table.assign(match=name, images=name) for name, table in alone.items() if len(table))]
    everything = pd.concat(tables, ignore_index=True)
    _write_csv(everything, folder)
    messages = [*_remarks(years), f"The masks: {origin['verdict']}."]
    if same:
        messages.append(f"{len(same)} files are the same in both (links), e.g. {same[0]}: their comparison says nothing.")
    elif sameness["all_pixels_equal"]:
        messages.append("Every compared pixel is equal: one dataset is a copy of the other.")
    return Comparison(document, _shown(years), messages, maps, tile_rows(everything))


def _places(patches: Sequence[Patch]) -> pd.DataFrame:
    import pandas as pd

    headers = [patch.header for patch in patches]
    columns = {"tile_id": [header.tile_id for header in headers], "year": [int(header.year) for header in headers]}
    table = pd.DataFrame(columns | {"left": [header.left for header in headers], "top": [header.top for header in headers]})
    return table.astype({"tile_id": str, "year": "int64", "left": float, "top": float})


def _shown(years: dict[str, Any]) -> list[Table]:
    """Return the tables of a comparison of patches."""
    grid = ("tiles", "exact", "shifted", "other", "only_ours", "only_published")
    tiles = [
        {
            "year": year,
            **{name: values[name] for name in grid},
            "median_shift_m": None if values["shift"] is None else "{:g}, {:g}".format(*values["shift"]).replace("-", "−"),
        }
        for year, values in years.items()
    ]
    bands = [{"year": year, "band": band, **row} for year, values in years.items() for band, row in values["bands"].items()]
    masks = [
        {"year": year, "labels": name, **row}
        for year, values in years.items()
        for name, row in (("all", values["mask"]), *values["mask_by_labels"].items())
    ]
    shares = [{"year": year, **values["class_share"]} for year, values in years.items() if values["class_share"]]
    return [
        Table("Tiles joined by location, and how their grids match", tiles, "tiles"),
        Table("Bands: ours − published", bands, "bands"),
        Table("Masks: IoU of mining, by the source of our labels", masks, "masks"),
        *([Table("Mining in % of a tile", shares, "class_share")] if shares else []),
    ]


def _remarks(years: dict[str, Any]) -> list[str]:
    """Return what the numbers say of the radiometry of both sides, in words."""
    remarks = []
    for year, values in years.items():
        if offset := offset_between(values["bands"]):
            sides = {side: values[f"offset_{side}"] for side in ("ours", "published")}
            remarks.append(f"{year}: {offsets_in_words(offset, sides)}")
        for name in ("ours", "published"):
            if count := values[f"s1_linear_{name}"]:
                remarks.append(f"{year}: Sentinel-1 of {count} tiles of {name} was linear power, compared in dB")
    return remarks


def _tables(ours: Path, tables: Sequence[Path], about: dict[str, str], folder: Path) -> Comparison:
    """Compare our dataset with tables of class shares."""
    from smallmines.compare.maps import share_map
    from smallmines.compare.published import BIN_NAMES, against_tables, read_ours, read_published

    mine = read_ours(ours)
    rows, comparison = against_tables(mine, read_published(tables))
    document = {**about, "with": "tables", **comparison}
    write_json(folder / "compare.json", document)
    _write_csv(rows, folder)
    years = comparison["years"]
    maps = {}
    for year in years:
        own = rows[rows["year"] == int(year)]
        if len(own):
            maps[year] = folder / f"compare_{year}.png"
            share_map(own, year, float(mine["side"].iloc[0]), maps[year])
    sides = [(year, side, values[side]) for year, values in years.items() for side in ("ours", "published")]
    tiles = [{"year": year, "dataset": side, **{key: row[key] for key in row if key != "bins"}} for year, side, row in sides]
    bins = [{"share": name, **{f"{year} {side}": row["bins"][name] for year, side, row in sides}} for name in BIN_NAMES]
    shares = [{"year": year, **values["by_tile"]} for year, values in years.items() if values["by_tile"]]
    shown = [Table("All tiles", tiles, "tiles"), Table("Tiles by mining", bins, "bins")]
    shown += [Table("Tile by tile, in points of %", shares, "by_tile")] if shares else []
    return Comparison(document, shown, [f"Joined tile by tile: {comparison['joined']}."], maps)


def _write_csv(rows: pd.DataFrame, folder: Path) -> None:
    with written(folder / "compare.csv") as beside:
        rows.to_csv(beside, index=False, lineterminator="\n", float_format="%.9g")
