"""Write the table of the benchmark: `table.parquet`, and one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from smallmines.benchmark.figures import examples_figure, reliability_figure, scores_figure
from smallmines.benchmark.intervals import APPROXIMATE
from smallmines.benchmark.metrics import SIZES
from smallmines.benchmark.pack import Pack
from smallmines.benchmark.split_names import group_of
from smallmines.benchmark.table import Score, reliabilities, table_of
from smallmines.core.errors import UserError
from smallmines.core.files import written
from smallmines.report import canvas
from smallmines.report.html import environment

SHOWN = ("precision", "recall", "iou", "dice")
"""Columns of Table I of the paper."""

MORE = ("boundary_iou", "median_iou", "false_mines_km2", "area_ratio", "calibration_error", *(f"found_{size}" for size in SIZES))
PUBLISHED_SPLIT = "released"
"""Only beside this split do the published numbers stand: they are of its test."""

HEADINGS: Mapping[str, str] = {
    "in_force": "The dataset's own split",
    "released": "The released split",
    "paper_histogram": "Split by histogram, as in the release",
    "spatial_block": "Five folds of spatial blocks",
    "leave_block_out": "Each geographic block left out",
}


@dataclass(frozen=True)
class RowTitle:
    """What the page says of a row and variant.

    Attributes:
        published_iou: in Table I of the paper, or None.
        prompted: whether the model is told points of the truth, in the test too.
    """

    row: str
    variant: str
    title: str
    note: str
    published_iou: float | None
    prompted: bool = False

    @property
    def full(self) -> str:
        """Title with the variant where it is that of the release, and with a mark where the model is told the truth."""
        return self.title + (" (as published)" if self.variant == "as_published" else "") + (", told the truth" if self.prompted else "")


def write_table(
    pack_folder: str | Path, scores: Sequence[Score], rows: Sequence[RowTitle], title: str, table_out: str | Path, page_out: str | Path
) -> None:
    """Write the table as Parquet, and the page with tables, plots, examples and footnotes.

    Raises:
        UserError: no row to show.
    """
    import matplotlib as mpl

    if not scores:
        raise UserError("rows and splits of the benchmark", "none", "name some in benchmark.rows (deep_rows) and benchmark.splits")
    pack = Pack.open(pack_folder)
    table = table_of(pack, scores, {(row.row, row.variant) for row in rows if row.prompted})
    with written(table_out) as beside:
        table.to_parquet(beside, index=False)
    template = environment(Path(__file__).with_name("templates")).get_template("table.html.j2")
    with mpl.rc_context(canvas.STYLE):
        shown = content(pack, table, scores, rows, title)
    with written(page_out) as beside:
        beside.write_text(template.render(**shown), encoding="utf-8")


def content(pack: Pack, table: pd.DataFrame, scores: Sequence[Score], rows: Sequence[RowTitle], title: str) -> dict[str, Any]:
    """Return what the template shows."""
    titles = {(row.row, row.variant): row.full for row in rows}
    scored = table[table["stopped"] == ""]
    splits = list(dict.fromkeys(scored["split"]))
    stopped = table[table["stopped"] != ""].drop_duplicates(["row", "variant"])
    return {
        "title": title,
        "tiles": len(pack),
        "years": sorted(set(pack.years.tolist())),
        "radiometry": pack.about["radiometry"],
        "approximate": APPROXIMATE,
        "splits": [split_content(scored[scored["split"] == split], split, rows) for split in splits],
        "sizes": list(SIZES),
        "stopped": [(titles[row["row"], row["variant"]], row["stopped"]) for row in stopped.to_dict("records")],
        "notes": [(row.full, row.note) for row in rows if row.note],
        "scores": scores_figure(table, titles, "val") if splits else None,
        "reliability": reliability_figure(reliabilities(scores), titles, splits[-1]) if splits else None,
        "reliability_split": heading(splits[-1]) if splits else "",
        "examples": examples(pack, scores, titles, splits[-1]) if splits else [],
        "examples_split": heading(splits[-1]) if splits else "",
    }


def heading(split: str) -> str:
    """Return the name of a split on the page."""
    return HEADINGS.get(split, split.replace("_", " "))


def split_content(table: pd.DataFrame, split: str, rows: Sequence[RowTitle]) -> dict[str, Any]:
    """Return the lines of a split's tables."""
    blocks = int(table["blocks"].max())
    lines = []
    for row in rows:
        own = table[(table["row"] == row.row) & (table["variant"] == row.variant)]
        if len(own):
            lines.append(line(own, row, split))
    return {
        "heading": heading(split),
        "name": split,
        "lines": lines,
        "blocks": blocks,
        "tiles": int(table["tiles"].max()),
        "mines": int(table["mines"].max()),
        "is_approximate": blocks < APPROXIMATE,
        "published": split == PUBLISHED_SPLIT,
    }


def line(own: pd.DataFrame, row: RowTitle, split: str) -> dict[str, Any]:
    """Return a line: the first seed at both thresholds, and the range of the IoU over seeds."""
    half, val = (own[own["threshold"] == threshold] for threshold in ("half", "val"))
    first = {name: {str(key): value for key, value in part.iloc[0].items()} for name, part in (("half", half), ("val", val))}
    return {
        "title": row.full,
        "published_iou": row.published_iou if split == PUBLISHED_SPLIT else None,
        "half": {name: text(first["half"][name]) for name in SHOWN},
        "val": {name: text(first["val"][name]) for name in SHOWN},
        "interval": interval(first["val"], "iou"),
        "interval_half": interval(first["half"], "iou"),
        "difference": difference(first["val"]),
        "least": f"{first['val']['least'] / 255:.2f}",
        "seeds": f"{val['iou'].min():.3f}–{val['iou'].max():.3f} ({len(val)})" if len(val) > 1 else "",
        "more": {name: text(first["val"][name], 2) for name in MORE},
    }


def text(value: float, digits: int = 3) -> str:
    """Return a number as text; a dash where it has no meaning."""
    return f"{value:.{digits}f}" if np.isfinite(value) else "–"


def interval(record: Mapping[str, Any], name: str) -> str:
    """Return the 95 % interval of a score as text."""
    low, high = record[f"{name}_low"], record[f"{name}_high"]
    return f"{low:.3f}–{high:.3f}" if np.isfinite(low) else "–"


def difference(record: Mapping[str, Any]) -> str:
    """Return the difference of the IoU to the best row of the split, with its paired interval; a dash where it is not compared."""
    if not np.isfinite(record.get("difference", np.nan)):
        return "–"
    low, high = (record.get(f"difference_{end}", np.nan) for end in ("low", "high"))
    if not np.isfinite(low):
        return "best" if record["difference"] == 0 else f"{record['difference']:+.3f}"
    return f"{record['difference']:+.3f} ({low:+.3f} to {high:+.3f})"


def examples(pack: Pack, scores: Sequence[Score], titles: Mapping[tuple[str, str], str], split: str) -> list[tuple[str, str]]:
    """Return titles and figures of the examples of each row, from the first of its fitted rows in a group of splits."""
    shown_rows: dict[tuple[str, str], str | None] = {}
    for score in scores:
        if group_of(score.split) == split and shown_rows.get((score.row, score.variant)) is None:
            shown_rows[score.row, score.variant] = examples_figure(pack, score)
    return [(titles[key], figure) for key, figure in shown_rows.items() if figure is not None]
