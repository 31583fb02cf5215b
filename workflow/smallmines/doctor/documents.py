"""Check documents against the files, and search texts, tags and tables for personal data, machine paths and secrets."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from smallmines.core.errors import UserError
from smallmines.core.files import read_json, sha256
from smallmines.core.finding import Family, Finding
from smallmines.core.product import PATCH_BANDS
from smallmines.dataset.assemble import read_list
from smallmines.dataset.measured import hashed
from smallmines.dataset.seal import SUMS, compare_with_sums
from smallmines.doctor.folder import Folder, of_known_form, texts, tiles_of
from smallmines.doctor.measure import Measured

DOCUMENTS = Family("documents")

CLAIM = re.compile(
    r"(?<![\d.,–-])(\d{1,3}(?:[ ,]\d{3})+|\d+)\s+(?:[\w×-]+\s+){0,2}?(tiles|patches|images|masks|pairs|chips)\b", re.IGNORECASE
)
"""Pattern of a count of patches in a text, e.g. `2135 image patches`."""

MOST_ROWS = 2000
"""Number of rows of a table that are searched for secrets."""

SECRETS = {
    "a signature or key": ("error", re.compile(r"[?&](?:sig|se|X-Amz-Signature|token)=[\w%+/.-]{6,}|AKIA[0-9A-Z]{16}|eyJ[\w-]{20,}\.eyJ")),
    "a path of somebody's machine": (
        "error",
        re.compile(r"(?:/home/|/Users/|/root/|/mnt/|/media/|/scratch/|/tmp/)[\w.-]+|\b[A-Z]:\\(?:Users|Documents)\\?[\w.-]*"),
    ),
    "an e-mail address": ("warning", re.compile(r"\b[\w.+-]+@[\w-]+\.[a-z]{2,}\b", re.IGNORECASE)),
}
"""Severity and pattern of each kind of text that must not be published."""


def check(folder: Folder, measured: Measured, checksums: Mapping[str, str] | None = None, threads: int = 1) -> Iterator[Finding]:
    """Yield documents that are missing or do not agree with the files.

    Args:
        checksums: of files by name, as far as they have been computed.
    """
    root = folder.root
    readme = next((path for path in (root / "README.md", root / "README.txt", root / "README") if path.is_file()), None)
    if readme is None:
        yield DOCUMENTS.warning("no card", "README.md", "none", "write it (rule documents)")
    else:
        yield from _claims(readme, folder)
    if not list(root.glob("LICEN[SC]E*")):
        yield DOCUMENTS.warning("no licence", "LICENSE", "none", "write it (rule documents)")
    if folder.facts is not None:
        yield from of_known_form(DOCUMENTS, "facts.json", lambda: _facts(folder.facts or {}, measured))
        yield from of_known_form(DOCUMENTS, "facts.json", lambda: _stated(folder.facts or {}))
    if folder.index is not None:
        yield from _index(folder.index, measured)
    yield from _checksums(root, dict(checksums or {}), threads)
    yield from of_known_form(DOCUMENTS, "croissant.json", lambda: _croissant(root))


def _claims(readme: Path, folder: Folder) -> Iterator[Finding]:
    """Compare counts of patches in the card with those of the folder: in total, by year, by split, by kind, of tiles."""
    pairs = folder.pairs
    counts = {len(pairs), 2 * len(pairs), pairs["tile"].nunique(), *pairs.groupby("year").size().tolist()}
    counts |= {int(pairs[kind].notna().sum()) for kind in ("image", "mask")}
    if folder.splits is not None:
        counts |= set(folder.splits.groupby("split").size().tolist()) | set(folder.splits.groupby(["year", "split"]).size().tolist())
    claims = {(match[1], match[2].lower()) for match in CLAIM.finditer(readme.read_text(encoding="utf-8", errors="replace"))}
    wrong = sorted(f"{number} {noun}" for number, noun in claims if int(re.sub(r"[ ,]", "", number)) not in counts)
    if wrong:
        found = f"{', '.join(wrong)}; there are {pairs['tile'].nunique()} tiles, {len(pairs)} pairs"
        yield DOCUMENTS.error(
            "counts in the card", f"counts of {readme.name} as in the folder", found, "write the card again", (readme.name,)
        )


def _facts(facts: dict[str, Any], measured: Measured) -> Iterator[Finding]:
    """Compare facts.json, which the card is written from, with the measured patches."""
    table, wrong = measured.table, []

    def compare(quantity: str, claimed: Any, value: float, tolerance: float) -> None:
        if claimed is None or not np.isclose(float(claimed), value, rtol=1e-6, atol=tolerance):
            wrong.append(f"{quantity} is {value:.6g}, claimed {claimed}")

    compare("number of pairs", facts.get("patches"), len(table), 0)
    compare("number of tiles", facts.get("tiles"), table["tile"].nunique(), 0)
    for year, claimed in facts.get("years", {}).items():
        rows = table[table["year"] == int(year)]
        if "mining" in rows:
            valid = (rows["mining"] + rows["background"]).replace(0, np.nan)
            percent = 100 * rows["mining"] / valid
            compare(f"mean mining % of {year}", claimed.get("mining_percent_mean"), float(percent.mean()), 1e-3)
            compare(f"tiles without mining in {year}", claimed.get("empty"), float((percent == 0).sum()), 0)
    for year, bands in facts.get("bands", {}).items():
        rows = table if year == "all" else table[table["year"] == int(year)]
        for band in PATCH_BANDS:
            if f"n_{band}" not in rows or band not in bands:
                continue
            with_data = rows[rows[f"n_{band}"].fillna(0) > 0]
            count = with_data[f"n_{band}"]
            if not count.sum():
                continue
            mean = float((with_data[f"mean_{band}"] * count).sum() / count.sum())
            square = ((with_data[f"sd_{band}"] ** 2 + (with_data[f"mean_{band}"] - mean) ** 2) * count).sum() / count.sum()
            compare(f"mean of {band}, {year}", bands[band].get("mean"), mean, 1e-2)
            compare(f"sd of {band}, {year}", bands[band].get("sd"), float(np.sqrt(square)), 1e-2)
    if wrong:
        found = f"{len(wrong)} others: {'; '.join(wrong[:4])}"
        yield DOCUMENTS.error("numbers in the card", "facts.json as computed from the files", found, "run documents again", ("facts.json",))


def _stated(facts: dict[str, Any]) -> Iterator[Finding]:
    """Report what the run found in composites and evidence when it made them, as facts.json states it."""
    for finding in facts.get("composite_findings", ()):
        remedy = "look at the images of this block; other dates or limits may help"
        yield DOCUMENTS.warning("composites", "composites without a finding", str(finding), remedy)
    for year, numbers in facts.get("years", {}).items():
        if doubtful := int(numbers.get("doubtful_evidence", 0)):
            expected = f"evidence of days in or near {year}"
            found = f"{doubtful} decisions rest on evidence of a doubtful day"
            yield DOCUMENTS.warning("doubtful evidence", expected, found, "look at these decisions again and check them in with their day")


def _index(index: pd.DataFrame, measured: Measured) -> Iterator[Finding]:
    table = measured.table
    if "mining" not in table or "mining_percent" not in index:
        return
    valid = (table["mining"] + table["background"]).replace(0, np.nan)
    both = index.merge(table.assign(measured=100 * table["mining"] / valid), left_on=["tile_id", "year"], right_on=["tile", "year"])
    wrong = both[~np.isclose(both["mining_percent"], both["measured"], atol=1e-4, equal_nan=True)]
    if len(wrong):
        found = f"others in {len(wrong)} rows"
        yield DOCUMENTS.error("index", "mining_percent as in the masks", found, "run index again", tiles_of(wrong))


def _checksums(root: Path, known: dict[str, str], threads: int) -> Iterator[Finding]:
    for path in sorted([*root.glob(SUMS), *root.glob("*/*.sha256")]):
        try:
            listed = read_list(path)
        except UserError as error:
            yield DOCUMENTS.error("checksums", f"a list of checksums in {path.name}", error.found, "seal again", (path.name,))
            continue
        if path.suffix == ".sha256" and (root / SUMS).is_file():
            continue  # SHA256SUMS lists the same files
        beside = {name: (path.parent / name).relative_to(root).as_posix() for name in listed if not Path(name).is_absolute()}
        known |= hashed(root, [name for name in beside.values() if name not in known and (root / name).is_file()], threads)
        wrong = tuple(name for name, checksum in listed.items() if known.get(beside.get(name, "")) != checksum)
        if wrong:
            found = f"{len(wrong)} files are missing or others, e.g. {wrong[0]}"
            yield DOCUMENTS.error("checksums", f"files as {path.name} lists them", found, "restore them, or seal again", wrong)
        if path.name == SUMS and (extra := compare_with_sums(root, listed)[1]):
            found = f"{len(extra)} more, e.g. {extra[0]}"
            yield DOCUMENTS.warning("not sealed", f"only files that {SUMS} lists", found, "remove them, or seal again", tuple(extra))


def _has_checksum(path: Path, checksum: str) -> bool:
    return path.is_file() and sha256(path) == checksum


def _croissant(root: Path) -> Iterator[Finding]:
    path = root / "croissant.json"
    if not path.is_file():
        return
    files = [file for file in read_json(path).get("distribution", []) if file.get("sha256")]
    local = {file["contentUrl"]: file["sha256"] for file in files if "://" not in file["contentUrl"]}
    wrong = tuple(name for name, checksum in local.items() if not _has_checksum(root / name, checksum))
    if wrong:
        expected = "checksums of croissant.json as of the files"
        yield DOCUMENTS.error("croissant", expected, f"others of {', '.join(wrong)}", "run documents again", wrong)


def private(folder: Folder, measured: Measured) -> Iterator[Finding]:
    """Yield `SECRETS` in texts, in the tags of patches and in the tables."""
    by_kind: dict[str, dict[str, str]] = defaultdict(dict)
    for name, text in [*texts(folder.root), *_tags(measured.table), *_tables(folder.root)]:
        for kind, (_, pattern) in SECRETS.items():
            if match := pattern.search(text):
                by_kind[kind].setdefault(name, match[0])
    for kind, files in by_kind.items():
        name, secret = next(iter(files.items()))
        shown = secret if kind != "a signature or key" else f"{secret[:8]}…"
        found = f"{shown} in {len(files)} file{'s' * (len(files) > 1)}, e.g. {name}"
        yield Finding(SECRETS[kind][0], "privacy", kind, "none", found, "remove it and seal again", tuple(files))


def _tags(table: pd.DataFrame) -> Iterator[tuple[str, str]]:
    for kind in ("image", "mask"):
        if f"{kind}_tags" in table:
            for name, text in zip(table[kind], table[f"{kind}_tags"], strict=True):
                if isinstance(text, str):
                    yield str(name), text


def _tables(root: Path) -> Iterator[tuple[str, str]]:
    import pyarrow.parquet as pq
    from pyarrow import types

    for path in sorted(path for path in root.rglob("*.parquet") if path.is_file()):  # a pipe would be waited for
        try:
            table = pq.read_table(path)
        except (OSError, ValueError):
            continue
        of_text = (types.is_string, types.is_large_string, types.is_binary, types.is_dictionary, types.is_nested)
        columns = [name for name in table.column_names if name != "geometry" and any(is_kind(table[name].type) for is_kind in of_text)]
        words = {str(value) for name in columns for value in table[name].slice(0, MOST_ROWS).to_pylist()}
        yield path.relative_to(root).as_posix(), "\n".join(sorted(words))
