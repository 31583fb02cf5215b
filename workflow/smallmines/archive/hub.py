"""Read a file of a dataset on the Hugging Face Hub: what the Hub states of it, ranges of it, or the whole of it."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from smallmines.archive.signing import retry_delay
from smallmines.core.errors import UserError
from smallmines.core.files import flat
from smallmines.core.log import logger
from smallmines.core.redaction import redacted

ATTEMPTS = 6
"""Most attempts of a request."""

TAIL = 65_536 + 22 + 20
"""Bytes at the end of a zip that are read first: the end of its central directory lies in them."""

LARGEST_RANGE = 8_000_000
"""Bytes that are asked for at a time."""

TIMEOUT = 60.0
"""Seconds without an answer after which a request fails."""

REPORT_EVERY = 10.0
"""Seconds between two lines about progress."""

PASSING = (408, 425, 429)
"""Refusals that pass; those from 500 on do too."""

DO_LOCAL = "run it where internet is, or name a folder or zip of the release in released.path"

T = TypeVar("T")


@dataclass(frozen=True)
class HubFile:
    """A file at a commit of a dataset.

    Attributes:
        repository: `owner/name` of the dataset.
        file: path in it.
        revision: commit, 40 digits.
        sha256: checksum of the file, as the Hub states it.
        size: in bytes.
    """

    repository: str
    file: str
    revision: str
    sha256: str
    size: int

    @property
    def address(self) -> str:
        """Dataset and file, in words."""
        return f"{self.repository}/{self.file}"


class NoRangesError(Exception):
    """The server answers a request for a part with the whole file."""


def library() -> Any:
    """Return the module `huggingface_hub`, set to keep no second copy of a download and to show no bars and signed addresses of its own."""
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import huggingface_hub
    import huggingface_hub.errors
    import huggingface_hub.file_download
    import huggingface_hub.utils

    logging.getLogger("huggingface_hub.file_download").addFilter(_to_own_log)
    return huggingface_hub


def _to_own_log(record: logging.LogRecord) -> bool:
    """Take a line of the library into the log of the job: without signatures, which the library prints."""
    logger.log(record.levelno, "%s", flat(redacted(record.getMessage())))
    return False


def endpoint() -> str:
    """Return the address of the Hub: `HF_ENDPOINT`, or the public one."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _shown(text: str) -> str:
    """Return a text on one line without secrets, also without user and password in front of a host, as `HF_ENDPOINT` may have them."""
    return re.sub(r"(://)[^\s/@]*@", r"\1", flat(redacted(text)))[:300]


def token() -> str | Literal[False]:
    """Return the token of the environment or of the vendor's file, False where there is none.

    Raises:
        UserError: it has characters that no token has.
    """
    value = library().get_token()
    if value and not (value.isascii() and value.isprintable()):
        raise UserError(
            "a token of letters, digits and _ in HF_TOKEN", "other characters", f"copy it from {_shown(endpoint())}/settings/tokens"
        )
    return value or False


def ask(repository: str, file: str, revision: str) -> HubFile:
    """Ask the Hub for commit, checksum and size of a file.

    Args:
        revision: a commit, or the name of a branch.

    Raises:
        UserError: the Hub refuses, does not answer, or states no SHA-256, which it does for large files.
    """
    hub = library()
    url = hub.hf_hub_url(repository, file, repo_type="dataset", revision=revision, endpoint=endpoint())
    where = (repository, file, revision)
    answer = retried(where, lambda: hub.get_hf_file_metadata(url, token=token(), timeout=TIMEOUT, endpoint=endpoint()))
    stated = (answer.commit_hash or "", answer.etag or "")
    if not re.fullmatch("[0-9a-f]{40}", stated[0]) or not re.fullmatch("[0-9a-f]{64}", stated[1]) or not answer.size:
        raise UserError(
            f"commit, SHA-256 and size of {repository}/{file} from {_shown(endpoint())}",
            f"commit {stated[0] or 'none'}, checksum {stated[1] or 'none'}, {answer.size} bytes",
            "check HF_ENDPOINT and released.file; the archive must be stored with Git LFS",
        )
    return HubFile(repository, file, stated[0], stated[1], answer.size)


