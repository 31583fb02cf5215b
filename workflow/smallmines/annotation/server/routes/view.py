"""Routes of what a session shows: tiles of images and segments, columns, queue, details of a segment, files for Google Earth."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from smallmines.annotation.server.guard import Refusal
from smallmines.annotation.server.routes.answers import CHECKED, LASTING, bytes_answer, json_answer, plain
from smallmines.annotation.server.routes.inputs import TILE, body_of, number_of, whole_number_of
from smallmines.annotation.server.routes.routing import Asked, Path
from smallmines.annotation.server.state import in_thread
from smallmines.annotation.server.view import columns, details, grow, kmz, label_tiles, layers
from smallmines.annotation.server.view.pyramid import identity

if TYPE_CHECKING:
    import pandas as pd
    from starlette.responses import Response

    from smallmines.annotation.server.edits.session import Session
    from smallmines.annotation.server.edits.snapshot import Snapshot

DEEPEST, FARTHEST = 30, 1_000_000
"""Bounds of the level, and of the column and row of a tile, before the pyramid is asked."""

STATIC_COLUMNS = ("prediction", "probability", "label", "provenance", "tile")
"""Columns that do not change as long as the products stay."""


def snapshot_of(session: Session) -> Snapshot:
    """Return the products that a session shows.

    Raises:
        Refusal: it is about single pixels and has none (404).
    """
    if session.snapshot is None:
        raise Refusal(404, "a session about segments", f"one about pixels ({session.about.kind})", "reload the page")
    return session.snapshot


def _kept(asked: Asked, version: str) -> str:
    """Return how long an answer may be kept: for good where the address names the version of its content."""
    return LASTING if asked.request.query_params.get("v") == version else CHECKED


def _place(asked: Asked) -> tuple[int, int, int]:
    return asked.number("z", 0, DEEPEST), asked.number("x", 0, FARTHEST), asked.number("y", 0, FARTHEST)


async def layer_tile(asked: Asked) -> Response:
    """Return a tile of a layer as a picture."""
    state, place, name = asked.state, _place(asked), asked.request.path_params["layer"]

    def made(session: Session) -> tuple[layers.Tile, str]:
        layer = state.layers(session).get(name)
        if layer is None:
            raise Refusal(404, "a layer of the session", "none of this name", "reload the page")
        return layers.tile(layer, *place, state.cache), identity(layer.path)

    tile, version = await asked.shown(made)
    return bytes_answer(asked.request, tile.body, tile.media_type, {"etag": tile.etag, "cache-control": _kept(asked, version)})


async def segment_tile(asked: Asked) -> Response:
    """Return a tile of the label raster, deflated."""
    place, cache = _place(asked), asked.state.cache

    def made(session: Session) -> tuple[layers.Tile, str]:
        return label_tiles.label_tile(snapshot_of(session), *place, cache), session.products

    tile, version = await asked.shown(made)
    headers = {"etag": tile.etag, "cache-control": _kept(asked, version), "content-encoding": "deflate"}
    return bytes_answer(asked.request, tile.body, tile.media_type, headers)


async def column(asked: Asked) -> Response:
    """Return a number for each segment of a session."""
    state, name = asked.state, asked.request.path_params["name"]

    def made(session: Session) -> tuple[bytes, str]:
        if name == "suggestion":
            snapshot_of(session)
            return state.learner(session).suggestion(session), ""
        return columns.column(session, name, state.journal.state(session)), session.products

    body, version = await asked.shown(made)
    kept = _kept(asked, version) if name in STATIC_COLUMNS else "no-store"
    return bytes_answer(asked.request, body, "application/octet-stream", {"cache-control": kept})


async def queue(asked: Asked) -> Response:
    """Return the segments to label, in the order of the run or in that of what was learned."""
    order = asked.request.query_params.get("order", "run")
    if order not in ("run", "learned"):
        raise Refusal(404, "the order run or learned", "another", "reload the page")

    def made(session: Session) -> bytes:
        rows = session.queue
        if order == "learned":
            rows = rows.set_index("segment").loc[asked.state.learner(session).order(session)].reset_index()
        return json.dumps(plain(_queue_document(session, rows)), ensure_ascii=False, separators=(",", ":")).encode()

    return bytes_answer(asked.request, await asked.shown(made), "application/json", {"cache-control": "no-store"})


def _queue_document(session: Session, rows: pd.DataFrame) -> dict[str, Any]:
    """Return a queue by column; of adjudication with what the others said."""
    geobox = session.block_year.lattice.block(session.about.block)
    col, row = ~geobox.transform @ (rows["x"].to_numpy(float), rows["y"].to_numpy(float))
    document: dict[str, Any] = {
        "segment": rows["segment"].tolist(),
        "why": rows["why"].astype(str).tolist(),
        "tile": rows["tile_id"].astype(str).tolist(),
        "row": np.floor(row).astype(int).tolist(),
        "col": np.floor(col).astype(int).tolist(),
    }
    return document | ({"opinions": rows["opinions"].astype(str).tolist()} if session.about.kind == "adjudication" else {})


async def segment(asked: Asked) -> Response:
    """Return what is known about a segment, and what the person said about it."""
    session = await asked.session()
    number = asked.number("segment", 1, len(session.keys))

    def made() -> dict[str, Any]:
        return {**details.details(session, number), "own": asked.state.journal.decision(session, number)}

    return json_answer(await in_thread(asked.state.pictures, made))


async def grown(asked: Asked) -> Response:
    """Return the segments that a segment grows to: similar ones that touch it, or one of these."""
    session = await asked.session()
    snapshot = snapshot_of(session)
    values = await body_of(asked.request, "segment", "similarity")
    number, similarity = whole_number_of(values, "segment", 1, len(session.keys)), number_of(values, "similarity", 0, 1)
    ids = await in_thread(asked.state.pictures, grow.grow, snapshot, number, similarity)
    return json_answer({"segments": [int(member) for member in ids if session.may_label[member - 1]]})


async def google_earth(asked: Asked) -> Response:
    """Return the outlines of a tile's segments for Google Earth."""
    session, tile = await asked.session(), asked.request.path_params["tile"]
    if not TILE.fullmatch(tile) or tile not in columns.tile_ids(session):
        raise Refusal(404, "a tile of the block", "none of this name", "reload the page")
    body = await in_thread(asked.state.pictures, kmz.tile_kmz, session, tile)
    name = f"{session.about.year}-{session.about.block}-{tile}.kmz"
    headers = {"cache-control": "no-store", "content-disposition": f'attachment; filename="{name}"'}
    return bytes_answer(asked.request, body, "application/vnd.google-earth.kmz", headers)


OF_SESSION = "/api/sessions/{session}"

PATHS = (
    Path(f"{OF_SESSION}/layers/{{layer}}/{{z}}/{{x}}/{{y}}", layer_tile),
    Path(f"{OF_SESSION}/segments/{{z}}/{{x}}/{{y}}", segment_tile),
    Path(f"{OF_SESSION}/columns/{{name}}", column),
    Path(f"{OF_SESSION}/queue", queue),
    Path(f"{OF_SESSION}/segment/{{segment}}", segment),
    Path(f"{OF_SESSION}/grow", grown, "POST", user_error=422),
    Path(f"{OF_SESSION}/tiles/{{tile}}.kmz", google_earth),
)
