"""Read tables of splits that people wrote or edited: text with commas, one row per tile and year. Needs pandas only."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from smallmines.core.errors import UserError
from smallmines.core.files import digest
from smallmines.core.product import BUFFER, PATCH_NAME, SPLITS

REMEDY = "correct the file, or make it again: smallmines splits make"
SHOWN = 5
"""Number of problems that an error names; it counts the others."""

SEPARATORS: Mapping[str, str] = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
YEAR = re.compile(r"[12]\d{3}")
RECORD = re.compile(r"(.*) rows=([0-9a-f]{16})")
"""Pattern of the column `method` of a frozen file: how the rows were made, and their digest."""

NOT_RECORDED = "method not recorded"


def read_rows(path: str | Path, columns: Sequence[str] = (), remedy: str = REMEDY) -> pd.DataFrame:
    """Read a table of text separated by commas (UTF-8, with or without byte order mark).

    Args:
        columns: that it must have; other columns stay.

    Returns:
        All values as text; the index is the line of the file in which a row ends. Empty lines are left out.

    Raises:
        UserError: no such file, another encoding or separator, columns that are missing or double, rows of another length.
    """
    expected = f"columns {', '.join(columns)} in {path}" if columns else f"a table in {path}"
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(expected, error.strerror or str(error), remedy) from None
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:1000]:
        raise UserError(f"text in UTF-8 in {path}", "UTF-16, or no text", "save it as CSV in UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"text in UTF-8 in {path}", f"another encoding in line {line}", "save it as CSV in UTF-8") from None
    lines = re.split(r"\r\n|\n|\r", text)  # not splitlines, which also splits at U+2028 and its like
    reader = csv.reader((line for line in lines), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _require_header(path, header, columns, lines[0], expected, remedy)
        rows = [(reader.line_num, row) for row in reader if any(field.strip() for field in row)]
    except csv.Error as error:
        raise UserError(expected, f"line {reader.line_num}: {error}", remedy) from None
    odd = [f"line {number}: {len(row)}" for number, row in rows if len(row) != len(header)]
    if odd:
        raise UserError(f"{len(header)} values in each row of {path}", listed(odd), remedy)
    values = [[field.strip() for field in row] for _, row in rows]
    return pd.DataFrame(values, columns=header, index=pd.Index([number for number, _ in rows], name="line"), dtype=object)


def _require_header(path: str | Path, header: Sequence[str], columns: Sequence[str], first: str, expected: str, remedy: str) -> None:
    """Check the names of the columns.

    Raises:
        UserError: a column is missing or there twice; another separator is named.
    """
    if not any(header):
        raise UserError(expected, "an empty file, or an empty first line", remedy)
    for separator, name in SEPARATORS.items():
        if separator in first and len(header) == 1:
            found = f"{name} in line 1: {_printable(first)}"
            raise UserError(f"columns separated by commas in {path}", found, "save it as CSV with commas, or replace the separators")
    if missing := [name for name in columns if name not in header]:
        raise UserError(expected, f"none named {', '.join(missing)}, but {_printable(', '.join(header))}", remedy)
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise UserError(f"each column once in {path}", f"{_printable(', '.join(twice))} twice", remedy)


def _printable(text: str) -> str:
    """Return the begin of a text of a file on one line."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:80])


def listed(problems: Sequence[str]) -> str:
    """Return the first problems in words, and the number of the others."""
    more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    return "; ".join(problems[:SHOWN]) + more


def read_split_rows(path: str | Path, with_fold: bool = False, remedy: str = REMEDY) -> pd.DataFrame:
    """Read a table of splits and check each row by itself.

    Args:
        with_fold: whether the column `fold` is needed, a whole number from 1.

    Returns:
        tile_id (text), year (int), split, with `with_fold` also fold (int); the index is the line of the file.

    Raises:
        UserError: see `read_rows`; a year, split or fold that is none, or a tile and year twice, with lines.
    """
    columns = ["tile_id", "year", "split", *(["fold"] if with_fold else [])]
    table = read_rows(path, columns, remedy)[columns]
    names = (*SPLITS, BUFFER)
    wrong = {
        "tile_id": table["tile_id"].eq(""),
        "year": ~table["year"].map(lambda year: bool(YEAR.fullmatch(year))).astype(bool),
        "split": ~table["split"].isin(names),
    }
    if with_fold:
        wrong["fold"] = ~table["fold"].map(lambda fold: bool(re.fullmatch(r"[1-9]\d{0,5}", fold))).astype(bool)
    places = sorted((line, name) for name, rows in wrong.items() for line in table.index[rows])
    if places:
        found = listed([f"{name} {table.loc[line, name]!r} in line {line}" for line, name in places])
        folds = ", whole folds from 1" if with_fold else ""
        raise UserError(f"tiles, years like 2016, splits {', '.join(SPLITS)} or {BUFFER}{folds} in {path}", found, remedy)
    if len(doubled := table[table.duplicated(["tile_id", "year"], keep=False)]):
        groups = doubled.reset_index().groupby(["tile_id", "year"], sort=False)["line"]
        found = listed(
            [f"tile {_printable(str(tile))} of {year} in lines {' and '.join(map(str, lines))}" for (tile, year), lines in groups]
        )
        raise UserError(f"every tile and year once in {path}", f"{len(groups)} twice: {found}", remedy)
    return table.astype({"year": int, **({"fold": int} if with_fold else {})})


