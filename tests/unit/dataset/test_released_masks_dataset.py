"""A dataset whose masks are those of a release: index, documents, verification and doctor without segments."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from fake_results import SIDE, Results, make_results, publish, release_masks
from sections import Doctor
from smallmines.config.publish import Publish
from smallmines.core import raster
from smallmines.core.files import read_json
from smallmines.dataset.columns import RELEASED_COLUMNS, SEGMENT_COLUMNS, columns_left_out, columns_of
from smallmines.dataset.croissant import rai
from smallmines.dataset.documents import render
from smallmines.dataset.index import read_index
from smallmines.dataset.verify import Expected, verify_dataset
from smallmines.doctor.examine import examine
from smallmines.loaders.folder import read_pairs


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    made = make_results(tmp_path_factory.mktemp("results"))
    publish(made, released=release_masks(made))
    return made


@pytest.fixture(scope="module")
def dataset(results: Results) -> Path:
    return results.folder / "dataset"


def test_the_index_counts_what_the_release_says_and_where_it_has_no_image(results: Results, dataset: Path) -> None:
    index = read_index(dataset / "index.parquet").set_index("tile_id")
    unsupported = 0
    for (_, block), files in results.files().items():
        mask, data = raster.read(files.masks)[0], raster.read(files.s2)[0] > 0
        for cell in results.lattice.cells_of(block).itertuples():
            at = np.s_[cell.y : cell.y + SIDE, cell.x : cell.x + SIDE]
            row, labelled = index.loc[cell.tile_id], mask[at] != 255
            assert row["mining_percent"] == pytest.approx(100 * (mask[at] == 1).sum() / labelled.sum())
            assert row["open_percent"] == 100 * (~labelled & data[at]).mean()
            assert row["unsupported_percent"] == 100 * (labelled & ~data[at]).mean()
            assert (row["share_released"], row["validated_share"]) == (1.0, 0.0)
            unsupported += (labelled & ~data[at]).sum()
    assert unsupported > 0


def test_columns_of_segments_are_not_there_and_the_others_are_explained(dataset: Path) -> None:
    facts = read_json(dataset / "facts.json")
    years = facts["years"]
    columns = pq.read_schema(dataset / "index.parquet").names
    assert set(columns_left_out(years)) == set(SEGMENT_COLUMNS)
    assert not set(SEGMENT_COLUMNS) & set(columns)
    assert set(columns) == set(columns_of(facts))
    assert set(RELEASED_COLUMNS) <= set(columns)
    assert not any("forest" in column.meaning or "predicted" in column.meaning for column in columns_of(facts).values())
    with_segments = {"2016": {"provenance": {"released": 0.5, "predicted": 0.5}, "released": {"held_out": {}}}}
    assert columns_left_out(with_segments) == ()
    assert columns_left_out({"2016": {"provenance": {"manual": 1.0}}}) == RELEASED_COLUMNS


def test_documents_tell_of_no_segments_and_no_forest(dataset: Path) -> None:
    facts: dict[str, Any] = read_json(dataset / "facts.json")
    card, datasheet = (render(facts, Publish())[name] for name in ("README.md", "DATASHEET.md"))
    year = facts["years"]["2016"]
    assert year["provenance"] == {"released": 100.0}
    assert year["open_percent"] == pytest.approx(100 * 9 / 96, abs=1e-3)  # 3 of 16 rows in three of six tiles
    assert f"| 2016 | 1 | 2 | {year['unsupported_percent']:.3f} |" in card
    assert "255 nodata (the release has no class)" in card
    assert "nothing was segmented or predicted" in card
    for text in (card, datasheet, json.dumps(rai(facts)), (dataset / "croissant.json").read_text()):
        assert not re.search(r"\bforest\b", text), "the random forest; forests are named"
        assert "probabilit" not in text
    assert "the mask has the release's class also there" in datasheet
    assert "Labels are those of released masks (the local folder release), with their errors;" in datasheet
    assert rai(facts)["rai:machineAnnotationTools"] == []


def test_the_folder_is_verified_and_read_and_counts_other_than_in_the_index_are_found(results: Results, dataset: Path) -> None:
    table, expected = read_index(dataset / "index.parquet"), Expected(results.lattice, ["2016"], "GH")
    assert verify_dataset(dataset, table, expected)[0] == []
    assert len(read_pairs(dataset)) == 6
    for column in ("unsupported_percent", "open_percent"):
        wrong = table.copy()
        wrong.attrs = dict(table.attrs)
        wrong.loc[0, column] += 100 / SIDE**2
        findings, _ = verify_dataset(dataset, wrong, expected)
        assert [finding.check for finding in findings] == ["pair"], column
    dropped = table.drop(columns="unsupported_percent")
    assert {finding.check for finding in verify_dataset(dataset, dropped, expected)[0]} == {"pair"}


@pytest.mark.heavy
def test_the_doctor_warns_of_labels_without_an_image_that_the_index_counts(dataset: Path) -> None:
    severities = {finding.check: finding.severity for finding in examine(dataset, Doctor()).findings if finding.family == "labels"}
    assert severities["label without image"] == "warning"
    assert severities["nobody looked"] == "note"
    assert "provenance" not in severities
