"""Send a sealed folder to a dataset on the Hugging Face Hub: look first, then a commit for each batch of files that the Hub lacks.

What the Hub holds is read before every commit, so that an upload that ended early, also without an answer, goes on where it was.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from smallmines.archive.hub import ATTEMPTS, endpoint, library, token
from smallmines.archive.signing import retry_delay
from smallmines.core.errors import UserError
from smallmines.core.log import logger
from smallmines.publish.refusals import address, passes, refusal, shown
from smallmines.publish.sealed_folder import LAST, LocalFile

BATCH_BYTES = 1_000_000_000
BATCH_FILES = 500
"""Most bytes and files of a commit. After an interruption, large files that the Hub has are not sent again, though no commit names them."""

SMALL = 10_000_000
SMALL_BYTES = 100_000_000
"""Bytes up to which the Hub may take a file as a part of the commit itself, and most bytes of such files in a commit."""

KEPT = (".gitattributes",)
"""Files that the Hub makes itself."""

MESSAGE = "Publish with SmallMinesDS pipeline"

T = TypeVar("T")
State = Literal["new", "same", "other"]


@dataclass(frozen=True)
class Remote:
    """A dataset on the Hub.

    Attributes:
        exists: whether there is one that the token may see.
        commit: its newest commit; None without.
        files: size and checksum of each file: the SHA-256 of large files, git's own of small ones.
    """

    exists: bool
    commit: str | None
    files: Mapping[str, tuple[int, str]]


@dataclass(frozen=True)
class Plan:
    """What is to be sent.

    Attributes:
        states: of each file of the folder on the Hub.
        others: files of the repository that the folder does not have, with their bytes.
    """

    repository: str
    remote: Remote
    files: Sequence[LocalFile]
    states: Mapping[str, State]
    others: Mapping[str, int]

    @property
    def missing(self) -> list[LocalFile]:
        """Files that the Hub lacks or has with other bytes."""
        return [file for file in self.files if self.states[file.name] != "same"]

    @property
    def changed(self) -> list[str]:
        """Names of files that the Hub has with other bytes."""
        return [name for name, state in self.states.items() if state == "other"]

    def rows(self) -> list[dict[str, Any]]:
        """Return file, bytes, and what the Hub has, for a table."""
        words = {"new": "nothing", "same": "the same", "other": "other bytes"}
        rows: list[dict[str, Any]] = [
            {"file": file.name, "bytes": file.size, "on_the_hub": words[self.states[file.name]]} for file in self.files
        ]
        return rows + [{"file": name, "bytes": size, "on_the_hub": "only there"} for name, size in self.others.items()]


class Sender:
    """Asks the Hub and sends to it, for one repository.

    Attributes:
        repository: `owner/name`.
        replace: whether other content of the repository may be replaced and deleted.
    """

    def __init__(self, repository: str, replace: bool = False) -> None:
        self.repository, self.replace = repository, replace
        self._hub = library()
        self._api = self._hub.HfApi(endpoint=endpoint(), token=token())
        self._git: dict[Path, str] = {}
        self._require_name()

    def _require_name(self) -> None:
        try:
            self._hub.utils.validate_repo_id(self.repository)
        except self._hub.errors.HFValidationError as error:
            raise UserError("a repository owner/name", str(error), "correct --repo") from None
        if "/" not in self.repository:
            raise UserError("a repository owner/name", self.repository, "name the owner too: your account or an organisation")

    def require_token(self) -> str:
        """Return the name of the account.

        Raises:
            UserError: there is no token, or it is not accepted.
        """
        if not token():
            found = "no HF_TOKEN, and none kept by `hf auth login`"
            raise UserError("a token that may write", found, f"make one at {address()}/settings/tokens and set HF_TOKEN")
        return str(self._asked(lambda: self._api.whoami())["name"])

    def look(self, files: Sequence[LocalFile]) -> Plan:
        """Compare a folder with the repository.

        Raises:
            UserError: the Hub refuses or does not answer.
        """
        remote = self._asked(self._remote)
        states: dict[str, State] = {}
        for file in files:
            there = remote.files.get(file.name)
            states[file.name] = "new" if there is None else "same" if self._is_same(file, *there) else "other"
        own = {*states, *KEPT}
        others = {name: size for name, (size, _) in sorted(remote.files.items()) if name not in own}
        return Plan(self.repository, remote, files, states, others)

    def _remote(self) -> Remote:
        """Ask for the newest commit and its files."""
        try:
            commit = self._api.dataset_info(self.repository).sha
        except self._hub.errors.RepositoryNotFoundError as error:
            if isinstance(error, self._hub.errors.GatedRepoError):
                raise
            return Remote(False, None, {})
        entries = self._api.list_repo_tree(self.repository, recursive=True, revision=commit, repo_type="dataset")
        files = {
            entry.path: (entry.size, entry.lfs.sha256 if entry.lfs else entry.blob_id) for entry in entries if hasattr(entry, "blob_id")
        }
        return Remote(True, commit, files)

    def _is_same(self, file: LocalFile, size: int, checksum: str) -> bool:
        """Return whether the Hub has the bytes of a file.

        Args:
            checksum: 64 digits of the SHA-256 of a large file, or 40 digits of git's own.
        """
        if size != file.size or len(checksum) == 64:
            return (size, checksum) == (file.size, file.sha256)
        if file.path not in self._git:
            self._git[file.path] = git_checksum(file.path)
        return checksum == self._git[file.path]

    def require_free(self, plan: Plan) -> None:
        """Check that the repository holds nothing else, unless it may be replaced.

        Raises:
            UserError: it does.
        """
        if self.replace or not (plan.others or plan.changed):
            return
        parts = [(len(plan.others), "that are not in the folder", list(plan.others)), (len(plan.changed), "with other bytes", plan.changed)]
        found = "; ".join(f"{count} files {what}, e.g. {names[0]}" for count, what, names in parts if count)
        raise UserError(
            f"nothing else in {self.repository}, which is only added to",
            found,
            "name another repository, or replace its content with --replace; its history keeps what was there",
        )

    def send(self, files: Sequence[LocalFile], private: bool, told: Callable[[str], None]) -> Plan:
        """Send what the Hub lacks, and return how it compares in the end.

        Args:
            private: make a new repository private.
            told: called with a line about each commit.

        Raises:
            UserError: the Hub refuses, fails repeatedly, or states other checksums after a commit.
        """
        plan = self._free(files)
        if plan.missing:
            self._require_card(files)
        if not plan.remote.exists:
            self._asked(lambda: self._api.create_repo(self.repository, repo_type="dataset", private=private or None, exist_ok=True))
            told(f"made: {address()}/datasets/{self.repository}")
            plan = self._free(files)
        failures = 0
        while plan.missing or (self.replace and plan.others):
            batch = next_batch(plan.missing)
            deleted = list(plan.others) if self.replace and len(batch) == len(plan.missing) else []
            try:
                self._commit(batch, deleted, plan.remote.commit)
            except Exception as error:
                failures += 1
                self._wait(error, failures)
                plan = self._free(files)
                continue
            plan, failures = self._free(files), 0
            self._require_sent(batch, deleted, plan)
            done = [file.size for file in files if plan.states[file.name] == "same"]
            told(f"{len(done)} of {len(files)} files, {sum(done) / 1e6:.1f} MB")
        return plan

    def _require_card(self, files: Sequence[LocalFile]) -> None:
        """Ask the Hub about the head of the card, which is sent last: else all data would be there before it is refused.

        Raises:
            UserError: it is not as the Hub wants it.
        """
        card = next((file.path for file in files if file.name == "README.md"), None)
        if card is None:
            return
        url, headers = f"{endpoint()}/api/validate-yaml", self._hub.utils.build_hf_headers(token=token())
        asked = {"content": card.read_text(encoding="utf-8"), "repoType": "dataset"}

        def ask() -> list[str]:
            answer = self._hub.utils.get_session().post(url, headers=headers, json=asked)
            if answer.status_code == 400:
                return [str(error.get("message")) for error in answer.json().get("errors", [])]
            self._hub.utils.hf_raise_for_status(answer)
            return []

        if errors := self._asked(ask):
            raise UserError(f"a card {card} that the Hub takes", "; ".join(errors), "correct the section publish of the configuration")

    def _free(self, files: Sequence[LocalFile]) -> Plan:
        """Return how the folder compares with a repository that it may be sent to."""
        plan = self.look(files)
        self.require_free(plan)
        return plan

    def _commit(self, batch: Sequence[LocalFile], deleted: Sequence[str], parent: str | None) -> None:
        """Send files and make a commit of them, on top of the commit that was looked at."""
        additions = []
        for file in batch:
            addition = self._hub.CommitOperationAdd(file.name, file.path)
            addition.upload_info.sha256 = bytes.fromhex(file.sha256)  # the file is not read for it again
            additions.append(addition)
        deletions = [self._hub.CommitOperationDelete(name) for name in deleted]
        self._api.create_commit(
            self.repository, [*additions, *deletions], commit_message=MESSAGE, repo_type="dataset", parent_commit=parent
        )

    def _require_sent(self, batch: Sequence[LocalFile], deleted: Sequence[str], plan: Plan) -> None:
        """Check that the Hub has what a commit sent.

        Raises:
            UserError: it has other bytes, or none.
        """
        strange = [file.name for file in batch if plan.states[file.name] != "same"]
        if strange := [*strange, *(name for name in deleted if name in plan.others)]:
            do = "look whether a .gitignore leaves files out, and run again"
            raise UserError(f"{strange[0]} in {self.repository} as the commit left it", "something else", do)

    def _wait(self, error: Exception, failures: int) -> None:
        """Wait after a failure that passes.

        Raises:
            UserError: it does not, or it is one too many.
        """
        if failures == ATTEMPTS or not passes(error):
            raise refusal(self.repository, error) from error
        pause = retry_delay() * 2 ** (failures - 1)
        logger.warning("%s: %s; again in %.1f s (%d of %d)", self.repository, shown(error), pause, failures, ATTEMPTS - 1)
        time.sleep(pause)

    def _asked(self, work: Callable[[], T]) -> T:
        """Return `work()`; repeat it on failures that pass.

        Raises:
            UserError: the Hub refuses or fails repeatedly.
        """
        failures = 0
        while True:
            try:
                return work()
            except Exception as error:
                failures += 1
                self._wait(error, failures)


def next_batch(files: Sequence[LocalFile]) -> list[LocalFile]:
    """Return the first files that make a commit, at least one, within the limits of this module; those of `LAST` come alone."""
    batch: list[LocalFile] = []
    size = small = 0
    for file in files:
        size += file.size
        small += file.size if file.size <= SMALL else 0
        full = len(batch) == BATCH_FILES or size > BATCH_BYTES or small > SMALL_BYTES
        if batch and (full or (file.name in LAST) != (batch[0].name in LAST)):
            break
        batch.append(file)
    return batch


def git_checksum(path: Path) -> str:
    """Return the checksum that git gives to a file."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
