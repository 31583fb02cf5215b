"""Check labels: class shares, specks and holes, vanishing mines, gaps, provenance, agreement, and consistency with the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallmines.core.finding import Family, Finding
from smallmines.core.product import MASK_NODATA, PATCH_BANDS, S2_BANDS
from smallmines.doctor.folder import Folder, of_known_form, tiles_of
from smallmines.doctor.measure import Measured
from smallmines.settings.doctor import Doctor

LABELS = Family("labels")

FOLDS = 3
TREES = 60
MOST_PIXELS = 120_000
"""Maximum number of training pixels of a forest."""

LEAST_OF_CLASS = 50
"""Minimum number of sampled pixels of each class for a forest."""

LEAST_CONTRADICTED = 10
"""Minimum number of sampled pixels of a patch for its contradicted share."""

CONFIDENT = 0.8
"""Probability above which the forest contradicts a label."""


def check(folder: Folder, measured: Measured, limits: Doctor) -> Iterator[Finding]:
    """Yield findings about the labels of masks, index and labels.json."""
    if "mining" in measured.table:
        yield from _shares(measured.table, limits)
        yield from _gaps(measured.table, folder)
    yield from _vanished(measured.changes, limits)
    yield from _people(folder, limits)


def _shares(table: pd.DataFrame, limits: Doctor) -> Iterator[Finding]:
    table = table[table["mining"].notna()]
    for year, rows in table.groupby("year"):
        mining, valid = rows["mining"].sum(), (rows["mining"] + rows["background"]).sum()
        if not mining or mining == valid:
            found = f"{'none' if not mining else 'nothing else'} in {len(rows)} masks of {year}"
            yield LABELS.error("class missing", "pixels of both classes in each year", found, "make the masks again")
            continue
        if mining > limits.class_share * valid:
            expected = f"mining on less than {100 * limits.class_share:g} % of the ground"
            found = f"{100 * mining / valid:.0f} % in {year}"
            yield LABELS.error("class share", expected, found, "see whether 0 and 1 are exchanged")
        for column in ("specks", "holes"):
            share = rows[column].sum() / mining
            if share > limits.speck_share:
                worst = rows.sort_values(column, ascending=False).head(20)
                found = f"{100 * share:.0f} % of the mining area of {year}"
                expected = f"less than {100 * limits.speck_share:g} % in {column} below {limits.speck_px} px"
                yield LABELS.warning(column, expected, found, "filter the masks, or use larger segments", tiles_of(worst))


def _gaps(table: pd.DataFrame, folder: Folder) -> Iterator[Finding]:
    """Check labels without an image, which the index of a dataset with released masks counts, and masks without a label."""
    if "unsupported" in table and len(wrong := table[table["unsupported"].fillna(0) > 0]):
        expected = f"{MASK_NODATA} where Sentinel-2 has no data"
        found = f"{int(wrong['unsupported'].sum())} pixels in {len(wrong)} patches"
        finding = LABELS.error("label without image", expected, found, "mask them", tiles_of(wrong))
        counted = folder.index is not None and "unsupported_percent" in folder.index
        yield replace(finding, severity="warning", remedy="leave these pixels out in training") if counted else finding
    if "none" in table and len(empty := table[(table["none"] > 0) & (table["mining"] + table["background"] == 0)]):
        yield LABELS.warning("empty mask", "a label in every patch", f"none in {len(empty)}", "leave the patches out", tiles_of(empty))


def _vanished(changes: pd.DataFrame, limits: Doctor) -> Iterator[Finding]:
    for (before, after), rows in changes.groupby(["before", "after"]):
        share = rows["lost"].sum() / max(rows["mined"].sum(), 1)
        if share > limits.lost_share:
            worst = rows.sort_values("lost", ascending=False).head(20)
            found = f"{100 * share:.0f} % of the mining of {before} is none in {after}"
            expected = f"less than {100 * limits.lost_share:g} %: mines seldom vanish"
            remedy = "review both years (reason `unmined` of the queue)"
            yield LABELS.warning("mines vanish", expected, found, remedy, tiles_of(worst, "after"))


def _people(folder: Folder, limits: Doctor) -> Iterator[Finding]:
    """Check provenance in the index and agreement in labels.json, where they exist."""
    if folder.index is not None and "validated_share" in folder.index:
        shares = folder.index.groupby("year")["validated_share"].mean()
        released = set(folder.index.loc[folder.index["share_released"] > 0, "year"]) if "share_released" in folder.index else set()
        for year in shares.index[shares == 0]:
            if year in released:
                found = f"none in {year}: they are those of a release, or predicted"
                yield LABELS.note("nobody looked", "labels that people of this run have looked at", found, "label an accuracy sample")
            else:
                yield LABELS.warning("nobody looked", "labels that people have looked at", f"none in {year}", "review them")
        parts = folder.index[[name for name in folder.index if str(name).startswith("share_")]].sum(axis=1)
        wrong = folder.index[(parts > 0) & ((parts - 1).abs() > 1e-6)].rename(columns={"tile_id": "tile"})
        if len(wrong):
            found = f"others in {len(wrong)} rows"
            yield LABELS.error("provenance", "shares of provenance that add up to 1", found, tiles=tiles_of(wrong))
    yield from of_known_form(LABELS, "labels.json", lambda: _agreement(folder.labels or {}, limits))


def _agreement(labels: Mapping[str, Any], limits: Doctor) -> Iterator[Finding]:
    for year, quality in labels.get("years", {}).items():
        for pair in quality.get("agreement", {}).get("year", []):
            if pair["kappa"] is not None and pair["kappa"] < limits.kappa:
                found = f"κ {pair['kappa']} of {' and '.join(pair['people'])} in {year}"
                yield LABELS.warning("agreement", f"κ of at least {limits.kappa:g}", found, "settle the rules, label again")


def contradictions(pixels: pd.DataFrame, threads: int = 1) -> tuple[dict[int, float], pd.DataFrame]:
    """Compare labels with the image by a random forest trained on pixels of other tiles.

    Args:
        pixels: as in `measure.Measured`.

    Returns:
        AUC by year, and per patch: tile, year, contradicted (of the class that the forest contradicts most: share of its sampled
        pixels contradicted with a probability above `CONFIDENT`), pixels (of that class).
    """
    from sklearn.metrics import roc_auc_score

    empty = pd.DataFrame(columns=["tile", "year", "contradicted", "pixels"])
    labelled = pixels.dropna(subset=[*S2_BANDS, "mask"]).sort_values(["year", "tile", "place"], ignore_index=True)
    bands = [name for name in PATCH_BANDS if labelled[name].notna().all()]
    areas: dict[int, float] = {}
    parts = []
    for year, rows in ((int(year), labelled[labelled["year"] == year]) for year in sorted(labelled["year"].unique())):
        label = rows["mask"].to_numpy(np.int64)
        if min(label.sum(), (1 - label).sum()) < LEAST_OF_CLASS or rows["tile"].nunique() < FOLDS:
            continue
        tiles, tile = np.unique(rows["tile"].to_numpy(str), return_inverse=True)
        fold = np.random.default_rng(0).permutation(len(tiles))[tile] % FOLDS
        probability = _cross_validated(rows[bands].to_numpy(np.float32), label, fold, threads)
        judged = np.isfinite(probability)
        if len(np.unique(label[judged])) == 2:
            areas[year] = float(roc_auc_score(label[judged], probability[judged]))
        against = np.where(label == 1, probability < 1 - CONFIDENT, probability > CONFIDENT)
        pixels_judged = pd.DataFrame({"tile": rows["tile"].to_numpy(), "label": label, "against": against})[judged]
        shares = pixels_judged.groupby(["tile", "label"])["against"].agg(["mean", "size"]).reset_index()
        shares = shares[shares["size"] >= LEAST_CONTRADICTED].sort_values(["tile", "mean"]).drop_duplicates("tile", keep="last")
        parts.append(shares.rename(columns={"mean": "contradicted", "size": "pixels"}).assign(year=year))
    return areas, pd.concat(parts, ignore_index=True)[list(empty)] if parts else empty


def _cross_validated(features: NDArray[np.float32], label: NDArray[np.int64], fold: NDArray[np.int64], threads: int) -> NDArray[np.float64]:
    """Predict the probability of mining of each pixel by a forest trained on the other folds; NaN where these have one class."""
    from sklearn.ensemble import RandomForestClassifier

    probability = np.full(len(label), np.nan)
    for number in range(FOLDS):
        train = np.flatnonzero(fold != number)
        if len(np.unique(label[train])) < 2:
            continue
        train = np.random.default_rng(number).permutation(train)[:MOST_PIXELS]
        forest = RandomForestClassifier(TREES, max_depth=12, class_weight="balanced", n_jobs=threads, random_state=0)
        forest.fit(features[train], label[train])
        forest.set_params(n_jobs=1)  # several threads sum the trees in an order of their own
        probability[fold == number] = forest.predict_proba(features[fold == number])[:, 1].round(6)
    return probability


def check_contradictions(areas: dict[int, float], patches: pd.DataFrame, limits: Doctor) -> Iterator[Finding]:
    """Yield years and patches beyond the limits.

    Args:
        areas, patches: as `contradictions` returns them.
    """
    for year, area in areas.items():
        if area < limits.label_auc:
            expected = f"an AUC of at least {limits.label_auc:g} by pixels of other tiles"
            yield LABELS.error("labels against image", expected, f"{area:.2f} in {year}", "review them")
    worst: Any = patches[patches["contradicted"] > limits.contradicted_share].sort_values("contradicted", ascending=False)
    if len(worst):
        found = f"more in {len(worst)} patches, e.g. {100 * worst['contradicted'].iloc[0]:.0f} %"
        expected = f"at most {100 * limits.contradicted_share:g} % of a class contradicted by a forest that learnt from other tiles"
        yield LABELS.warning("patch against image", expected, found, "review these patches first", tiles_of(worst))
