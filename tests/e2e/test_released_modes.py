"""A run that takes its labels from a release and then from people again: nothing of one source stays in the dataset of the other."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
import yaml

from smallmines.core.files import sha256
from workspace import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.heavy, pytest.mark.matrix]


def checksums(run: Workspace) -> dict[str, str]:
    folder = run.results / "dataset"
    return {path.relative_to(folder).as_posix(): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_dataset_after_another_source_of_labels_is_as_before(clone: Workspace) -> None:
    values = yaml.safe_load((clone.folder / clone.config).read_text())
    values |= {"labels": {"source": "released_masks"}, "released": {"path": "release.zip"}}
    (clone.folder / "masks.yaml").write_text(yaml.safe_dump(values))
    clone.world("release", "--config", clone.config, "--out", "release.zip")
    before = checksums(clone)
    columns = set(pd.read_parquet(clone.results / "dataset/index.parquet"))
    masks = replace(clone, config="masks.yaml")
    masks.snakemake()
    assert masks.planned() == {}
    pasted = set(pd.read_parquet(clone.results / "dataset/index.parquet"))
    assert {name for name in pasted if name.startswith("share_")} == {"share_released"}
    assert "share_released" not in columns
    planned = clone.planned()
    assert (planned["mask"], planned["mask_patches"], planned["verify"]) == (4, 4, 1)
    assert not {"segment", "samples", "assistant", "labels", "image_patches", "splits"} & set(planned)
    clone.snakemake()
    assert checksums(clone) == before
    assert clone.planned() == {}
