"""Learn from the labels of a session: refit the forest in a process of its own, suggest labels, order the queue by what is uncertain.

The recorded prediction stays that of the run. Segments of the blind overlap have the run's probability in place of a suggestion, so that
nothing marks them. The last result is kept in the cache and outlives the server.
"""

from __future__ import annotations

import threading
import time
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallmines.annotation.rounds import latest, rounds_of, training_labels
from smallmines.annotation.server.view.feature_rows import feature_rows
from smallmines.annotation.server.view.refit import JOB_FILE, LABELS_FILE, RESULT_FILE, Job
from smallmines.annotation.server.view.refits import Refit, Refits
from smallmines.core.errors import UserError
from smallmines.core.files import digest, read_json, remove, write_json, written
from smallmines.labels.event_files import LABELS
from smallmines.settings.assistant import Assistant
from smallmines.settings.parameters import settings_of

if TYPE_CHECKING:
    from smallmines.annotation.server.edits.session import Session

VERSION = 1
"""Raised by hand whenever results of refits that are kept in the cache count no more."""


@dataclass(frozen=True)
class Learned:
    """What a refit gave.

    Attributes:
        probability: of mining of each segment, (segment,) float32.
        threshold: from which a suggestion is mining.
        own: segments with an own label of the person at the refit.
        labels: number of segments that trained the forest.
        seconds: that it took.
    """

    probability: NDArray[np.float32]
    threshold: float
    own: NDArray[np.int64]
    labels: int
    seconds: float


class Learner:
    """Suggestions for one session: at most one refit at a time; the last one that ended well is shown.

    Args:
        kept: result of a refit before the server was started, see `kept_result`.
    """

    def __init__(self, refits: Refits | None = None, kept: Learned | None = None) -> None:
        self._lock = threading.Lock()
        self._refits = refits or Refits()
        self._asked: Refit | None = None
        self._result = kept
        self._error = ""

    def start(self, session: Session, labels: Mapping[int, str]) -> None:
        """Ask for a refit.

        Args:
            labels: the person's own labels in force, by segment.

        Raises:
            UserError: one is asked for, the session is none of a review, or no segment of a class has a label.
        """
        if session.snapshot is None or session.about.kind != "review":
            raise UserError("a review of segments", f"{session.about.kind}", "label without suggestions")
        training = labels_of(session, labels)
        with self._lock:
            if self._asked is not None:
                raise UserError("no learning in progress", "one that began before", "wait until it ends")
            folder = _folder(session) / session.id
            remove(folder)
            _write_job(session, training, labels, folder)
            self._error = ""
            asked = self._asked = Refit(folder)
        kept = _kept(session)
        threading.Thread(target=self._collect, args=(asked, kept), name="learn", daemon=True).start()
        self._refits.add(asked)

    def state(self) -> dict[str, Any]:
        """Return state (none, waiting, running, done, failed), refits before it, seconds, labels, threshold (of suggestions) and error."""
        with self._lock:
            asked, result, error = self._asked, self._result, self._error
        if asked is not None:
            before = self._refits.before(asked)
            return _state("waiting" if before else "running", time.monotonic() - asked.began, before=before)
        if error:
            return _state("failed", error=error)
        if result is None:
            return _state("none")
        return _state("done", result.seconds, result.labels, result.threshold)

    def suggestion(self, session: Session) -> bytes:
        """Return 255 · probability of mining as a column, see `columns`: uint8 (segments + 1,).

        Raises:
            UserError: nothing was learned yet.
        """
        probability = _shown(session, self._learned())
        return np.concatenate([np.zeros(1, np.uint8), np.rint(255 * probability).astype(np.uint8)]).tobytes()

    def order(self, session: Session) -> list[int]:
        """Return the segments of the queue without an own label at the refit, the most uncertain first.

        Raises:
            UserError: nothing was learned yet.
        """
        learned = self._learned()
        segments = session.queue["segment"].to_numpy(np.int64)
        left = segments[~np.isin(segments, learned.own)]
        away = np.abs(_shown(session, learned)[left - 1] - learned.threshold)
        return [int(segment) for segment in left[np.argsort(away, kind="stable")]]

    def _learned(self) -> Learned:
        with self._lock:
            if self._result is None:
                raise UserError("a forest that learned from the labels", "none yet", "learn from the labels first")
            return self._result

    def _collect(self, asked: Refit, kept: Path) -> None:
        """Take the result of a refit when it has ended, and keep it in the cache."""
        asked.ended.wait()
        result, error = None, asked.error
        if not error:
            try:
                result = _read(asked.folder / RESULT_FILE)
                with suppress(OSError):  # a full disk costs the result at the next start, not now
                    _keep(asked.folder, kept)
            except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as fault:
                error = f"no result: {fault}"
        with self._lock:
            self._result, self._error, self._asked = result or self._result, error, None
        remove(asked.folder)


