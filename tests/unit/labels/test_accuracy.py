"""Accuracy of the masks: estimators by hand and against the paper's case, coverage of the intervals, the sample from draw to figures."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from place import decide_again, edit, make_place, read, read_truth
from smallmines.annotation.checkin import checkin
from smallmines.annotation.checkout_pixels import checkout_pixel_sample
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.layout import Layout
from smallmines.labels import accuracy as measure
from smallmines.labels import decisions
from smallmines.labels.agreement import read_overlap
from smallmines.labels.event_files import Event, read_events, write_events
from smallmines.labels.label_quality import PeopleFiles, by_place, looks, write_quality
from smallmines.labels.pixel_samples import interpreted, read_design


def points(rows):
    """One point for each unit of (stratum, pixels, reference, mapped, number)."""
    table = pd.DataFrame(rows, columns=["stratum", "pixels", "reference", "mapped", "number"])
    return table.loc[table.index.repeat(table["number"])].reset_index(drop=True)


def test_where_strata_are_the_map_the_estimates_are_those_of_olofsson():
    """Strata = map classes: Olofsson et al. 2014, equations 4 to 11, written out."""
    n = np.array([[66.0, 9.0], [5.0, 120.0]])  # rows: mapped mining, not; columns: reference mining, not
    size = np.array([20_000.0, 980_000.0])
    table = points([(row, size[row], 1 - col, 1 - row, int(n[row, col])) for row in (0, 1) for col in (0, 1)])
    found = measure.accuracy(table, 0.01)
    weight = size / size.sum()
    share = weight[:, None] * n / n.sum(axis=1, keepdims=True)
    users = np.diag(n) / n.sum(axis=1)
    producers = np.diag(share) / share.sum(axis=0)
    assert found.overall.value == pytest.approx(np.trace(share))
    assert [found.users[name].value for name in ("mining", "not_mining")] == pytest.approx(users)
    assert [found.producers[name].value for name in ("mining", "not_mining")] == pytest.approx(producers)
    assert found.mining_ha.value == pytest.approx(share[:, 0].sum() * 1e6 * 0.01)
    assert found.iou.value == pytest.approx(share[0, 0] / (share[0, 0] + share[0, 1] + share[1, 0]))
    fine = (1 - n.sum(axis=1) / size) / (n.sum(axis=1) - 1)  # with the finite population, which the paper leaves out
    half = 1.959964 * np.sqrt(np.sum(weight**2 * users * (1 - users) * fine))
    assert found.overall.high - found.overall.value == pytest.approx(min(half, 1 - np.trace(share)), rel=1e-6)
    rows = n[:, 0] / n.sum(axis=1)
    half = 1.959964 * np.sqrt(np.sum(weight**2 * rows * (1 - rows) * fine)) * 1e6 * 0.01
    assert (found.mining_ha.low, found.mining_ha.high) == pytest.approx((found.mining_ha.value - half, found.mining_ha.value + half))
    half = 1.959964 * np.sqrt(users * (1 - users) * fine)
    assert found.users["mining"].low == pytest.approx(users[0] - half[0])
    # producer's accuracy, equation 7
    i, size_j = share.sum(axis=0), size
    estimated = i[0] * size.sum()
    variance = (
        size_j[0] ** 2 * (1 - producers[0]) ** 2 * users[0] * (1 - users[0]) * fine[0]
        + producers[0] ** 2 * size_j[1] ** 2 * rows[1] * (1 - rows[1]) * fine[1]
    ) / estimated**2
    assert found.producers["mining"].low == pytest.approx(max(0, producers[0] - 1.959964 * np.sqrt(variance)))


def test_the_map_may_have_changed_since_the_draw():
    """People corrected the two false pixels of stratum 1: user's accuracy rises, the area of mining stays."""
    before = points([(1, 100, 1, 1, 8), (1, 100, 0, 1, 2), (0, 900, 0, 0, 30)])
    after = before.assign(mapped=before["reference"])
    assert measure.accuracy(before, 1.0).users["mining"].value == pytest.approx(0.8)
    assert measure.accuracy(after, 1.0).users["mining"].value == 1.0
    assert measure.accuracy(before, 1.0).mining_ha == measure.accuracy(after, 1.0).mining_ha
    assert measure.accuracy(before, 1.0).mining_ha.value == pytest.approx(80)