class RemoteFile(io.RawIOBase):
    """A file on the Hub that is read by HTTP ranges; what is read or prefetched stays in memory until `forget`.

    Attributes:
        requests, received: requests that were answered, and bytes of their answers.
    """

    def __init__(self, file: HubFile) -> None:
        super().__init__()
        self.file = file
        self.requests = self.received = 0
        self._url = library().hf_hub_url(file.repository, file.file, repo_type="dataset", revision=file.revision, endpoint=endpoint())
        self._parts: dict[int, bytes] = {}
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.file.size}[whence]
        if base + offset < 0:
            raise OSError("a position before the file")  # as of a local file, which zipfile expects
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """Read bytes from the position on; all up to the end where `size` is negative."""
        stop = self.file.size if size is None or size < 0 else min(self._position + size, self.file.size)
        content = bytearray()
        while self._position < stop:
            part = self._held(self._position)
            if part is None:
                later = [start for start in self._parts if start > self._position]
                self.prefetch(self._position, min([stop, *later]))
                continue
            start, values = part
            piece = values[self._position - start : stop - start]
            content += piece
            self._position += len(piece)
        return bytes(content)

    def _held(self, position: int) -> tuple[int, bytes] | None:
        parts = ((start, part) for start, part in self._parts.items() if start <= position < start + len(part))
        return next(parts, None)

    def prefetch(self, start: int, stop: int) -> None:
        """Fetch a range into memory.

        Raises:
            UserError: the Hub refuses or fails repeatedly.
            NoRangesError: the server knows no ranges.
        """
        where = (self.file.repository, self.file.file, self.file.revision)
        self._parts[start] = retried(where, lambda: self._range(start, stop))

    def forget(self) -> None:
        """Drop what is in memory."""
        self._parts.clear()

    def _range(self, start: int, stop: int) -> bytes:
        hub = library()
        headers = {**hub.utils.build_hf_headers(token=token()), "Range": f"bytes={start}-{stop - 1}"}
        headers["Accept-Encoding"] = "identity"
        with hub.utils.get_session().stream("GET", self._url, headers=headers, timeout=TIMEOUT) as answer:
            hub.utils.hf_raise_for_status(answer)
            if answer.status_code != 206:
                raise NoRangesError
            content = bytes(answer.read())
        if len(content) != stop - start:
            raise ConnectionError(f"{len(content)} of {stop - start} bytes")
        self.requests += 1
        self.received += len(content)
        return content


def download(file: HubFile, target: Path) -> None:
    """Download the whole file, or go on with a download that ended early, also with its process. Two processes take turns.

    `hf_hub_download` begins anew in each process and leaves the parts of killed ones, so that its own reading is called with a file that
    stays: `target` with the suffix `.part`.

    Raises:
        UserError: the Hub refuses or fails repeatedly.
    """
    hub = library()
    url = hub.hf_hub_url(file.repository, file.file, repo_type="dataset", revision=file.revision, endpoint=endpoint())
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    with part.open("ab") as content:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(content, fcntl.LOCK_EX)
        if target.is_file():  # another process downloaded it meanwhile; what is open is that file, or an empty new one
            _remove_empty(part)
            return
        if content.seek(0, os.SEEK_END) > file.size:
            content.truncate(0)
        progress = Progress(f"downloading {file.address}", file.size, content.seek(0, os.SEEK_END))

        def work() -> None:
            headers = hub.utils.build_hf_headers(token=token())
            hub.file_download.http_get(
                url, content, resume_size=content.seek(0, os.SEEK_END), headers=headers, expected_size=file.size, tqdm_class=_bar(progress)
            )

        retried((file.repository, file.file, file.revision), work)
        content.flush()
        os.replace(part, target)


def _remove_empty(path: Path) -> None:
    if path.is_file() and not path.stat().st_size:
        path.unlink()


