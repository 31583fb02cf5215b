"""Released masks become samples and corrections; held-out tiles give nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from place import decide_again, make_place, read_truth
from smallmines.annotation.released_masks import held_out, import_masks, masks_of
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.layout import Layout
from smallmines.labels.samples import read_samples

TILE = 32


@pytest.fixture
def block_year(tmp_path):
    return make_place(tmp_path)


def release(block_year, folder, shift=0.0):
    """Masks of the released form, one per tile of the block, 255 where there are no segments; on every 40th the forest is wrong."""
    segments = block_year.segments()
    truth = np.where(segments > 0, read_truth(block_year) ^ (segments % 40 == 1), 255).astype(np.uint8)
    geobox = block_year.lattice.block("1")
    for cell in block_year.lattice.cells_of("1").itertuples():
        window = slice(cell.y, cell.y + TILE), slice(cell.x, cell.x + TILE)
        at = geobox[window]
        moved = GeoBox(at.shape, Affine.translation(shift, 0) * at.transform, at.crs)
        raster.write(folder / f"2016/MASK/MASK_GH_{cell.tile_id}_2016.tif", truth[window], moved, 255, ["mask"])
    return masks_of(folder, "2016"), truth


def test_samples_then_corrections_rebuild_the_masks(block_year, tmp_path):
    paths, truth = release(block_year, tmp_path / "release")
    found = import_masks(block_year, paths, set(), 50)
    assert (found.masks, found.held_out, found.mixed) == (19, 0, 0)
    sample = read_samples(str(block_year.user / "samples/2016/1.csv"), "EPSG:32630")
    assert sample.table["label"].value_counts().to_dict() == {"mining": 50, "not_mining": 50}
    assert set(sample.table["annotator"]) == {"imported"}
    col, row = ~block_year.lattice.block("1").transform @ np.array([(point.x, point.y) for point in sample.geometry]).T
    assert (truth[row.astype(int), col.astype(int)] == (sample.table["label"] == "mining")).all()
    labels = decide_again(block_year)
    mining = np.r_[False, labels["label"] == 1][block_year.segments()]
    assert (mining == (truth == 1)).all()
    assert found.iou == 1.0
    wrong = labels["provenance"] == "imported"
    assert wrong.sum() == found.corrections > 0
    assert (labels.loc[wrong, "who"] == "imported").all()
    again = import_masks(block_year, paths, set(), 50)
    assert (again.samples, again.corrections) == (None, 0)
    assert len(block_year.user_files()["events"]) == 1


def test_people_win_over_imported_labels(block_year, tmp_path):
    from place import correct, read
    from smallmines.annotation.checkin import checkin
    from smallmines.annotation.checkout import checkout

    given = checkout(block_year, "A01")
    fid, said = next(iter(read(given.path)["prediction"].items()))
    correct(given.path, fid, other := {"mining": "not_mining", "not_mining": "mining"}[said])
    checkin(block_year.user, given.path)
    key = int(read(given.path).loc[fid, "key"])
    decide_again(block_year)
    paths, _ = release(block_year, tmp_path / "release")
    import_masks(block_year, paths, set(), 50)
    row = decide_again(block_year).set_index("key").loc[key]
    assert (row["label"], row["provenance"]) == (int(other == "mining"), "corrected")


def test_held_out_tiles_give_nothing(block_year, tmp_path):
    paths, _ = release(block_year, tmp_path / "release")
    tiles = block_year.lattice.cells["tile_id"].tolist()
    held = held_out(tiles, ["0001"], 0.3, 0)
    assert held == held_out(tiles, ["0001"], 0.3, 0) != held_out(tiles, ["0001"], 0.3, 1)
    assert "0001" in held
    found = import_masks(block_year, paths, held, 1000)
    features = pd.read_parquet(block_year.product(Layout.features))
    inside = set(features.loc[features["tile_id"].isin(held), "key"])
    assert found.held_out == len(held - {"0020"})
    assert inside
    assert not inside & {event.key for event in block_year.events()}
    assert found.corrections == len(block_year.events()) > 0
    sample = pd.read_csv(block_year.user / "samples/2016/1.csv")
    merged = sample.merge(features[["x", "y", "tile_id"]], on=["x", "y"])
    assert len(merged) == len(sample) == found.samples
    assert not set(merged["tile_id"]) & held
    record = pd.read_csv(block_year.user / "imported/2016/1.csv", dtype=str)
    assert set(record.loc[record["what"] == "held_out", "name"]) == held - {"0020"}
    assert (record["what"] == "mask").sum() == 19


def test_a_dry_run_writes_nothing_and_says_the_same(block_year, tmp_path):
    paths, _ = release(block_year, tmp_path / "release")
    dry = import_masks(block_year, paths, set(), 50, dry=True)
    assert not block_year.user.exists()
    assert import_masks(block_year, paths, set(), 50) == dry


def test_unfit_masks_are_refused(block_year, tmp_path):
    with pytest.raises(UserError, match="none"):
        masks_of(tmp_path, "2016")
    paths, _ = release(block_year, tmp_path / "beside", shift=3.0)
    with pytest.raises(UserError, match=r"shifted by 0\.30, 0\.00 pixels"):
        import_masks(block_year, paths, set(), 50)
    raster.write(paths[0], np.full((TILE, TILE), 7, np.uint8), block_year.lattice.block("1")[:TILE, :TILE], 255, ["mask"])
    with pytest.raises(UserError, match="mask values 0, 1 and 255"):
        import_masks(block_year, paths[:1], set(), 50)
    with pytest.raises(UserError, match="9999"):
        held_out(["0001"], ["9999"], 0, 0)
    assert not (block_year.user / "samples").exists()
