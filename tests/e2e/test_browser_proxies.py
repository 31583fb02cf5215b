"""Test the ways from other computers to the server that docs/browser.md describes, with its commands: nginx, Caddy, `ssh -L`."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import requests
import urllib3
from playwright.sync_api import Browser, BrowserContext

from e2e.browsing import Person
from served_process import make_run, started
from smallmines.annotation.server.access import Access
from smallmines.labels.event_files import read_events

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.heavy,
    pytest.mark.matrix,
    pytest.mark.filterwarnings("ignore:Unverified HTTPS request"),  # of a certificate that the test made
]

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs/browser.md").read_text()
NAME = "labels.lab.org"
PORT, PROXY, SHELL, TUNNEL = 18095, 18443, 18022, 18096
"""Ports of the server, of nginx, of sshd, and of the end of the tunnel."""


Proxy = Callable[[Path], AbstractContextManager[None]]
"""Runs in a folder, until the block ends."""


def program(name: str) -> str:
    """Return the path of a system's program; the test is skipped where it is missing."""
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@contextmanager
def running(command: list[str], port: int, said: Path, environment: dict[str, str] | None = None) -> Iterator[None]:
    """Run a program, wait until a port answers, and end it afterwards."""
    with said.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=os.environ | (environment or {}))
    try:
        end = time.monotonic() + 20
        while True:
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < end, said.read_text()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(30)


def documented(language: str, word: str) -> str:
    """Return the block of the document that holds a word."""
    blocks: list[str] = re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if word in block]
    return block


