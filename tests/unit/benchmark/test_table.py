"""The table: pooled folds, intervals, paired differences, stopped rows, and the page."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from smallmines.benchmark import runs
from smallmines.benchmark.figures import example_rows
from smallmines.benchmark.intervals import drawn_blocks
from smallmines.benchmark.models import FitJob, Fitted, save
from smallmines.benchmark.pack import Pack
from smallmines.benchmark.page import RowTitle, content, write_table
from smallmines.benchmark.split_names import bootstrap_blocks
from smallmines.benchmark.table import Score, pooled, reliabilities, scores_of, table_of
from smallmines.core.errors import UserError
from smallmines.core.files import write_json
from smallmines.settings.benchmark import Boosting, Control, RowSettings

FOLDS = [f"spatial_block_{fold}" for fold in range(1, 6)]
ROWS: dict[str, RowSettings] = {
    "boosting": Boosting(("B04",), 3, 0.3, 4, 200),
    "everything": Control((), "everything"),
    "other": Control((), "other_year"),
}
TITLES = [
    RowTitle("boosting", "fixed", "Boosting", "a note", None),
    RowTitle("everything", "fixed", "Everything", "", 0.5),
    RowTitle("other", "as_published", "The other year", "", None),
    RowTitle("stopped", "fixed", "The stopped one", "", None),
]


@pytest.fixture(scope="module")
def scores(pack: Pack, pack_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Sequence[Score]:
    """Three rows on five folds and on the histogram split, and one that findings stop."""
    folder = tmp_path_factory.mktemp("benchmark")
    names = []
    for split in (*FOLDS, "paper_histogram"):
        file = folder / f"splits/{split}.parquet"
        runs.write_split(pack_folder, split, 0, None, file)
        for row in (*ROWS, "stopped"):
            variant = "as_published" if row == "other" else "fixed"
            own = folder / row / variant / split / "0"
            if row == "stopped":
                save(Fitted(None, ("VV",), ("dn_plus1000",), {}, ("VV: VV linear: all",)), own / "model.joblib")
                write_json(own / "fitted.json", {"stopped": ["VV: VV linear: all"]})
            else:
                runs.fit_row(pack_folder, file, ROWS[row], FitJob(0, 1, True), own / "model.joblib", own / "fitted.json")
            runs.predict_row(pack_folder, file, own / "model.joblib", 1, own / "probabilities.npy")
            outputs = str(own / "counts.parquet"), str(own / "score.json")
            runs.score_row(pack_folder, file, own / "fitted.json", own / "probabilities.npy", *outputs)
            names.append(f"{row}/{variant}/{split}/0")
    return scores_of(folder, names)


def row_of(table: pd.DataFrame, split: str, row: str, threshold: str) -> pd.Series:
    own = table[(table["split"] == split) & (table["row"] == row) & (table["threshold"] == threshold)]
    assert len(own) == 1
    return own.iloc[0]


def test_folds_are_pooled_and_each_tile_counts_once(pack: Pack, scores: Sequence[Score]) -> None:
    own = pooled(scores)["spatial_block", "everything", "fixed", 0]
    assert sorted(own.table["row"]) == list(range(len(pack)))
    assert len(own.thresholds) == 5
    masks = pack.masks(np.arange(len(pack)))
    record = row_of(table_of(pack, scores), "spatial_block", "everything", "half")
    assert record["iou"] == record["precision"] == pytest.approx((masks == 1).sum() / (masks != 255).sum())
    assert (record["recall"], record["tiles"], record["mines"]) == (1.0, 72, 48)
    assert record["area_ratio"] == pytest.approx(1 / record["iou"])


def test_intervals_by_brute_force_over_blocks(pack: Pack, scores: Sequence[Score]) -> None:
    """IoU of each draw from the masks of its blocks: everything mining has IoU = share of mining."""
    record = row_of(table_of(pack, scores), "spatial_block", "everything", "half")
    masks, block = pack.masks(np.arange(len(pack))), bootstrap_blocks(pack.tiles)
    assert record["blocks"] == block.max() + 1 >= 9
    values = []
    for times in drawn_blocks(int(block.max()) + 1):
        drawn = np.repeat(np.arange(len(pack)), times[block].astype(int))
        values.append((masks[drawn] == 1).sum() / (masks[drawn] != 255).sum())
    low, high = np.percentile(values, (2.5, 97.5))
    assert record["iou_low"] < low < record["iou"] < high < record["iou_high"]
    assert record["iou_high"] - record["iou_low"] < 2.5 * (high - low)


def test_rows_are_compared_with_the_best_of_the_split(pack: Pack, scores: Sequence[Score]) -> None:
    table = table_of(pack, scores)
    best = row_of(table, "spatial_block", "boosting", "val")
    other = row_of(table, "spatial_block", "everything", "val")
    assert (best["difference"], np.isnan(best["difference_low"])) == (0, True)
    assert other["difference"] == pytest.approx(other["iou"] - best["iou"])
    assert other["difference_low"] < other["difference"] < other["difference_high"] < 0


def test_a_row_that_is_told_the_truth_is_compared_with_none(pack: Pack, scores: Sequence[Score]) -> None:
    table = table_of(pack, scores, {("boosting", "fixed")})
    own = row_of(table, "spatial_block", "boosting", "val")
    assert own["iou"] == row_of(table_of(pack, scores), "spatial_block", "boosting", "val")["iou"]
    assert np.isnan(own["difference"])
    others = table[(table["split"] == "spatial_block") & (table["threshold"] == "val") & (table["row"] != "boosting")]
    assert others["difference"].max() == 0, "another one is the best"
    told = [dataclasses.replace(row, prompted=row.row == "boosting") for row in TITLES]
    lines = content(pack, table, scores, told, "A run")["splits"][0]["lines"]
    assert [line["difference"] for line in lines if line["title"] == "Boosting, told the truth"] == ["–"]


def test_a_control_shows_which_split_leaks(pack: Pack, scores: Sequence[Score]) -> None:
    table = table_of(pack, scores)
    assert row_of(table, "paper_histogram", "other", "half")["iou"] > 0.2
    assert row_of(table, "spatial_block", "other", "half")["iou"] == 0


def test_the_page_is_whole_and_names_stopped_rows(pack: Pack, pack_folder: Path, scores: Sequence[Score], tmp_path: Path) -> None:
    write_table(pack_folder, scores, TITLES, "Made up", tmp_path / "table.parquet", tmp_path / "table.html")
    text = (tmp_path / "table.html").read_text()
    assert "<b>The stopped one</b> was stopped" in text
    assert "VV: VV linear: all" in text
    assert "The other year (as published)" in text
    assert not re.search(r'(src|href)="(?!data:|#)', text), "nothing is loaded from elsewhere"
    assert "0.768" in text
    assert "IoU in the paper" not in text, "published numbers stand only beside the released split"
    table = pd.read_parquet(tmp_path / "table.parquet")
    assert len(table) == 4 * 2 * 2
    shown = content(pack, table, scores, TITLES, "Made up")
    assert [split["name"] for split in shown["splits"]] == ["spatial_block", "paper_histogram"]
    assert all(split["is_approximate"] == (split["blocks"] < 20) for split in shown["splits"])
    assert [line["title"] for line in shown["splits"][0]["lines"]] == ["Boosting", "Everything", "The other year (as published)"]
    assert [name for name, _ in shown["examples"]] == ["Boosting", "Everything", "The other year (as published)"]
    released = table.assign(split=table["split"].replace("paper_histogram", "released"))
    assert [split["published"] for split in content(pack, released, scores, TITLES, "")["splits"]] == [False, True]


def test_a_table_of_stopped_rows_alone(pack: Pack, scores: Sequence[Score]) -> None:
    alone = [score for score in scores if score.row == "stopped"]
    shown = content(pack, table_of(pack, alone), alone, TITLES, "")
    assert shown["splits"] == shown["examples"] == []
    assert shown["stopped"] == [("The stopped one", "VV: VV linear: all")]


def test_a_benchmark_without_rows_says_so(pack_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"benchmark\.rows"):
        write_table(pack_folder, [], [], "Made up", tmp_path / "table.parquet", tmp_path / "table.html")
    assert not [*tmp_path.iterdir()]


def test_the_range_over_seeds(pack: Pack, scores: Sequence[Score]) -> None:
    table = table_of(pack, scores)
    second = table[table["row"] == "boosting"].assign(seed=1, iou=lambda rows: rows["iou"] - 0.1)
    line = content(pack, pd.concat([table, second]), scores, TITLES, "")["splits"][0]["lines"][0]
    assert line["seeds"].endswith("(2)")
    low, high = map(float, line["seeds"][:-4].split("–"))
    assert high - low == pytest.approx(0.1, abs=0.002)


def test_examples_are_the_best_the_median_and_the_worst_tile_with_mining() -> None:
    counts = pd.DataFrame({"row": [5, 6, 7, 8], "tp_half": [1, 9, 0, 4], "fp_half": [0, 0, 9, 2], "fn_half": [9, 1, 0, 4]})
    assert example_rows(counts) == {"best": 6, "median": 8, "worst": 5}
    assert example_rows(counts[counts["row"] == 7]) == {}


def test_reliabilities_are_of_the_pixels_of_a_row(pack: Pack, scores: Sequence[Score]) -> None:
    bins = reliabilities(scores)["paper_histogram", "everything", "fixed"]
    assert len(bins) == 1
    assert bins[0]["predicted"] == 1.0
    assert ("paper_histogram", "stopped", "fixed") not in reliabilities(scores)
