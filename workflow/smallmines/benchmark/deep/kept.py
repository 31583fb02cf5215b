"""What a training keeps beside its outputs: the checkpoint that a killed job goes on from, and the record of its epochs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smallmines.core.files import written
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
        key: digest of code, settings and data. A checkpoint with another one is not used.
    """

    checkpoint: Path
    record: Path
    key: str

    def read(self, torch: Any) -> Checkpoint | None:
        """Read the checkpoint; None where there is none of this code, settings and data."""
        if not self.checkpoint.is_file():
            return None
        content = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        if content["key"] != self.key:
            logger.warning("%s is of other code, settings or data: training begins anew", self.checkpoint)
            return None
        best: tuple[int, dict[str, Any]] = (content["best"][0], content["best"][1])
        return Checkpoint(content["parts"], content["records"], best)

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
