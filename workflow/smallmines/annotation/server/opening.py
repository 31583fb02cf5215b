"""What a page needs to know of a block that it opens."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from smallmines.annotation.server.view.columns import tile_ids
from smallmines.annotation.server.view.layers import Layer, levels
from smallmines.annotation.server.view.pyramid import identity
from smallmines.core import raster
from smallmines.core.files import split_tag
from smallmines.core.layout import PixelSample
from smallmines.labels.tables import PROVENANCES

if TYPE_CHECKING:
    from smallmines.annotation.block_year import BlockYear
    from smallmines.annotation.server.edits.session import Session
    from smallmines.annotation.server.state import State
    from smallmines.annotation.working_copy import Kind
    from smallmines.config.sections import Config

LINKS = {
    "Google Earth": "https://earth.google.com/web/@{lat},{lon},0a,1500d,35y,0h,0t,0r",
    "Copernicus Browser": "https://browser.dataspace.copernicus.eu/?zoom=15&lat={lat}&lng={lon}&datasetId=S2_L2A_CDAS"
    "&fromTime={date}T00%3A00%3A00.000Z&toTime={date}T23%3A59%3A59.999Z",
}
"""Addresses of other views of a place, which people open themselves."""

DAY = re.compile(r"_(\d{4})(\d{2})(\d{2})T\d{6}")
"""Day of an image in the name of its product; the first is that of the image, a later one that of the processing."""


def kinds_of(config: Config, year: str) -> tuple[Kind, ...]:
    """Return the kinds of work of a year."""
    segments: tuple[Kind, ...] = ("review", "adjudication") if config.labels.source != "released_masks" else ()
    samples: tuple[PixelSample, ...] = ("accuracy",)
    if config.assistant.prevalence == "sample":
        samples += ("prevalence",)
    if year != config.year_names[0]:
        samples += ("change_before", "change_after")
    return (*segments, *samples)


def days_of(block_year: BlockYear) -> list[str]:
    """Return the days of the images of a composite, as 2022-01-31; none where it is missing, or its images have no days in their names."""
    path = block_year.layout.s2(block_year.year, block_year.block)
    if not path.is_file():
        return []
    with raster.opened(path) as source:
        items = split_tag(source.tags().get("ITEMS", ""))
    return sorted({"-".join(day.groups()) for item in items if (day := DAY.search(item))})


def _layer(layer: Layer) -> dict[str, str]:
    """Return a layer as the page knows it; its version changes with the image."""
    return {"id": layer.id, "title": layer.title, "year": layer.year, "style": layer.style, "version": identity(layer.path)}


def document_of(state: State, session: Session) -> dict[str, Any]:
    """Return what a page needs to show a session: its grid, tiles, layers, links and the days of the images, and what is done of it."""
    place = session.block_year
    geobox = place.lattice.block(place.block)
    own, snapshot = state.journal.state(session), session.snapshot
    side = place.lattice.tile_size
    cells = place.lattice.cells_of(place.block)
    corners = zip(cells["tile_id"], cells["y"].tolist(), cells["x"].tolist(), strict=True)
    placed = {tile: {"row": row, "col": col} for tile, row, col in corners}
    return {
        "session": session.id,
        "year": place.year,
        "block": place.block,
        "kind": session.about.kind,
        "digest": session.products,
        "shape": list(geobox.shape),
        "resolution": abs(geobox.resolution.x),
        "transform": list(geobox.transform)[:6],
        "crs": str(geobox.crs),
        "levels": levels(tuple(geobox.shape)),
        "segments": len(session.keys),
        "threshold": snapshot.threshold if snapshot else None,
        "provenances": list(PROVENANCES),
        "layers": [_layer(layer) for layer in state.layers(session).values()],
        "tiles": [{"tile_id": tile, **placed[tile], "size": side} for tile in tile_ids(session)],
        "links": LINKS,
        "days": {year: days_of(state.block_year(year, place.block)) for year in state.config.year_names},
        "own": {"pending": own.pending},
        "done_tiles": list(own.done),
        "queue": len(session.queue),
        "suggests": session.about.kind == "review",
        "changed": session.changed,
    }
