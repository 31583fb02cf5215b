"""The configuration: accepted and refused values, messages, schema and table of the keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from smallmines.config.documentation import keys_table, schema
from smallmines.config.parse import parse_config
from smallmines.core.errors import UserError
from smallmines.core.product import PATCH_BANDS

MINIMAL: dict[str, Any] = {"run": "x", "years": {2016: {"start": "2016-01-01", "end": "2016-01-31"}}}


@pytest.mark.parametrize("name", ["config", "demo"])
def test_shipped_configurations_are_valid(repository: Path, name: str) -> None:
    cfg = parse_config(yaml.safe_load((repository / f"config/{name}.yaml").read_text()))
    assert cfg.year_names == ["2016", "2022"]
    assert cfg.blocks == ["1", "2", "3", "4"]
    assert cfg.sentinel2.radiometry == "dn_plus1000"


def test_production_configuration_is_smallminesds(repository: Path) -> None:
    cfg = parse_config(yaml.safe_load((repository / "config/config.yaml").read_text()))
    assert (cfg.country, cfg.grid.crs, cfg.grid.resolution, cfg.grid.tile_size) == ("GH", "EPSG:32630", 10, 128)
    assert (cfg.grid.anchor.x, cfg.grid.anchor.y, cfg.grid.expected_tiles) == (586600, 729640, 2135)
    assert len(cfg.aoi.names) == 5
    assert len(PATCH_BANDS) == 13


def test_schema_is_the_one_checked_in(repository: Path) -> None:
    assert (repository / "workflow/schemas/config.schema.json").read_text() == schema()


def test_every_key_is_described_and_the_readme_says_the_same(repository: Path) -> None:
    assert keys_table() in (repository / "config/README.md").read_text()
    assert "None" not in keys_table()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("sentinel2", "radiometrie"), "native", "the nearest known one is `radiometry`"),
        (("grid", "anchor", "xx"), 1, "the nearest known one is `x`"),
        (("yers",), {}, "the nearest known one is `years`"),
        (("years", 2016, "begin"), 1, "years.2016.begin: unknown key"),
        (("sentinel2", "radiometry"), "dn", "sentinel2.radiometry"),
        (("sentinel2", "masked_classes"), [12], "sentinel2.masked_classes.0"),
        (("assistant", "threshold"), 1.5, "assistant.threshold"),
        (("aoi", "source"), "geoboundaries", "needs aoi.names"),
        (("grid", "source"), "file", "needs grid.file"),
        (("grid", "source"), "released_folder", "needs grid.folder"),
        (("run",), "../up", "run"),
    ],
)
def test_refusals_name_the_key(path: tuple[Any, ...], value: Any, message: str) -> None:
    values: dict[str, Any] = yaml.safe_load(yaml.safe_dump(MINIMAL))
    section = values
    for part in path[:-1]:
        section = section.setdefault(part, {})
    section[path[-1]] = value
    with pytest.raises(UserError, match="expected") as caught:
        parse_config(values)
    assert message in caught.value.found


def test_dates_in_the_wrong_order() -> None:
    values = MINIMAL | {"years": {2016: {"start": "2016-02-01", "end": "2016-01-01"}}}
    with pytest.raises(UserError) as caught:
        parse_config(values)
    assert "end 2016-01-01 lies before start 2016-02-01" in caught.value.found
