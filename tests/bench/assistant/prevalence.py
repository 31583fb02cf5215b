"""Measure the estimate of the prevalence on places of known truth: the one before and the one now, and the sample of pixels.

Usage: PYTHONPATH=tests:workflow python tests/bench/assistant/prevalence.py FOLDER [--images FOLDER] [--runs FOLDER …] [--jobs N]

FOLDER keeps the result of each case, so that a run can be continued. `--images`: real images in TerraMesh's layout (left out with a
message where there are none). `--runs`: folders in which the demo's configuration was run at least up to `describe`, one for each
seed. The first half of the places (Tanzania and every second run) chose the method, the second was looked at once.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from bench.assistant.cases import PARAMS, Case, Ground, Sampled, cases, sample, seed_of, together, window
from bench.assistant.places import REAL, Place, miniature_places, real_places, share_of_segments
from bench.assistant.worlds import demo_segmentation
from smallmines.config.parse import read_config
from smallmines.core import raster
from smallmines.labels import forest, prevalence
from smallmines.labels.prevalence_sample import draw_sample, estimate_from_sample
from smallmines.labels.threshold import matching_threshold
from smallmines.segment.features import features

PIXELS, DRAWS = 200, 20
"""Pixels of the sample of pixels, and how often it is drawn in each case."""

WINDOWS = {0: 1300.0, 1: 1800.0}
"""Side in m of the window in the first and the second year of a run."""


# --- places ---------------------------------------------------------------------------------------------------------------


def grounds_of(place: Place, kind: str, cover: NDArray[np.object_] | None = None) -> Iterator[Ground]:
    """Yield a place for each of its targets.

    Args:
        cover: name of the kind of land (segment,).
    """
    labels = place.labels()
    with raster.opened(place.s2) as s2, raster.opened(place.clear) as clear, raster.opened(place.dem) as dem:
        table = features(labels, s2, clear, dem, place.lattice, place.block)
    names = np.full(len(table), "", object) if cover is None else cover
    for target, truth in place.targets.items():
        yield Ground(place.name, target, kind, table, share_of_segments(labels, truth), names)


def real_grounds(images: Path, folder: Path) -> Iterator[tuple[str, Ground]]:
    """Yield the real places, each with its half."""
    for place in real_places(images, folder, demo_segmentation()):
        cover = raster.read(images / "LULC" / f"{REAL[place.name][0]}.tif")[0].astype(np.int64)
        labels = place.labels().astype(np.int64)
        count = np.zeros((int(labels.max()) + 1, int(cover.max()) + 1), np.int64)
        np.add.at(count, (labels, cover), 1)
        names = np.array([f"class {code}" for code in count[1:].argmax(axis=1)], object)
        for ground in grounds_of(place, "real", names):
            yield "chosen" if place.name == "Tanzania" else "held out", ground


def made_grounds(runs: Iterable[Path]) -> Iterator[tuple[str, Ground]]:
    """Yield blocks, windows and years of finished runs, each with its half."""
    for number, root in enumerate(runs):
        half = "held out" if number % 2 else "chosen"
        config = read_config(root / "config/demo.yaml")
        blocks = [ground for place in miniature_places(config, root, root.name) for ground in grounds_of(place, "block")]
        yield from ((half, ground) for ground in blocks)
        for index, year in enumerate(config.year_names):
            own = blocks[index * len(config.blocks) : (index + 1) * len(config.blocks)]
            whole = together(own, f"{root.name}, {year}")
            yield half, window(whole, WINDOWS[index % 2])
            if (number + index) % 2 == 0:
                yield half, whole


# --- the estimate before --------------------------------------------------------------------------------------------------


def before(sampled: Sampled, seed: int) -> float:
    """Estimate as the library did before: geometric mean of expectation maximisation (by types or two classes) and the share at 0.5."""
    training, clear = sampled.training, sampled.clear
    types = prevalence.types_of(training.x, training.y, training.subclass, seed)
    shares = []
    for name, code in (("types", types.code), ("two", 1 - training.y.astype(np.int64))):
        folds = list(StratifiedKFold(3, shuffle=True, random_state=seed).split(training.x, code))
        out_of_fold = np.log(forest.cross_predict(training.x, code, folds, PARAMS, seed, 1) + forest.FLOOR)
        if name == "two":
            everywhere = clear.probabilities[:, ::-1]
        else:
            everywhere = forest.predict(forest.fit(training.x, code, PARAMS, seed, 1), clear.x, list(range(int(code.max()) + 1)), 1)
        model = LogisticRegression(C=1.0, max_iter=1000).fit(out_of_fold, code)
        trained = model.predict_proba(out_of_fold).mean(axis=0)
        posterior = model.predict_proba(np.log(everywhere + forest.FLOOR))
        shares.append(prevalence.maximise(posterior / trained, clear.area, trained)[0])
    share = float(np.sqrt(max(shares) * clear.predicted_share(0.5)))
    return max(share, float(clear.area[clear.label == 1].sum() / clear.area.sum()))


# --- measuring ------------------------------------------------------------------------------------------------------------


def measured(folder: Path, task: tuple[str, Ground, Case]) -> dict[str, Any] | None:
    """Measure a case, or read what was measured; None where the place has too little of the class."""
    warnings.simplefilter("ignore")
    half, ground, case = task
    path = folder / f"{seed_of(ground.name, ground.target, case):08x}.json"
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    sampled = sample(ground, case)
    row: dict[str, Any] | None = None
    if sampled is not None:
        estimated = prevalence.estimate(sampled.training, PARAMS, sampled.clear, case.seed, 1)
        row = {"half": half, "place": ground.name, "kind": ground.kind, "target": ground.target, **asdict(case)}
        row |= {"truth": sampled.truth, "at_half": sampled.clear.predicted_share(0.5), "before": before(sampled, case.seed)}
        document = estimated.document()
        row |= {"now": document.pop("share"), **document} | ious(sampled, estimated.share) | sample_of_pixels(sampled)
    path.write_text(json.dumps(row), encoding="utf-8")
    return row


def ious(sampled: Sampled, share: float) -> dict[str, float]:
    """Return the IoU of the segments predicted mining by threshold: votes of 0.5, that of the estimated share, half way, true share."""
    votes, area, mining = sampled.clear.probabilities[:, 1], sampled.clear.area, sampled.mining
    matching = matching_threshold(votes, area, share)
    true = matching_threshold(votes, area, float(np.average(mining, weights=area)))
    result = {}
    for name, threshold in (("half", 0.5), ("threshold", matching), ("between", (matching + 0.5) / 2), ("true share", true)):
        mapped = votes >= threshold - 1e-9
        hit = area[mapped & mining].sum()
        result[f"IoU, {name}"] = float(hit / (area[mapped].sum() + area[mining].sum() - hit))
    return result


def sample_of_pixels(sampled: Sampled) -> dict[str, float]:
    """Return how often the interval of the sample of pixels holds the truth of the segments, its mean width, and its mean error."""
    probability, area = sampled.clear.probabilities[:, 1], sampled.clear.area.astype(np.int64)
    truth = sampled.mining.astype(np.int64)
    share = float(np.average(truth, weights=area))
    estimates = []
    for seed in range(DRAWS):
        points = draw_sample(probability, area, PIXELS, seed)
        estimates.append(estimate_from_sample(points, truth[points["segment"].to_numpy()], probability, area))
    return {
        "pixels_share": share,
        "pixels_cover": float(np.mean([one.low <= share <= one.high for one in estimates])),
        "pixels_width": float(np.mean([one.high - one.low for one in estimates])),
        "pixels_error": float(np.mean([abs(one.value - share) for one in estimates])),
    }


# --- tables ---------------------------------------------------------------------------------------------------------------


def summary(rows: pd.DataFrame, name: str) -> dict[str, Any]:
    """Return the figures of an estimate over some cases."""
    ratio = rows[name] / rows["truth"]
    return {
        "median": ratio.median(),
        "5 %": ratio.quantile(0.05),
        "95 %": ratio.quantile(0.95),
        "within 1.5": ((ratio < 1.5) & (ratio > 1 / 1.5)).mean(),
    }


def tables(rows: pd.DataFrame) -> None:
    """Print ratio of estimate and truth by half, way of sampling and share, and the coverage of both intervals."""
    rows = rows.assign(
        samples=np.where(rows["mode"] == "hard negatives", "hard negatives", "typical"),
        share=np.where(rows["truth"] >= 0.02, "2 % or more", "below 2 %"),
        world=np.where(rows["kind"] == "real", "real", "made up"),
        covers=(rows["low"] <= rows["truth"]) & (rows["truth"] <= rows["high"]),
    )
    rows["honest"] = rows["covers"] | ~rows["identifiable"]
    for keys in (
        ["half", "samples", "share"],
        ["half", "samples", "share", "world"],
        ["samples", "mode", "number"],
        ["target", "prevalence"],
    ):
        lines = []
        for values, own in rows.groupby(keys, dropna=False):
            line = dict(zip(keys, values, strict=True)) | {"cases": len(own)}
            for name, column in (("before", "before"), ("now", "now")):
                line |= {f"{name}: {figure}": value for figure, value in summary(own, column).items()}
            sure = own[own["identifiable"]]
            line |= {"identifiable": len(sure) / len(own), "covers": own["covers"].mean(), "honest": own["honest"].mean()}
            line |= {"identifiable: within 1.5": summary(sure, "now")["within 1.5"], "covers then": sure["covers"].mean()}
            lines.append(line)
        print(pd.DataFrame(lines).round(2).to_string(index=False), end="\n\n")
    print("IoU of segments predicted mining, by threshold")
    print(rows.groupby(["samples", "share"])[[name for name in rows if name.startswith("IoU")]].mean().round(3).to_string(), end="\n\n")
    bins = pd.cut(rows["pixels_share"], [0, 0.01, 0.02, 0.05, 0.1, 0.2, 1])
    columns = ["pixels_share", "pixels_cover", "pixels_width", "pixels_error"]
    print(f"Sample of {PIXELS} pixels, {DRAWS} draws a case")
    print(rows.groupby(["half", bins], observed=True)[columns].mean().round(4).to_string())


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--runs", type=Path, nargs="*", default=[])
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    grounds: list[tuple[str, Ground]] = []
    if asked.images and (asked.images / "S2L2A").is_dir():
        grounds += real_grounds(asked.images, asked.folder / "real")
    else:
        print(f"no real images in {asked.images}: made-up places only")
    grounds += made_grounds(asked.runs)
    tasks = [(half, ground, case) for half, ground in grounds for case in cases(ground)]
    with ProcessPoolExecutor(asked.jobs) as pool:
        rows = [row for row in pool.map(partial(measured, asked.folder), tasks) if row]
    tables(pd.DataFrame(rows))


if __name__ == "__main__":
    main()
