"""A trained network as a file keeps it, and its predictions. Imports PyTorch only to predict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallmines.benchmark.deep.inputs import Inputs, offsets_by_row
from smallmines.benchmark.metrics import to_uint8
from smallmines.benchmark.offsets import offset_of
from smallmines.benchmark.pack import Pack, Rows, chunks
from smallmines.core.errors import UserError
from smallmines.core.product import MASK_NODATA
from smallmines.settings.benchmark import Network

PREDICTED_AT_ONCE = 16
"""Tiles that a network predicts at a time."""


@dataclass(eq=False)
class NetworkModel:
    """A trained network.

    Attributes:
        settings: of the row.
        inputs: how it takes values.
        side: of the tiles that it was trained on, in pixels.
        state: its numbers by name, as PyTorch names them.
        weights: repository, file, revision and sha256 of the pretrained weights that it started from; None: of none.
        unpretrained: whether its encoder started from random numbers where the row wants pretrained ones.
        parameters, trained: number of all, and of those that were trained.
        epochs: a record an epoch: epoch, loss, seconds, and the IoU on val where the row looks at it.
        best: epoch whose numbers these are.
    """

    settings: Network
    inputs: Inputs
    side: int
    state: dict[str, NDArray[Any]]
    weights: dict[str, str] | None
    unpretrained: bool
    parameters: int
    trained: int
    epochs: list[dict[str, float]]
    best: int
    _network: Any = field(default=None, repr=False)
    _printed: list[float] = field(default_factory=list, repr=False)

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands that it takes, in order."""
        return self.settings.bands

    def __getstate__(self) -> dict[str, Any]:
        """Leave the built network out of the file."""
        return {**vars(self), "_network": None, "_printed": []}

    def on_pack(self, pack: Pack, rows: Rows, threads: int) -> NDArray[np.uint8]:
        """Return the probability of mining of rows of a pack: uint8 (tile, row, column).

        A row with `prompts: truth` reads the masks of these rows, as the released script does, and notes what `printed_score` needs.
        """
        if pack.side != self.side and self.settings.prompts == "truth":
            raise UserError(f"tiles of {self.side} px", f"{pack.side} px", "fit the row on this dataset")
        result = np.zeros((len(rows), pack.side, pack.side), np.uint8)
        for part in chunks(np.arange(len(rows)), PREDICTED_AT_ONCE):
            image = pack.read(rows[part], self.bands)
            mask = pack.masks(rows[part]) if self.settings.prompts == "truth" else np.full((len(part), *image.shape[2:]), MASK_NODATA)
            result[part] = self._predicted(image, offsets_by_row(pack, rows[part], self.inputs), mask, threads, int(rows[part[0]]))
        return result

    def printed_score(self, counted: NDArray[np.bool_]) -> float | None:
        """Return the score that the released script of SAM-2 prints: the mean IoU over tiles and classes; None without prompts.

        Args:
            counted: of the tiles that this process predicted, in their order. Those without a known pixel never count.
        """
        own = np.array(self._printed)[counted] if self._printed else np.zeros(0)
        return float(np.nanmean(own)) if np.isfinite(own).any() else None

    def on_images(self, images: NDArray[np.float32], radiometry: str, threads: int) -> NDArray[np.uint8]:
        """Return the probability of mining of images (image, band, row, column) float32 of `bands`, NaN gaps: uint8.

        Args:
            radiometry: of Sentinel-2 in the images.

        Raises:
            UserError: a row that needs the truth, or a radiometry without a known offset where the input is of reflectances.
        """
        if self.settings.prompts == "truth":
            raise UserError("a model that sees images alone", "one that is told points of the truth", "name another model")
        offset = offset_of(radiometry, "the image") if self.inputs.reflectance else 0
        mask = np.full((len(images), *images.shape[2:]), MASK_NODATA, np.uint8)
        return self._predicted(images, np.full(len(images), offset, np.int64), mask, threads, 0)

    def _predicted(
        self, image: NDArray[np.float32], offset: NDArray[np.int64], mask: NDArray[np.uint8], threads: int, seed: int
    ) -> NDArray[np.uint8]:
        torch = pytorch(threads)
        device = device_of(torch)
        network = self._built(torch, device)
        x = torch.from_numpy(self.inputs.values(image, offset)).to(device)
        truth = torch.from_numpy(mask.astype(np.int64)).to(device)
        with torch.no_grad():
            probability = network.probability(x, truth, torch.Generator().manual_seed(seed)).cpu().numpy()
            if self.settings.prompts == "truth":
                generator = torch.Generator().manual_seed(seed)
                self._printed += [network.printed_iou(x[place : place + 1], truth[place : place + 1], generator) for place in range(len(x))]
        if self.inputs.mask_gaps:
            probability[~np.isfinite(image).all(axis=1)] = 0
        return to_uint8(probability)

    def _built(self, torch: Any, device: Any) -> Any:
        """Return the network with its numbers, built once in a process."""
        if self._network is None:
            from smallmines.benchmark.deep.networks import build

            network = build(self.settings, None, 0)
            network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in self.state.items()})
            self._network = network.to(device).train(False)
        return self._network


def pytorch(threads: int) -> Any:
    """Return the module `torch`, set to a number of threads and to the same result each time.

    Raises:
        UserError: it is not installed.
    """
    try:
        import torch
    except ImportError:
        raise UserError(
            "PyTorch in the environment that runs Snakemake, for networks",
            "none",
            "run envs/setup-deep.sh, then call .venv-deep/bin/snakemake in place of snakemake (docs/benchmark.md)",
        ) from None
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    return torch


def device_of(torch: Any) -> Any:
    """Return the device that networks run on: the first GPU that PyTorch sees, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
