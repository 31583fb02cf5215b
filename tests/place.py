"""A made-up run with labels, as far as people's verbs need it: `make_block`'s segments with keys, probabilities and decided labels."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pyogrio
from numpy.typing import NDArray

from block_of_segments import CRS, make_block
from sections import Transfer
from smallmines.annotation.block_year import Place
from smallmines.config.parse import parse_config
from smallmines.core import raster
from smallmines.core.files import write_json
from smallmines.labels import decide, decisions, tables
from smallmines.segment.features import content_keys

YEARS = ("2016", "2022")


def make_place(root: Path, year: str = "2016", **labels: object) -> Place:
    """One block and year: segments of 4 × 4 px, probabilities near the truth, no people yet."""
    config = parse_config(
        {
            "run": "made",
            "grid": {"blocks": 2, "crs": CRS, "tile_size": 32},
            "years": {name: {"start": f"{name}-01-01", "end": f"{name}-01-31"} for name in YEARS},
            "labels": {"queue": {"size": 100}, "overlap": 20, **labels},
        }
    )
    place = Place(config, year, "1", root)
    folder = place.results / "segments" / year / "1"
    folder.mkdir(parents=True)
    block = make_block(folder)
    (place.results / "grid").mkdir()
    (folder / "grid.json").rename(place.results / "grid/grid.json")
    features = block.features.assign(key=content_keys(block.segments, len(block.features), block.lattice, "1"))
    features.to_parquet(folder / "features.parquet", index=False)
    rng = np.random.default_rng(1)
    probability = np.clip(block.truth * 0.5 + rng.uniform(0, 0.5, len(features)), 0.01, 0.99).round(4).astype(np.float32)
    entropy = -(probability * np.log2(probability) + (1 - probability) * np.log2(1 - probability))
    said = pd.DataFrame({"segment": features["segment"], "probability": probability, "entropy": entropy.astype(np.float32).clip(0, 1)})
    for name in ("assistant", "people"):
        (place.results / name / year / "1").mkdir(parents=True)
    tables.write(place.results / "assistant" / year / "1/probabilities.parquet", said, "probabilities")
    write_json(place.results / "assistant" / year / "1/metrics.json", {"threshold": 0.5})
    empty = pd.DataFrame({"segment": [], "label": [], "subclass": [], "tile_id": [], "who": []})
    kinds = {"segment": "uint32", "label": "int8", "subclass": object, "tile_id": object, "who": object}
    tables.write(place.results / "people" / year / "1/samples.parquet", empty.astype(kinds), "samples")
    raster.write(
        place.results / "composites" / year / "1/s2.tif",
        rng.integers(1000, 3000, (10, *block.segments.shape)).astype(np.uint16),
        block.geobox,
        0,
        [f"b{number}" for number in range(10)],
    )
    decide_again(place)
    return place


def decide_again(place: Place) -> pd.DataFrame:
    """What the rules `decisions` and `decide` do after a check-in; returns the labels."""
    folder = place.results / "people" / place.year / place.block
    segments = place.results / "segments" / place.year / place.block
    said = place.results / "assistant" / place.year / place.block
    events = sorted(str(path) for path in (place.user / "events" / place.year / place.block).glob("*.jsonl"))
    outputs = decisions.Outputs(folder / "decisions.parquet", folder / "lineage.csv", folder / "review.csv")
    decisions.check_events(events, place.year, place.block, segments / "features.parquet", segments / "segments.tif", Transfer(), outputs)
    target = place.results / "labels" / place.year / f"{place.block}.parquet"
    decide.decide(
        segments / "features.parquet",
        folder / "samples.parquet",
        outputs.decisions,
        said / "probabilities.parquet",
        said / "metrics.json",
        target,
    )
    return pd.read_parquet(target)


def read_truth(place: Place) -> NDArray[np.bool_]:
    """Which pixels of a made-up place are mined."""
    folder = place.root / "truth again"
    folder.mkdir(exist_ok=True)
    found: NDArray[np.bool_] = np.r_[0, make_block(folder).truth].astype(bool)[place.segments()]
    return found


def read(copy: Path, layer: str = "segments") -> pd.DataFrame:
    """A layer of a working copy, by fid."""
    return pyogrio.read_dataframe(copy, layer=layer, fid_as_index=True, read_geometry=False)


def edit(copy: Path, statement: str, *values: object) -> None:
    """Run SQL on a working copy as GDAL and QGIS would: spatial triggers need functions that plain SQLite lacks."""
    with sqlite3.connect(copy) as file:
        for name, size in (("ST_IsEmpty", 1), ("ST_MinX", 1), ("ST_MaxX", 1), ("ST_MinY", 1), ("ST_MaxY", 1)):
            file.create_function(name, size, lambda shape: 0 if shape else 1)
        file.execute(statement, values)
    file.close()


def correct(copy: Path, fid: int, label: str, evidence: str = "Google Earth", day: str = "2016-02-01") -> None:
    """Label one segment."""
    edit(copy, "UPDATE segments SET label = ?, evidence = ?, evidence_date = ? WHERE fid = ?", label, evidence, day, fid)
