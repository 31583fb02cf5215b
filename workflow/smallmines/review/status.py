"""How far people's labels are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smallmines import raster
from smallmines.config import Config, Transfer
from smallmines.labels.tables import VALIDATED
from smallmines.labels.tables import read as read_table
from smallmines.labels.transfer import FATES, settle
from smallmines.review.agreement import agreements
from smallmines.review.checkin import pending
from smallmines.review.checkout import Place
from smallmines.segments import read_features

if TYPE_CHECKING:
    import pandas as pd


def standing(config: Config, root: Path = Path()) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A row per year and block, and one per working copy.

    Raises:
        UserError: a year and block has no labels yet.
    """
    rows = []
    places = [Place(config, year, block, root) for year in config.year_names for block in config.blocks]
    for place in places:
        features = read_features(place.product("segments", "features.parquet"))
        decided = read_table(place.product("labels", ".parquet"), "labels")
        area = features["area"].to_numpy(float)
        seen = decided["provenance"].isin(VALIDATED).to_numpy()
        count = decided["provenance"].value_counts()
        rows.append(
            {
                "year": place.year,
                "block": place.block,
                "segments": len(decided),
                **{
                    name: int(count.get(name, 0)) for name in ("manual", "confirmed", "corrected", "adjudicated", "transferred", "disputed")
                },
                "open": int((decided["label"] < 0).sum()),
                "validated": float(area[seen].sum() / area.sum()),
            }
        )
    copies = []
    for path in sorted((root / "resources/user" / config.run / "work").glob("*/[0-9]*-[0-9]*.gpkg")):
        year, block = path.stem.split("-")[:2]
        copies.append({"copy": str(path), "not checked in": pending(path.parents[2], path, Place(config, year, block, root).events())})
    return rows, copies


def moved(
    config: Config, years: Sequence[str], blocks: Sequence[str], rule: Transfer, root: Path = Path()
) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """For each year and block with decisions: counts by fate and segments to review, and the lineage.

    Raises:
        UserError: a year and block has no segments yet.
    """
    found = []
    for year in years:
        for block in blocks:
            place = Place(config, year, block, root)
            path = place.product("segments", "segments.tif")
            with raster.opened(path) as source:
                here = settle(
                    place.events(),
                    read_features(place.product("segments", "features.parquet")),
                    lambda source=source: source.read(1),  # type: ignore[misc]
                    raster.geobox_of(source),
                    rule,
                )
            fates = here.lineage["fate"].value_counts()
            row = {"year": year, "block": block, "decisions": len(here.lineage), **{name: int(fates.get(name, 0)) for name in FATES}}
            found.append(({**row, "to review": len(here.review)}, here.lineage.assign(year=year, block=block)))
    return found


def agreed(config: Config, root: Path = Path()) -> list[dict[str, Any]]:
    """Agreement of each two people in the blind overlap of each year and block; none where nobody labelled it twice.

    Raises:
        UserError: a year and block has no segments yet.
    """
    import numpy as np
    import pandas as pd

    rows = []
    for year in config.year_names:
        for block in config.blocks:
            place = Place(config, year, block, root)
            paths = sorted((place.user / "overlap" / year).glob(f"{block}-*.csv"))
            if not paths:
                continue
            overlap = pd.concat([pd.read_csv(path, dtype={"key": np.uint64}) for path in paths], ignore_index=True)
            features = read_features(place.product("segments", "features.parquet"))
            for found in agreements(place.events(), features, overlap, config.labels.seed):
                values = {key: value for key, value in asdict(found).items() if key != "people"}
                rows.append({"year": year, "block": block, "people": ", ".join(found.people), **values})
    return rows
