"""Versions of software: written with products, gathered, told where they are mixed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio

from archive_builder import grid
from smallmines.core import raster
from smallmines.core.software import FOREST, TAG, gathered, of_packages, of_rasters, software_of
from smallmines.labels import tables
from smallmines.segment import orfeo


def made(path: Path, software: str) -> Path:
    tags = {TAG: software} if software else {}
    raster.write(path, np.zeros((4, 4), np.uint8), grid(600000, 700000, (4, 4)), 255, ["x"], tags)
    return path


def test_the_tag_names_what_is_installed() -> None:
    entries = dict(entry.split(" ") for entry in of_rasters(otb="8.1.1").split(", "))
    assert entries["gdal"] == rasterio.__gdal_version__
    assert entries["numpy"] == np.__version__
    assert entries["otb"] == "8.1.1"
    assert list(entries) == sorted(entries)


def test_orfeo_toolbox_says_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / orfeo.PROGRAM
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'This is the MeanShiftSmoothing application, version 9.1.0'\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("OTB_ROOT", str(tmp_path))
    assert orfeo.find("cli", 1).version == "9.1.0"


def test_a_table_keeps_its_tag_and_hands_it_to_nobody(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"segment": np.array([1, 2], np.uint32)} | dict.fromkeys(("probability", "entropy", "calibrated"), np.float32([0, 1]))
    )
    tables.write(tmp_path / "p.parquet", table, "probabilities")
    assert software_of(tmp_path / "p.parquet") == of_packages(FOREST)
    assert tables.read(tmp_path / "p.parquet", "probabilities").attrs == {}


def test_one_version_of_each_is_a_sound_run(tmp_path: Path) -> None:
    products = {"masks": [made(tmp_path / f"{name}.tif", "gdal 3.10.3, numpy 2.3.5") for name in "ab"]}
    found = gathered({**products, "segments": [made(tmp_path / "s.tif", "gdal 3.10.3, otb 8.1.1")]})
    assert found == {"versions": {"gdal": ["3.10.3"], "numpy": ["2.3.5"], "otb": ["8.1.1"]}, "mixed": {}, "unknown": {}}


def test_mixed_versions_are_told_with_their_products_and_silence_is_counted(tmp_path: Path) -> None:
    old, new = "gdal 3.10.3, numpy 2.3.5", "gdal 3.11.0, numpy 2.3.5"
    masks = [made(tmp_path / "a.tif", old), made(tmp_path / "b.tif", new), made(tmp_path / "c.tif", new), made(tmp_path / "d.tif", "")]
    found = gathered({"masks": masks, "composites": [made(tmp_path / "s2.tif", old)]})
    assert found["versions"] == {"gdal": ["3.10.3", "3.11.0"], "numpy": ["2.3.5"]}
    assert found["mixed"] == {"gdal": {"3.10.3": {"masks": 1, "composites": 1}, "3.11.0": {"masks": 2}}}
    assert found["unknown"] == {"masks": 1}
