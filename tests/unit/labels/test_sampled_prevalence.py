"""The prevalence sample from the draw to the threshold: kept apart from labels and accuracy sample, used once it is labelled."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from place import correct, decide_again, edit, make_place, read, read_truth
from sections import Assistant
from smallmines.annotation.checkin import checkin
from smallmines.annotation.checkout import checkout
from smallmines.annotation.checkout_pixels import _pixels_of, asked_first, checkout_pixel_sample, prevalence_progress
from smallmines.annotation.status import first_steps, ignored_numbers, prevalence_samples_of
from smallmines.config import sections
from smallmines.config.parse import parse_config
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.files import read_json, write_json
from smallmines.core.layout import Layout
from smallmines.labels import assistant, decisions, tables
from smallmines.labels.event_files import write_events
from smallmines.labels.label_quality import PeopleFiles, write_quality
from smallmines.labels.pixel_samples import Progress, progress, read_design
from smallmines.labels.prevalence import Prevalence
from smallmines.labels.prevalence_sample import estimate_from_sample
from smallmines.labels.sampled_prevalence import SampleFiles, prevalence_by_sample, read_points
from smallmines.labels.threshold import ClearSegments
from smallmines.labels.user_files import UserFiles
from smallmines.report.tables import unknown_prevalences

PLACE = SimpleNamespace(year="2016", block="1")
ESTIMATE = Prevalence(0.11, 0.05, 0.2, "estimate", True, "", {"misfit": 0.01})


@pytest.fixture
def block_year(tmp_path):
    return make_place(tmp_path, assistant={"prevalence": "sample", "prevalence_points": 100})


def design_of(block_year):
    return block_year.user / "prevalence/2016/1.csv"


def label(block_year, chosen=slice(None), annotator="A01", says=None):
    """Label some pixels of the sample by the truth and check them in."""
    copy = checkout_pixel_sample(block_year, annotator, "prevalence").path
    design, truth = read_design(design_of(block_year), "prevalence").set_index("key"), read_truth(block_year)
    for fid, key in list(read(copy)["key"].astype(np.uint64).items())[chosen]:
        col, row = ~block_year.lattice.block("1").transform @ tuple(design.loc[key, ["x", "y"]])
        correct(copy, fid, says or ("mining" if truth[int(row), int(col)] else "not_mining"))
    return checkin(block_year.user, copy)


def sample_of(block_year):
    files = UserFiles(str(block_year.user), "EPSG:32630").prevalence_sample(PLACE)
    points = block_year.config.assistant.prevalence_points
    return SampleFiles("2016", "1", files, block_year.product(Layout.segments), block_year.layout.grid, points)


def by_sample(block_year, sampled=(), clear=None):
    """Return the prevalence by the sample; `sampled`: rows of segments that were sampled as mining."""
    table = block_year.features()
    probability = tables.read(block_year.product(Layout.probabilities), "probabilities")["probability"].to_numpy(np.float64)
    if clear is not None:
        table["clear_share"] = clear.astype(np.float32)
    label = np.full(len(table), -1, np.int8)
    label[list(sampled)] = 1
    own = tables.is_clear(table)
    area = table["area"].to_numpy(np.float64)[own]
    segments = ClearSegments(np.zeros((own.sum(), 1), np.float32), area, np.column_stack([1 - probability, probability])[own], label[own])
    sample = sample_of(block_year)
    return prevalence_by_sample(sample, read_points(sample), table, probability, segments, lambda: ESTIMATE, 0)


# --- draw and check-out ---------------------------------------------------------------------------------------------------


def test_pixels_are_counted_in_row_major_order():
    segments = np.array([[0, 2, 2], [1, 1, 2], [3, 2, 1]], np.uint32)
    row, col = _pixels_of(segments, np.array([2, 1, 2, 3]), np.array([3, 2, 0, 0]))
    assert list(zip(row.tolist(), col.tolist(), strict=True)) == [(2, 1), (2, 2), (0, 1), (2, 0)]


def test_the_sample_is_drawn_once_from_clear_land_and_shows_nothing(block_year):
    features = block_year.features()
    clear = np.arange(len(features)) % 3 > 0
    features["clear_share"] = clear.astype(np.float32)
    features.to_parquet(block_year.product(Layout.features), index=False)
    assert checkout_pixel_sample(block_year, "A01", "prevalence", dry=True).segments == 100
    assert not (block_year.user / "prevalence").exists()
    given = checkout_pixel_sample(block_year, "A01", "prevalence")
    assert given.path == block_year.user / "work/A01/2016-1-prevalence.gpkg"
    copy, design = read(given.path), read_design(design_of(block_year), "prevalence")
    assert len(copy) == len(design) == 100
    assert design["stratum"].value_counts().to_dict() == dict.fromkeys(range(5), 20)
    assert set(copy["prediction"].fillna("")) | set(copy["previous"].fillna("")) == {""}
    assert copy["probability"].isna().all()
    assert set(copy["why"]) == {"prevalence"}
    col, row = ~block_year.lattice.block("1").transform @ (design["x"].to_numpy(), design["y"].to_numpy())
    segments = block_year.segments()
    ids = segments[row.astype(int), col.astype(int)].astype(int)
    probability = tables.read(block_year.product(Layout.probabilities), "probabilities")["probability"].to_numpy()
    assert clear[ids - 1].all()
    assert design["probability"].to_numpy() == pytest.approx(probability[ids - 1], abs=1e-4)
    assert design.groupby("stratum")["pixels"].first().sum() == np.isin(segments, 1 + np.flatnonzero(clear)).sum()
    before = design_of(block_year).read_bytes()
    edit(given.path, "UPDATE segments SET label = NULL")
    assert checkout_pixel_sample(block_year, "A02", "prevalence").segments == 100
    assert design_of(block_year).read_bytes() == before


def test_it_is_a_draw_of_its_own(block_year):
    labels = decide_again(block_year)
    lut = np.r_[255, labels["label"].to_numpy(int) % 256].astype(np.uint8)
    raster.write(block_year.results / "masks/2016/1.tif", lut[block_year.segments()], block_year.lattice.block("1"), 255, ["mining"])
    checkout_pixel_sample(block_year, "A01", "prevalence")
    checkout_pixel_sample(block_year, "A01", "accuracy")
    keys = [set(read_design(block_year.user / f"{kind}/2016/1.csv", kind)["key"]) for kind in ("accuracy", "prevalence")]
    assert len(keys[0] & keys[1]) < 0.1 * len(keys[1])
    with pytest.raises(UserError, match=r"a prevalence sample in .*\n.*without probability"):
        read_design(block_year.user / "accuracy/2016/1.csv", "prevalence")


def test_it_is_asked_for_first_until_every_pixel_is_looked_at(block_year):
    command = "smallmines labels sample --for prevalence --config … --year 2016 --block 1"
    assert "it has not been drawn" in asked_first(block_year)
    assert command in asked_first(block_year)
    label(block_year, slice(0, 30))
    assert "FIRST label the prevalence sample of 2016, block 1 (70 of 100 pixels are left)" in asked_first(block_year)
    label(block_year, says="unsure")
    assert prevalence_progress(block_year) == Progress(100, 100, 30, 0)
    assert "FIRST run the workflow: the prevalence sample of 2016, block 1 is labelled" in asked_first(block_year)
    write_json(block_year.product(Layout.forest_metrics), {"threshold": 0.5, "prevalence": by_sample(block_year).document()})
    assert asked_first(block_year) == ""
    rows = prevalence_samples_of(block_year.config, block_year.root)
    assert rows[0] == {"year": 2016, "block": "1", "drawn": 100, "looked_at": 100, "settled": 30}
    assert rows[1] == {"year": 2016, "block": "2", "drawn": 0, "looked_at": 0, "settled": 0}
    (first,) = first_steps(block_year.config, block_year.root)
    assert "no labels yet of 2016, block 2; 2022, blocks 1, 2." in first, "a sample is drawn by the probabilities of a first run"
    other = replace(block_year, config=block_year.config.model_copy(update={"assistant": sections.Assistant()}))
    assert asked_first(other) == ""
    fixed = block_year.config.model_copy(update={"assistant": sections.Assistant(prevalence="sample", threshold=0.5)})
    assert asked_first(replace(block_year, config=fixed)) == "", "the threshold is given"
    assert prevalence_samples_of(other.config, other.root) == []
    with pytest.raises(UserError, match="A01 has labelled all"):
        checkout_pixel_sample(block_year, "A01", "prevalence")


def test_another_number_than_was_drawn_is_told_and_changes_nothing(block_year, caplog):
    """In the log of the rule, in the status, and where all pixels that were drawn are labelled."""

    def asking_for(number):
        return replace(block_year, config=parse_config({**given, "assistant": {"prevalence": "sample", "prevalence_points": number}}))

    given = block_year.config.model_dump(mode="json", exclude_defaults=True)
    assert ignored_numbers(block_year.config, block_year.root) == [], "none has been drawn"
    label(block_year)
    design = design_of(block_year).read_bytes()
    text = (
        "the prevalence sample of 2016, block 1 has 100 pixels and is drawn once: assistant.prevalence_points 400 does not change it; "
        "set it back to 100, or move prevalence/2016/1.csv, the folder prevalence/2016/1 and its working copies away and draw again"
    )
    before = by_sample(block_year)
    assert not [line for line in caplog.messages if "drawn once" in line]
    assert by_sample(asking_for(400)) == before
    assert text in caplog.messages
    assert ignored_numbers(asking_for(400).config, block_year.root) == [text]
    with pytest.raises(UserError, match="A01 has labelled all of") as error:
        checkout_pixel_sample(asking_for(400), "A01", "prevalence")
    assert error.value.do == text
    with pytest.raises(UserError, match="see smallmines labels status"):
        checkout_pixel_sample(block_year, "A01", "prevalence")
    assert design_of(block_year).read_bytes() == design
    assert ignored_numbers(asking_for(104).config, block_year.root) == [], "as many in each of five strata"
    assert len(ignored_numbers(asking_for(95).config, block_year.root)) == 1
    unsampled = block_year.config.model_copy(update={"assistant": sections.Assistant(prevalence_points=400)})
    assert ignored_numbers(unsampled, block_year.root) == []
    (block_year.user / "prevalence/2016/1").rename(block_year.user / "away")
    (block_year.user / "work/A01/2016-1-prevalence.gpkg").unlink()
    design_of(block_year).unlink()
    assert checkout_pixel_sample(asking_for(400), "A01", "prevalence").segments == 400, "as the text says"


# --- apart from labels and the accuracy sample ----------------------------------------------------------------------------


def test_what_is_said_of_it_is_no_label_and_in_no_other_sample(block_year, tmp_path):
    before = block_year.product(Layout.labels).read_bytes()
    told = label(block_year)
    assert told.counts["reference"] == 100
    events = block_year.references("prevalence")
    assert {event.provenance for event in events} == {"prevalence"}
    assert block_year.events() == block_year.references() == []
    decide_again(block_year)
    assert block_year.product(Layout.labels).read_bytes() == before
    with pytest.raises(UserError, match=r"100 about pixels of the prevalence sample.*\n.*move their files back to prevalence/2016/1"):
        decisions.require_home(events, 2016, "1")
    strange = write_events(tmp_path / "user/accuracy/2016/1", events)
    quality = PeopleFiles(None, None, "", [], [], [str(accuracy_design(block_year))], [str(strange)])
    with pytest.raises(UserError, match="events about the accuracy sample of 2016, block 1"):
        write_quality({("2016", "1"): quality}, 0, tmp_path / "labels.json", tmp_path / "points.csv")


def accuracy_design(block_year):
    path = block_year.root / "accuracy.csv"
    read_design(design_of(block_year), "prevalence").assign(mapped=0).to_csv(path, index=False)
    return path


def test_events_about_the_accuracy_sample_are_refused(block_year):
    label(block_year, slice(0, 5))
    (first, *_) = block_year.references("prevalence")
    write_events(block_year.user / "prevalence/2016/1", [replace(first, provenance="reference", annotator="A02")])
    with pytest.raises(UserError, match=r"events about the prevalence sample of 2016, block 1\n.*1 events of another kind or place.*A02"):
        by_sample(block_year)


def test_the_rule_sees_it_from_the_first_check_in(block_year):
    files = UserFiles(str(block_year.user), "EPSG:32630")
    checkout_pixel_sample(block_year, "A01", "prevalence")
    assert files.prevalence_sample(PLACE) == []
    digest = files.prevalence_digest(PLACE)
    label(block_year, slice(0, 5))
    listed = files.prevalence_sample(PLACE)
    assert [Path(path).suffix for path in listed] == [".csv", ".jsonl"]
    assert files.quality_inputs(["2016"], ["1"]) == {"events": [], "overlap": [], "design": [], "references": []}
    first = files.prevalence_digest(PLACE)
    assert first != digest
    Path(listed[0]).touch()
    assert UserFiles(str(block_year.user), "EPSG:32630").prevalence_digest(PLACE) == first
    label(block_year, slice(0, 5))
    assert files.prevalence_digest(PLACE) != first
    Path(listed[0]).unlink()
    Path(listed[0]).mkdir()
    with pytest.raises(UserError, match=r"something that is no file.*prevalence/2016/1.csv"):
        files.require_files(["2016"], ["1"])


# --- the prevalence -------------------------------------------------------------------------------------------------------


def test_the_share_is_that_of_the_pixels(block_year):
    label(block_year)
    points = read_points(sample_of(block_year))
    truth, inside = read_truth(block_year), block_year.segments() > 0
    estimated = by_sample(block_year)
    assert estimated.source == "sample"
    assert estimated.identifiable
    assert estimated.low <= truth[inside].mean() <= estimated.high
    assert estimated.high - estimated.low < 0.2
    mining = int((points["reference"] == 1).sum())
    assert estimated.details == {"interval": 0.95, "points": 100, "settled": 100, "mining": mining, "sampled_share": 0}
    table = block_year.features()
    probability = tables.read(block_year.product(Layout.probabilities), "probabilities")["probability"].to_numpy(np.float64)
    by_hand = estimate_from_sample(points, points["reference"].to_numpy(), probability, table["area"].to_numpy(np.int64), 0)
    assert (estimated.share, estimated.low, estimated.high) == pytest.approx((by_hand.value, by_hand.low, by_hand.high), abs=6e-5)
    plain = points.groupby("stratum").agg(share=("reference", "mean"), pixels=("pixels", "first"))
    assert np.average(plain["share"], weights=plain["pixels"]) == pytest.approx(estimated.share, abs=0.03)


def test_two_people_who_differ_and_unsure_ones_have_no_class(block_year):
    label(block_year)
    label(block_year, slice(0, 10), annotator="A02", says="unsure")
    assert by_sample(block_year).details["settled"] == 100
    points = read_points(sample_of(block_year))
    other = np.where(points["reference"] == 1, "not_mining", "mining")[10]
    label(block_year, slice(0, 1), annotator="A02", says=str(other))
    assert by_sample(block_year).details["settled"] == 99


def test_before_it_is_labelled_the_estimate_is_used_and_the_file_says_so(block_year, caplog):
    estimated = by_sample(block_year)
    assert (estimated.share, estimated.low, estimated.high, estimated.source) == (0.11, 0.05, 0.2, "estimate")
    document = estimated.document()
    assert document["identifiable"] is False
    assert document["estimate_identifiable"] is True
    assert document["why"] == "assistant.prevalence is sample, but the sample cannot be used yet (none is checked in)"
    assert "smallmines labels sample --for prevalence --config … --year 2016 --block 1" in document["remedy"]
    assert any("the share is estimated" in text and "--for prevalence" in text for text in caplog.messages)
    label(block_year, slice(0, 3))
    assert by_sample(block_year).details["why"].endswith("(3 of 100 pixels are looked at; those that are left may differ from them)")


def test_a_sample_that_is_labelled_in_part_is_not_used(block_year):
    """People may label mines first: pixels that are left are not like those that are done."""
    label(block_year, slice(0, 99))
    estimated = by_sample(block_year)
    assert (estimated.source, estimated.share, estimated.identifiable) == ("estimate", 0.11, False)
    assert estimated.details["settled"] == 99
    label(block_year)
    assert by_sample(block_year).source == "sample"


EDITS = {
    "strata with other numbers of rows than were drawn": lambda design: design[design["probability"] > 0.5],
    "strata with several numbers of pixels, or none": lambda design: design.assign(pixels=[*design["pixels"][:-1], 7]),
    "strata with other numbers of rows": lambda design: design.assign(pixels=design["pixels"] * (1 + 9 * (design["stratum"] == 1))),
    "cells without a number": lambda design: design.assign(stratum=[*design["stratum"][:-1], ""]),
    "several numbers of pixels": lambda design: design.assign(stratum=1),
    "keys that stand twice": lambda design: pd.concat([design, design]),
    "or none": lambda design: design.assign(pixels=-design["pixels"], inclusion=-design["inclusion"]),
    "100 of 100 elsewhere": lambda design: design.assign(x=design["x"] + 160),
    "no rows": lambda design: design[:0],
}


@pytest.mark.parametrize("fault", EDITS)
def test_a_design_that_was_edited_is_refused(block_year, fault):
    """The design weighs the pixels: an edited one gives another share, and nothing else would say so."""
    label(block_year)
    design = pd.read_csv(design_of(block_year), dtype={"key": np.uint64, "tile_id": str})
    EDITS[fault](design).to_csv(design_of(block_year), index=False)
    with pytest.raises(UserError, match=fault):
        by_sample(block_year)


def test_whole_ranges_that_were_taken_out_make_the_sample_unusable(block_year):
    label(block_year)
    events = block_year.references("prevalence")
    design = pd.read_csv(design_of(block_year), dtype={"key": np.uint64, "tile_id": str})
    left = design[design["stratum"] > 1]
    left.to_csv(design_of(block_year), index=False)
    with pytest.raises(UserError, match="40 of 100 are about other pixels"):
        by_sample(block_year)
    for path in (block_year.user / "prevalence/2016/1").glob("*.jsonl"):
        path.unlink()
    write_events(block_year.user / "prevalence/2016/1", [event for event in events if event.key in set(left["key"])])
    why = by_sample(block_year).details["why"]
    assert "pixels of clear land" in why
    assert "draw again" in why


def test_a_copy_of_another_draw_goes_nowhere_and_none_is_drawn_beside_check_ins(block_year):
    given = checkout_pixel_sample(block_year, "A01", "prevalence")
    for fid in read(given.path).index:
        correct(given.path, fid, "mining")
    other = design_of(block_year).with_name("kept.csv")
    design_of(block_year).rename(other)
    table = tables.read(block_year.product(Layout.probabilities), "probabilities")
    shuffled = np.random.default_rng(5).permutation(table["probability"])
    tables.write(block_year.product(Layout.probabilities), table.assign(probability=shuffled), "probabilities")
    checkout_pixel_sample(block_year, "A02", "prevalence")
    with pytest.raises(UserError, match=r"pixels are not in .*2016/1\.csv: the copy is of another draw"):
        checkin(block_year.user, given.path)
    other.replace(design_of(block_year))
    assert checkin(block_year.user, given.path).counts["reference"] == 100
    design_of(block_year).unlink()
    with pytest.raises(UserError, match=r"the design .*\n.*no such file\n.*restore it from a backup"):
        checkout_pixel_sample(block_year, "A02", "prevalence")
    assert "FIRST mend the prevalence sample of 2016, block 1: there are check-ins" in asked_first(block_year)


def test_samples_that_the_pixels_contradict_are_told(block_year):
    label(block_year)
    plain = by_sample(block_year)
    estimated = by_sample(block_year, sampled=range(len(block_year.features()) // 2))
    assert not estimated.identifiable
    assert estimated.share == pytest.approx(0.5, abs=0.01)
    assert estimated.high == plain.high < 0.3
    assert "the samples call 0.4996 of the area mining, the sample of pixels at most 0." in estimated.details["why"]


def test_one_pixel_of_a_stratum_is_too_few(block_year):
    checkout_pixel_sample(block_year, "A01", "prevalence")
    stratum = read_design(design_of(block_year), "prevalence")["stratum"].to_numpy()
    last = np.flatnonzero(stratum == 4)
    copy = block_year.user / "work/A01/2016-1-prevalence.gpkg"
    for place, fid in enumerate(read(copy).sort_values("rank").index):
        correct(copy, fid, "unsure" if place in last[1:] else "not_mining")
    checkin(block_year.user, copy)
    estimated = by_sample(block_year)
    assert "81 of 100 pixels have a class, the others are unsure" in estimated.details["why"]
    assert "labels sample" not in estimated.remedy, "it would give nothing to label"
    correct(copy, int(read(copy).sort_values("rank").index[last[1]]), "not_mining")
    checkin(block_year.user, copy)
    assert by_sample(block_year).source == "sample"


def test_no_mining_among_the_pixels(block_year, caplog):
    label(block_year, says="not_mining")
    estimated = by_sample(block_year)
    assert (estimated.share, estimated.low, estimated.source) == (0, 0, "sample")
    assert 0.01 < estimated.high < 0.06
    assert estimated.details["mining"] == 0
    at_most = f"mining covers at most {estimated.high:.4f} of the area"
    assert estimated.details["why"] == f"none of the 100 pixels is mining: {at_most}"
    assert not estimated.identifiable
    assert any("none of the 100 pixels" in text for text in caplog.messages)
    at_least = by_sample(block_year, sampled=[3, 4])
    share = 2 / len(block_year.features())
    assert at_least.share == at_least.low == at_least.details["sampled_share"] == pytest.approx(share, abs=5e-5)
    assert at_least.high == estimated.high


def test_pixels_outside_the_present_segments_have_no_class(block_year):
    label(block_year)
    segments = block_year.segments()
    design = read_design(design_of(block_year), "prevalence")
    col, row = (axis.astype(int) for axis in ~block_year.lattice.block("1").transform @ (design["x"].to_numpy(), design["y"].to_numpy()))
    gone = np.flatnonzero(design["stratum"] == 0)[:7]
    segments[row[gone], col[gone]] = 0
    raster.write(block_year.product(Layout.segments), segments, block_year.lattice.block("1"), 0, ["segment"])
    assert by_sample(block_year).details["settled"] == 93


def test_check_ins_without_their_design_are_refused(block_year):
    label(block_year, slice(0, 5))
    design_of(block_year).unlink()
    with pytest.raises(UserError, match=r"only check-ins of it\n.*restore prevalence/2016/1\.csv"):
        by_sample(block_year)


def test_the_strata_are_those_of_the_draw(block_year):
    label(block_year)
    before = by_sample(block_year)
    table = tables.read(block_year.product(Layout.probabilities), "probabilities")
    tables.write(block_year.product(Layout.probabilities), table.assign(probability=np.float32(0.5)), "probabilities")
    points = read_points(sample_of(block_year))
    plain = points.groupby("stratum").agg(share=("reference", "mean"), pixels=("pixels", "first"))
    estimated = by_sample(block_year)
    assert estimated.share == pytest.approx(np.average(plain["share"], weights=plain["pixels"]), abs=6e-5)  # no forest, no regression
    assert estimated.details == before.details


def test_progress_counts():
    points = pd.DataFrame({"stratum": [0, 0, 0, 1, 1], "reference": [1, 0, -1, 0, -2]})
    assert progress(points) == Progress(5, 4, 3, 1)
    alone = pd.DataFrame({"stratum": [0, 0, 1], "reference": [1, 0, 0]})
    assert progress(alone) == Progress(3, 3, 3, 0), "of a stratum with one pixel no second one can be labelled"
    assert progress(points.iloc[:0]) == Progress(0, 0, 0, 0)


# --- the assistant --------------------------------------------------------------------------------------------------------


def test_the_assistant_meets_the_share_of_the_sample(block_year, tmp_path, repository):
    label(block_year)
    features, truth = block_year.features(), read_truth(block_year)
    ids = np.bincount(block_year.segments().ravel(), truth.ravel(), minlength=len(features) + 1)[1:] > 0
    rng = np.random.default_rng(0)
    rows = np.sort(np.concatenate([rng.choice(np.flatnonzero(ids == value), 40, replace=False) for value in (False, True)]))
    chosen = features.iloc[rows][["segment", "tile_id"]].reset_index(drop=True)
    samples = chosen.assign(label=ids[rows].astype(np.int8), subclass="", who="")[["segment", "label", "subclass", "tile_id", "who"]]
    tables.write(tmp_path / "samples.parquet", samples, "samples")
    inputs = assistant.Inputs(
        {"1": str(block_year.product(Layout.features))}, {}, {"1": str(tmp_path / "samples.parquet")}, block_year.layout.grid
    )
    settings = Assistant(prevalence="sample", trees=(30,), max_depth=(8,), min_samples_split=(5,))
    documents = {}
    for name, files in (("before", []), ("after", sample_of(block_year).files)):
        sample = replace(sample_of(block_year), files=files)
        outputs = assistant.Outputs(tmp_path / f"{name}.parquet", tmp_path / f"{name}.json", tmp_path / f"{name}.joblib")
        assistant.assist("1", replace(inputs, sample=sample), settings, 1, outputs)
        documents[name] = read_json(outputs.metrics)
    before, after = documents["before"], documents["after"]
    assert before["prevalence"]["source"] == "estimate"
    assert before["prevalence"]["remedy"].startswith("label the prevalence sample")
    paths = [tmp_path / name / "2016/1/metrics.json" for name in documents]
    for path, document in zip(paths, documents.values(), strict=True):
        path.parent.mkdir(parents=True)
        write_json(path, document)
    (told,) = unknown_prevalences(paths)
    assert told["where"] == "block 1, 2016"
    assert told["remedy"] == before["prevalence"]["remedy"]
    assert after["prevalence"]["source"] == "sample"
    assert after["prevalence"]["points"] == after["prevalence"]["settled"] == 100
    assert after["prevalence"]["low"] <= ids.mean() <= after["prevalence"]["high"]
    assert after["predicted_share_of_clear_area"][f"{after['threshold']:g}"] == pytest.approx(after["prevalence"]["share"], abs=0.01)
    votes = [tables.read(tmp_path / f"{name}.parquet", "probabilities")["probability"] for name in documents]
    pd.testing.assert_series_equal(*votes)  # it trains nothing
    of_file, of_prevalence = documented_keys(repository / "docs/assistant.md")
    assert of_file == set(before) == set(after)
    written = set(before["prevalence"]) | set(after["prevalence"])
    assert of_prevalence - {"estimate_why"} <= written <= of_prevalence, "the estimate is identifiable here or not"


def documented_keys(page):
    """Return the keys of `metrics.json`, and of its `prevalence`, in the first column of the tables of a page."""
    _, section = page.read_text(encoding="utf-8").split("## Every key of metrics.json\n")
    tables = section.split("\n## ")[0].split("Keys of `prevalence`.")
    first_columns = [" ".join(re.findall(r"^\| ([^|]*) \|", table, re.MULTILINE)) for table in tables]
    return tuple(set(re.findall(r"`(\w+)`", column)) for column in first_columns)


def test_the_queue_is_as_before(block_year):
    """The sample is asked for by a message; its pixels are in no working copy of segments."""
    label(block_year)
    given = checkout(block_year, "A01")
    assert "prevalence" not in given.reasons
