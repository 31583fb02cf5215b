"""The Hugging Face Hub on loopback, for the real client: metadata, redirects, ranges, tokens; with faults on demand."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

from serving import Server, running

TOKEN = "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"
REPOSITORY, FILE = "ellaampy/SmallMinesDS", "SmallMinesDS.zip"


@dataclass
class Hub:
    """A repository with one file, at several commits.

    Attributes:
        repository, file: its name and the file's.
        prefix: of its addresses, `/datasets` or, of models, nothing.
        commits: the file by commit; `main` is the last one.
        access: `public`, `private` (unknown without the token) or `gated` (refused without it).
        fault_rate: share of requests that get a 503 or a body that breaks off, every second of them each.
        ranges: whether the content network knows ranges.
        cut_once: bytes after which the first whole body breaks off.
        stop_after: requests for content after which all are refused with 500.
        sent: bytes of all bodies; `asked`: method, path and status of all requests.
        leaked: requests to the content network that carried the token.
    """

    commits: dict[str, Path] = field(default_factory=dict)
    repository: str = REPOSITORY
    file: str = FILE
    prefix: str = "/datasets"
    access: str = "public"
    fault_rate: float = 0.0
    ranges: bool = True
    cut_once: int | None = None
    stop_after: int | None = None
    sent: int = 0
    asked: list[tuple[str, str, int]] = field(default_factory=list)
    leaked: int = 0
    port: int = 0
    sums: dict[Path, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def address(self) -> str:
        """Of the Hub."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that lead the real client here."""
        return {"HF_ENDPOINT": self.address, "GDAL_HTTP_RETRY_DELAY": "0.02", "HF_HUB_DISABLE_TELEMETRY": "1"}

    def sha256(self, path: Path) -> str:
        """Checksum of a file, computed once."""
        if path not in self.sums:
            self.sums[path] = hashlib.sha256(path.read_bytes()).hexdigest()
        return self.sums[path]

    def contents(self) -> int:
        """Requests for content so far."""
        return sum(path.startswith("/cdn/") for _, path, _ in self.asked)

    def fault(self, number: int) -> str | None:
        """What goes wrong with a request."""
        every = round(1 / self.fault_rate) if self.fault_rate else 0
        return None if not every or number % every else ("503", "cut")[number // every % 2]


class Handler(BaseHTTPRequestHandler):
    """One request to the Hub, or to the content network behind it (another host name)."""

    server: Server[Hub]
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub = self.server.hub
        path = urlsplit(self.path).path
        with hub.lock:
            number = len(hub.asked) + 1
            hub.asked.append((self.command, path, 0))
        self.number = number
        self.fault = hub.fault(number)
        if self.fault == "503":
            self.send(503, b"busy", {"Retry-After": "0"})
        elif path.startswith("/cdn/"):
            self.content(hub, path.split("/")[2])
        else:
            self.resolve(hub, path)

    def resolve(self, hub: Hub, path: str) -> None:
        """Answer with the file's metadata and the place of its content."""
        allowed = hub.access == "public" or self.headers.get("Authorization") == f"Bearer {TOKEN}"
        match = re.fullmatch(rf"{hub.prefix}/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if match is None or match[1] != hub.repository or (not allowed and hub.access == "private"):
            self.send(401, b"Repository not found", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
            return
        if not allowed:
            self.send(401, b"gated", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to this dataset is restricted"})
            return
        commit = list(hub.commits)[-1] if match[2] == "main" else match[2]
        if commit not in hub.commits:
            self.send(404, b"Invalid rev id", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"})
        elif match[3] != hub.file:
            self.send(404, b"Entry not found", {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"})
        else:
            file = hub.commits[commit]
            place = f"http://localhost:{hub.port}/cdn/{commit}?Signature=loopback-signature"
            stated = {"X-Repo-Commit": commit, "X-Linked-Etag": f'"{hub.sha256(file)}"', "X-Linked-Size": str(file.stat().st_size)}
            self.send(302, b"Found", {"Location": place, "ETag": '"0123"', **stated})

    def content(self, hub: Hub, commit: str) -> None:
        """Send the file, or a range of it."""
        with hub.lock:
            hub.leaked += "Authorization" in self.headers
            refused = hub.stop_after is not None and hub.contents() > hub.stop_after
        if refused:
            self.send(403, b"stopped")
            return
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        with open(hub.commits[commit], "rb") as file:
            if not wanted or not hub.ranges:
                self.send(200, file.read(), {"Accept-Ranges": "bytes"})
                return
            size = file.seek(0, 2)
            first, last = int(wanted[1]), min(int(wanted[2] or size), size - 1)
            file.seek(first)
            self.send(206, file.read(last + 1 - first), {"Content-Range": f"bytes {first}-{last}/{size}"})

    def send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send an answer and note it."""
        hub = self.server.hub
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        piece = b"" if self.command == "HEAD" else body[: len(body) // 2] if self.fault == "cut" and status in (200, 206) else body
        if status == 200 and hub.cut_once is not None:
            piece, hub.cut_once = piece[: hub.cut_once], None
        with hub.lock:
            method, path, _ = hub.asked[self.number - 1]
            hub.asked[self.number - 1] = (method, path, status)
            hub.sent += len(piece)
        self.wfile.write(piece)
        if len(piece) < len(body) and self.command != "HEAD":
            self.close_connection = True


def serving(hub: Hub) -> AbstractContextManager[Hub]:
    """Run a Hub on loopback."""
    return running(hub, Handler)