@contextmanager
def nginx(folder: Path) -> Iterator[None]:
    """Run nginx with the documented settings, at another port and with a certificate of our own."""
    key, certificate = folder / "labels.key", folder / "labels.pem"
    made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    subprocess.run([program("openssl"), *made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    settings = documented("nginx", "proxy_pass")
    for here, there in (
        ("listen 443", f"listen 127.0.0.1:{PROXY}"),
        ("/etc/ssl/labels.pem", str(certificate)),
        ("/etc/ssl/labels.key", str(key)),
        ("http://127.0.0.1:8010", f"http://127.0.0.1:{PORT}"),
    ):
        assert settings.count(here) == 1, here
        settings = settings.replace(here, there)
    folders = " ".join(f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/nginx.pid; error_log stderr; events {{}}\nhttp {{ access_log off; {folders}\n{settings}}}\n"
    )
    command = [program("nginx"), "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with running(command, PROXY, folder / "nginx.txt"):
        yield


@contextmanager
def caddy(folder: Path) -> Iterator[None]:
    """Run Caddy as the documented command does, at another port and with a certificate of its own."""
    (command,) = [line for line in documented("bash", "caddy").splitlines() if line.startswith("caddy ")]
    assert command == f"caddy reverse-proxy --from {NAME} --to 127.0.0.1:8010"
    settings = "admin off\n skip_install_trust\n local_certs\n auto_https disable_redirects"
    (folder / "Caddyfile").write_text(f"{{\n {settings}\n https_port {PROXY}\n}}\n{NAME} {{\n reverse_proxy 127.0.0.1:{PORT}\n}}\n")
    folders = {name: str(folder / name) for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "HOME")}
    with running([program("caddy"), "run", "--config", str(folder / "Caddyfile")], PROXY, folder / "caddy.txt", folders):
        yield


@contextmanager
def tunnel(folder: Path) -> Iterator[None]:
    """Run a sshd and the documented `ssh -L` through it, at other ports."""
    server, client, keygen = program("sshd"), program("ssh"), program("ssh-keygen")
    for name in ("host", "person"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "sshd.conf").write_text(
        f"Port {SHELL}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/person.pub\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPidFile none\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it, and the system's own start makes it
    (command,) = [line.split("#")[0] for line in documented("bash", "ssh -N").splitlines() if line.startswith("ssh ")]
    words = shlex.split(command.replace("8010:127.0.0.1:8010", f"{TUNNEL}:127.0.0.1:{PORT}"))
    who = subprocess.run(["id", "-un"], check=True, capture_output=True, text=True).stdout.strip()
    assert words[:3] == ["ssh", "-N", "-L"]
    options = ["-p", str(SHELL), "-i", str(folder / "person"), "-F", "none"]
    options += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]
    with (
        running([server, "-D", "-e", "-f", str(folder / "sshd.conf")], SHELL, folder / "sshd.txt"),
        running([client, *words[1:-1], *options, f"{who}@127.0.0.1"], TUNNEL, folder / "ssh.txt"),
    ):
        yield


def logs_in_and_labels(context: BrowserContext, url: str, token: str) -> Person:
    """Log in by a link, label three segments and wait for the acknowledgement."""
    person = Person.sits_down(context.new_page(), f"{url}/#token={token}")
    person.page.wait_for_selector("[data-open]")
    assert person.page.url == f"{url}/", "the token leaves the address"
    person.labels_a_line()
    return person


def token_of(user: Path) -> str:
    """Return a token of a person."""
    return Access(user).give("A01", "annotator", 1, time.time())


@pytest.mark.parametrize(
    ("proxy", "url"),
    [(nginx, f"https://{NAME}"), (nginx, f"https://{NAME}:{PROXY}"), (caddy, f"https://{NAME}")],
    ids=["nginx", "nginx-other-port", "caddy"],
)
def test_a_block_is_labelled_through_a_proxy(browser: Browser, tmp_path: Path, proxy: Proxy, url: str) -> None:
    """Chromium resolves the name to this machine; a server that stops meanwhile is answered for by the proxy, with an error of its own."""
    run, host = tmp_path / "run", url.removeprefix("https://")
    user = make_run(run)
    token = token_of(user)
    rules = ", ".join(f"MAP {NAME}:{port} 127.0.0.1:{PROXY}" for port in (443, PROXY))
    with proxy(tmp_path):
        chromium = browser.browser_type.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu", f"--host-resolver-rules={rules}"]
        )
        context = chromium.new_context(ignore_https_errors=True, viewport={"width": 1280, "height": 800})
        with started(run, user, PORT, "--public-url", url) as server:
            person = logs_in_and_labels(context, url, token)
            (cookie,) = context.cookies()
            assert cookie["name"].startswith("__Host-smallmines")
            assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
            server.process.terminate()
            server.process.wait(30)
        person.drags([(38.5, 33.5), (38.5, 44.5)])
        person.page.wait_for_selector("[data-banner=offline]")
        with started(run, user, PORT, "--public-url", url):
            person.waits_until_saved()
            assert "7 decisions were handed in" in person.hands_in()

            def status(origin: str, asked: str = host) -> int:
                headers = {
                    "Host": asked,
                    "Origin": origin,
                    "Content-Type": "application/json",
                    "Cookie": f"{cookie['name']}={cookie['value']}",
                }
                pool = urllib3.HTTPSConnectionPool("127.0.0.1", PROXY, server_hostname=NAME, cert_reqs="CERT_NONE")
                return pool.request("POST", "/api/logout", headers=headers, body="{}", timeout=20).status

            assert status("https://elsewhere.org") == 403
            assert status(url.replace("https", "http")) == 403
            assert proxy is caddy or status(url, "elsewhere.org") == 421, "Caddy answers by itself for a name that it does not know"
            assert status(url) in (200, 204)
        chromium.close()
    assert person.problems == []
    assert len(read_events((user / "events/2016/1").glob("*.jsonl"))) == 7


def test_a_block_is_labelled_through_ssh(browser: Browser, tmp_path: Path) -> None:
    run, url = tmp_path / "run", f"http://127.0.0.1:{TUNNEL}"
    user = make_run(run)
    token = token_of(user)
    with started(run, user, PORT), tunnel(tmp_path):
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        person = logs_in_and_labels(context, url, token)
        (cookie,) = context.cookies()
        assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (False, True, "Strict")
        assert "3 decisions were handed in" in person.hands_in()
        assert requests.post(f"{url}/api/logout", json={}, headers={"Origin": "http://elsewhere.org"}, timeout=20).status_code == 403
    assert person.problems == []
    assert len(read_events((user / "events/2016/1").glob("*.jsonl"))) == 3
