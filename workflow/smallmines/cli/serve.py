"""The verbs `smallmines labels serve …`: labelling in the browser, and the tokens of those who label."""

from __future__ import annotations

import logging
import sys
import time
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from smallmines.cli.console import plain_errors, read_config
from smallmines.core.errors import UserError
from smallmines.core.layout import Layout

app = typer.Typer(help="Label in the browser: serve a page for one or several people (docs/browser.md).")

Config = Annotated[Path | None, typer.Option("--config", help="The run's configuration file.")]
PublicUrl = Annotated[str, typer.Option("--public-url", help="Address that people type, e.g. https://labels.lab.org of a proxy.")]
Host = Annotated[str, typer.Option("--host", help="Address to listen at. Others than this machine's own need tokens.")]
Port = Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen at.")]


def _required(config: Path | None) -> Path:
    if config is None:
        raise UserError("the run's configuration", "no --config", "add --config config/….yaml")
    return config


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    config: Config = None,
    host: Host = "127.0.0.1",
    port: Port = 8010,
    journal: Annotated[Path | None, typer.Option(help="Folder of the journal, on a disk of this machine.")] = None,
    public_url: PublicUrl = "",
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Serve a page on which people label blocks of a run, until Ctrl-C."""
    from smallmines.annotation.server.routes.listen import Address
    from smallmines.annotation.server.routes.listen import serve as serve_run

    if context.invoked_subcommand is not None:
        return
    _log_to_screen()
    with plain_errors():
        path = _required(config)
        settings = read_config(path)
        address = Address(host, port, public_url)

        def ready(tokens: bool) -> None:
            print(f"Labels of run {settings.run}: {address.url}", flush=True)
            if tokens:
                print(f"each person needs a link: smallmines labels serve token A01 --config {path} --public-url {address.url}")
            if not address.encrypted:
                print("what people send can be read on the way: put a proxy with TLS before it (docs/browser.md)", file=sys.stderr)
            print("Ctrl-C stops the server; what was acknowledged is on the disk.", flush=True)
            if open_page:
                webbrowser.open(address.url)

        with suppress(KeyboardInterrupt):
            serve_run(settings, path, address, journal, ready)
        print("stopped", file=sys.stderr)


@app.command("token")
def token(
    annotator: Annotated[str, typer.Argument(help="Code of the person.")],
    config: Config = None,
    role: Annotated[
        str, typer.Option(help="annotator; adjudicator: disputed segments, too; lead: and the figures of all people.")
    ] = "annotator",
    days: Annotated[int, typer.Option(min=1, max=3660, help="Days until the token expires.")] = 30,
    revoke: Annotated[bool, typer.Option("--revoke", help="Revoke all tokens of the person, which logs the person out.")] = False,
    public_url: PublicUrl = "http://127.0.0.1:8010",
) -> None:
    """Print a link that logs a person in; what is stored of it is a hash."""
    from smallmines.annotation.server.access import Access

    with plain_errors():
        settings = read_config(_required(config))
        access = Access(Layout(settings.run).user.path)
        if revoke:
            print(f"{annotator}: {access.revoke(annotator, time.time())} tokens revoked")
            return
        if role == "annotator" and annotator not in settings.labels.annotators:
            people = ", ".join(settings.labels.annotators)
            raise UserError(f"one of labels.annotators ({people})", annotator, "use one of them, or add the code to the configuration")
        secret = access.give(annotator, role, days, time.time())
        print(f"{public_url.rstrip('/')}/#token={secret}")
        print(f"{annotator}, {role}, for {days} days; give the link to nobody else", file=sys.stderr)


def _log_to_screen() -> None:
    """Show what the server says on standard error, with the time of day."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    for name, level in (("smallmines", logging.INFO), ("uvicorn", logging.WARNING)):
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(level)
