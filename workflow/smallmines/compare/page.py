"""Page of a comparison with the release: what was reproduced, tile by tile and band by band, and what was not."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smallmines.compare.origin import Record, read_record, released_record
from smallmines.compare.run import Comparison, compare_folders
from smallmines.compare.tiles import VERDICTS, percent
from smallmines.core.files import read_json, written
from smallmines.report.html import environment

PROVES_NOTHING = (
    "The labels of this dataset come from the release. Comparing its masks with those of the release proves nothing, but for the tiles "
    "that are held out: these have the word of the forest alone."
)
COPIED = "The masks of this dataset are those of the release. Comparing them with it proves nothing."


@dataclass(frozen=True)
class About:
    """What the page must know of the run.

    Attributes:
        source: `labels.source`.
        hold_out: `released.hold_out`.
        seed: `labels.seed`.
        user_folder: people's files.
        title: of the dataset.
    """

    source: str
    hold_out: float
    seed: int
    user_folder: str
    title: str


def compare_with_release(
    dataset: str | Path, images: str | Path, grid: str | Path, release: str | Path | None, about: About, threads: int, page: str | Path
) -> None:
    """Compare the dataset with the release; write `compare.json`, `compare.csv` and the maps beside the page, and the page.

    Args:
        dataset: folder of our dataset.
        images: JSON of the rule `released_images`.
        grid: `grid.json`.
        release: `release.json`, None where people made the labels.

    Raises:
        UserError: see `compare_folders`.
    """
    place = read_json(images)
    if release is None:
        record: Record = read_record(Path(about.user_folder))
    else:
        record = released_record(release, grid, about.hold_out if about.source == "released_samples" else 0.0, about.seed)
    comparison = compare_folders(Path(dataset), Path(place["folder"]), record, Path(page).parent, threads)
    write_page(comparison, place, about, page)


def write_page(comparison: Comparison, place: Mapping[str, Any], about: About, target: str | Path) -> None:
    """Write the page.

    Args:
        place: content of the JSON of the rule `released_images`.
    """
    note = {"released_samples": PROVES_NOTHING, "released_masks": COPIED}.get(about.source, "")
    pictures = {year: base64.b64encode(path.read_bytes()).decode() for year, path in comparison.maps.items()}
    years = comparison.document["years"] if comparison.document["with"] == "patches" else {}
    text = (
        environment(Path(__file__).with_name("templates"))
        .get_template("compare.html.j2")
        .render(
            title=about.title,
            place=place,
            note=note,
            years={year: in_words(values) for year, values in years.items()},
            tables=comparison.tables,
            tiles=comparison.tiles,
            messages=comparison.messages,
            pictures=pictures,
        )
    )
    with written(target) as beside:
        beside.write_text(text, encoding="utf-8")


def in_words(values: Mapping[str, Any]) -> list[str]:
    """Return sentences on what of a year was reproduced and what was not.

    Args:
        values: of the year, as `differences.pooled` returns them, with `images` (tiles by verdict), `only_ours` and `only_published`.
    """
    images = [f"{values['images'][name]} {words}" for name, words in VERDICTS.items() if values["images"].get(name)]
    sentences = [
        f"Images of {values['tiles']} tiles: {', '.join(images)}. Tiles without a partner: {values['only_ours']} of ours, "
        f"{values['only_published']} of the release."
    ]
    shares = {band: row["equal"] for band, row in values["bands"].items() if row["equal"] is not None}
    same = [band for band, share in shares.items() if share == 1]
    if same:
        sentences.append(f"Reproduced in every pixel: {', '.join(same)}.")
    if rest := {band: share for band, share in shares.items() if share < 1}:
        listed = ", ".join(f"{band} {percent(share)}" for band, share in rest.items())
        sentences.append(f"Not reproduced in every pixel; share of equal pixels: {listed}.")
    if missing := [band for band in values["bands"] if band not in shares]:
        sentences.append(f"Not compared, since no tile has both on one grid: {', '.join(missing)}.")
    return sentences
