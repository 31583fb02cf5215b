"""Measure which features and which model the assistant should have, on real images and on miniature worlds of several seeds.

For each place samples are drawn on every other tile; the forest predicts the other tiles, as far as no window reaches from one into the
other. Real images are left out where the folder is absent.

Usage: PYTHONPATH=tests:workflow python tests/bench/assistant/features.py
    [--images FOLDER] [--worlds FOLDER] [--seeds 3] [--each 150] [--jobs N]
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from bench.assistant import experiment, extra
from bench.assistant.experiment import Subject
from bench.assistant.places import Place
from bench.assistant.worlds import all_places, rows_of_all
from smallmines.cli.console import plain_errors, show
from smallmines.core.files import write_json
from smallmines.labels.feature_table import PAPER, feature_names

if TYPE_CHECKING:
    import pandas as pd


def models() -> dict[str, Callable[[int], Any]]:
    """Return the models by name, each as a function of the seed."""
    from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier

    trees = {"n_estimators": 300, "max_depth": 15, "min_samples_split": 5, "n_jobs": 1}
    return {
        "random forest": lambda seed: RandomForestClassifier(**trees, random_state=seed),
        "extra trees": lambda seed: ExtraTreesClassifier(**trees, random_state=seed),
        "gradient boosting": lambda seed: HistGradientBoostingClassifier(max_iter=200, min_samples_leaf=5, random_state=seed),
    }


def runs(subject: Subject, tile: int, seeds: int, each: int) -> Iterator[experiment.Row]:
    """Yield the scores of each set of features with a random forest, and of each model on the features of the paper and on context."""
    chosen = {(name, columns, "random forest") for name, columns in extra.SETS.items()}
    chosen |= {(kind, feature_names(kind), model) for kind in ("paper", "context") for model in models() if model != "random forest"}
    for number, (train, test) in enumerate(experiment.splits(subject, tile)):
        for seed in range(seeds):
            samples = experiment.draw(subject, train, each, seed)
            for name, columns, model in sorted(chosen):
                x = experiment.features_of(subject, columns)
                start = time.process_time()
                fitted = models()[model](seed).fit(x[samples], subject.label[samples])
                probability = fitted.predict_proba(x[test])[:, 1]
                took = time.process_time() - start
                of = {"place": subject.name, "target": subject.target, "split": number, "seed": seed, "features": name, "model": model}
                yield of | experiment.scores(subject, test, probability) | {"seconds": took}


def rows_of(place: Place, seeds: int, each: int) -> list[experiment.Row]:
    """Return the scores of all targets of a place."""
    subjects = experiment.subjects(place, extra.everything(place))
    return [row for subject in subjects for row in runs(subject, place.lattice.tile_size, seeds, each)]


def summary(table: pd.DataFrame, by: str, base: str) -> list[dict[str, str]]:
    """Return a row for each value of the column `by`: means with intervals over places, and the gain over the row `base`, run by run."""
    keys = ["place", "target", "split", "seed"]
    reference = table[table[by] == base].set_index(keys)["iou"]
    rows = []
    for name, own in table.groupby(by, sort=False):
        group = own["place"].where(own["target"] == "mining", own["place"] + own["target"]).str.split(",").str[0]
        gain = own["iou"].to_numpy() - reference.reindex(own.set_index(keys).index).to_numpy()
        row = {by: str(name), "runs": str(len(own))}
        row |= {key: experiment.words(experiment.interval(own[key].to_numpy(), group.tolist())) for key in ("ap", "iou", "brier")}
        row |= {"gain in iou": experiment.words(experiment.interval(gain, group.tolist()), "+"), "better in": f"{np.mean(gain > 0):.0%}"}
        rows.append(row | {"s": f"{own['seconds'].mean():.2f}"})
    return rows


def main(
    images: Annotated[Path | None, typer.Option(help="Real images in TerraMesh's layout.", file_okay=False)] = None,
    worlds: Annotated[Path | None, typer.Option(help="Folder of miniature worlds (see worlds.py).", file_okay=False)] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of samples.")] = 3,
    each: Annotated[int, typer.Option(min=5, help="Samples of each class.")] = 150,
    jobs: Annotated[int, typer.Option(min=1, help="Places measured at a time.")] = 1,
    json: Annotated[Path | None, typer.Option(help="Write all runs to this file.")] = None,
) -> None:
    """Compare features and models."""
    import pandas as pd

    with plain_errors():
        for kind, places in all_places(images, worlds).items():
            rows = rows_of_all(places, partial(rows_of, seeds=seeds, each=each), jobs)
            table = pd.DataFrame(rows)
            forests = table[table["model"] == "random forest"].sort_values("features", key=lambda names: names.map(list(extra.SETS).index))
            show(f"{kind}: features", summary(forests, "features", "paper"))
            for features, own in (("paper", PAPER), ("context", feature_names("context"))):
                name = next(key for key, value in extra.SETS.items() if value == own)
                same = table[table["features"].isin({name, features})]
                show(f"{kind}: models on the features {features}", summary(same, "model", "random forest"))
            if json:
                write_json(json.with_stem(f"{json.stem}_{kind.split()[0]}"), rows)


if __name__ == "__main__":
    typer.run(main)
