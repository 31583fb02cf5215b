"""Check labels: class shares, specks and holes, vanishing mines, gaps, provenance, agreement, and consistency with the image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallmines.core.finding import Family, Finding
from smallmines.core.product import IMAGE, MASK, MASK_NODATA, PATCH_BANDS, S2_BANDS, parse_patch_name
from smallmines.dataset.assemble import read_list
from smallmines.dataset.measured import Measured as Kept
from smallmines.dataset.measured import Sum, read_measured, write_measured
from smallmines.dataset.patch_measures import PatchMeasures
from smallmines.doctor.folder import Folder, of_known_form, tiles_of
from smallmines.doctor.measure import Measured, pixels_of
from smallmines.settings.doctor import Doctor

LABELS = Family("labels")

FOREST = "forest"
"""Name of kept results of the forest, see `measured.Sum`; its one member is a digest of the pixels."""

FOLDS = 3
TREES = 60
MOST_PIXELS = 40_000
"""Maximum number of training pixels of a forest: those of 940 tiles. On made-up pixels of 2134 tiles, 30,000 give an AUC of 0.949 in 8 s of
CPU time, all 91,000 of a fold 0.951 in 23 s."""

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


def contradictions(pixels: pd.DataFrame, threads: int = 1, kept: Kept | None = None) -> tuple[dict[int, float], pd.DataFrame]:
    """Compare labels with the image by a random forest trained on pixels of other tiles, each year for itself.

    Args:
        pixels: as in `measure.Measured`.
        kept: results of earlier years and runs, which are used where all pixels are the same.

    Returns:
        AUC by year, and per patch: tile, year, contradicted (of the class that the forest contradicts most: share of its sampled
        pixels contradicted with a probability above `CONFIDENT`), pixels (of that class).
    """
    areas: dict[int, float] = {}
    parts = []
    labelled = _labelled(pixels)
    for year in sorted(int(year) for year in labelled["year"].unique()):
        of_year = contradictions_of_year(labelled[labelled["year"] == year], threads, kept)
        if of_year.values["area"] is not None:
            areas[year] = of_year.values["area"]
        parts.append(pd.DataFrame(of_year.values["patches"], columns=["tile", "contradicted", "pixels"]).assign(year=year))
    columns = ["tile", "year", "contradicted", "pixels"]
    full = [part for part in parts if len(part)]
    return areas, pd.concat(full, ignore_index=True)[columns] if full else pd.DataFrame(columns=columns)


def _labelled(pixels: pd.DataFrame) -> pd.DataFrame:
    return pixels.dropna(subset=[*S2_BANDS, "mask"]).sort_values(["year", "tile", "place"], ignore_index=True)


def write_contradictions(lists: Sequence[str | Path], measured: Sequence[str | Path], threads: int, target: str | Path) -> None:
    """Compare the labels of a year with the image before the doctor comes, see `contradictions`.

    Args:
        lists: checksum lists of the year's images and masks.
        measured: tables of measurements of the year's patches.
    """
    kept = read_measured(measured, ["patch"])
    tiles: dict[str, dict[str, PatchMeasures]] = {}
    for path in lists:
        for name, checksum in read_list(path).items():
            parts = parse_patch_name(Path(name).name)
            kind = "image" if parts is not None and parts.prefix == IMAGE.prefix else "mask"
            if parts is not None and (patch := kept.patch(checksum, kind)) is not None:
                tiles.setdefault(parts.tile_id, {})[parts.prefix] = patch
    pairs = [(tile, 0, own.get(IMAGE.prefix), own.get(MASK.prefix)) for tile, own in sorted(tiles.items())]
    write_measured(Kept(sums=[contradictions_of_year(_labelled(pixels_of(pairs)), threads)]), target)


def contradictions_of_year(rows: pd.DataFrame, threads: int = 1, kept: Kept | None = None) -> Sum:
    """Return AUC and contradicted patches of a year in the form in which they are kept, from its pixels sorted by tile and place."""
    bands = [name for name in PATCH_BANDS if rows[name].notna().all()]
    features, label = rows[bands].to_numpy(np.float32), rows["mask"].to_numpy(np.int64)
    tiles, tile = np.unique(rows["tile"].to_numpy(str), return_inverse=True)
    digest = hashlib.sha256(json.dumps([bands, tiles.tolist()]).encode())
    for array in (features, label, tile):
        digest.update(np.ascontiguousarray(array).tobytes())
    member = digest.hexdigest()
    if kept is not None and (chosen := kept.usable(FOREST, [member])[0]):
        return chosen[0]
    nothing = Sum(FOREST, (member,), {"area": None, "patches": []}, np.empty(0))
    if min(label.sum(), (1 - label).sum()) < LEAST_OF_CLASS or len(tiles) < FOLDS:
        return nothing
    fold = np.random.default_rng(0).permutation(len(tiles))[tile] % FOLDS
    area, patches = _judged(features, label, fold, rows["tile"].to_numpy(), threads)
    return replace(nothing, values={"area": area, "patches": patches})


def _judged(
    features: NDArray[np.float32], label: NDArray[np.int64], fold: NDArray[np.int64], tiles: NDArray[Any], threads: int
) -> tuple[float | None, list[list[Any]]]:
    """Return the AUC, and tile, share and pixels of the class that the forest contradicts most in each patch."""
    from sklearn.metrics import roc_auc_score

    probability = _cross_validated(features, label, fold, threads)
    judged = np.isfinite(probability)
    area = float(roc_auc_score(label[judged], probability[judged])) if len(np.unique(label[judged])) == 2 else None
    against = np.where(label == 1, probability < 1 - CONFIDENT, probability > CONFIDENT)
    pixels_judged = pd.DataFrame({"tile": tiles, "label": label, "against": against})[judged]
    shares = pixels_judged.groupby(["tile", "label"])["against"].agg(["mean", "size"]).reset_index()
    shares = shares[shares["size"] >= LEAST_CONTRADICTED].sort_values(["tile", "mean"]).drop_duplicates("tile", keep="last")
    return area, [list(row) for row in zip(shares["tile"], shares["mean"].tolist(), shares["size"].tolist(), strict=True)]


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
