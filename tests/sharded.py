"""A published dataset of two years with a tile in the buffer and one without data, and its shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import rasterio

from fake_results import document, make_results, publish, worth
from sections import Splits
from smallmines.core.files import read_json, sha256, write_json
from smallmines.dataset.band_statistics import write_statistics
from smallmines.dataset.columns import columns_left_out
from smallmines.dataset.index import COLUMNS, contract, read_index
from smallmines.dataset.stac import flat
from smallmines.publish.huggingface import Sources, write_shards

YEARS = ("2016", "2022")
WINDOWS = {year: [f"{year}-01-01", f"{year}-01-31"] for year in YEARS}
CELLS = [(f"{4 * row + col + 1:04d}", 3 - row, col, "1" if col < 2 else "2") for row in range(4) for col in range(4)]
BUFFER, EMPTY = "0006", "0016"
"""The tile in the buffer, and the one whose image of 2022 has no data."""


def make_dataset(folder: Path, side: int = 32) -> Path:
    """Publish sixteen tiles in two years; return the dataset's folder. Tiles are in the order train, test, val."""
    tables, index, lists = [], [], []
    for year in YEARS:
        dataset = publish(make_results(folder, side=side, cells=CELLS, year=year), year=year)
        tables.append(pd.read_csv(dataset / "splits.csv", dtype={"tile_id": str}))
        index.append(read_index(dataset / "index.parquet"))
        lists += [dataset / year / f"{kind}.sha256" for kind in ("IMAGE", "MASK")]
    write_json(dataset / "labels.json", {"years": {year: worth(year)["years"][year] for year in YEARS}})  # type: ignore[index]  # a document of JSON
    path = dataset / f"2022/IMAGE/IMG_GH_{EMPTY}_2022.tif"
    before = sha256(path)
    with rasterio.open(path, "r+") as image:
        image.write(np.full((image.count, *image.shape), -9999, np.float32))
    lists[2].write_text(lists[2].read_text().replace(before, sha256(path)))
    rows, splits = pd.concat(index, ignore_index=True), pd.concat(tables)
    rows = rows.set_crs(index[0].crs)
    rows["image_sha256"] = rows["image_sha256"].replace(before, sha256(path))
    for table in (rows, splits):
        table.loc[table["tile_id"] == BUFFER, "split"] = "buffer"
    splits.to_csv(dataset / "splits.csv", index=False)
    left_out = columns_left_out(read_json(dataset / "labels.json")["years"])
    rows = contract().validate(rows[[*(name for name in COLUMNS if name not in left_out), "geometry"]])
    rows.attrs["tile_size"] = side
    flat(rows, WINDOWS, "made-up").to_parquet(dataset / "index.parquet", index=False)
    document(dataset, lists, WINDOWS, "GH")
    return dataset


def make_shards(dataset: Path, target: Path) -> Path:
    """Write the shards of a dataset; return their folder."""
    write_shards(sources_of(dataset), Splits(block_tiles=1), target)
    return target


def sources_of(dataset: Path) -> Sources:
    """Return what shards are made from; write the statistics beside the dataset."""
    paths = []
    for year in YEARS:
        paths.append(str(dataset.parent / f"statistics/{year}.json"))
        write_statistics(dataset / year / "IMAGE", [], paths[-1])
    return Sources(dataset, paths)
