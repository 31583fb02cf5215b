"""Candidates: strata, floors, spread over tiles, and a GeoPackage that can be filled in."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from block_of_segments import make_block
from sections import Candidates
from smallmines.core.product import S2_BANDS
from smallmines.labels import candidates, samples
from smallmines.labels.feature_table import PAPER

SETTINGS = Candidates(candidates=200, clusters=4)


@pytest.fixture(scope="module")
def block(tmp_path_factory):
    return make_block(tmp_path_factory.mktemp("block"))


def test_a_draw_is_stratified_and_spread_over_tiles(block):
    drawn = candidates.draw(block.features, PAPER, SETTINGS)
    assert len(drawn) == 200
    assert drawn["segment"].is_unique
    assert drawn["cluster"].value_counts().to_dict() == {1: 50, 2: 50, 3: 50, 4: 50}
    assert drawn.groupby("tile_id").size().between(5, 16).all()
    brightness = block.features.set_index("segment").loc[drawn["segment"], list(S2_BANDS)].mean(axis=1).to_numpy()
    assert np.corrcoef(drawn["cluster"], brightness)[0, 1] > 0.5
    assert candidates.draw(block.features, PAPER, SETTINGS).equals(drawn)


def test_rare_surfaces_get_more_than_their_share(tmp_path):
    block = make_block(tmp_path, share=0.05, contrast=2500.0)
    drawn = candidates.draw(block.features, PAPER, Candidates(candidates=120, clusters=10))
    assert block.truth[drawn["segment"] - 1].mean() > 1.5 * block.truth.mean()


def test_fewer_segments_than_candidates_are_all_drawn(block):
    few = block.features.head(50)
    assert candidates.draw(few, PAPER, SETTINGS)["segment"].tolist() == few["segment"].tolist()


def test_a_block_without_segments_has_no_candidates(block, tmp_path):
    none = candidates.draw(block.features.head(0), PAPER, SETTINGS)
    assert none.columns.tolist() == ["segment", "key", "tile_id", "x", "y", "cluster"]
    candidates.write(candidates.to_frame(none, "EPSG:32630"), tmp_path / "1.gpkg")
    assert len(gpd.read_file(tmp_path / "1.gpkg", layer="samples")) == 0


def test_unclear_segments_are_left_out_where_enough_are_clear(block):
    cloudy = block.features.assign(clear_share=np.where(block.features["segment"] <= 400, 0.2, 1.0).astype(np.float32))
    assert candidates.draw(cloudy, PAPER, SETTINGS)["segment"].min() > 400


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(1, 200))
def test_numbers_are_even_and_fit_strata_and_total(sizes, total):
    sizes = np.array(sizes)
    number = candidates.allocate(sizes, total)
    assert number.sum() == min(total, sizes.sum())
    assert ((number >= 0) & (number <= sizes)).all()
    open_strata = number[number < sizes]
    assert not len(open_strata) or number.max() - open_strata.min() <= 1


def test_ranks_within_groups():
    group, value = np.array([1, 0, 1, 0, 1]), np.array([0.3, 0.2, 0.1, 0.1, 0.2])
    assert candidates.rank_within(group, value).tolist() == [2, 1, 0, 0, 1]


def test_the_file_can_be_filled_in_and_read_as_samples(block, tmp_path):
    path, again = tmp_path / "1.gpkg", tmp_path / "2.gpkg"
    inputs = candidates.Inputs(block.folder / "features.parquet", None, block.folder / "grid.json")
    for target in (path, again):
        candidates.make_candidates(inputs, "1", SETTINGS, "resources/1.gpkg", target)
    assert path.read_bytes() == again.read_bytes()
    assert {name for name, _ in pyogrio.list_layers(path)} == {"samples", "classes"}
    assert gpd.read_file(path, layer="classes")["label"].tolist() == ["mining"] + ["not_mining"] * 5
    frame = gpd.read_file(path, layer="samples")
    assert frame["label"].isna().all()
    assert frame["key"].tolist() == [str(block.features["key"][segment - 1]) for segment in frame["segment"]]
    read = samples.read_samples(path, "EPSG:32630")
    assert (len(read.table), read.unlabelled) == (0, 200)
    frame.loc[3, "label"] = "mining"
    frame.to_file(path, layer="samples")
    read = samples.read_samples(path, "EPSG:32630")
    joined = samples.join(read, block.segments, block.own, block.geobox, "1.gpkg")
    assert joined.samples["segment"].tolist() == [frame.loc[3, "segment"]]
