"""Run a service on loopback in a thread of the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Generic, Protocol, TypeVar


class Service(Protocol):
    """State of a service; it gets the port."""

    port: int


S = TypeVar("S", bound=Service)


class Server(ThreadingHTTPServer, Generic[S]):
    """The server of a service, which its handlers see as `server.hub`."""

    daemon_threads = True

    def __init__(self, hub: S, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.hub = hub


@contextmanager
def running(hub: S, handler: type[BaseHTTPRequestHandler]) -> Iterator[S]:
    """Serve until the block ends."""
    server = Server(hub, handler)
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