def test_open_pixels_are_no_class_of_the_map_but_may_be_mined():
    table = points([(0, 100, 1, 255, 5), (0, 100, 0, 0, 5)])
    found = measure.accuracy(table, 1.0)
    assert found.overall.value == 1.0
    assert found.producers["mining"].value == 0.0
    assert found.mining_ha.value == pytest.approx(50)
    assert np.isnan(found.users["mining"].value)


def test_too_few_points_are_told():
    with pytest.raises(UserError, match="1 of 2 strata"):
        measure.accuracy(points([(0, 100, 1, 1, 5), (1, 100, 0, 0, 1), (1, 100, -1, 0, 9)]), 1.0)


def test_strata_lie_by_class_edge_and_doubt(monkeypatch):
    mask = np.zeros((60, 60), np.uint8)
    mask[20:50, 20:50] = 1
    segments = np.ones(mask.shape, np.uint32)
    segments[mask == 1] = 2
    segments[:, 30:][mask[:, 30:] == 1] = 3
    segments[0, 0] = 0
    monkeypatch.setattr(measure, "SMALLEST", 300)
    small = measure.strata(mask, segments, np.array([0.0, 0.05, 0.9, 0.6]))
    assert small[35, 48] == 4 + 2  # fewer than SMALLEST sure pixels beside the edge: all in one
    monkeypatch.setattr(measure, "SMALLEST", 1)
    found = measure.strata(mask, segments, np.array([0.0, 0.05, 0.9, 0.6]))
    assert found[35, 48] == 4 + 2 + 1
    assert found[0, 0] == -1
    assert found[2, 2] == 0  # not mining, far, sure
    assert found[19, 30] == 2  # beside the edge
    assert found[35, 21] == 4 + 2
    assert found[35, 27] == 4
    assert found[35, 40] == 4 + 1


