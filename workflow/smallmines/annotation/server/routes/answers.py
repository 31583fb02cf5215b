"""Answers of the server: JSON, bytes with an ETag, and errors in three lines without traceback or folders of the machine."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import math
import secrets
from typing import TYPE_CHECKING, Any

from smallmines.annotation.server.guard import Refusal
from smallmines.core.errors import UserError
from smallmines.core.failures import explained

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

log = logging.getLogger(__name__)

SMALL = 4096
"""Bytes below which compression is not worth it."""

PACKED = ("image/", "application/vnd.google-earth.kmz")
"""Begin of the types of what is compressed already."""

LASTING = "private, max-age=31536000, immutable"
"""Of what its address names by its content."""

CHECKED = "private, no-cache"
"""Of what may be kept, and is asked for again with its ETag."""


def json_answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a value as JSON that no cache keeps; NaN is null."""
    from starlette.responses import Response

    body = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return Response(body, status, {"cache-control": "no-store", **(headers or {})}, "application/json")


def plain(value: Any) -> Any:
    """Convert a value to what JSON has: numbers of NumPy, tuples, paths; NaN becomes None."""
    if isinstance(value, str) or value is None or isinstance(value, bool):
        return value
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int) else str(value)


def bytes_answer(request: Request, body: bytes, media_type: str, headers: dict[str, str]) -> Response:
    """Return bytes; compressed where the browser knows it and they are not; 304 where it has them.

    Args:
        headers: cache-control; etag, else it is computed; content-encoding where they are compressed.
    """
    from starlette.responses import Response

    etag = headers.get("etag") or f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"vary": "accept-encoding, cookie", **headers, "etag": etag}
    if etag in request.headers.get("if-none-match", ""):
        return Response(b"", 304, {name: headers[name] for name in ("etag", "cache-control", "vary")})
    packs = "content-encoding" not in headers and not media_type.startswith(PACKED) and len(body) > SMALL
    if packs and "gzip" in request.headers.get("accept-encoding", ""):
        body, headers = gzip.compress(body, 1), {**headers, "content-encoding": "gzip"}
    return Response(body, 200, headers, media_type)


def error_answer(error: Exception, status: int, root: Path) -> Response:
    """Return an error in three lines. What the server cannot explain gets a number, which stands in its log beside the traceback.

    Args:
        status: of a `UserError`.
        root: folder whose name does not leave the machine.
    """
    if isinstance(error, Refusal):
        waits = {"retry-after": str(math.ceil(error.retry_after))} if error.retry_after else {}
        return json_answer({"error": {**error.document["error"], **_texts(error, root)}}, error.status, waits)
    user_error = explained(error)
    if user_error is None:
        number = secrets.token_hex(4)
        log.error("error %s", number, exc_info=error)
        internal = UserError("an answer", f"an error inside the server, number {number}", "try again; else tell the person who runs it")
        return json_answer({"error": _texts(internal, root)}, 500)
    if user_error is not error:  # of a disk
        log.error("%s", user_error)
    return json_answer({"error": _texts(user_error, root)}, status if user_error is error else 503)


def _texts(error: UserError, root: Path) -> dict[str, str]:
    """Return the three lines of an error; paths are relative to the root."""
    return {name: getattr(error, name).replace(f"{root.absolute()}/", "") for name in ("expected", "found", "do")}
