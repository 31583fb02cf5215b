"""Paths of a run: those of `core.layout` are those of the rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from smallmines.core.layout import Layout, UserFolder

RULES = "".join(path.read_text(encoding="utf-8") for path in (Path(__file__).parents[3] / "workflow/rules").glob("*.smk"))
LAYOUT = Layout("small", Path("root"))
BLOCK_PRODUCTS = (
    Layout.s2,
    Layout.s1,
    Layout.clear,
    Layout.segments,
    Layout.features,
    Layout.samples,
    Layout.decisions,
    Layout.review,
    Layout.forest,
    Layout.forest_metrics,
    Layout.probabilities,
    Layout.labels,
    Layout.mask,
    Layout.index_rows,
)


@pytest.mark.parametrize("path_of", BLOCK_PRODUCTS, ids=lambda path_of: path_of.__name__)
def test_products_of_a_block_are_outputs_of_rules(path_of: object) -> None:
    assert callable(path_of)
    name = path_of(LAYOUT, "{year}", "{block}").relative_to(LAYOUT.results)
    assert f'"<results>/{name}"' in RULES


MEASURED = [LAYOUT.measured("{year}", "{block}", kind) for kind in ("IMAGE", "MASK")]


@pytest.mark.parametrize("path", [LAYOUT.grid, LAYOUT.splits, LAYOUT.split_report, LAYOUT.dem("{block}"), *MEASURED])
def test_products_of_the_run_are_outputs_of_rules(path: Path) -> None:
    assert f'"<results>/{path.relative_to(LAYOUT.results)}"' in RULES


def test_people_have_a_folder_per_run() -> None:
    assert LAYOUT.user == UserFolder(Path("root/resources/user/small"))
    assert LAYOUT.user.samples("2016", "1") == Path("root/resources/user/small/samples/2016/1")
    for kind in ("accuracy", "prevalence"):
        assert LAYOUT.user.references(kind, "2016", "1") == LAYOUT.user.pixel_sample(kind, "2016", "1").with_suffix("")
