"""The doctor's parts: what lies in a folder, what is measured, and what is said of it. Whole datasets: tests/e2e/test_defects.py."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from typer.testing import CliRunner

from fake_results import Results, make_results, publish
from sections import Doctor
from smallmines.cli.main import app
from smallmines.core.errors import UserError
from smallmines.core.product import PATCH_BANDS
from smallmines.dataset import patch_measures
from smallmines.doctor import documents, geometry, labels, leakage, measure, phase_correlation
from smallmines.doctor.examine import examine, summary, write
from smallmines.doctor.folder import read_folder

LIMITS = Doctor()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    made = make_results(tmp_path_factory.mktemp("results"), side=64)
    publish(made)
    return made


def test_a_folder_of_ours(results: Results) -> None:
    found = read_folder(results.folder / "dataset")
    assert found.pairs["tile"].tolist() == [f"{number:04d}" for number in range(1, 7)]
    assert found.pairs["image"].iloc[0] == "2016/IMAGE/IMG_GH_0001_2016.tif"
    assert found.pairs["mask"].iloc[0] == "2016/MASK/MASK_GH_0001_2016.tif"
    assert (found.doubles, found.strange, found.unreadable) == ((), (), {})
    assert found.splits is not None
    assert set(found.splits["split"]) == {"train", "test", "val"}


def test_the_released_layout_and_its_split(tmp_path: Path) -> None:
    for year in (2016, 2022):
        for name in (f"IMAGE/IMG_GH_0003_{year}.tif", f"MASK/MASK_GH_0003_{year}.tif", f"IMAGE/IMG_GH_0001_{year}.tif"):
            path = tmp_path / "zip" / str(year) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        text = f"patch_name,class_percentage,bin,split\nMASK_0003_{year}.tif,1.0,0-10%,train\n"
        (tmp_path / f"train_test_splits_{year}.csv").write_text(text)
    (tmp_path / "zip/2016/IMAGE/IMG_0003_2016.tif").touch()
    (tmp_path / "zip/2016/overview.tif").touch()
    (tmp_path / "labels.json").write_text("{")
    found = read_folder(tmp_path)
    assert found.pairs[["tile", "year"]].values.tolist() == [["0001", 2016], ["0003", 2016], ["0001", 2022], ["0003", 2022]]
    assert found.pairs["mask"].isna().tolist() == [True, False, True, False]
    assert found.doubles == ("zip/2016/IMAGE/IMG_GH_0003_2016.tif",)
    assert found.strange == ("zip/2016/overview.tif",)
    assert found.splits is not None
    assert found.splits.values.tolist() == [["0003", 2016, "train"], ["0003", 2022, "train"]]
    assert list(found.unreadable) == ["labels.json"]


def test_no_folder_and_no_patch(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a folder at"):
        read_folder(tmp_path / "none")
    with pytest.raises(UserError, match="IMG_<country>"):
        read_folder(tmp_path)


@settings(deadline=None, max_examples=15)
@given(down=st.floats(-6, 6), right=st.floats(-6, 6), seed=st.integers(0, 5))
def test_a_shift_is_measured_to_a_fifth_of_a_pixel(down: float, right: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    spectra = phase_correlation.Spectra()
    for _ in range(4):
        ground = ndimage.gaussian_filter(random.normal(size=(160, 160)), 1.5)
        moved = ndimage.shift(ground, (down, right), order=3, mode="wrap") + random.normal(0, 0.03, ground.shape)
        one, two = (phase_correlation.spectrum(one[16:144, 16:144]) for one in (ground, moved))
        spectra.add(("years", "all"), phase_correlation.cross_power(one, two))
    found = phase_correlation.shift_of(*spectra.sums()["years", "all"])
    assert found.down == pytest.approx(down, abs=0.2)
    assert found.right == pytest.approx(right, abs=0.2)
    assert found.significance > LIMITS.shift_significance
    assert found.distinct > LIMITS.shift_distinct


def test_what_has_nothing_in_common_has_no_peak() -> None:
    random = np.random.default_rng(0)
    spectra = phase_correlation.Spectra()
    for _ in range(20):
        one, two = (phase_correlation.spectrum(random.normal(size=(128, 128))) for _ in range(2))
        spectra.add(("radar", "all"), phase_correlation.cross_power(one, two))
    found = geometry.shifts(spectra, LIMITS)
    assert [one["assessable"] for one in found] == [False]
    assert not list(geometry.check([{**found[0], "down": 9.0}], {}, LIMITS))


def test_stripes_lie_in_one_direction_only() -> None:
    random = np.random.default_rng(1)
    bands = (2000 + 60 * ndimage.gaussian_filter(random.normal(size=(10, 128, 128)), (0, 2, 2)) * 8).astype(np.float32)
    valid = np.ones((128, 128), bool)
    row, col = patch_measures.stripes(bands, valid)
    assert max(row / col, col / row) < LIMITS.stripe_ratio
    bands[4, :, ::7] += 300
    row, col = patch_measures.stripes(bands, valid)
    assert col > LIMITS.stripe_dn
    assert col / row > LIMITS.stripe_ratio


def ground(seed: int) -> np.ndarray:
    """Ten bands of smooth ground, (band, row, column)."""
    rough = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(10, 128, 128)), (0, 2, 2))
    return (2000 + 480 * rough).astype(np.float32)


def is_striped(bands: np.ndarray) -> bool:
    lines = patch_measures.stripes(bands, np.ones(bands.shape[1:], bool))
    return max(lines) > LIMITS.stripe_dn and max(lines) / max(1, min(lines)) > LIMITS.stripe_ratio


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.integers(60, 68), st.floats(3, 9), st.floats(6, 30), st.integers(400, 1500), st.booleans())
def test_a_river_along_a_line_is_no_stripe(seed: int, place: int, bend: float, width: float, depth: int, turned: bool) -> None:
    across = np.arange(128) - place - bend * np.sin(np.arange(128) / 20)[:, np.newaxis]
    bands = ground(seed) - depth * (np.abs(across) < width / 2).astype(np.float32)
    assert not is_striped(bands.transpose(0, 2, 1) if turned else bands)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.integers(0, 9), st.integers(150, 600), st.integers(3, 7), st.booleans(), st.booleans())
def test_stripes_of_the_whole_line_are_found(seed: int, band: int, depth: int, step: int, dark: bool, turned: bool) -> None:
    bands = ground(seed)
    bands[band, ::step] += -depth if dark else depth
    assert is_striped(bands.transpose(0, 2, 1) if turned else bands)


def test_a_line_without_data_in_a_piece_is_judged_by_the_others() -> None:
    bands, valid = ground(3), np.ones((128, 128), bool)
    bands[4, :, ::7] += 300
    valid[:30] = False
    row, col = patch_measures.stripes(bands, valid)
    assert col > 200
    assert row < LIMITS.stripe_dn


@pytest.mark.parametrize("offset", [0, 1000])
def test_clouds_are_bright_and_white_with_and_without_the_offset(offset: int) -> None:
    forest = np.array([300, 600, 400, 900, 2200, 2600, 2800, 2900, 1700, 800])
    tailings = np.array([1400, 2000, 2500, 2800, 3000, 3100, 3200, 3300, 3600, 3100])
    clouds = np.array([5000, 5000, 5100, 5200, 5300, 5400, 5500, 5500, 4000, 3000])
    pixels = np.stack([forest] * 60 + [tailings] * 30 + [clouds] * 10, axis=1) + offset
    assert patch_measures.cloud(pixels.astype(np.float32)) == pytest.approx(0.1)


def test_specks_and_holes_are_counted_but_not_where_they_may_go_on() -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[5:15, 5:15] = 1
    mask[9, 9:11] = 0  # a hole of 2
    mask[20, 20] = mask[21, 21] = 1  # a speck of 2, touching by a corner
    mask[0, 30] = 1  # at the edge: may be part of something
    mask[28, 3:7] = 1  # 4 px: large enough
    mask[31, :] = 255
    row = patch_measures.of_mask(mask)
    assert (row["specks"], row["holes"]) == ([2, 4, 98], [2])
    assert (row["mining"], row["none"], row["other"]) == (98 + 2 + 1 + 4, 32, 0)


def noisy(random: np.random.Generator, flip: set[str]) -> pd.DataFrame:
    """Sampled pixels of 30 tiles whose bands tell the class; the masks of some tiles are exchanged."""
    parts = []
    for number in range(30):
        mask = random.uniform(size=64) < 0.4
        bands = {name: 2000 + 800 * mask + random.normal(0, 200, 64) for name in PATCH_BANDS}
        tile = f"{number:04d}"
        parts.append(pd.DataFrame(bands).assign(tile=tile, year=2016, place=range(64), mask=(mask != (tile in flip)).astype(float)))
    return pd.concat(parts, ignore_index=True)


def test_a_forest_tells_the_patches_whose_masks_are_exchanged() -> None:
    areas, patches = labels.contradictions(noisy(np.random.default_rng(0), {"0003", "0017"}))
    found = list(labels.check_contradictions(areas, patches, LIMITS))
    assert areas[2016] > 0.8
    assert [(one.check, set(one.tiles)) for one in found] == [("patch against image", {"0003 2016", "0017 2016"})]
    areas, patches = labels.contradictions(noisy(np.random.default_rng(0), {f"{number:04d}" for number in range(0, 30, 2)}))
    assert "labels against image" in {one.check for one in labels.check_contradictions(areas, patches, LIMITS)}
    assert labels.contradictions(noisy(np.random.default_rng(0), set()).assign(mask=0.0))[0] == {}


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("There are 2175 tiles each.", [("2175", "tiles")]),
        ("4,270 image patches and 4 270 masks", [("4,270", "patches"), ("4 270", "masks")]),
        ("Patches of 128 × 128 pixels of 10 m, version 1.0.0", []),
        ("years 2016–2022 tiles", []),
    ],
)
def test_counts_are_read_from_a_text(text: str, claims: list[tuple[str, str]]) -> None:
    assert [(match[1], match[2]) for match in documents.CLAIM.finditer(text)] == claims


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("/home/ama/data/x.tif", "a path of somebody's machine"),
        (r"C:\Users\kofi\x.tif", "a path of somebody's machine"),
        ("https://a.example/x.tif?st=1&sig=Ab12%2Fcd34ef", "a signature or key"),
        ("AKIAIOSFODNN7EXAMPLE", "a signature or key"),
        ("kofi.mensah@example.org", "an e-mail address"),
        ("../../2016/IMAGE/IMG_GH_0001_2016.tif, doi:10.1109/LGRS.2025.3566356, A01, https://x.example/home", None),
    ],
)
def test_what_should_not_be_published(text: str, what: str | None) -> None:
    assert next((name for name, (_, pattern) in documents.SECRETS.items() if pattern.search(text)), None) == what


def test_leaks_of_the_released_split(shared_data: Path) -> None:
    """The released tables on the lattice: twins and the place that tells, as measured in docs/splits.md."""
    from released import on_the_lattice

    table = on_the_lattice(shared_data, Path(__file__).parents[3])
    pairs = table.rename(columns={"tile_id": "tile"})[["tile", "year"]]
    splits = table[["tile_id", "year", "split"]]
    from smallmines.doctor.folder import Folder

    folder = Folder(Path(), pairs, (), (), None, splits, None, None)
    found = {one.check: one for one in leakage.check(folder, table, LIMITS)}
    assert set(found) == {"twins", "place tells"}
    assert found["twins"].found.startswith("70 %")
    assert found["place tells"].found.startswith("0.68 (90 % interval 0.63 to 0.72; AUC of any mining 0.90")
    assert found["place tells"].remedy == "splits.method: spatial_block"
    half = Folder(Path(), pairs, (), (), None, pd.concat([splits.iloc[5:], splits.iloc[[10]]]), None, None)
    assert {one.found for one in leakage.check(half, table, LIMITS) if one.check == "split incomplete"} == {
        "5 in no split",
        "1 named twice",
    }


def test_json_and_page_say_what_was_found(results: Results, tmp_path: Path) -> None:
    found = examine(results.folder / "dataset", LIMITS)
    write(found, "Made up <b>", tmp_path / "doctor.json", tmp_path / "doctor.html")
    known = json.loads((tmp_path / "doctor.json").read_text())
    assert known == json.loads(json.dumps(summary(found)))
    assert (known["pairs"], known["years"]) == (6, [2016])
    text = (tmp_path / "doctor.html").read_text()
    assert "Made up &lt;b&gt;" in text
    assert text.count("data:image/png;base64,") >= 1
    for one in known["findings"]:
        assert one["check"] in text
    write(found, "Made up <b>", tmp_path / "again.json", tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == (tmp_path / "doctor.html").read_bytes()


def test_processes_change_nothing(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "CHUNK", 2)
    one, two = (examine(results.folder / "dataset", LIMITS, threads) for threads in (1, 2))
    assert summary(one) == summary(two)
    pd.testing.assert_frame_equal(one.measured.table, two.measured.table)


def test_the_verb(results: Results, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["doctor", str(results.folder / "dataset"), "--strict", "--threads", "1", "--out", str(tmp_path)])
    assert done.exit_code == 1, "smooth made-up ground is not the Earth"
    assert "6 pairs:" in done.output
    assert (tmp_path / "doctor.html").is_file()
    assert CliRunner().invoke(app, ["doctor", str(tmp_path / "none")]).exit_code == 2