def _bar(progress: Progress) -> Any:
    """Return a class that the library takes for a progress bar; it counts in `progress`."""
    base: Any = library().utils.tqdm

    class Bar(base):
        """Progress in the log in place of a bar."""

        def update(self, n: float | None = 1) -> Any:
            progress.advance(int(n or 0))
            return super().update(n)

    return Bar


@dataclass
class Progress:
    """Lines about a download, in the log and on screen.

    Attributes:
        text: what is done.
        total, done: in bytes.
    """

    text: str
    total: int
    done: int = 0
    began: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)

    def advance(self, count: int) -> None:
        """Count bytes, and tell at most every `REPORT_EVERY` seconds."""
        self.done += count
        now = time.monotonic()
        if now - self.last >= REPORT_EVERY:
            self.last = now
            line = f"{self.text}: {self.done / 1e6:.1f} of {self.total / 1e6:.1f} MB, {self.done / 1e6 / (now - self.began):.1f} MB/s"
            logger.info("%s", line)
            print(line, file=sys.stderr, flush=True)


def retried(where: Sequence[str], work: Callable[[], T]) -> T:
    """Return `work()`; repeat it on failures of the network and of the Hub that pass.

    Args:
        where: repository, file and revision, for messages.
        work: asks the Hub.

    Raises:
        UserError: the Hub refuses, or fails repeatedly.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return work()
        except Exception as error:
            if not of_the_hub(error):
                raise
            if attempt == ATTEMPTS or not _passes(error):
                raise refusal(where, error) from None
            pause = retry_delay() * 2 ** (attempt - 1)
            text = _shown(str(error)) or type(error).__name__
            logger.warning("%s: %s; again in %.1f s (%d of %d)", "/".join(where[:2]), text, pause, attempt, ATTEMPTS - 1)
            time.sleep(pause)
    raise AssertionError("unreachable")


def of_the_hub(error: Exception) -> bool:
    """Return whether an error comes from the Hub or the network, not from this code or a disk."""
    modules = {kind.__module__.split(".")[0] for kind in type(error).__mro__}
    interrupted = isinstance(error, OSError) and "Consistency check failed" in str(error)
    return bool(modules & {"huggingface_hub", "httpx2", "httpx"}) or isinstance(error, ConnectionError | TimeoutError) or interrupted


def _status(error: Exception) -> int | None:
    answer = getattr(error, "response", None)
    return None if answer is None else int(answer.status_code)


def _passes(error: Exception) -> bool:
    hub = library()
    if isinstance(error, hub.errors.OfflineModeIsEnabled):
        return False
    if isinstance(error, hub.errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        return _passes(error.__cause__)
    status = _status(error)
    return status is None or status >= 500 or status in PASSING


def refusal(where: Sequence[str], error: Exception) -> UserError:
    """Return what to tell where the Hub refuses or fails: what was asked for, the answer, what to do."""
    hub = library()
    repository, file, revision = where
    if isinstance(error, hub.errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        return refusal(where, error.__cause__)
    status, token = _status(error), "HF_TOKEN is not accepted" if hub.get_token() else "no HF_TOKEN"
    address = _shown(endpoint())
    settings = f"{address}/settings/tokens"
    if isinstance(error, hub.errors.GatedRepoError):
        accept = f"accept its conditions at {address}/datasets/{repository}, make a token at {settings} and set HF_TOKEN"
        return UserError(f"access to the gated dataset {repository}", f"status {status}, {token}", accept)
    if isinstance(error, hub.errors.RevisionNotFoundError):
        return UserError(f"the revision {revision} of {repository}", "the Hub has none", "correct released.revision")
    if isinstance(error, hub.errors.EntryNotFoundError) and status == 404:
        return UserError(f"the file {file} in {repository} at {revision}", "the Hub has none", "correct released.file")
    if isinstance(error, hub.errors.RepositoryNotFoundError) or status in (401, 403, 404):
        return UserError(
            f"the dataset {repository} at {address}",
            f"status {status}: none, or a private one ({token})",
            f"correct released.repository; for a private one make a token at {settings} and set HF_TOKEN",
        )
    text = _shown(str(error)) or type(error).__name__
    return UserError(f"an answer of {address} about {repository}/{file}", text, DO_LOCAL)
