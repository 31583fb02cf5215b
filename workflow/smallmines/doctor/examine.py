"""Run all checks of the doctor on a dataset's folder; write JSON, a page and contact sheets."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smallmines.core.files import write_json, written
from smallmines.core.finding import Finding
from smallmines.core.log import logger
from smallmines.core.product import IMAGE_NODATA
from smallmines.dataset.measured import Measured as Kept
from smallmines.dataset.measured import checksums_of
from smallmines.doctor import documents, duplicates, geometry, labels, leakage, radiometry, structure
from smallmines.doctor.correlations import KINDS
from smallmines.doctor.folder import Folder, read_folder, tile_names, tiles_of
from smallmines.doctor.measure import BANDS, AtHand, Measured, measure
from smallmines.settings.doctor import Doctor

SEVERITIES = ("error", "warning", "note")
KEPT = ("patch", *KINDS, labels.FOREST)
"""Kept measurements and sums that the doctor uses."""

SHEET = 24
"""Number of patches on a contact sheet."""

NAMED = 200
"""Maximum number of tiles that JSON and page name for a finding; the count is of all."""


@dataclass(frozen=True)
class Examined:
    """Findings, the most severe first, and measurements."""

    folder: Folder
    measured: Measured
    findings: list[Finding]
    shifts: list[dict[str, Any]]
    areas: dict[int, float]

    def count(self, severity: str) -> int:
        """Return the number of findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)


def examine(
    root: str | Path,
    limits: Doctor,
    threads: int = 1,
    on_progress: Callable[[int], None] = lambda count: None,
    kept: Kept | None = None,
) -> Examined:
    """Run all checks.

    Args:
        root: the dataset's folder.
        threads: processes that read, and threads of the forest.
        on_progress: called with the number of pairs read since the last call.
        kept: measurements, which are used for files whose bytes have their checksum; the findings are the same without.

    Raises:
        UserError: there is no patch in the folder.
    """
    folder = read_folder(root)
    groups = geometry.groups(folder)
    at_hand = _at_hand(folder, kept, threads)
    measured = measure(folder.root, folder.pairs, groups, limits, threads, on_progress, at_hand)
    logger.info("%d pairs measured", len(measured.table))
    by_group: dict[str, list[tuple[str, int]]] = {}
    for pair, group in groups.items():
        by_group.setdefault(group, []).append(pair)
    shifts = geometry.shifts(measured.spectra, limits)
    areas, contradicted = labels.contradictions(measured.pixels, threads, kept)
    findings = [
        *structure.check(folder, measured),
        *radiometry.check(folder, measured, limits),
        *geometry.check(shifts, {group: tile_names(pairs) for group, pairs in by_group.items()}, limits),
        *labels.check(folder, measured, limits),
        *labels.check_contradictions(areas, contradicted, limits),
        *duplicates.check(measured),
        *leakage.check(folder, leakage.splits_table(folder, measured), limits),
        *documents.check(folder, measured, at_hand.checksums, threads),
        *documents.private(folder, measured),
    ]
    findings.sort(key=lambda finding: (SEVERITIES.index(finding.severity), finding.family, finding.check, finding.found))
    for finding in findings:
        logger.info("%s: %s", finding.severity, line(finding))
    return Examined(folder, measured, findings, shifts, areas)


def _at_hand(folder: Folder, kept: Kept | None, threads: int) -> AtHand:
    """Return the measurements that may be used, by the checksums of the folder's files."""
    if kept is None or not kept.patches:
        return AtHand()
    names = [str(name) for kind in ("image", "mask") for name in folder.pairs[kind].dropna()]
    return AtHand(kept, checksums_of(folder.root, names, threads))


def line(finding: Finding) -> str:
    """Return a finding on one line."""
    where = f" [{', '.join(finding.tiles[:4])}{' …' if len(finding.tiles) > 4 else ''}]" if finding.tiles else ""
    return f"{finding.family}, {finding.check}: expected {finding.expected}; found {finding.found}; {finding.remedy}{where}"


def summary(examined: Examined) -> dict[str, Any]:
    """Return findings and measurements as written to JSON."""
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
    """Write findings as JSON and as one self-contained page with contact sheets of random and of the worst patches."""
    import jinja2

    report = summary(examined)
    write_json(json_out, report)
    loader = jinja2.FileSystemLoader(Path(__file__).with_name("templates"))
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, autoescape=True)
    sheets = [(heading, base64.b64encode(sheet).decode()) for heading, sheet in contact_sheets(examined)]
    text = environment.get_template("doctor.html.j2").render(title=title, report=report, sheets=sheets, shown=12)
    with written(page_out) as beside:
        beside.write_text(text, encoding="utf-8")


def contact_sheets(examined: Examined) -> list[tuple[str, bytes]]:
    """Return PNGs of a random choice of patches, and of those with most findings: image with the mask on it."""
    table = examined.measured.table
    if "image_count" not in table:
        return []
    readable = table[(table["image_error"] == "") & (table["image_count"] == BANDS)]
    names, rows = list(tiles_of(readable)), [{str(key): value for key, value in row.items()} for row in readable.to_dict("records")]
    if not rows:
        return []
    chosen = np.sort(np.random.default_rng(0).permutation(len(rows))[:SHEET]).tolist()
    sheets = [("Random patches", _sheet(examined, [rows[at] for at in chosen], {}))]
    weight: Counter[str] = Counter()
    reasons: dict[str, str] = {}
    for finding in examined.findings:
        if finding.severity != "note" and len(finding.tiles) < len(table) / 2:
            for name in finding.tiles:
                weight[name] += 3 if finding.severity == "error" else 1
                reasons.setdefault(name, finding.check)
    worst = [name for name, _ in sorted(weight.items(), key=lambda item: (-item[1], item[0])) if name in names][:SHEET]
    if worst:
        sheets.append(("Patches with most findings", _sheet(examined, [rows[names.index(name)] for name in worst], reasons)))
    return sheets


def _sheet(examined: Examined, rows: Sequence[dict[str, Any]], reasons: dict[str, str]) -> bytes:
    """Return a PNG of patches with their masks, in rows of eight."""
    from io import BytesIO

    import rasterio
    from rasterio.errors import RasterioError

    from smallmines.report import canvas
    from smallmines.report.pictures import RGB

    across = min(8, len(rows))
    down = -(-len(rows) // across)
    figure = canvas.figure(1.55 * across, 1.75 * down)
    for axes, row in zip(figure.subplots(down, across, squeeze=False).ravel(), [*rows, *[None] * (across * down - len(rows))], strict=True):
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
        except RasterioError:  # read well before: changed in the meantime
            continue
        name = f"{row['tile']} {row['year']}"
        canvas.show(axes, colours, "", 0)
        axes.set_title("\n".join(filter(None, (name, reasons.get(name, ""))))[:60], fontsize=7)
        axes.set_axis_off()
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