def require_tiles(path: str | Path, table: pd.DataFrame, tiles: pd.DataFrame) -> None:
    """Check that a table of splits names exactly the tiles and years of a dataset.

    Args:
        table: as `read_split_rows` returns it.
        tiles: tile_id and year of each.

    Raises:
        UserError: some are missing or unknown, with their lines; ids that lost their zeros in a spreadsheet are named as such.
    """
    lines = dict(zip(zip(table["tile_id"], table["year"], strict=True), table.index, strict=True))
    wanted = set(zip(tiles["tile_id"].astype(str), tiles["year"].astype(int), strict=True))
    missing, unknown = sorted(wanted - set(lines)), sorted(set(lines) - wanted, key=lines.__getitem__)
    if not missing and not unknown:
        return
    parts = [f"{len(missing)} missing, {len(unknown)} unknown"]
    parts += [f"missing tile {tile} of {year}" for tile, year in missing[:2]]
    parts += [
        f"unknown tile {_printable(tile)} of {year} in line {lines[tile, year]}" for tile, year in unknown[: SHOWN - len(missing[:2])]
    ]
    ids = {tile for tile, _ in wanted}
    if altered := altered_id((tile for tile, _ in unknown), ids):
        parts.append(f"{altered[0]} looks like {altered[1]}: a spreadsheet took the ids for numbers")
    years = sorted({year for _, year in wanted})
    if strange := sorted({year for _, year in unknown} - set(years)):
        parts.append(f"the dataset has the years {', '.join(map(str, years))}, not {', '.join(map(str, strange))}")
    remedy = f"write ids as text ({min(ids)}); {REMEDY}" if altered else REMEDY
    raise UserError(f"every tile and year once in {path}", "; ".join(parts), remedy)


def altered_id(names: Iterable[str], ids: Iterable[str]) -> tuple[str, str] | None:
    """Return a name that a spreadsheet made of an id (1 or 1.0 of 0001), and the id; None where there is none."""
    numbers = {int(tile): tile for tile in ids if tile.isdecimal()}
    for name in names:
        if re.fullmatch(r"\d+([.,]0*)?", name) and (tile := numbers.get(int(re.split("[.,]", name)[0]))) is not None and tile != name:
            return name, tile
    return None


def read_released_rows(path: str | Path, remedy: str = "correct the table") -> pd.DataFrame:
    """Read a table of splits of the release: patch_name and split.

    Returns:
        tile_id (text), year (int), split.

    Raises:
        UserError: see `read_rows`; a name that is not that of a patch, with its line.
    """
    table = read_rows(path, ["patch_name", "split"], remedy)
    parts = table["patch_name"].str.extract(f"^{PATCH_NAME.pattern}$")[["tile_id", "year"]]
    if len(strange := table[parts["tile_id"].isna() | ~table["split"].isin((*SPLITS, BUFFER))]):
        rows = zip(strange["patch_name"], strange["split"], strange.index, strict=True)
        found = listed([f"{name!r} {split!r} in line {line}" for name, split, line in rows])
        raise UserError(f"names like MASK_0001_2016.tif and splits {', '.join(SPLITS)} in {path}", found, remedy)
    return parts.astype({"year": int}).assign(split=table["split"])


def frozen_text(table: pd.DataFrame, method: str) -> str:
    """Return the text of a file of frozen splits: the table, and a column `method` that says how its rows were made.

    Args:
        table: tile_id, year, split, fold.
        method: in words, e.g. "spatial_block seed=0"; empty: no such column.
    """
    rows = table[["tile_id", "year", "split", "fold"]]
    if method:
        rows = rows.assign(method=f"{method} rows={_digest_of_rows(rows)}")
    return rows.to_csv(index=False, lineterminator="\n")


def frozen_method(path: str | Path) -> str:
    """Return how the rows of a frozen file were made, in words.

    Raises:
        UserError: see `read_split_rows`.
    """
    rows, table = read_split_rows(path), read_rows(path)
    match = RECORD.fullmatch(str(table["method"].iloc[0])) if "method" in table and len(table) else None
    if match is None:
        return NOT_RECORDED
    return match[1] if match[2] == _digest_of_rows(rows) else f"{match[1]}, then changed by hand"


def _digest_of_rows(table: pd.DataFrame) -> str:
    ordered = table.sort_values(["year", "tile_id"])
    return digest([[str(value) for value in row] for row in zip(ordered["tile_id"], ordered["year"], ordered["split"], strict=True)])