def kept_result(session: Session, labels: Mapping[int, str]) -> Learned | None:
    """Return the result of the last refit of a session from the cache; None where there is none that still counts.

    It counts while the products, the settings and the labels that it learned from are the same; labels given since do not matter.

    Args:
        labels: the person's own labels in force, by segment.
    """
    path = _kept(session)
    if session.snapshot is None or session.about.kind != "review" or not path.is_file():
        return None
    try:
        with np.load(path) as content:
            segment, identity = content["segment"], str(content["identity"])
        if _identity(_job(session), segment, labels_of(session, labels)[segment - 1]) == identity:
            return _read(path)
    except (OSError, EOFError, ValueError, KeyError, IndexError, zipfile.BadZipFile, UserError):
        pass  # cut short by a power cut, or of another version
    path.unlink(missing_ok=True)
    return None


def _folder(session: Session) -> Path:
    """Return the folder of the cache with what was learned from a session's products."""
    return session.block_year.layout.browser / session.products / "learned"


def _kept(session: Session) -> Path:
    """Return the file with the result of a session's last refit."""
    return _folder(session) / f"{session.id}.npz"


def _read(path: Path) -> Learned:
    """Read what a refit gave."""
    with np.load(path) as content:
        probability, own = content["probability"], content["own"]
        return Learned(probability, float(content["threshold"]), own, len(content["segment"]), float(content["seconds"]))


def _keep(folder: Path, kept: Path) -> None:
    """Keep the result of a job with the identity of what it was made from."""
    with np.load(folder / RESULT_FILE) as content:
        result = dict(content)
    with np.load(folder / LABELS_FILE) as content:
        segment, label = content["segment"], content["label"]
    identity = _identity(read_json(folder / JOB_FILE), segment, label)
    with written(kept) as beside, beside.open("wb") as file:
        np.savez(file, **result, identity=np.array(identity))


def _identity(job: dict[str, Any], segment: NDArray[np.int64], label: NDArray[np.int64]) -> str:
    """Return a name for what a refit is made from: products (their folder is named by their content), settings, labels."""
    return digest([VERSION, job["tables"], job["settings"], job["threshold"], segment.tolist(), label.tolist()])


def _shown(session: Session, learned: Learned) -> NDArray[np.float64]:
    """Return the probability of mining of each segment, (segment,); in the blind overlap that of the run."""
    assert session.snapshot is not None
    probability = learned.probability.astype(np.float64)
    blind = session.blind
    probability[blind] = session.snapshot.table["probability"].to_numpy(np.float64)[blind]
    return probability


def labels_of(session: Session, own: Mapping[int, str]) -> NDArray[np.int64]:
    """Return the label of each segment that trains the forest, (segment,): 1, 0, or -1 for none.

    Samples; then people's decisions, those of others about the blind overlap left out; then what adjudication settled or people dispute;
    then the person's own labels.

    Raises:
        UserError: no segment of a class has a label.
    """
    from smallmines.labels import tables

    assert session.snapshot is not None
    table = session.snapshot.table
    samples = tables.read(session.snapshot.folder / "samples.parquet", "samples")
    rows = rounds_of(session.block_year.events()).merge(table[["key", "segment"]], on="key")
    of_others = (rows["who"] != session.about.annotator) & ~rows["segment"].isin(session.blind + 1)
    label = training_labels(len(table), samples, latest(rows[of_others]))
    settled = table["provenance"].isin(["adjudicated", "disputed"]).to_numpy()
    label[settled] = table["label"].to_numpy()[settled]
    for segment, text in own.items():
        label[segment - 1] = LABELS[text]
    if missing := [name for name, number in LABELS.items() if number >= 0 and not (label == number).any()]:
        raise UserError("labels of mining and of not mining", f"none of {' and '.join(missing)}", "label some segments of it first")
    return label


def _job(session: Session) -> dict[str, Any]:
    """Return what a refit reads besides the labels, see `refit.Job`, as it comes back from JSON."""
    assert session.snapshot is not None
    rows = feature_rows(session.snapshot)
    settings = settings_of(session.block_year.config.assistant, Assistant)
    job = Job(str(session.snapshot.folder), str(rows.path), rows.names, asdict(settings), session.snapshot.threshold)
    return asdict(job)


def _write_job(session: Session, training: NDArray[np.int64], own: Mapping[int, str], folder: Path) -> None:
    """Write what a refit reads, see `refit.Job`."""
    folder.mkdir(parents=True)
    with (folder / LABELS_FILE).open("wb") as file:
        segment = np.flatnonzero(training >= 0) + 1
        np.savez(file, segment=segment, label=training[segment - 1], own=np.array(sorted(own), np.int64))
    write_json(folder / JOB_FILE, _job(session))


def _state(
    state: str, seconds: float = 0.0, labels: int = 0, threshold: float | None = None, error: str = "", before: int = 0
) -> dict[str, Any]:
    return {"state": state, "before": before, "seconds": round(seconds, 1), "labels": labels, "threshold": threshold, "error": error}
