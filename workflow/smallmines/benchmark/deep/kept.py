"""What a training keeps beside its outputs: the checkpoint that a killed job goes on from, and the record of its epochs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smallmines.core.files import digest, flat, sha256, written
from smallmines.core.log import logger


@dataclass(frozen=True)
class Checkpoint:
    """State of a training after an epoch.

    Attributes:
        parts: states of PyTorch by name.
        records: of the epochs so far.
        best: epoch and numbers that count so far.
    """

    parts: dict[str, Any]
    records: list[dict[str, float]]
    best: tuple[int, dict[str, Any]]


@dataclass(frozen=True)
class Kept:
    """Files of a training that Snakemake does not know, so that it does not delete them.

    Attributes:
        checkpoint: file that a killed job leaves; removed at the end.
        record: folder of `epochs.csv` and of the events for TensorBoard.
        key: see `key_of`. A checkpoint with another one is not used.
    """

    checkpoint: Path
    record: Path
    key: str

    def read(self, torch: Any) -> Checkpoint | None:
        """Read the checkpoint; None where there is none of this code, settings, data and weights, or it cannot be read."""
        if not self.checkpoint.is_file():
            return None
        try:
            content = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
            key, best = content["key"], (int(content["best"][0]), dict(content["best"][1]))
            checkpoint = Checkpoint(dict(content["parts"]), list(content["records"]), best)
        except Exception as error:  # a broken file raises anything
            logger.warning("%s cannot be read (%s): training begins anew", self.checkpoint, flat(error)[:200] or type(error).__name__)
            return None
        if key != self.key:
            logger.warning("%s is of other code, settings, data or weights: training begins anew", self.checkpoint)
            return None
        return checkpoint

    def write(self, torch: Any, checkpoint: Checkpoint) -> None:
        """Write the checkpoint, the table of the epochs, and an event for TensorBoard where it is installed."""
        content = {"key": self.key, "parts": checkpoint.parts, "records": checkpoint.records, "best": list(checkpoint.best)}
        with written(self.checkpoint) as beside:
            torch.save(content, beside)
        columns = list(dict.fromkeys(name for record in checkpoint.records for name in record))
        lines = [",".join(str(record.get(name, "")) for name in columns) for record in checkpoint.records]
        with written(self.record / "epochs.csv") as beside:
            beside.write_text("\n".join([",".join(columns), *lines]) + "\n", encoding="utf-8")
        self._event(checkpoint.records[-1])

    def _event(self, record: dict[str, float]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        with SummaryWriter(str(self.record), purge_step=int(record["epoch"])) as events:
            for name, value in record.items():
                if name != "epoch":
                    events.add_scalar(name, value, int(record["epoch"]))

    def remove(self) -> None:
        """Remove the checkpoint."""
        self.checkpoint.unlink(missing_ok=True)


def key_of(settings: Any, files: Iterable[str | Path]) -> str:
    """Return the key of a training: a digest of what it was told, and of the content of all files that it reads.

    Args:
        settings: code, settings of the row and seed, as JSON can hold them.
        files: split, and all files of the pack: a mask may change without its share of mining, which the table of the tiles has.
    """
    return digest([settings, [sha256(path) for path in files]])
