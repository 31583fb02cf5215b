"""The doctor: all checks on a dataset's folder, as findings, JSON, a page and contact sheets."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smallmines.core.files import write_json, written
from smallmines.core.log import logger
from smallmines.doctor import apart, documents, geometry, labels, radiometry, structure
from smallmines.doctor.folder import Finding, Folder, read_folder
from smallmines.doctor.measure import BANDS, Measured, measure
from smallmines.settings.doctor import Doctor

SEVERITIES = ("error", "warning", "note")
SHEET = 24
"""Patches of a contact sheet."""

NAMED = 200
"""Tiles of a finding that JSON and page name; the count is always whole."""


@dataclass(frozen=True)
class Examined:
    """What the doctor found, the gravest first, and what it measured."""

    folder: Folder
    measured: Measured
    findings: list[Finding]
    shifts: list[dict[str, Any]]
    areas: dict[int, float]

    def count(self, severity: str) -> int:
        """Number of findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)


def examine(root: str | Path, limits: Doctor, threads: int = 1, tell: Callable[[int], None] = lambda count: None) -> Examined:
    """Look at everything.

    Args:
        root: the dataset's folder.
        threads: processes that read, and threads of the forest.
        tell: called with the number of pairs read since the last call.

    Raises:
        UserError: there is no patch in the folder.
    """
    folder = read_folder(root)
    groups = geometry.groups(folder)
    measured = measure(folder.root, folder.pairs, groups, limits, threads, tell)
    logger.info("%d pairs measured", len(measured.table))
    by_group: dict[str, list[str]] = {}
    for (tile, year), group in groups.items():
        by_group.setdefault(group, []).append(f"{tile} {year}")
    shifts = geometry.shifts(measured, limits)
    areas, contradicted = labels.noise(measured.pixels, threads)
    findings = [
        *structure.check(folder, measured),
        *radiometry.check(folder, measured, limits),
        *geometry.check(shifts, {group: tuple(names) for group, names in by_group.items()}, limits),
        *labels.check(folder, measured, limits),
        *labels.check_noise(areas, contradicted, limits),
        *apart.duplicates(measured),
        *apart.leaks(folder, apart.splits_table(folder, measured), limits),
        *documents.check(folder, measured),
        *documents.private(folder, measured),
    ]
    findings.sort(key=lambda one: (SEVERITIES.index(one.severity), one.family, one.check, one.found))
    for finding in findings:
        logger.info("%s: %s", finding.severity, line(finding))
    return Examined(folder, measured, findings, shifts, areas)


def line(finding: Finding) -> str:
    """A finding on one line."""
    where = f" [{', '.join(finding.tiles[:4])}{' …' if len(finding.tiles) > 4 else ''}]" if finding.tiles else ""
    return f"{finding.family}, {finding.check}: expected {finding.expected}; found {finding.found}; {finding.remedy}{where}"


def summary(examined: Examined) -> dict[str, Any]:
    """All that was found, as JSON has it."""
    findings = []
    for finding in examined.findings:
        findings.append({**asdict(finding), "tiles": list(finding.tiles[:NAMED]), "count": len(finding.tiles)})
    return {
        "pairs": len(examined.measured.table),
        "tiles": int(examined.measured.table["tile"].nunique()),
        "years": sorted(int(year) for year in examined.measured.table["year"].unique()),
        "counts": {severity: examined.count(severity) for severity in SEVERITIES},
        "findings": findings,
        "shifts": examined.shifts,
        "label_auc": {str(year): round(area, 4) for year, area in examined.areas.items()},
    }


def write(examined: Examined, title: str, json_out: str | Path, page_out: str | Path) -> None:
    """Write what was found as JSON and as one self-contained page with contact sheets of random and of the worst patches."""
    import jinja2

    told = summary(examined)
    write_json(json_out, told)
    loader = jinja2.FileSystemLoader(Path(__file__).with_name("templates"))
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, autoescape=True)
    sheets = [(what, base64.b64encode(sheet).decode()) for what, sheet in contact_sheets(examined)]
    text = environment.get_template("doctor.html.j2").render(title=title, told=told, sheets=sheets, shown=12)
    with written(page_out) as beside:
        beside.write_text(text, encoding="utf-8")


def contact_sheets(examined: Examined) -> list[tuple[str, bytes]]:
    """PNG of a random choice of patches, and of those with most findings: image with the mask on it."""
    table = examined.measured.table
    if "image_count" not in table:
        return []
    good = table[(table["image_error"] == "") & (table["image_count"] == BANDS)]
    names, rows = list(structure.names(good)), [{str(key): value for key, value in row.items()} for row in good.to_dict("records")]
    if not rows:
        return []
    chosen = np.sort(np.random.default_rng(0).permutation(len(rows))[:SHEET]).tolist()
    sheets = [("Random patches", _sheet(examined, [rows[at] for at in chosen], {}))]
    weight: Counter[str] = Counter()
    why: dict[str, str] = {}
    for finding in examined.findings:
        if finding.severity != "note" and len(finding.tiles) < len(table) / 2:
            for name in finding.tiles:
                weight[name] += 3 if finding.severity == "error" else 1
                why.setdefault(name, finding.check)
    worst = [name for name, _ in sorted(weight.items(), key=lambda one: (-one[1], one[0])) if name in names][:SHEET]
    if worst:
        sheets.append(("Patches with most findings", _sheet(examined, [rows[names.index(name)] for name in worst], why)))
    return sheets


def _sheet(examined: Examined, rows: Sequence[dict[str, Any]], why: dict[str, str]) -> bytes:
    from io import BytesIO

    import rasterio
    from rasterio.errors import RasterioError

    from smallmines.dataset.patches import IMAGE_NODATA
    from smallmines.report import canvas
    from smallmines.report.pictures import RGB

    across = min(8, len(rows))
    down = -(-len(rows) // across)
    made = canvas.figure(1.55 * across, 1.75 * down)
    for axes, row in zip(made.subplots(down, across, squeeze=False).ravel(), [*rows, *[None] * (across * down - len(rows))], strict=True):
        axes.set_axis_off()
        if row is None:
            continue
        try:
            with rasterio.open(examined.folder.root / row["image"]) as source:
                bands = source.read(list(RGB))
            valid = (bands != IMAGE_NODATA).all(axis=0) & np.isfinite(bands).all(axis=0)
            colours = canvas.stretched(bands, valid, gamma=canvas.GAMMA)
            if row["mask"] is not None and row.get("mask_error") == "":
                with rasterio.open(examined.folder.root / row["mask"]) as source:
                    mask = source.read(1)
                if mask.shape == colours.shape[:2]:
                    colours = canvas.masked(colours, mask)
        except RasterioError:  # it could be read a minute ago
            continue
        name = f"{row['tile']} {row['year']}"
        canvas.show(axes, colours, "", 0)
        axes.set_title("\n".join(filter(None, (name, why.get(name, ""))))[:60], fontsize=7)
        axes.set_axis_off()
    buffer = BytesIO()
    made.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
