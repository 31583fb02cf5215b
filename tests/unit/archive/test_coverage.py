"""What scenes cover, and how much there is to download."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archive_builder import grid, write_grid
from miniature.stac import corners, lonlat
from sections import cache
from smallmines.archive.coverage import coverage, expected_bytes, require_coverage
from smallmines.archive.fetch import PixelFile
from smallmines.core.errors import UserError
from smallmines.core.files import read_json
from smallmines.report.coverage import picture
from smallmines.sensors.footprint import share_under
from smallmines.sensors.manifest import Datatake, Manifest, ManifestItem, Query, Sentinel1Entry
from smallmines.sensors.manifest_files import read_manifest, write_manifest
from smallmines.settings.fetch import FetchSentinel1

WHOLE = grid(600000, 700000, (128, 256))


def manifest(folder: Path, *parts: Any) -> Path:
    """Scenes over parts of the area, of a remote archive."""
    chosen = tuple(
        ManifestItem(
            Sentinel1Entry(f"scene{number}", number, f"S1A_{number:06d}", number, "2016-01-03T05:55:12Z", "S1A", "descending", 155),
            {"type": "Polygon", "coordinates": [lonlat(corners(part), str(part.crs))]},
            {"VV": f"https://example.org/{number}/vv.tif", "VH": f"https://example.org/{number}/vh.tif"},
        )
        for number, part in enumerate(parts, 1)
    )
    path = folder / "manifest.json"
    query = Query("sentinel-1-rtc", "2016", {}, {})
    rejected = {"x": "bands missing: VH"}
    write_manifest(path, Manifest("s1", "planetary_computer", None, "2025-01-01T00:00:00Z", None, query, chosen, rejected))
    return path


def covered(folder: Path, *parts: Any) -> Path:
    lattice = write_grid(folder / "grid.json", WHOLE, 64, {"1": (0, 0, 2, 2), "2": (0, 2, 2, 2)})
    output = folder / "coverage.json"
    coverage({"2016/s1": manifest(folder, *parts)}, lattice, cache(folder / "pixels"), {"s1": FetchSentinel1(10)}, output)
    return output


def test_shares_by_block_and_scenes_by_tile(tmp_path: Path) -> None:
    output = covered(tmp_path, WHOLE, WHOLE[:, :128], WHOLE[:64, 128:])
    found = read_json(output)["2016/s1"]
    assert found["blocks"] == {"1": 1.0, "2": 1.0}
    assert sorted(found["cells"].values()) == [1, 1, 2, 2, 2, 2, 2, 2]
    assert (found["scenes"], found["files"], found["cached"]) == (3, 12, 0), "footprints count as near within 500 m"
    require_coverage(output, 1.0, tmp_path / "ok.json")
    picture(output, tmp_path / "grid.json", tmp_path / "a.png")
    picture(output, tmp_path / "grid.json", tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_uncovered_ground_is_refused_with_block_share_and_reasons(tmp_path: Path) -> None:
    output = covered(tmp_path, WHOLE[:, :192])
    assert read_json(output)["2016/s1"]["blocks"] == {"1": 1.0, "2": pytest.approx(0.5, abs=0.07)}
    with pytest.raises(UserError, match=r"block 2 [\d.]+ % by 1 scenes of planetary_computer \(rejected: 1 × bands missing: VH\)"):
        require_coverage(output, 0.99, tmp_path / "ok.json")
    assert not (tmp_path / "ok.json").exists()
    require_coverage(output, 0.4, tmp_path / "ok.json")


def test_empty_pixels_under_intact_footprints_are_refused(tmp_path: Path) -> None:
    """Two passes whose footprints cover everything have data on a third of the area each."""
    output = covered(tmp_path, WHOLE, WHOLE)
    assert read_json(output)["2016/s1"]["with_data"] is None, "manifests without datatakes"
    path = manifest(tmp_path, WHOLE, WHOLE)
    takes = tuple(Datatake(f"take{rank}", rank, share, share, []) for rank, share in ((1, 0.34), (2, 0.3), (None, 1.0)))
    write_manifest(path, replace(read_manifest(path), datatakes=takes))
    coverage({"2016/s1": path}, tmp_path / "grid.json", cache(tmp_path / "pixels"), {"s1": FetchSentinel1(10)}, output)
    assert read_json(output)["2016/s1"]["blocks"] == {"1": 1.0, "2": 1.0}
    assert read_json(output)["2016/s1"]["with_data"] == 0.64
    with pytest.raises(UserError, match=r"2016/s1: the pixels of 2 scenes of planetary_computer have data on 64\.0 % of the area at most"):
        require_coverage(output, 0.99, tmp_path / "ok.json")
    require_coverage(output, 0.6, tmp_path / "ok.json")


def test_the_expected_size_follows_area_share_and_resolution(tmp_path: Path) -> None:
    big = grid(600000, 700000, (4000, 4000))
    ten, twenty = (PixelFile("a", band, "https://example.org/a.tif", big, 0, tmp_path) for band in ("B02", "B05"))
    assert expected_bytes(ten, "s2", 1.0) == pytest.approx(1.1 * (4000 + 1024) ** 2)
    assert expected_bytes(twenty, "s2", 1.0) == pytest.approx(1.1 * (2000 + 1024) ** 2)
    assert expected_bytes(ten, "s2", 0.25) == pytest.approx(1.1 * (2000 + 1024) ** 2)
    local = PixelFile("a", "B02", "archive/a.tif", big, 0, tmp_path)
    assert expected_bytes(local, "s2", 1.0) == pytest.approx(1.1 * 4000**2)
    half = {"type": "Polygon", "coordinates": [lonlat(corners(big[:, :2000]), str(big.crs))]}
    assert share_under(half, big) == pytest.approx(0.5, abs=1e-3)
