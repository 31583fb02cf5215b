"""Shift and level between years."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from archive_builder import grid
from smallmines.composite.compare_years import compare_years, shift_of
from smallmines.core.errors import UserError
from smallmines.core.files import read_json
from smallmines.core.product import S2_BANDS
from smallmines.core.raster import write
from smallmines.sensors.manifest import Fetched
from smallmines.sensors.manifest_files import write_fetched

GRID = grid(600000, 700000, (300, 300))


def ground(seed: int = 0) -> np.ndarray:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((340, 340)), 2.0)
    return 3000 + 3000 * field


def years(
    folder: Path,
    second: np.ndarray,
    providers: tuple[str, str],
    clear: np.ndarray | None = None,
    verdicts: tuple[str, str] = ("proved", "proved"),
) -> Path:
    for number, year in enumerate(("2016", "2022")):
        values, provider = (ground()[20:320, 20:320], second)[number], providers[number]
        cube = np.repeat(values[None], len(S2_BANDS), axis=0) if values.ndim == 2 else values
        tags = {"RADIOMETRY_VERDICT": verdicts[number]} if verdicts[number] else {}
        write(folder / f"{year}.tif", cube.astype(np.uint16), GRID, 0, S2_BANDS, tags)
        shown = np.ones((300, 300), np.uint8) if clear is None else clear
        write(folder / f"{year}-clear.tif", shown, GRID, None, ["clear"])
        write_fetched(folder / f"{year}.json", Fetched("s2", "1", provider, None, None, (), ()))
    out = folder / "shift.json"
    names = [[folder / f"{year}{suffix}" for year in ("2016", "2022")] for suffix in (".tif", "-clear.tif", ".json")]
    compare_years(["2016", "2022"], *names, out)
    return out


@pytest.mark.parametrize(("rows", "cols"), [(0, 0), (1, -2), (0.5, 0.3), (-1.25, 0.75)])
def test_a_known_shift_is_found_to_a_tenth_of_a_pixel(rows: float, cols: float) -> None:
    first = ground()
    second = ndimage.shift(first, (rows, cols), order=3, mode="nearest") + np.random.default_rng(1).normal(0, 30, first.shape)
    found = shift_of(first[20:276, 20:276] - 3000, second[20:276, 20:276] - 3000)
    assert found is not None
    assert found == pytest.approx((rows, cols), abs=0.1)


def test_different_ground_has_no_shift() -> None:
    assert shift_of(ground(0)[:256, :256] - 3000, ground(1)[:256, :256] - 3000) is None


def test_the_same_ground_is_told_as_such(tmp_path: Path) -> None:
    told = read_json(years(tmp_path, ground()[20:320, 20:320] + 25, ("cdse", "planetary_computer")))[0]
    assert told["shift_px"] == {"x": pytest.approx(0, abs=0.01), "y": pytest.approx(0, abs=0.01)}
    assert set(told["level_dn"].values()) == {25.0}
    assert told["providers"] == ["cdse", "planetary_computer"]


def test_a_fallback_in_one_year_must_lie_on_the_other_and_carry_the_same_offset(tmp_path: Path) -> None:
    moved = ndimage.shift(ground(), (0, 1), order=1, mode="nearest")[20:320, 20:320]
    with pytest.raises(UserError, match=r"of cdse and planetary_computer, within 0.5 px[\s\S]*'x': (0\.99|1\.0)"):
        years(tmp_path, moved, ("cdse", "planetary_computer"))
    with pytest.raises(UserError, match=r"'B02': -1000\.0"):
        years(tmp_path, ground()[20:320, 20:320] - 1000, ("cdse", "planetary_computer"))


def test_years_of_one_provider_only_warn(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    years(tmp_path, ground()[20:320, 20:320] - 1000, ("cdse", "cdse"))
    assert "2016 and 2022 differ" in caplog.text


@pytest.mark.parametrize("verdicts", [("proved", "undecided"), ("declared", "proved"), ("undecided", "undecided"), ("", "proved")])
@pytest.mark.parametrize("jump", [1000, -1000])
def test_a_jump_by_the_offset_stops_unless_pixels_prove_both_years(tmp_path: Path, jump: int, verdicts: tuple[str, str]) -> None:
    noise = np.random.default_rng(2).normal(0, 100, (300, 300))
    with pytest.raises(UserError, match=rf"one radiometric level in 2016 and 2022[\s\S]*difference of \{'+-'[jump < 0]}(99|100)\d DN"):
        years(tmp_path, ground()[20:320, 20:320] + jump + noise, ("cdse", "cdse"), verdicts=verdicts)
    assert read_json(tmp_path / "shift.json")[0]["verdicts"] == [verdict or "undecided" for verdict in verdicts]


@pytest.mark.parametrize("change", [300, 700, 1300])
def test_another_difference_is_no_jump(tmp_path: Path, change: int) -> None:
    years(tmp_path, ground()[20:320, 20:320] + change, ("cdse", "cdse"), verdicts=("undecided", "undecided"))


def test_snow_in_one_year_is_no_jump(tmp_path: Path) -> None:
    snow = np.array([6000, 5900, 5800, 5700, 5600, 5500, 5400, 5300, 1400, 1250])[:, None, None] + np.zeros((300, 300))
    years(tmp_path, snow, ("cdse", "cdse"), verdicts=("undecided", "undecided"))


def test_cloud_leaves_it_open(tmp_path: Path) -> None:
    told = read_json(years(tmp_path, ground()[20:320, 20:320], ("cdse", "cdse"), np.zeros((300, 300), np.uint8)))[0]
    assert (told["shift_px"], told["level_dn"], told["squares"]) == (None, None, 0)
