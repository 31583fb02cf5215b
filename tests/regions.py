"""Small finished datasets of regions, on disk and in memory, for tests of merging."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from fake_results import SIDE, make_results, publish, release_masks, worth
from smallmines.config.doctor import Doctor
from smallmines.config.publish import Publish
from smallmines.core.files import read_json, write_json
from smallmines.dataset.merge import Statement
from smallmines.dataset.merge_parts import Part
from smallmines.dataset.seal import published, write_sums
from smallmines.settings.parameters import settings_of
from smallmines.settings.publish import Documents

POINTS = "year,block,x,y,stratum,pixels,inclusion,mapped,reference,who\n"
SIZE = SIDE * 10.0
STATEMENT = Statement("both", settings_of(Publish(title="Both"), Documents), None, Doctor().location_r2)


def finished(folder: Path, run: str, country: str = "GH", year: str = "2016", released: bool = False, **grid: Any) -> Path:
    """Make a small finished dataset of a run."""
    results = make_results(folder, year=year, **grid)
    dataset = publish(results, country, year, release_masks(results, year) if released else None)
    (dataset / "accuracy_points.csv").write_text(POINTS)
    labels = read_json(dataset / "labels.json")
    labels["years"][year] |= {"accuracy": None, "accuracy_lacks": "no sample"}
    write_json(dataset / "labels.json", labels)
    write_json(dataset / "facts.json", {**read_json(dataset / "facts.json"), "run": run})
    return sealed(dataset)


def sealed(dataset: Path) -> Path:
    """Seal a dataset again after a change."""
    lists = sorted(dataset.glob("*/*.sha256"))
    others = [dataset / name for name in published(dataset) if not name.endswith((".tif", ".sha256")) and not name.startswith("stac/2")]
    write_sums(dataset, lists, others)
    return dataset


def part_of(number: int, tiles: list[tuple[str, float, str]], year: int = 2016, crs: str = "EPSG:32630", **more: Any) -> Part:
    """Return a part in memory with tiles (id, left in tiles, split) in a row."""
    left = np.array([600000 + SIZE * at for _, at, _ in tiles])
    index = gpd.GeoDataFrame(
        {
            "tile_id": [tile for tile, _, _ in tiles],
            "year": year,
            "split": [split for _, _, split in tiles],
            "image_nodata_percent": 0.0,
            "radiometry": "dn_plus1000",
            "image": "",
            "mask": "",
        },
        geometry=shapely.box(left, 700000, left + SIZE, 700000 + SIZE),
        crs=crs,
    )
    index.attrs["tile_size"] = SIDE
    facts = {"resolution_m": 10.0, "country": "GH", "crs": crs, "years": {}}
    labels = {"years": {str(year): worth(str(year))["years"][str(year)]}}  # type: ignore[index]  # a mapping of mappings
    points = pd.read_csv(pd.io.common.StringIO(POINTS))
    part = Part(f"r{number}", Path(f"r{number}"), index, pd.DataFrame(), points, labels, facts, "CC-BY-4.0", (), (), {}, "")
    return replace(part, **more)
