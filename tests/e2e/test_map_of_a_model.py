"""The map of a model of the benchmark on the finished miniature: its predictions, and areas like those of the masks' map."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import rasterio
import yaml

from smallmines.core.files import read_json
from workspace import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.heavy, pytest.mark.matrix]

MODEL = "boosting_6/fixed/in_force/0"


def test_the_mosaic_is_what_predict_writes_and_another_model_is_refused(clone: Workspace) -> None:
    config = clone.folder / "small.yaml"
    values = yaml.safe_load(config.read_text()) | {"benchmark": {"rows": ["boosting_6/fixed"], "splits": ["in_force"]}}
    config.write_text(yaml.safe_dump(values | {"map": {"model": MODEL.replace("6", "13")}}))
    refusal = clone.snakemake("map_model", succeeds=False)
    assert f"do        name one of {MODEL}" in refusal
    assert "Traceback" not in refusal
    config.write_text(yaml.safe_dump(values | {"map": {"model": MODEL}}))
    planned = clone.planned("map_model")
    rules = {"map_model", *(f"map_model_{part}" for part in ("block", "mosaic", "polygons", "areas"))}
    assert {name for name in planned if name.startswith("map")} == rules
    clone.snakemake("map_model")
    folder = clone.results / "map/model/2022"
    assert not list(folder.glob("[0-9].tif")), "predictions of blocks are temporary"
    model = clone.results / f"benchmark/{MODEL}"
    out = clone.folder / "probability.tif"
    clone.smallmines("predict", str(model / "model.joblib"), str(clone.results / "composites/2022/1"), "--out", str(out))
    with rasterio.open(out) as block, rasterio.open(folder / "probability.tif") as mosaic, rasterio.open(folder / "mask.tif") as mask:
        window = mosaic.window(*block.bounds).round_offsets().round_lengths()
        percent, mined, value = mosaic.read(1, window=window), mask.read(1, window=window), block.read(1)
        whole = (percent != 255) & (block.read_masks(1) > 0)
    own = whole & (np.abs(percent - value / 2.55) <= 0.51)  # elsewhere the pixel is in a cell of the other block
    assert own.sum() > 0.5 * whole.sum()
    threshold = read_json(model / "score.json")["threshold"]
    np.testing.assert_array_equal(mined[own & (percent > threshold / 2.55 + 1)], 1)
    np.testing.assert_array_equal(mined[own & (percent < threshold / 2.55 - 1)], 0)
    mines = pd.read_parquet(folder / "mines.parquet")
    assert (mines["seen_share"] == 0).all()
    areas = pd.read_csv(clone.results / "map/model/areas.csv")
    own_area = areas[(areas["layer"] == "run") & (areas["year"] == 2022)]["mapped_ha"].item()
    assert own_area == pytest.approx(mines["area_ha"].sum(), abs=1e-3)
