"""What `snakemake map` plans. That the default target plans none of it is tested with the plan of a fresh clone."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from test_plan import write_area

from workspace import Workspace

pytestmark = [pytest.mark.rules, pytest.mark.heavy]

RULES = {"map_mosaic", "map_polygons", "map_areas", "map_picture", "map_catalogue", "map_public"}


def test_the_map_needs_masks_and_no_dataset(repository: Path, tmp_path: Path) -> None:
    workspace = Workspace.make(repository, tmp_path, "config/demo.yaml", "demo")
    write_area(workspace)
    planned = workspace.planned("map")
    assert {name: planned[name] for name in RULES} == {
        "map_mosaic": 2,
        "map_polygons": 2,
        "map_areas": 1,
        "map_picture": 2,
        "map_catalogue": 1,
        "map_public": 1,
    }
    assert planned["mask"] == 8
    assert not {"image_patches", "assemble", "verify", "label_quality"} & set(planned)
    of_a_year = workspace.planned("map_2022")
    assert (of_a_year["mask"], of_a_year["map_mosaic"], of_a_year["map_picture"]) == (4, 1, 1)
    assert not {"map_areas", "map_catalogue"} & set(of_a_year)


def test_with_released_masks_there_is_the_mask_alone(repository: Path, tmp_path: Path) -> None:
    workspace = Workspace.make(repository, tmp_path, "masks.yaml", "demo")
    values = yaml.safe_load((repository / "config/demo.yaml").read_text())
    values["labels"] = {**values.get("labels", {}), "source": "released_masks"}
    (tmp_path / "masks.yaml").write_text(yaml.safe_dump(values))
    write_area(workspace)
    planned = workspace.planned("map")
    assert set(planned) >= RULES | {"released_mask", "composite_s2"}
    assert not {"segment", "assistant", "labels", "composite_s1"} & set(planned)
    files = [f"results/demo/map/2016/{name}.tif" for name in ("mask", "probability")]
    assert workspace.planned(files[0])["map_mosaic"] == 1
    assert "MissingRuleException" in workspace.snakemake("-n", files[1], succeeds=False)
