"""Learn from the labels of a session: refit the forest in a process of its own, suggest labels, order the queue by what is uncertain.

The recorded prediction stays that of the run. Segments of the blind overlap have the run's probability in place of a suggestion, so that
nothing marks them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import smallmines
from smallmines.annotation.rounds import latest, rounds_of, training_labels
from smallmines.annotation.server.view.feature_rows import cache_of, feature_rows
from smallmines.annotation.server.view.refit import JOB_FILE, LABELS_FILE, RESULT_FILE, Job
from smallmines.core.errors import UserError
from smallmines.core.files import remove, write_json
from smallmines.labels.event_files import LABELS
from smallmines.settings.assistant import Assistant
from smallmines.settings.parameters import settings_of

if TYPE_CHECKING:
    from smallmines.annotation.server.edits.session import Session

LAST_LINES = 3
"""Lines of a failed process's output that people see."""


@dataclass
class _Work:
    """A refit that was begun.

    Attributes:
        labels: number of segments that train the forest.
    """

    process: subprocess.Popen[bytes]
    folder: Path
    began: float
    labels: int
    seconds: float | None = None


class Learner:
    """Suggestions for one session: at most one refit at a time; the last one that ended well is shown."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._work: _Work | None = None
        self._result: dict[str, NDArray[Any]] | None = None
        self._error = ""

    def start(self, session: Session, labels: Mapping[int, str]) -> None:
        """Begin a refit.

        Args:
            labels: the person's own labels in force, by segment.

        Raises:
            UserError: one is running, the session is none of a review, or no segment of a class has a label.
        """
        if session.snapshot is None or session.about.kind != "review":
            raise UserError("a review of segments", f"{session.about.kind}", "label without suggestions")
        training = labels_of(session, labels)
        with self._lock:
            self._collect()
            if self._work is not None:
                raise UserError("no learning in progress", "one that began before", "wait until it ends")
            folder = cache_of(session.snapshot) / "learned" / session.id
            remove(folder)
            _write_job(session, training, labels, folder)
            self._error = ""
            self._work = _Work(_begin(folder), folder, time.monotonic(), int((training >= 0).sum()))

    def state(self) -> dict[str, Any]:
        """Return state (none, running, done, failed), seconds, labels, threshold (of the suggestions) and error."""
        with self._lock:
            self._collect()
            work, result = self._work, self._result
            if work is not None:
                return _state("running", time.monotonic() - work.began, work.labels)
            if self._error:
                return _state("failed", error=self._error)
            if result is None:
                return _state("none")
            return _state("done", float(result["seconds"]), int(result["labels"]), float(result["threshold"]))

    def suggestion(self, session: Session) -> bytes:
        """Return 255 · probability of mining as a column, see `columns`: uint8 (segments + 1,).

        Raises:
            UserError: nothing was learned yet.
        """
        probability = self._probability(session)
        return np.concatenate([np.zeros(1, np.uint8), np.rint(255 * probability).astype(np.uint8)]).tobytes()

    def order(self, session: Session) -> list[int]:
        """Return the segments of the queue without an own label at the refit, the most uncertain first.

        Raises:
            UserError: nothing was learned yet.
        """
        probability = self._probability(session)
        segments = session.queue["segment"].to_numpy(np.int64)
        assert self._result is not None
        left = segments[~np.isin(segments, self._result["own"])]
        away = np.abs(probability[left - 1] - float(self._result["threshold"]))
        return [int(segment) for segment in left[np.argsort(away, kind="stable")]]

    def stop(self) -> None:
        """End a refit that is running."""
        with self._lock:
            if self._work is not None and self._work.process.poll() is None:
                self._work.process.terminate()
                self._work.process.wait()

    def _probability(self, session: Session) -> NDArray[np.float64]:
        """Return the probability of mining of each segment, (segment,); in the blind overlap that of the run."""
        with self._lock:
            self._collect()
            result = self._result
        if result is None or session.snapshot is None:
            raise UserError("a forest that learned from the labels", "none yet", "learn from the labels first")
        probability = result["probability"].astype(np.float64)
        blind = session.blind
        probability[blind] = session.snapshot.table["probability"].to_numpy(np.float64)[blind]
        return probability

    def _collect(self) -> None:
        """Take the result of a refit that has ended."""
        work = self._work
        if work is None or work.process.poll() is None:
            return
        self._work = None
        try:
            with np.load(work.folder / RESULT_FILE) as content:
                self._result = {**content, "labels": np.array(work.labels)}
        except (OSError, ValueError, KeyError):
            self._error = _failure(work)
        remove(work.folder)


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


def _write_job(session: Session, training: NDArray[np.int64], own: Mapping[int, str], folder: Path) -> None:
    """Write what a refit reads, see `refit.Job`."""
    assert session.snapshot is not None
    snapshot = session.snapshot
    rows = feature_rows(snapshot)
    folder.mkdir(parents=True)
    with (folder / LABELS_FILE).open("wb") as file:
        segment = np.flatnonzero(training >= 0) + 1
        np.savez(file, segment=segment, label=training[segment - 1], own=np.array(sorted(own), np.int64))
    settings = settings_of(session.block_year.config.assistant, Assistant)
    write_json(folder / JOB_FILE, asdict(Job(str(snapshot.folder), str(rows.path), rows.names, asdict(settings), snapshot.threshold)))


def _begin(folder: Path) -> subprocess.Popen[bytes]:
    """Start the process of a refit; what it says goes to `log.txt`."""
    package = str(Path(smallmines.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))}
    command = [sys.executable, "-m", "smallmines.annotation.server.view.refit", str(folder)]
    with (folder / "log.txt").open("wb") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment)


def _failure(work: _Work) -> str:
    """Return in words why a refit gave no result."""
    try:
        lines = (work.folder / "log.txt").read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return " ".join(lines[-LAST_LINES:]) or f"the process ended with {work.process.returncode}"


def _state(state: str, seconds: float = 0.0, labels: int = 0, threshold: float | None = None, error: str = "") -> dict[str, Any]:
    return {"state": state, "seconds": round(seconds, 1), "labels": labels, "threshold": threshold, "error": error}
