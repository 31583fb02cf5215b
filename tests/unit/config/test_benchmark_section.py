"""The benchmark's section of the configuration and its rows."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from smallmines.benchmark.split_files import splits_of
from smallmines.config.benchmark import CPU_ROWS, DEEP_ROWS, Benchmark, read_rows
from smallmines.config.parse import parse_config
from smallmines.core.errors import UserError
from smallmines.settings.benchmark import Forest, settings_of_row

BASE = {"run": "small", "years": {2016: {"start": "2016-01-01", "end": "2016-01-31"}}}


def only(name: str) -> Benchmark:
    """Return a section with one row."""
    return Benchmark(rows=(name,), deep_rows=())


def test_every_row_of_the_repository_is_valid(repository: Path) -> None:
    folder = repository / "config/benchmark"
    names: dict[bool, list[str]] = {False: [], True: []}
    for path in folder.glob("*.yaml"):
        for entry in yaml.safe_load(path.read_text())["variants"]:
            names[entry["model"]["kind"] == "network"].append(f"{path.stem}/{entry['variant']}")
    rows = read_rows(folder, Benchmark(rows=tuple(names[False]), deep_rows=tuple(names[True])))
    assert set(CPU_ROWS) < set(names[False])
    assert set(DEEP_ROWS) == set(names[True])
    assert [settings_of_row(row.values) for row in rows]
    published = {row.name: row for row in rows if row.variant == "as_published"}
    own = settings_of_row(published["random_forest_rgb_plus"].values)
    assert own == Forest(("B04", "B03", "B02", "B8A", "B11", "B12"), 300, None, 1, None, None)
    assert published["random_forest_rgb_plus"].memory_mb == 32_000
    assert published["random_forest_rgb"].published_iou == 0.4109
    fixed = settings_of_row(read_rows(folder, only("random_forest_rgb/fixed"))[0].values)
    assert fixed == Forest(("B04", "B03", "B02"), 300, None, 10, 100_000, 1_000_000)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("title: A\nvariants: []\n", "variants"),
        ("title: A\nvariants:\n- {variant: fixed, model: {kind: tree}, resources: {memory_mb: 500, threads: 1, minutes: 1}}\n", "model"),
        (
            "title: A\nvariants:\n- {variant: fixed, seeded: false, model: {kind: control, control: index, colour: red}, "
            "resources: {memory_mb: 500, threads: 1, minutes: 1}}\n",
            "colour",
        ),
        (
            "title: A\nvariants:\n- {variant: fixed, seeded: false, model: {kind: control, bands: [B1], control: index}, "
            "resources: {memory_mb: 500, threads: 1, minutes: 1}}\n",
            "bands",
        ),
    ],
)
def test_rows_that_are_none(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UserError, match=problem):
        read_rows(tmp_path, only("a/fixed"))


def test_rows_and_variants_that_are_not_there(repository: Path) -> None:
    with pytest.raises(UserError, match="boosting_13"):
        read_rows(repository / "config/benchmark", only("unet/fixed"))
    with pytest.raises(UserError, match="variants fixed of boosting_6"):
        read_rows(repository / "config/benchmark", only("boosting_6/as_published"))


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"rows": ["boosting_6"]}, "rows"),
        ({"rows": ["a/fixed", "a/fixed"]}, "stands twice"),
        ({"splits": ["random"]}, "splits"),
        ({"splits": ["released"]}, "released_splits"),
        ({"seeds": []}, "seeds"),
    ],
)
def test_sections_that_are_refused(section: dict[str, object], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        parse_config(BASE | {"benchmark": section})


def test_names_of_the_splits(tmp_path: Path) -> None:
    assert splits_of(["in_force", "spatial_block"], ["2016"], ["1"], None) == [
        "in_force",
        *(f"spatial_block_{fold}" for fold in range(1, 6)),
    ]
    assert splits_of(["years"], ["2016", "2020", "2022"], ["1"], None) == ["2016_to_2020", "2020_to_2016", "2020_to_2022", "2022_to_2020"]
    assert splits_of(["leave_block_out"], ["2016"], ["1", "2"], None) == ["leave_block_out_1", "leave_block_out_2"]
    for group in ("years", "leave_block_out"):
        with pytest.raises(UserError, match="several"):
            splits_of([group], ["2016"], ["1"], None)
    for year in (2016, 2022):
        (tmp_path / f"{year}/IMAGE").mkdir(parents=True)
    assert splits_of(["years"], [], [], str(tmp_path)) == ["2016_to_2022", "2022_to_2016"]
    assert len(splits_of(["leave_block_out"], [], [], str(tmp_path))) == 4
