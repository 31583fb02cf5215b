"""Start the server of a run: refuse what cannot work, bind the port, answer until it is stopped."""

from __future__ import annotations

import errno
import importlib
import ipaddress
import logging
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from smallmines.annotation.block_year import BlockYear
from smallmines.annotation.server.access import Access
from smallmines.core import memory
from smallmines.core.errors import UserError
from smallmines.core.layout import Layout

if TYPE_CHECKING:
    import uvicorn

    from smallmines.annotation.server.guard import Guard
    from smallmines.config.sections import Config

CONNECTIONS = 500
"""Connections at a time; a browser opens six."""

GDAL_CACHE_MB = "32"
"""GDAL's block cache of the server: a strip of a wide block with ten bands needs 20 MB."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Address:
    """Where a server listens.

    Attributes:
        public_url: address that people type, where a proxy stands before the server; empty: none.
    """

    host: str = "127.0.0.1"
    port: int = 8010
    public_url: str = ""

    @property
    def local(self) -> bool:
        """Whether only this machine reaches the server."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def encrypted(self) -> bool:
        """Whether what people send cannot be read on the way."""
        return self.url.startswith("https://") or (self.local and not self.public_url)

    @property
    def anywhere(self) -> bool:
        """Whether it listens at every address of the machine."""
        return self.host in ("0.0.0.0", "::", "")

    @property
    def url(self) -> str:
        """What people type."""
        if self.public_url:
            return self.public_url.rstrip("/")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


def require_address(address: Address, access: Access, now: float) -> None:
    """Refuse an address that cannot be served safely.

    Raises:
        UserError: a public address without tokens, all addresses of the machine without a public one, or a public one that is none.
    """
    public = urlsplit(address.public_url)
    if address.public_url and (public.scheme not in ("http", "https") or not public.netloc or public.path not in ("", "/")):
        raise UserError("--public-url as https://labels.lab.org, without a folder", address.public_url, "give the address that people type")
    if address.anywhere and not address.public_url:
        raise UserError("the address that people type", f"--host {address.host} without --public-url", "add --public-url https://…")
    if (not address.local or address.public_url) and not any(token.valid(now) for token in access.tokens()):
        found = f"--host {address.host}" if not address.local else f"--public-url {address.public_url}"
        do = "give each person one first: smallmines labels serve token A01 --config …"
        raise UserError("tokens, where others reach the server", f"{found}, and no token in force", do)


def require_labels(config: Config, root: Path = Path()) -> None:
    """Refuse to serve a run that has nothing to label yet.

    Raises:
        UserError: no year and block has what its labelling needs; with what to run first.
    """
    places = [BlockYear(config, year, block, root) for year in config.year_names for block in config.blocks]
    if not any(place.has(Layout.labels if place.segmented else Layout.mask) for place in places):
        found = f"no year and block of run {config.run} has {'labels' if places[0].segmented else 'masks'} yet"
        raise UserError("labels to look at", found, "run the workflow up to the masks first: snakemake masks --cores … --configfile …")


def bound(address: Address) -> socket.socket:
    """Return a socket that listens at an address.

    Raises:
        UserError: the port is in use or may not be used, or the host is none of this machine.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise UserError(
            "--host: a name or address of this machine", f"{address.host}: {error}", "use 127.0.0.1, or one of this machine"
        ) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            do = f"open {address.url} if it is this run's server; else choose another: --port {address.port + 1}"
            raise UserError(f"a free port {address.port}", "another program uses it", do) from None
        raise UserError(
            f"an address of this machine that may be used: {address.host}, port {address.port}", str(error), "choose another"
        ) from None
    return listener


def serve(
    config: Config, config_path: Path, address: Address, journal: Path | None, ready: Callable[[bool], None], root: Path = Path()
) -> None:
    """Serve a run until it is stopped (Ctrl-C, SIGTERM).

    Args:
        journal: folder of the journal, in place of `resources/user/<run>/browser`.
        ready: called when the server is about to answer, with whether people need tokens.

    Raises:
        UserError: see `require_address`, `require_labels`, `bound`; or another server of the run is at work, or the journal's disk is
            one of a network.
    """
    import time

    import uvicorn

    from smallmines.annotation.server.edits.journal import Journal
    from smallmines.annotation.server.guard import hosts_of
    from smallmines.annotation.server.routes.app import application
    from smallmines.annotation.server.state import State

    os.environ.setdefault("GDAL_CACHEMAX", GDAL_CACHE_MB)
    memory.limit()
    user = Layout(config.run, root).user.path
    access = Access(user, address.local and not address.public_url)
    require_address(address, access, time.time())
    require_labels(config, root)
    with bound(address) as listener:
        opened = Journal.open(user, journal)
        state = State(config, config_path, root, opened, access, address.public_url.rstrip("/"))
        app = application(state, hosts_of(address.host, address.port, address.public_url))
        settings = settings_of(app)
        threading.Thread(target=_import_early, name="imports", daemon=True).start()
        try:
            ready(not access.open_to_this_machine())
            uvicorn.Server(settings).run(sockets=[listener])
        finally:
            opened.close()


def settings_of(app: Guard) -> uvicorn.Config:
    """Return the settings of the web server: one process, HTTP alone, its own messages only where something is wrong."""
    import uvicorn

    from smallmines.annotation.server.routes.connection import Connection

    return uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        loop="asyncio",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=10,
    )


def _import_early() -> None:
    """Import what the first block to be opened needs, which takes seconds; what learns needs more memory, and is imported elsewhere."""
    for name in ("pandas", "pyarrow.parquet", "rasterio", "scipy.spatial", "PIL.Image"):
        importlib.import_module(name)
