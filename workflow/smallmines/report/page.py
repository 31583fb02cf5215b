"""The page that a data user reads first: one HTML file with all its pictures in it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from smallmines.core.files import read_json, sha256, written
from smallmines.dataset.documents import cite, interval, licence_address, number
from smallmines.labels.tables import PROVENANCES
from smallmines.settings.publish import Page

PICTURES = {
    "splits": ("Tiles by split", "Which tiles train, val and test are, and how much of the test place and year alone would tell."),
    "overview": ("Mining by tile", "Share of mining in each tile, and the blocks, each of which has a forest of its own."),
    "change": ("Change", "What became of the share of mining in each tile: orange more, violet less."),
    "examples": ("Examples", "The tiles with most mining: the image, and the mask on it."),
    "class_share": ("How much mining", "By block and year, and how many tiles have how much. Most have none or little."),
    "radiometry": ("Radiometry", "Values of each band in each year: years of one radiometry lie at the same height."),
    "labels": ("Labels", "Where labels come from, how well people agree, how right the masks are."),
    "metrics": ("The forests", "Cross-validated over tiles; what people looked at since is not in it."),
}
"""Heading and caption by picture, in the order of the page."""


def write_page(
    facts: str | Path, doctor: str | Path, sums: str | Path, pictures: Sequence[str | Path], about: Page, target: str | Path
) -> None:
    """Write the page.

    Args:
        facts, doctor: facts.json and doctor.json.
        sums: SHA256SUMS, whose own checksum names this state of the dataset.
        pictures: PNG files whose names begin with those of `PICTURES`.
    """
    import jinja2

    known: Mapping[str, Any] = read_json(facts)
    loader = jinja2.FileSystemLoader(Path(__file__).with_name("templates"))
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, autoescape=True)
    environment.filters |= {"num": number, "interval": interval}
    figures = []
    for name, (heading, caption) in PICTURES.items():
        own = sorted(Path(path) for path in pictures if Path(path).stem.startswith(name))
        figures.append((name, heading, caption, [(path.stem, base64.b64encode(path.read_bytes()).decode()) for path in own]))
    text = environment.get_template("page.html.j2").render(
        facts=known,
        about=about,
        doctor=read_json(doctor),
        figures=figures,
        provenances=[name for name in PROVENANCES if any(one["provenance"].get(name) for one in known["years"].values())],
        attributions=[line.format(years=" and ".join(known["years"])) for line in about.attributions],
        licence=licence_address(about.license),
        cite=cite(known, about),
        seal=sha256(sums),
    )
    with written(target) as beside:
        beside.write_text(text, encoding="utf-8")
