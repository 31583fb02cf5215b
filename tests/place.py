"""A synthetic run with labels for the annotation verbs: `make_block`'s segments with keys, probabilities and decided labels."""

from __future__ import annotations

import atexit
import functools
import json
import shutil
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyogrio
from numpy.typing import NDArray

from block_of_segments import CRS, make_block
from miniature import annotators
from miniature.annotators import Errors
from sections import Transfer
from smallmines.annotation.block_year import BlockYear
from smallmines.config.parse import parse_config
from smallmines.core import raster
from smallmines.core.files import write_json
from smallmines.core.product import S2_BANDS
from smallmines.labels import decide, decisions, tables
from smallmines.segment.features import content_keys

YEARS = ("2016", "2022")


def make_place(root: Path, year: str = "2016", assistant: dict[str, object] | None = None, **labels: object) -> BlockYear:
    """Make one block and year: segments of 4 × 4 px, probabilities near the truth, no labels of people.

    Places of the same arguments are copies of one.
    """
    made = _made(json.dumps([year, assistant, labels]))
    shutil.copytree(made.root, root, dirs_exist_ok=True)
    return replace(made, root=root)


@functools.cache
def _made(arguments: str) -> BlockYear:
    """Make a place in a folder that stays until the process ends."""
    year, assistant, labels = json.loads(arguments)
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    root = Path(folder.name)
    config = parse_config(
        {
            "run": "made",
            "grid": {"blocks": 2, "crs": CRS, "tile_size": 32},
            "years": {name: {"start": f"{name}-01-01", "end": f"{name}-01-31"} for name in YEARS},
            "assistant": assistant or {},
            "labels": {"queue": {"size": 100}, "overlap": 20, **labels},
        }
    )
    block_year = BlockYear(config, year, "1", root)
    folder = block_year.results / "segments" / year / "1"
    folder.mkdir(parents=True)
    block = make_block(folder)
    (block_year.results / "grid").mkdir()
    (folder / "grid.json").rename(block_year.results / "grid/grid.json")
    features = block.features.assign(key=content_keys(block.segments, len(block.features), block.lattice, "1"))
    features.to_parquet(folder / "features.parquet", index=False)
    rng = np.random.default_rng(1)
    probability = np.clip(block.truth * 0.5 + rng.uniform(0, 0.5, len(features)), 0.01, 0.99).round(4).astype(np.float32)
    entropy = -(probability * np.log2(probability) + (1 - probability) * np.log2(1 - probability))
    probabilities = pd.DataFrame(
        {
            "segment": features["segment"],
            "probability": probability,
            "entropy": entropy.astype(np.float32).clip(0, 1),
            "calibrated": probability,
        }
    )
    for name in ("assistant", "people"):
        (block_year.results / name / year / "1").mkdir(parents=True)
    tables.write(block_year.results / "assistant" / year / "1/probabilities.parquet", probabilities, "probabilities")
    write_json(block_year.results / "assistant" / year / "1/metrics.json", {"threshold": 0.5})
    empty = pd.DataFrame({"segment": [], "label": [], "subclass": [], "tile_id": [], "who": []})
    kinds = {"segment": "uint32", "label": "int8", "subclass": object, "tile_id": object, "who": object}
    tables.write(block_year.results / "people" / year / "1/samples.parquet", empty.astype(kinds), "samples")
    raster.write(
        block_year.results / "composites" / year / "1/s2.tif",
        rng.integers(1000, 3000, (10, *block.segments.shape)).astype(np.uint16),
        block.geobox,
        0,
        S2_BANDS,
    )
    decide_again(block_year)
    return block_year


def copied(block_year: BlockYear, root: Path) -> BlockYear:
    """Copy a place to a new folder."""
    shutil.copytree(block_year.root, root)
    return replace(block_year, root=root)


def decide_again(block_year: BlockYear) -> pd.DataFrame:
    """Run the rules `decisions` and `labels` after a check-in; return the labels."""
    layout, at = block_year.layout, (block_year.year, block_year.block)
    features, target = layout.features(*at), layout.labels(*at)
    events = sorted(str(path) for path in layout.user.events(*at).glob("*.jsonl"))
    outputs = decisions.Outputs(layout.decisions(*at), layout.review(*at).with_name("lineage.csv"), layout.review(*at))
    decisions.check_events(events, *at, features, layout.segments(*at), Transfer(), outputs)
    inputs = decide.Inputs(features, layout.samples(*at), outputs.decisions, layout.probabilities(*at), layout.forest_metrics(*at))
    decide.decide(inputs, target)
    return pd.read_parquet(target)


def read_truth(block_year: BlockYear) -> NDArray[np.bool_]:
    """Return which pixels of a synthetic place are mined."""
    folder = block_year.root / "truth again"
    folder.mkdir(exist_ok=True)
    mined: NDArray[np.bool_] = np.r_[0, make_block(folder).truth].astype(bool)[block_year.segments()]
    return mined


def read(copy: Path, layer: str = "segments") -> pd.DataFrame:
    """Read a layer of a working copy, by fid."""
    return pyogrio.read_dataframe(copy, layer=layer, fid_as_index=True, read_geometry=False)


def edit(copy: Path, statement: str, *values: object) -> None:
    """Run SQL on a working copy as GDAL and QGIS do; the spatial triggers need functions that plain SQLite lacks."""
    with sqlite3.connect(copy) as file:
        for name, size in (("ST_IsEmpty", 1), ("ST_MinX", 1), ("ST_MaxX", 1), ("ST_MinY", 1), ("ST_MaxY", 1)):
            file.create_function(name, size, lambda shape: 0 if shape else 1)
        file.execute(statement, values)
    file.close()


def correct(copy: Path, fid: int, label: str, evidence: str = "Google Earth", day: str = "2016-02-01") -> None:
    """Label one segment."""
    edit(copy, "UPDATE segments SET label = ?, evidence = ?, evidence_date = ? WHERE fid = ?", label, evidence, day, fid)


def annotate(block_year: BlockYear, share: float) -> NDArray[np.bool_]:
    """Let two people without error label a share of the queue; return which segments are mined."""
    truth = annotators.truth_path(block_year.config, block_year.year, block_year.root)
    raster.write(truth, read_truth(block_year).astype(np.uint8), block_year.lattice.block("1"), 255, ["mask"])
    if share:
        annotators.label(block_year, share, 0, Errors(0, 0, 0.5))
    return truth_of(block_year)


def truth_of(block_year: BlockYear) -> NDArray[np.bool_]:
    """Return which segments are mined."""
    share = annotators.true_share_of(block_year, block_year.features()["key"].to_numpy(np.uint64))
    return share >= 0.5
