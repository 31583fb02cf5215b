"""Labels: shares, specks and holes, mines that vanish, gaps, provenance, agreement, and whether they follow the image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from smallmines.core.product import PATCH_BANDS
from smallmines.dataset.patches import MASK_NODATA
from smallmines.doctor.folder import Finding, Folder
from smallmines.doctor.measure import Measured
from smallmines.doctor.structure import names
from smallmines.settings.doctor import Doctor

FOLDS = 3
TREES = 60
MOST_PIXELS = 120_000
"""Pixels that a forest learns from at most."""

LEAST_OF_CLASS = 50
"""Sampled pixels of each class from which a forest is tried."""

LEAST_CONTRADICTED = 10
"""Sampled pixels of a patch from which its contradicted share is told."""


def check(folder: Folder, measured: Measured, limits: Doctor) -> Iterator[Finding]:
    """Everything about the labels; see the module."""
    if "mining" in measured.table:
        yield from _shares(measured.table, limits)
        yield from _gaps(measured.table)
    yield from _vanished(measured.changes, limits)
    yield from _people(folder, limits)


def _finding(check: str, expected: str, found: str, remedy: str, tiles: tuple[str, ...] = (), severity: str = "error") -> Finding:
    return Finding(severity, "labels", check, expected, found, remedy, tiles)


def _shares(table: pd.DataFrame, limits: Doctor) -> Iterator[Finding]:
    table = table[table["mining"].notna()]
    for year, rows in table.groupby("year"):
        mining, valid = rows["mining"].sum(), (rows["mining"] + rows["background"]).sum()
        if not mining or mining == valid:
            told = f"{'none' if not mining else 'nothing else'} in {len(rows)} masks of {year}"
            yield _finding("class missing", "pixels of both classes in each year", told, "make the masks again")
            continue
        if mining > limits.class_share * valid:
            told = f"{100 * mining / valid:.0f} % in {year}"
            yield _finding(
                "class share",
                f"mining on less than {100 * limits.class_share:g} % of the ground",
                told,
                "see whether 0 and 1 are exchanged",
            )
        for what, column in (("specks", "specks"), ("holes", "holes")):
            share = rows[column].sum() / mining
            if share > limits.speck_share:
                worst = rows.sort_values(column, ascending=False).head(20)
                told = f"{100 * share:.0f} % of the mining area of {year}"
                expected = f"less than {100 * limits.speck_share:g} % in {what} below {limits.speck_px} px"
                yield _finding(what, expected, told, "filter the masks, or use larger segments", names(worst), "warning")


def _gaps(table: pd.DataFrame) -> Iterator[Finding]:
    if "unsupported" in table and len(odd := table[table["unsupported"].fillna(0) > 0]):
        told = f"{int(odd['unsupported'].sum())} pixels in {len(odd)} patches"
        yield _finding("label without image", f"{MASK_NODATA} where Sentinel-2 has no data", told, "mask them", names(odd))
    if "none" in table and len(odd := table[(table["none"] > 0) & (table["mining"] + table["background"] == 0)]):
        yield _finding("empty mask", "a label in every patch", f"none in {len(odd)}", "leave the patches out", names(odd), "warning")


def _vanished(changes: pd.DataFrame, limits: Doctor) -> Iterator[Finding]:
    for (before, after), rows in changes.groupby(["before", "after"]):
        share = rows["lost"].sum() / max(rows["mined"].sum(), 1)
        if share > limits.lost_share:
            worst = rows.sort_values("lost", ascending=False).head(20)
            told = f"{100 * share:.0f} % of the mining of {before} is none in {after}"
            tiles = tuple(f"{tile} {after}" for tile in worst["tile"])
            expected = f"less than {100 * limits.lost_share:g} %: mines seldom vanish"
            yield _finding("mines vanish", expected, told, "review both years (reason `unmined` of the queue)", tiles, "warning")


def _people(folder: Folder, limits: Doctor) -> Iterator[Finding]:
    """Provenance and agreement, as far as index and labels.json tell."""
    if folder.index is not None and "validated_share" in folder.index:
        shares = folder.index.groupby("year")["validated_share"].mean()
        for year in shares.index[shares == 0]:
            yield _finding("nobody looked", "labels that people have looked at", f"none in {year}", "review them", (), "warning")
        parts = folder.index[[name for name in folder.index if str(name).startswith("share_")]].sum(axis=1)
        odd = folder.index[(parts > 0) & ((parts - 1).abs() > 1e-6)].rename(columns={"tile_id": "tile"})
        if len(odd):
            yield _finding("provenance", "shares of provenance that add up to 1", f"others in {len(odd)} rows", "", names(odd))
    known = (folder.labels or {}).get("years", {})
    for year, one in known.items():
        pairs = one.get("agreement", {}).get("year", [])
        for pair in pairs:
            if pair["kappa"] is not None and pair["kappa"] < limits.kappa:
                told = f"κ {pair['kappa']} of {' and '.join(pair['people'])} in {year}"
                yield _finding("agreement", f"κ of at least {limits.kappa:g}", told, "settle the rules, label again", (), "warning")


def noise(pixels: pd.DataFrame, threads: int = 1) -> tuple[dict[int, float], pd.DataFrame]:
    """How labels follow the image: by a forest that has learnt from pixels of other tiles.

    Args:
        pixels: as in `measure.Measured`.

    Returns:
        AUC by year, and per patch: tile, year, contradicted (share of the sampled pixels of the class that the forest contradicts most,
        with a probability above 0.8), pixels (of that class).
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score

    empty = pd.DataFrame(columns=["tile", "year", "contradicted", "pixels"])
    known = pixels.dropna(subset=[*PATCH_BANDS[:10], "mask"]).sort_values(["year", "tile", "place"], ignore_index=True)
    bands = [name for name in PATCH_BANDS if known[name].notna().all()]
    areas: dict[int, float] = {}
    parts = []
    for year, rows in ((int(year), known[known["year"] == year]) for year in sorted(known["year"].unique())):
        label = rows["mask"].to_numpy(np.int64)
        if min(label.sum(), (1 - label).sum()) < LEAST_OF_CLASS or rows["tile"].nunique() < FOLDS:
            continue
        tiles, tile = np.unique(rows["tile"].to_numpy(str), return_inverse=True)
        fold = np.random.default_rng(0).permutation(len(tiles))[tile] % FOLDS
        features = rows[bands].to_numpy(np.float32)
        probability = np.full(len(rows), np.nan)
        for one in range(FOLDS):
            learn = np.flatnonzero(fold != one)
            if len(np.unique(label[learn])) < 2:
                continue
            learn = np.random.default_rng(one).permutation(learn)[:MOST_PIXELS]
            forest = RandomForestClassifier(TREES, max_depth=12, class_weight="balanced", n_jobs=threads, random_state=0)
            forest.fit(features[learn], label[learn])
            forest.set_params(n_jobs=1)  # several threads sum the trees in an order of their own
            probability[fold == one] = forest.predict_proba(features[fold == one])[:, 1].round(6)
        judged = np.isfinite(probability)
        if len(np.unique(label[judged])) == 2:
            areas[year] = float(roc_auc_score(label[judged], probability[judged]))
        against = np.where(label == 1, probability < 0.2, probability > 0.8)
        by = pd.DataFrame({"tile": rows["tile"].to_numpy(), "label": label, "against": against})[judged]
        shares = by.groupby(["tile", "label"])["against"].agg(["mean", "size"]).reset_index()
        shares = shares[shares["size"] >= LEAST_CONTRADICTED].sort_values(["tile", "mean"]).drop_duplicates("tile", keep="last")
        parts.append(shares.rename(columns={"mean": "contradicted", "size": "pixels"}).assign(year=year))
    return areas, pd.concat(parts, ignore_index=True)[list(empty)] if parts else empty


def check_noise(areas: dict[int, float], patches: pd.DataFrame, limits: Doctor) -> Iterator[Finding]:
    """What `noise` found, against the limits."""
    for year, area in areas.items():
        if area < limits.label_auc:
            told = f"{area:.2f} in {year}"
            yield _finding("labels against image", f"an AUC of at least {limits.label_auc:g} by pixels of other tiles", told, "review them")
    odd: Any = patches[patches["contradicted"] > limits.contradicted_share].sort_values("contradicted", ascending=False)
    if len(odd):
        told = f"more in {len(odd)} patches, e.g. {100 * odd['contradicted'].iloc[0]:.0f} %"
        expected = f"at most {100 * limits.contradicted_share:g} % of a class contradicted by a forest that learnt from other tiles"
        yield _finding("patch against image", expected, told, "review these patches first", names(odd), "warning")
