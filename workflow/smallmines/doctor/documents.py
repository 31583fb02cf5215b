"""Documents against the files; personal data, machine paths and secrets in any text, tag or table."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from smallmines.core.errors import UserError
from smallmines.core.files import read_json, sha256
from smallmines.core.product import PATCH_BANDS
from smallmines.dataset.assemble import read_list
from smallmines.dataset.seal import SUMS, compare_with_sums
from smallmines.doctor.folder import Finding, Folder, texts
from smallmines.doctor.measure import Measured

CLAIM = re.compile(
    r"(?<![\d.,–-])(\d{1,3}(?:[ ,]\d{3})+|\d+)\s+(?:[\w×-]+\s+){0,2}?(tiles|patches|images|masks|pairs|chips)\b", re.IGNORECASE
)
"""A count of patches in a text, e.g. `2135 image patches`."""

SECRETS = {
    "a signature or key": ("error", re.compile(r"[?&](?:sig|se|X-Amz-Signature|token)=[\w%+/.-]{6,}|AKIA[0-9A-Z]{16}|eyJ[\w-]{20,}\.eyJ")),
    "a path of somebody's machine": (
        "error",
        re.compile(r"(?:/home/|/Users/|/root/|/mnt/|/media/|/scratch/|/tmp/)[\w.-]+|\b[A-Z]:\\(?:Users|Documents)\\?[\w.-]*"),
    ),
    "an e-mail address": ("warning", re.compile(r"\b[\w.+-]+@[\w-]+\.[a-z]{2,}\b", re.IGNORECASE)),
}


def check(folder: Folder, measured: Measured) -> Iterator[Finding]:
    """Documents that are missing or wrong; see the module."""
    root = folder.root
    readme = next((path for path in (root / "README.md", root / "README.txt", root / "README") if path.is_file()), None)
    if readme is None:
        yield _finding("no card", "README.md", "none", "write it (rule documents)", severity="warning")
    else:
        yield from _claims(readme, folder)
    if not list(root.glob("LICEN[SC]E*")):
        yield _finding("no licence", "LICENSE", "none", "write it (rule documents)", severity="warning")
    if folder.facts is not None:
        yield from _facts(folder.facts, measured)
    if folder.index is not None:
        yield from _index(folder.index, measured)
    yield from _checksums(root)
    yield from _croissant(root)


def _finding(check: str, expected: str, found: str, remedy: str, tiles: tuple[str, ...] = (), severity: str = "error") -> Finding:
    return Finding(severity, "documents", check, expected, found, remedy, tiles)


def _claims(readme: Path, folder: Folder) -> Iterator[Finding]:
    """Counts of patches in the card against those of the folder: in all, a year, a split, of a kind, tiles."""
    pairs = folder.pairs
    right = {len(pairs), 2 * len(pairs), pairs["tile"].nunique(), *pairs.groupby("year").size().tolist()}
    right |= {int(pairs[kind].notna().sum()) for kind in ("image", "mask")}
    if folder.splits is not None:
        right |= set(folder.splits.groupby("split").size().tolist()) | set(folder.splits.groupby(["year", "split"]).size().tolist())
    claims = {(match[1], match[2].lower()) for match in CLAIM.finditer(readme.read_text(encoding="utf-8", errors="replace"))}
    wrong = sorted(f"{number} {what}" for number, what in claims if int(re.sub(r"[ ,]", "", number)) not in right)
    if wrong:
        told = f"{', '.join(wrong)}; there are {pairs['tile'].nunique()} tiles, {len(pairs)} pairs"
        yield _finding("counts in the card", f"counts of {readme.name} as in the folder", told, "write the card again", (readme.name,))


def _facts(facts: dict[str, Any], measured: Measured) -> Iterator[Finding]:
    """facts.json, which the card is written from, against the measured patches."""
    table, wrong = measured.table, []

    def hold(what: str, claimed: Any, value: float, tolerance: float) -> None:
        if claimed is None or not np.isclose(float(claimed), value, rtol=1e-6, atol=tolerance):
            wrong.append(f"{what} is {value:.6g}, claimed {claimed}")

    hold("number of pairs", facts.get("patches"), len(table), 0)
    hold("number of tiles", facts.get("tiles"), table["tile"].nunique(), 0)
    for year, claimed in facts.get("years", {}).items():
        rows = table[table["year"] == int(year)]
        if "mining" in rows:
            valid = (rows["mining"] + rows["background"]).replace(0, np.nan)
            percent = 100 * rows["mining"] / valid
            hold(f"mean mining % of {year}", claimed.get("mining_percent_mean"), float(percent.mean()), 1e-3)
            hold(f"tiles without mining in {year}", claimed.get("empty"), float((percent == 0).sum()), 0)
    for year, bands in facts.get("bands", {}).items():
        rows = table if year == "all" else table[table["year"] == int(year)]
        for band in PATCH_BANDS:
            if f"n_{band}" not in rows or band not in bands:
                continue
            known = rows[rows[f"n_{band}"].fillna(0) > 0]
            count = known[f"n_{band}"]
            if not count.sum():
                continue
            mean = float((known[f"mean_{band}"] * count).sum() / count.sum())
            square = ((known[f"sd_{band}"] ** 2 + (known[f"mean_{band}"] - mean) ** 2) * count).sum() / count.sum()
            hold(f"mean of {band}, {year}", bands[band].get("mean"), mean, 1e-2)
            hold(f"sd of {band}, {year}", bands[band].get("sd"), float(np.sqrt(square)), 1e-2)
    if wrong:
        told = f"{len(wrong)} others: {'; '.join(wrong[:4])}"
        yield _finding("numbers in the card", "facts.json as computed from the files", told, "run documents again", ("facts.json",))


def _index(index: pd.DataFrame, measured: Measured) -> Iterator[Finding]:
    table = measured.table
    if "mining" not in table or "mining_percent" not in index:
        return
    valid = (table["mining"] + table["background"]).replace(0, np.nan)
    both = index.merge(table.assign(measured=100 * table["mining"] / valid), left_on=["tile_id", "year"], right_on=["tile", "year"])
    odd = both[~np.isclose(both["mining_percent"], both["measured"], atol=1e-4, equal_nan=True)]
    if len(odd):
        tiles = tuple(f"{tile} {year}" for tile, year in zip(odd["tile_id"], odd["year"], strict=True))
        yield _finding("index", "mining_percent as in the masks", f"others in {len(odd)} rows", "run index again", tiles)


def _checksums(root: Path) -> Iterator[Finding]:
    for path in sorted([*root.glob(SUMS), *root.glob("*/*.sha256")]):
        try:
            listed = read_list(path)
        except UserError as error:
            yield _finding("checksums", f"a list of checksums in {path.name}", error.found, "seal again", (path.name,))
            continue
        if path.suffix == ".sha256" and (root / SUMS).is_file():
            continue  # the seal has these files
        wrong = tuple(name for name, checksum in listed.items() if not _is(path.parent / name, checksum))
        if wrong:
            told = f"{len(wrong)} files are missing or others, e.g. {wrong[0]}"
            yield _finding("checksums", f"files as {path.name} lists them", told, "restore them, or seal again", wrong)
        if path.name == SUMS and (extra := compare_with_sums(root, listed)[1]):
            told = f"{len(extra)} more, e.g. {extra[0]}"
            yield _finding("not sealed", f"only files that {SUMS} lists", told, "remove them, or seal again", tuple(extra), "warning")


def _is(path: Path, checksum: str) -> bool:
    return path.is_file() and sha256(path) == checksum


def _croissant(root: Path) -> Iterator[Finding]:
    path = root / "croissant.json"
    if not path.is_file():
        return
    try:
        files = [one for one in read_json(path).get("distribution", []) if one.get("sha256")]
    except ValueError as error:
        yield _finding("croissant", "JSON in croissant.json", str(error), "run documents again", (path.name,))
        return
    wrong = tuple(one["contentUrl"] for one in files if "://" not in one["contentUrl"] and not _is(root / one["contentUrl"], one["sha256"]))
    if wrong:
        yield _finding(
            "croissant", "checksums of croissant.json as of the files", f"others of {', '.join(wrong)}", "run documents again", wrong
        )


def private(folder: Folder, measured: Measured) -> Iterator[Finding]:
    """What says who made it where: in texts, in the tags of patches, in the tables."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    sources: Iterator[tuple[str, str]] = texts(folder.root)
    for name, text in [*sources, *_tags(measured.table), *_tables(folder.root)]:
        for what, (_, pattern) in SECRETS.items():
            match = pattern.search(text)
            if match:
                found[what].setdefault(name, match[0])
    for what, places in found.items():
        shown = next(iter(places.values()))
        cut = shown if what != "a signature or key" else f"{shown[:8]}…"
        told = f"{cut} in {len(places)} file{'s' * (len(places) > 1)}, e.g. {next(iter(places))}"
        yield Finding(SECRETS[what][0], "privacy", what, "none", told, "remove it and seal again", tuple(places))


def _tags(table: pd.DataFrame) -> Iterator[tuple[str, str]]:
    for kind in ("image", "mask"):
        if f"{kind}_tags" in table:
            for name, text in zip(table[kind], table[f"{kind}_tags"], strict=True):
                if isinstance(text, str):
                    yield str(name), text


def _tables(root: Path) -> Iterator[tuple[str, str]]:
    import pyarrow.parquet as pq

    for path in sorted(root.rglob("*.parquet")):
        try:
            told = pq.read_table(path).to_pandas(types_mapper=None)
        except (OSError, ValueError):
            continue
        words = {
            str(value) for column in told.select_dtypes("object") if column != "geometry" for value in told[column].head(2000).map(str)
        }
        yield path.relative_to(root).as_posix(), "\n".join(sorted(words))
