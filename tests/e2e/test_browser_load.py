"""The server under load, as a process of its own: a flood of requests, and five people who label at once."""

from __future__ import annotations

import asyncio
import re
import signal
import threading
import time
import uuid
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from served import EVIDENCE, Client
from served_process import PEOPLE, make_run, started

pytestmark = [pytest.mark.e2e, pytest.mark.heavy]

FLOOD_SECONDS = 10.0
CONNECTIONS = 40
PORT = 18093


async def flood(url: str, path: str, cookies: str, seconds: float) -> Counter[int]:
    """Ask for a path as fast as the server answers, on several connections; return the number of answers by status, 0 for none."""
    address, counts = urlsplit(url), Counter[int]()
    request = f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nCookie: {cookies}\r\n\r\n".encode()
    end = time.monotonic() + seconds

    async def one() -> None:
        while time.monotonic() < end:
            try:
                reader, writer = await asyncio.open_connection(address.hostname, address.port)
                while time.monotonic() < end:
                    writer.write(request * 5)  # several at once, without waiting for the answers
                    for _ in range(5):
                        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
                        counts[int(head.split(b" ", 2)[1])] += 1
                        length = re.search(rb"content-length: (\d+)", head)
                        await reader.readexactly(int(length[1]) if length else 0)
                writer.close()
            except (OSError, EOFError, TimeoutError):
                counts[0] += 1

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return counts


def test_a_flood_is_refused_and_others_go_on(tmp_path: Path) -> None:
    with started(tmp_path, make_run(tmp_path), PORT) as server:
        anna, ben = server.client("A01"), server.client("A02")
        session = anna.open().json()["session"]
        cookies = "; ".join(f"{name}={value}" for name, value in ben.session.cookies.items())
        before, waits = server.megabytes, []

        def label() -> None:
            for number in range(20):
                begin = time.monotonic()
                edit = [{"segments": [number + 1], "label": "unsure", "look": "single", "form": {}}]
                assert anna.edit(session, edit).status_code == 200
                waits.append(time.monotonic() - begin)
                time.sleep(0.2)

        worker = threading.Thread(target=label)
        worker.start()
        counts = asyncio.run(flood(server.url, "/api/work", cookies, FLOOD_SECONDS / 2))
        counts += asyncio.run(flood(server.url, "/static/main.js", "", FLOOD_SECONDS / 2))
        worker.join()
        print(f"\n{sum(counts.values()) / FLOOD_SECONDS:.0f} requests a second: {dict(counts)}; {before:.0f} to {server.megabytes:.0f} MB")
        print(f"acknowledgements meanwhile: median {np.median(waits) * 1000:.0f} ms, longest {max(waits) * 1000:.0f} ms")
        assert set(counts) <= {0, 200, 404, 429, 503}
        assert counts[429] > counts[200]
        assert len(waits) == 20, "the edits of another person are kept"
        assert server.megabytes < before + 150
        begin = time.monotonic()
        assert anna.get(f"/api/sessions/{session}/queue").status_code == 200
        assert time.monotonic() - begin < 5
        assert anna.post(f"/api/sessions/{session}/handin", {"writer": anna.writer}).json()["events"] == 20


def test_five_people_label_at_once(tmp_path: Path) -> None:
    with started(tmp_path, make_run(tmp_path), PORT) as server:
        clients = [server.client(name) for name in PEOPLE]
        sessions = [client.open().json()["session"] for client in clients]
        waits: list[float] = []

        def label(client: Client, session: str) -> None:
            for number in range(60):
                edit = [{"segments": list(range(number + 1, number + 6)), "label": "mining", "look": "bulk", "form": EVIDENCE}]
                begin = time.monotonic()
                assert client.edit(session, edit).status_code == 200
                waits.append(time.monotonic() - begin)
                client.get(f"/api/sessions/{session}/layers/true-2016/0/0/0")
                time.sleep(0.05)

        workers = [threading.Thread(target=label, args=pair) for pair in zip(clients, sessions, strict=True)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        median, late = np.quantile(waits, [0.5, 0.99]) * 1000
        print(f"\n{len(waits)} acknowledgements: median {median:.0f} ms, 99th percentile {late:.0f} ms; {server.megabytes:.0f} MB")
        assert len(waits) == 300
        assert median < 300
        assert late < 2000


def test_a_server_that_is_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    user = make_run(tmp_path)
    name, edit = str(uuid.uuid4()), [{"segments": [5], "label": "unsure", "look": "single", "form": {}}]
    with started(tmp_path, user, PORT) as server:
        anna = server.client("A01")
        session = anna.open().json()["session"]
        first = anna.edit(session, edit, name).json()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == 0
        assert "stopped" in (tmp_path / "said.txt").read_text()
    with started(tmp_path, user, PORT):
        assert anna.get("/api/me").json()["annotator"] == "A01", "the login is still valid"
        assert anna.edit(session, edit, name).json() == first, "the page repeats an edit whose answer was lost"
        assert anna.post(f"/api/sessions/{session}/handin", {"writer": anna.writer}).json()["events"] == 1
