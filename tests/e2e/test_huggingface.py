"""`snakemake huggingface` on the small miniature, the shards in `datasets`, and the notebook on them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from smallmines.core.files import sha256
from smallmines.core.readable import read_parquet
from workspace import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.heavy]


@pytest.fixture(scope="module")
def published(miniature: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A miniature with its shards."""
    clone = miniature.clone(tmp_path_factory.mktemp("huggingface") / "clone")
    assert clone.planned("huggingface") == {"huggingface": 1}
    clone.snakemake("huggingface")
    return clone


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def test_shards_are_made_on_demand_and_once(published: Workspace) -> None:
    assert published.planned("huggingface") == {}
    assert published.planned() == {}, "the shards are in no other target"


def test_every_patch_is_in_the_shards_with_its_pixels(published: Workspace) -> None:
    import datasets

    index = read_parquet(published.results / "dataset/index.parquet").set_index("id")
    loaded = datasets.load_dataset(str(published.results / "huggingface"))
    assert {row["id"]: split for split, rows in loaded.items() for row in rows.select_columns(["id"])} == index["split"].to_dict()
    for row in loaded["test"]:
        path = published.results / "dataset" / index.loc[row["id"], "image"]
        with rasterio.MemoryFile(row["image"]) as memory, memory.open() as image, rasterio.open(path) as patch:
            np.testing.assert_array_equal(image.read(), patch.read())
        assert np.asarray(row["thumbnail"]).std() > 5


def test_an_edit_of_labels_makes_the_shards_stale_and_publishing_refuses_them(published: Workspace) -> None:
    command = ["publish", "huggingface", "--repo", "mines/ghana", "--dry-run", "--config", published.config]
    sums = published.results / "dataset/SHA256SUMS"
    before = sums.read_bytes()
    sums.unlink()
    sums.write_bytes(before + b"0  of another state\n")
    assert "run snakemake huggingface again" in published.smallmines(*command, succeeds=False)
    sums.write_bytes(before)
    assert sha256(sums) in (published.results / "huggingface/made_from.json").read_text()


def test_the_notebook_runs_from_top_to_bottom(published: Workspace, repository: Path) -> None:
    """Its code in the order of the cells, since no kernel is in the test environment."""
    import matplotlib
    import matplotlib.pyplot as plt
    import nbformat

    matplotlib.use("Agg")
    notebook = nbformat.read(repository / "docs/notebooks/first_look.ipynb", 4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells), "outputs are not kept"
    folder = published.results / "huggingface"
    first, count = re.subn(r'^where = ".*?"', f"where = {str(folder)!r}", cells[0].source, flags=re.MULTILINE)
    assert count == 1
    space: dict[str, Any] = {}
    for source in [first, *(cell.source for cell in cells[1:])]:
        exec(source, space)
    assert space["bands"][-1] == "DEM"
    assert 0.2 < space["iou"] < 1
    assert space["probability"].shape == (128, 128)
    assert space["probability"][space["mask"] == 1].mean() > 2 * space["probability"][space["mask"] == 0].mean()
    assert len(plt.get_fignums()) == 2
    plt.close("all")
