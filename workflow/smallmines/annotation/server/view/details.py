"""What the page tells of a segment: place and size, what the forest says and why, what became of it in the other years."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio.windows import Window

from smallmines.annotation.server.view.feature_rows import feature_rows
from smallmines.annotation.server.view.places import Box, box_of, pixels_at, row_of
from smallmines.core import raster
from smallmines.core.crs import DEGREES, transformer
from smallmines.core.errors import UserError
from smallmines.core.files import read_json
from smallmines.core.product import CLASSES

if TYPE_CHECKING:
    import pandas as pd

    from smallmines.annotation.server.edits.session import Session
    from smallmines.annotation.server.edits.snapshot import Snapshot

REASONS = 6
"""Features that are shown, those with the largest importance."""

LABELS = {0: "not_mining", 1: "mining", -1: "unsure", 255: "open"}
"""Labels by their number in tables and masks."""


def details(session: Session, segment: int) -> dict[str, Any]:
    """Return what is shown of a segment, or of a point of a sample, as JSON-able values.

    Nothing of the map is in the details of a sample's point. In the blind overlap `previous` is empty. Shares, probabilities and features
    without a value are None.

    Raises:
        UserError: there is no such segment or point.
    """
    if session.snapshot is None:
        return _of_point(session, segment)
    snapshot, table = session.snapshot, session.snapshot.table
    row = table.iloc[row_of(table, segment)]
    asked = _asked(session.queue, segment)
    at_row, at_col = pixels_at(snapshot.geobox, row["x"], row["y"])
    box = box_of(snapshot.segments, segment, int(at_row), int(at_col))
    blind = segment - 1 in session.blind
    return {
        **_place(session, row, segment, int(row["area"])),
        "box": list(box),
        "prediction": CLASSES[int(row["predicted"])],
        "probability": round(float(row["probability"]), 4),
        "threshold": snapshot.threshold,
        "why": "" if asked is None else str(asked["why"]),
        "reasons": _reasons(snapshot, segment),
        "other_years": _other_years(session, segment, box, (int(at_row), int(at_col))),
        "previous": "" if blind or row["provenance"] == "predicted" else f"{LABELS[int(row['label'])]} ({row['provenance']})",
        "opinions": "" if asked is None or blind else str(asked["opinions"]),
    }


def _of_point(session: Session, number: int) -> dict[str, Any]:
    asked = _asked(session.queue, number)
    if asked is None:
        raise UserError("a point of the sample", f"{number}", "choose another")
    place = _place(session, asked, number, 1)
    row, col = place["row"], place["col"]
    texts = dict.fromkeys(("prediction", "previous", "opinions"), "")
    nothing: dict[str, Any] = {"probability": None, "threshold": None, "reasons": [], "other_years": []}
    return {**place, "box": [row, col, row + 1, col + 1], "why": str(asked["why"]), **texts, **nothing}


def _asked(queue: pd.DataFrame, segment: int) -> pd.Series | None:
    """Return the row of the queue with a segment."""
    at = np.flatnonzero(queue["segment"].to_numpy() == segment)
    return queue.iloc[at[0]] if len(at) else None


def _place(session: Session, row: pd.Series, segment: int, area: int) -> dict[str, Any]:
    """Return where a segment or point is; `row` has key, tile_id, x, y."""
    geobox = session.block_year.lattice.block(session.about.block)
    x, y = float(row["x"]), float(row["y"])
    at_row, at_col = pixels_at(geobox, row["x"], row["y"])
    lon, lat = transformer(str(geobox.crs), DEGREES).transform(x, y)
    hectares = area * abs(geobox.transform.a * geobox.transform.e) / 10_000
    return {
        "segment": segment,
        "key": str(int(row["key"])),
        "tile": str(row["tile_id"]),
        "area_px": area,
        "area_ha": round(hectares, 4),
        "row": int(at_row),
        "col": int(at_col),
        "lon": round(float(lon), 6),
        "lat": round(float(lat), 6),
    }


def _reasons(snapshot: Snapshot, segment: int) -> list[dict[str, Any]]:
    """Return the features that count most in the block's forest: value of the segment, medians of what is predicted mining and not."""
    importances: dict[str, float] = read_json(snapshot.folder / "metrics.json").get("importances", {})
    features = feature_rows(snapshot)
    largest = sorted((name for name in importances if name in features.names), key=lambda name: -importances[name])[:REASONS]
    return [
        {
            "feature": name,
            "value": _number(features.values[segment - 1, at]),
            "mining": _number(features.medians[1, at]),
            "other": _number(features.medians[0, at]),
            "importance": round(float(importances[name]), 4),
        }
        for name, at in ((name, features.names.index(name)) for name in largest)
    ]


def _number(value: float) -> float | None:
    """Return a number with four significant digits; None where there is none."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _other_years(session: Session, segment: int, box: Box, pixel: tuple[int, int]) -> list[dict[str, Any]]:
    """Return of each other year the mask's label at the interior point, and the share of mining in the segment's pixels with a label."""
    assert session.snapshot is not None
    block_year = session.block_year
    inside = session.snapshot.segments[box[0] : box[2], box[1] : box[3]] == segment
    years = []
    for year in block_year.config.year_names:
        path = block_year.layout.mask(year, block_year.block)
        if year == block_year.year or not path.is_file():
            continue
        with raster.opened(path) as source:
            raster.require_grid(source, session.snapshot.geobox)
            mask = source.read(1, window=Window(box[1], box[0], box[3] - box[1], box[2] - box[0]))
        values = mask[inside]
        labelled = values[values <= 1]
        share = round(float(labelled.mean()), 4) if len(labelled) else None
        at = int(mask[pixel[0] - box[0], pixel[1] - box[1]])
        years.append({"year": year, "label": LABELS[at], "mining_share": share})
    return years
