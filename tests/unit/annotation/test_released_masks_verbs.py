"""Verbs of a run whose masks are those of a release: the accuracy sample from draw to figures, and what needs segments refuses."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from place import edit, make_place, read, read_truth
from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.checkin import checkin
from smallmines.annotation.checkout import checkout, checkout_disputed
from smallmines.annotation.checkout_pixels import checkout_pixel_sample
from smallmines.annotation.released_masks import import_masks
from smallmines.annotation.rounds import progress
from smallmines.annotation.status import labels_of, quality_of, transferred
from smallmines.config.sections import Config
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.layout import Layout
from smallmines.labels.accuracy import EDGE, strata_of_mask
from smallmines.labels.label_quality import by_place, quality
from smallmines.labels.pixel_samples import read_design
from smallmines.settings.transfer import Transfer


@pytest.fixture
def block_year(tmp_path: Path) -> BlockYear:
    """A block whose mask is a shifted truth with a gap; products of segments of an earlier run are still there."""
    place = make_place(tmp_path, source="released_masks", accuracy=150)
    place = replace(place, config=place.config.model_copy(update={"grid": place.config.grid.model_copy(update={"blocks": 1})}))
    place = replace(place, config=place.config.model_copy(update={"years": {2016: place.config.years[2016]}}))
    mask = np.roll(read_truth(replace(place, config=make_people(place))), 1, axis=1).astype(np.uint8)
    mask[:10] = 255
    mask[~place.lattice.own("1")] = 255
    path = place.layout.mask("2016", "1")
    raster.write(path, mask, place.lattice.block("1"), 255, ["mining"])
    return place


def test_what_needs_segments_refuses_in_three_lines_that_name_the_key(block_year: BlockYear) -> None:
    assert block_year.layout.labels("2016", "1").is_file(), "labels of an earlier run do not count"
    for verb in (
        lambda: checkout(block_year, "A01"),
        lambda: checkout_disputed(block_year, "J01"),
        lambda: checkout_pixel_sample(block_year, "A01", "prevalence"),
        lambda: import_masks(block_year, [block_year.layout.mask("2016", "1")], (), 10),
        lambda: progress(block_year, 1),
        lambda: transferred(block_year.config, "2016", "1", Transfer(0.5, 0.8), block_year.root),
        lambda: labels_of(block_year.config, block_year.root),
    ):
        with pytest.raises(UserError, match=r"labels\.source released_masks: the masks of run made are those of the release") as error:
            verb()
        assert re.fullmatch(r"expected .*\nfound .*\ndo .*", str(error.value))
    assert not list(block_year.user.rglob("*.gpkg"))


def test_strata_are_classes_near_and_far_from_edges() -> None:
    mask = np.zeros((100, 100), np.uint8)
    mask[20:60, 20:60] = 1
    mask[:, 90:] = 255
    stratum = strata_of_mask(mask)
    assert set(np.unique(stratum).tolist()) == {-1, 0, 2, 4, 6}
    assert (stratum[mask == 255] == -1).all()
    assert (stratum == 4).sum() == (40 - 2 * EDGE) ** 2
    assert (stratum == 6).sum() == 40**2 - (40 - 2 * EDGE) ** 2
    assert (stratum == 2).sum() == (40 + 2 * EDGE) ** 2 - 40**2
    small = np.zeros((100, 100), np.uint8)
    small[50:62, 50:62] = 1  # 2 × 2 pixels far from its edges
    assert set(np.unique(strata_of_mask(small)[small == 1]).tolist()) == {4}


def test_the_accuracy_sample_from_draw_to_figures(block_year: BlockYear) -> None:
    mask = raster.read(block_year.product(Layout.mask))[0]
    truth = read_truth(replace(block_year, config=make_people(block_year)))
    copy = checkout_pixel_sample(block_year, "A01", "accuracy")
    design = read_design(block_year.layout.user.pixel_sample("accuracy", "2016", "1"))
    assert len(read(copy.path)) == len(design) >= 150
    strata = strata_of_mask(mask)
    assert (strata[pixel(block_year, design)] == design["stratum"]).all()
    assert (mask[pixel(block_year, design)] == design["mapped"]).all()
    assert design["key"].is_unique
    table = read(copy.path)
    assert table["probability"].isna().all()
    mined = pd.Series(truth[pixel(block_year, design)], index=design["key"].astype(str))
    for label in ("mining", "not_mining"):
        keys = "', '".join(key for key in table["key"] if mined[key] == (label == "mining"))
        statement = "UPDATE segments SET label = ?, evidence = 'x', evidence_date = '2016-01-01' WHERE key IN ('" + keys + "')"
        edit(copy.path, statement, label)
    assert checkin(block_year.user, copy.path).counts["reference"] == len(design)
    quality = quality_of(block_year.config, block_year.root)["years"]["2016"]
    labelled = mask != 255
    assert quality["provenance"] == {"released": {"pixels": int(labelled.sum()), "area_share": 1.0}}
    assert quality["open_share"] == pytest.approx(1 - labelled.sum() / block_year.lattice.own("1").sum(), abs=1e-6)
    assert (quality["validated_share"], quality["looks"], quality["agreement"]["year"]) == (0.0, {}, [])
    accuracy = quality["accuracy"]
    assert accuracy["settled"] == len(design)
    right = ((mask == 1) == truth)[labelled].mean()
    assert accuracy["overall"]["low"] - 0.01 <= right <= accuracy["overall"]["high"] + 0.01
    assert accuracy["overall"]["value"] < 1
    with pytest.raises(UserError, match="A01 has labelled all"):
        checkout_pixel_sample(block_year, "A01", "accuracy")


def make_people(block_year: BlockYear) -> Config:
    """Return the configuration with labels of people."""
    return block_year.config.model_copy(update={"labels": block_year.config.labels.model_copy(update={"source": "people"})})


def pixel(block_year: BlockYear, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column of points."""
    col, row = ~block_year.lattice.block("1").transform @ (table["x"].to_numpy(), table["y"].to_numpy())
    return np.floor(row).astype(int), np.floor(col).astype(int)


def test_the_rule_and_the_verb_measure_the_same(block_year: BlockYear) -> None:
    products = {"features": [], "labels": [], "masks": [str(block_year.product(Layout.mask))]}
    files = by_place([("2016", "1")], products, {**block_year.user_files(), "events": [], "overlap": []})
    assert (files["2016", "1"].features, files["2016", "1"].labels) == (None, None)
    document, _ = quality(files, 0, block_year.lattice)
    assert json.dumps(document) == json.dumps(quality_of(block_year.config, block_year.root))