def test_the_interval_holds_the_true_area_in_45_of_50_draws():
    """A map that misses mines and sees some that are none, near edges most, as the miniature's does."""
    rng = np.random.default_rng(0)
    truth = np.zeros((400, 400), bool)
    for _ in range(40):
        y, x = rng.integers(10, 380, 2)
        truth[y : y + 14, x : x + 14] = True
    truth[rng.integers(0, 400, 60), rng.integers(0, 400, 60)] = True
    mask = np.roll(truth, (2, 1), (0, 1)).astype(np.uint8)
    cells = (np.arange(400)[:, None] // 4 * 100 + np.arange(400)[None] // 4 + 1).astype(np.uint32)
    probability = np.r_[0, np.clip(np.bincount(cells.ravel(), mask.ravel())[1:] / 16 + rng.normal(0, 0.05, 10_000), 0.01, 0.99)]
    stratum = measure.strata(mask, cells, probability)
    risk = measure.risk_of(stratum, cells, probability)
    assert risk[0] == pytest.approx((probability * (1 - probability))[cells[stratum == 0]].mean())
    held, right = 0, 0
    for seed in range(50):
        drawn = measure.draw(stratum, risk, 300, seed)
        at = drawn["row"], drawn["col"]
        found = measure.accuracy(drawn.assign(reference=truth[at].astype(int), mapped=mask[at].astype(int)), 0.01)
        held += found.mining_ha.low <= truth.sum() * 0.01 <= found.mining_ha.high
        right += found.overall.low <= (truth == mask).mean() <= found.overall.high
    assert held >= 45
    assert right >= 45


@pytest.fixture
def block_year(tmp_path):
    block_year = make_place(tmp_path, accuracy=120)
    redraw(block_year)
    return block_year


def redraw(block_year):
    """The mask of the labels as they are."""
    labels = decide_again(block_year)
    lut = np.r_[255, labels["label"].to_numpy(int) % 256].astype(np.uint8)
    geobox = block_year.lattice.block("1")
    raster.write(block_year.results / "masks/2016/1.tif", lut[block_year.segments()], geobox, 255, ["mining"])


def interpret(block_year, annotator, says="not_mining"):
    given = checkout_pixel_sample(block_year, annotator, "accuracy")
    edit(given.path, "UPDATE segments SET label = ?, evidence = 'Google Earth', evidence_date = '2016-02-01'", says)
    return given, checkin(block_year.user, given.path)


def files_of(block_year):
    products = {
        "features": [str(block_year.product(Layout.features))],
        "labels": [str(block_year.product(Layout.labels))],
        "masks": [str(block_year.product(Layout.mask))],
    }
    return by_place([("2016", "1")], products, block_year.user_files())


def test_a_sample_is_blind_drawn_once_and_never_a_label(block_year):
    before = block_year.product(Layout.labels).read_bytes()
    given = checkout_pixel_sample(block_year, "A01", "accuracy")
    copy = read(given.path)
    assert len(copy) == len(read_design(block_year.user / "accuracy/2016/1.csv")) >= 120
    assert set(copy["prediction"].fillna("")) | set(copy["previous"].fillna("")) | set(copy["opinions"].fillna("")) == {""}
    assert copy["probability"].isna().all()
    assert copy["entropy"].isna().all()
    design = (block_year.user / "accuracy/2016/1.csv").read_bytes()
    _, found = interpret(block_year, "A01")
    assert found.counts["reference"] == len(copy)
    assert (block_year.user / "accuracy/2016/1.csv").read_bytes() == design
    assert {event.provenance for event in block_year.references()} == {"reference"}
    assert block_year.events() == []
    decide_again(block_year)
    assert block_year.product(Layout.labels).read_bytes() == before
    with pytest.raises(UserError, match="A01 has labelled all"):
        checkout_pixel_sample(block_year, "A01", "accuracy")
    assert len(read(checkout_pixel_sample(block_year, "A02", "accuracy").path)) == len(copy)


def test_a_correction_without_evidence_is_refused_and_a_dry_run_draws_nothing(block_year):
    assert checkout_pixel_sample(block_year, "A01", "accuracy", dry=True).segments >= 120
    assert not (block_year.user / "accuracy").exists()
    given = checkout_pixel_sample(block_year, "A01", "accuracy")
    edit(given.path, "UPDATE segments SET label = 'mining'")
    with pytest.raises(UserError, match="without evidence"):
        checkin(block_year.user, given.path)


def test_references_among_the_events_are_refused(block_year):
    interpret(block_year, "A01")
    home = block_year.user / "events/2016/1"
    home.mkdir(parents=True)
    for path in (block_year.user / "accuracy/2016/1").glob("*.jsonl"):
        path.rename(home / path.name)
    with pytest.raises(UserError, match=r"move their files back to accuracy/2016/1"):
        decisions.require_home(block_year.events(), 2016, "1")


@pytest.mark.heavy
def test_the_figures_are_those_of_people_who_know_the_truth(block_year, tmp_path):
    given = checkout_pixel_sample(block_year, "A01", "accuracy")
    truth = read_truth(block_year)
    base = pd.read_parquet(next((block_year.user / "bases/2016/1").glob("*.parquet")))
    mined = truth[tuple(pixel(block_year, base["x"], base["y"]))]
    for fid, key in read(given.path)["key"].items():
        said = "mining" if mined[(base["key"] == key).to_numpy()][0] else "not_mining"
        edit(given.path, "UPDATE segments SET label = ?, evidence = 'x', evidence_date = '2016-01-01' WHERE fid = ?", said, fid)
    checkin(block_year.user, given.path)
    write_quality(files_of(block_year), 0, tmp_path / "labels.json", tmp_path / "points.csv")
    known = json.loads((tmp_path / "labels.json").read_text())["years"]["2016"]
    inside = block_year.segments() > 0
    area = (truth & inside).sum() * 0.01
    assert known["accuracy"]["mining_ha"]["low"] - 1e-6 <= area <= known["accuracy"]["mining_ha"]["high"] + 1e-6
    mask = raster.read(block_year.product(Layout.mask))[0]
    assert known["accuracy"]["overall"]["value"] == pytest.approx(((mask == 1) == truth)[inside].mean(), abs=0.06)
    published = pd.read_csv(tmp_path / "points.csv")
    assert len(published) == known["accuracy"]["settled"] == known["accuracy"]["points"]
    assert set(published["who"]) == {"A01"}
    assert (published["mapped"] == mask[tuple(pixel(block_year, published["x"], published["y"]))]).all()
    assert (published["reference"] == truth[tuple(pixel(block_year, published["x"], published["y"]))]).all()


def pixel(block_year, x, y):
    col, row = ~block_year.lattice.block("1").transform @ (np.asarray(x), np.asarray(y))
    return np.floor(row).astype(int), np.floor(col).astype(int)


def test_two_people_who_differ_settle_nothing_and_the_lack_is_told(block_year, tmp_path):
    interpret(block_year, "A01", "mining")
    interpret(block_year, "A02", "not_mining")
    write_quality(files_of(block_year), 0, tmp_path / "labels.json", tmp_path / "points.csv")
    known = json.loads((tmp_path / "labels.json").read_text())["years"]["2016"]
    assert known["accuracy"] is None
    assert "strata" in known["accuracy_lacks"]
    assert set(pd.read_csv(tmp_path / "points.csv")["reference"]) == {-1}


def test_check_ins_without_their_design_are_never_passed_over(block_year, tmp_path):
    interpret(block_year, "A01")
    (block_year.user / "accuracy/2016/1.csv").unlink()
    with pytest.raises(UserError, match=r"the design of an accuracy sample\n.*none, but 1 check-ins"):
        write_quality(files_of(block_year), 0, tmp_path / "labels.json", tmp_path / "points.csv")


def test_without_people_there_are_no_figures(block_year, tmp_path):
    write_quality(files_of(block_year), 0, tmp_path / "labels.json", tmp_path / "points.csv")
    known = json.loads((tmp_path / "labels.json").read_text())["years"]["2016"]
    assert known["accuracy"] is None
    assert known["validated_share"] == known["open_share"] == 0
    assert known["agreement"] == {"blocks": {"1": []}, "year": []}
    assert known["provenance"]["predicted"]["area_share"] == 1.0
    assert (tmp_path / "points.csv").read_text().splitlines() == ["year,block,x,y,stratum,pixels,inclusion,mapped,reference,who"]


def test_strays_are_refused(block_year):
    interpret(block_year, "A01")
    (event, *_) = block_year.references()
    one: Event = replace(event, block="2")
    write_events(block_year.user / "accuracy/2016/1", [one])
    files: dict[tuple[str, str], PeopleFiles] = files_of(block_year)
    with pytest.raises(UserError, match="another kind or place"):
        write_quality(files, 0, block_year.root / "x.json", block_year.root / "x.csv")
    assert len(read_events(files["2016", "1"].references)) > 1


def test_a_withdrawn_interpretation_is_none():
    def said(key, who, label, day):
        return Event(2016, "1", key, 0.0, 0.0, label, "reference", who, f"2026-01-{day:02d}T00:00:00Z")

    design = pd.DataFrame({"key": np.arange(3, dtype=np.uint64)})
    events = [said(0, "A01", "mining", 1), said(1, "A01", "mining", 1), said(1, "A02", "not_mining", 1), said(2, "A01", "unsure", 1)]
    assert interpreted(design, events)[["reference", "who"]].to_numpy().tolist() == [[1, "A01"], [-1, "A01|A02"], [-1, "A01"]]
    events += [said(key, "A01", "withdrawn", 2) for key in range(3)]
    assert interpreted(design, events)[["reference", "who"]].to_numpy().tolist() == [[-2, ""], [0, "A02"], [-2, ""]]


def test_decisions_are_counted_by_how_they_were_made():
    def made(key, look, day=1, label="mining", **more):
        return Event(2016, "1", key, 0.0, 0.0, label, "corrected", "A01", f"2026-01-{day:02d}T00:00:00Z", look=look, **more)

    events = [made(1, "single"), made(2, "bulk"), made(3, "task"), made(4, ""), made(5, "bulk"), made(2, "single", 2)]
    assert looks(events) == {"looks": {"bulk": 1, "single": 2, "task": 1, "unknown": 1}}
    assert looks([*events, made(5, "single", 2, "withdrawn")]) == {"looks": {"single": 2, "task": 1, "unknown": 1}}
    days = ["1970-01-01", "1972-07-23", "2026-01-01", "2026-01-02", "2026-01-03", "soon", ""]
    assert looks([made(key, "task", evidence_date=day) for key, day in enumerate(days)])["doubtful_evidence"] == 3


def test_pipes_in_the_place_of_designs_and_overlaps_are_named(tmp_path):
    os.mkfifo(tmp_path / "1.csv")
    for read_table in (read_design, read_overlap):
        with pytest.raises(UserError, match="no file"):
            read_table(tmp_path / "1.csv")
        with pytest.raises(UserError, match=r"2\.csv"):
            read_table(tmp_path / "2.csv")
