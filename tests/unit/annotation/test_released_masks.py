"""Released masks become samples and corrections; held-out tiles give nothing."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from place import decide_again, make_place, read_truth
from smallmines.annotation.released_masks import import_masks
from smallmines.core import raster
from smallmines.core.errors import UserError
from smallmines.core.layout import Layout
from smallmines.labels.released import held_out, masks_of
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
    with pytest.raises(UserError, match=r"has the values \[7\]"):
        import_masks(block_year, paths[:1], set(), 50)
    with pytest.raises(UserError, match="9999"):
        held_out(["0001"], ["9999"], 0, 0)
    assert not (block_year.user / "samples").exists()


def masks_as(block_year, folder, values, nodata, bands=1):
    """Write the truth as masks, with a value each for not mining, mining and where there are no segments."""
    truth = np.where(block_year.segments() > 0, read_truth(block_year).astype(int), 2)
    written = np.array(values)[truth].astype(np.uint8)
    geobox = block_year.lattice.block("1")
    for cell in block_year.lattice.cells_of("1").itertuples():
        window = slice(cell.y, cell.y + TILE), slice(cell.x, cell.x + TILE)
        path = folder / f"MASK_GH_{cell.tile_id}_2016.tif"
        raster.write(
            path, np.repeat(written[window][np.newaxis], bands, axis=0), geobox[window], nodata, [f"b{band}" for band in range(bands)]
        )
    return masks_of(folder, "2016")


@pytest.mark.parametrize(
    ("values", "nodata", "words"),
    [
        ((0, 255, 0), None, "which is not tagged as nodata there"),
        ((0, 255, 255), None, "which is not tagged as nodata there"),
        ((0, 255, 255), 0, "which is not tagged as nodata there"),
        ((0, 255, 255), 255, "and no mask of the year has 1"),
        ((0, 1, 255), None, "which is not tagged as nodata there"),
        ((1, 2, 0), None, "has the values [2]"),
        ((0, 100, 0), 0, "has the values [100]"),
        ((0, 128, 254), None, "has the values [128"),
    ],
)
def test_masks_that_may_mean_something_else_are_named(block_year, tmp_path, values, nodata, words):
    paths = masks_as(block_year, tmp_path / "masks", values, nodata)
    with pytest.raises(UserError) as raised:
        import_masks(block_year, paths, set(), 50)
    assert words in raised.value.found
    assert "MASK_GH_" in raised.value.found
    assert not block_year.user.exists()


def test_masks_of_our_own_and_a_block_without_mines_are_taken(block_year, tmp_path):
    assert import_masks(block_year, masks_as(block_year, tmp_path / "own", (0, 1, 255), 255), set(), 50).samples == 100
    paths = masks_as(block_year, tmp_path / "none", (0, 0, 255), 255)
    far = GeoBox((4, 4), Affine(10, 0, 0, 0, -10, 0), block_year.lattice.block("1").crs)
    raster.write(tmp_path / "none/MASK_GH_0999_2016.tif", np.ones((4, 4), np.uint8), far, 255, ["mask"])  # mining elsewhere
    assert import_masks(block_year, masks_of(tmp_path / "none", "2016"), set(), 50).masks == len(paths)


def test_two_masks_on_one_place_are_named(block_year, tmp_path):
    paths, _ = release(block_year, tmp_path / "release")
    twin = tmp_path / "release/copy" / paths[0].name
    twin.parent.mkdir()
    twin.write_bytes(paths[0].read_bytes())
    with pytest.raises(UserError) as raised:
        import_masks(block_year, masks_of(tmp_path / "release", "2016"), set(), 50)
    assert f"{twin}" in raised.value.found
    assert f"{paths[0]}" in raised.value.found
    twin.unlink()
    geobox = block_year.lattice.block("1")[:TILE, 8 : TILE + 8]
    raster.write(tmp_path / "release/MASK_GH_x_2016.tif", np.zeros((TILE, TILE), np.uint8), geobox, 255, ["mask"])
    with pytest.raises(UserError, match="MASK_GH_x_2016"):
        import_masks(block_year, masks_of(tmp_path / "release", "2016"), set(), 50)
    assert not block_year.user.exists()


def test_files_that_are_no_masks_are_named(block_year, tmp_path):
    paths, _ = release(block_year, tmp_path / "release")
    pipe, folder, loop = (tmp_path / f"release/MASK_GH_{name}_2016.tif" for name in ("pipe", "folder", "loop"))
    os.mkfifo(pipe)
    folder.mkdir()
    loop.symlink_to(loop)
    with pytest.raises(UserError) as raised:
        import_masks(block_year, masks_of(tmp_path / "release", "2016"), set(), 50)
    assert all(f"{path} is no file" in raised.value.found for path in (pipe, folder, loop))
    for path in (pipe, loop):
        path.unlink()
    folder.rmdir()
    whole = paths[3].read_bytes()
    for content in (b"", b"II*\0", whole[: len(whole) // 2]):
        paths[3].write_bytes(content)
        with pytest.raises(UserError, match=paths[3].name):
            import_masks(block_year, paths, set(), 50)
    with pytest.raises(UserError, match="has several bands"):
        import_masks(block_year, masks_as(block_year, tmp_path / "rgb", (0, 1, 0), None, bands=3), set(), 50)
    assert not block_year.user.exists()


def test_a_turned_or_mirrored_mask_is_refused(block_year, tmp_path):
    geobox = block_year.lattice.block("1")[:TILE, :TILE]
    for number, turned in enumerate((Affine.rotation(90), Affine.scale(1, -1), Affine.scale(2, 2), Affine.scale(1, 1.001))):
        path = tmp_path / f"{number}/MASK_GH_0001_2016.tif"
        own = GeoBox(geobox.shape, geobox.transform * turned, geobox.crs)
        raster.write(path, np.zeros((TILE, TILE), np.uint8), own, 255, ["mask"])
        with pytest.raises(UserError, match="on the run's grid"):
            import_masks(block_year, [path], set(), 50)
