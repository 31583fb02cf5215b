"""Train a network on a pack: one plain loop for all rows. Imports PyTorch."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallmines.benchmark.deep.inputs import Inputs, inputs_of, offsets_by_row
from smallmines.benchmark.deep.kept import Checkpoint, Kept
from smallmines.benchmark.deep.model import NetworkModel, device_of, pytorch
from smallmines.benchmark.deep.order import batches, turned
from smallmines.benchmark.deep.weights import fetch, origin_of
from smallmines.benchmark.metrics import HALF, to_uint8
from smallmines.benchmark.pack import Pack, Rows, chunks
from smallmines.core.errors import UserError
from smallmines.core.files import digest, sha256
from smallmines.core.log import logger
from smallmines.core.product import MASK_NODATA
from smallmines.settings.benchmark import Network

LEAST_SIDE = 17
"""Side of the smallest tiles in pixels: U-Net takes 32, Prithvi and TerraMind 14 or 16 and its multiples, padded by reflection."""

REPORT_EVERY = 30.0
"""Seconds between two lines about progress within an epoch."""


@dataclass(frozen=True)
class Files:
    """Where weights come from, and what stays if the job is killed.

    Attributes:
        pins: JSON file of the run's pinned weights.
        allow_unpretrained: take random numbers where the row wants pretrained ones.
        kept: checkpoint and record of the epochs; None: nowhere.
    """

    pins: Path
    allow_unpretrained: bool
    kept: Kept | None = None


@dataclass
class Training:
    """A training that goes on from epoch to epoch.

    Attributes:
        network, optimizer, scheduler, scaler: of PyTorch.
        records: of the finished epochs, see `NetworkModel.epochs`.
        best: epoch and numbers of the highest IoU on val; of the last epoch where the row has no patience.
    """

    network: Any
    optimizer: Any
    scheduler: Any
    scaler: Any
    records: list[dict[str, float]]
    best: tuple[int, dict[str, Any]]


def fit(pack: Pack, train: Rows, val: Rows, settings: Network, seed: int, threads: int, files: Files) -> NetworkModel:
    """Train a network, or go on where a killed job stopped.

    Args:
        val: rows that choose the best epoch; with `train_on_val` they are trained on and choose nothing, as published.
        seed: of random numbers, order and augmentation.

    Raises:
        UserError: weights that cannot be had, tiles that are too small, no pixel to train on, images whose radiometry is unknown where the
            input is of reflectances, numbers that are not finite where no earlier epoch counts, or PyTorch is not installed.
    """
    torch = pytorch(threads)
    from smallmines.benchmark.deep.networks import build, counted

    if pack.side < LEAST_SIDE:
        raise UserError(f"tiles of {LEAST_SIDE} px or more for networks", f"{pack.side} px", "take their rows out of benchmark.deep_rows")
    rows = np.sort(np.concatenate([train, val])) if settings.train_on_val else train
    inputs = inputs_of(settings, pack.statistics(rows, settings.bands))
    offsets_by_row(pack, np.arange(len(pack)), inputs)  # those of the test, too, before the training
    weights = fetch(settings.weights, files.pins) if settings.weights and not files.allow_unpretrained else None
    network = build(settings, weights, seed).to(device_of(torch))
    parameters, trained = counted(network)
    logger.info("%s: %.1f M parameters, %.1f M trained", settings.architecture, parameters / 1e6, trained / 1e6)
    if settings.patience is not None and not has_mining(Tiles(pack, val, inputs)):
        logger.warning("val has no mining: the last epoch counts")
        settings = replace(settings, patience=None)
    training = started(torch, network, settings)
    kept = kept_for(files.kept, weights)
    if kept is not None:
        resume(torch, training, kept)
    while not finished(training, settings):
        epoch = len(training.records) + 1
        _epoch(torch, training, Tiles(pack, rows, inputs), settings, seed, epoch)
        if broken := diverged(torch, training):
            if settings.patience is None or epoch == 1:
                do = f"lower learning_rate, {settings.learning_rate:g}, in config/benchmark/<row>.yaml"
                raise UserError(f"finite numbers in the network after epoch {epoch}", broken, do)
            logger.warning("epoch %d: %s; the training ends, epoch %d counts", epoch, broken, training.best[0])
            del training.records[-1]
            break
        if settings.patience is not None:
            training.records[-1]["val_iou"] = val_iou(torch, network, Tiles(pack, val, inputs), settings.batch)
        _note_best(training, settings)
        logger.info("epoch %d of %d: %s", epoch, settings.epochs, ", ".join(f"{k} {v:.4g}" for k, v in training.records[-1].items()))
        if kept is not None:
            kept.write(torch, checkpoint_of(torch, training))
    best, state = training.best
    unpretrained = settings.weights is not None and weights is None
    origin = origin_of(settings.weights, weights) if settings.weights and weights else None
    arrays = {name: value.cpu().numpy() for name, value in state.items()}
    return NetworkModel(settings, inputs, pack.side, arrays, origin, unpretrained, parameters, trained, training.records, best)


def started(torch: Any, network: Any, settings: Network) -> Training:
    """Return a training before its first epoch."""
    own = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(own, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, settings.tenth_every or settings.epochs + 1, gamma=0.1)
    scaler = torch.amp.GradScaler(enabled=device_of(torch).type == "cuda")
    return Training(network, optimizer, scheduler, scaler, [], (0, copied(network)))


def copied(network: Any) -> dict[str, Any]:
    """Return a copy of the numbers of a network."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def finished(training: Training, settings: Network) -> bool:
    """Return whether all epochs are done, or `patience` epochs brought no better IoU on val."""
    done = len(training.records)
    return done >= settings.epochs or (settings.patience is not None and done - training.best[0] >= settings.patience)


def _note_best(training: Training, settings: Network) -> None:
    """Keep the numbers of this epoch where it is the best one, or where the last one counts."""
    iou = [record.get("val_iou", 0.0) for record in training.records]
    if settings.patience is None or len(iou) == 1 or iou[-1] > max(iou[:-1]):
        training.best = (len(iou), copied(training.network))


@dataclass(frozen=True)
class Tiles:
    """Rows of a pack as a network takes them."""

    pack: Pack
    rows: Rows
    inputs: Inputs

    def read(self, rows: Rows, turns: NDArray[np.int64] | None = None) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return input (tile, band, row, column) and mask (tile, row, column); masked gaps are unknown in the mask."""
        image, mask = self.pack.read(rows, self.inputs.bands), self.pack.masks(rows).astype(np.int64)
        if self.inputs.mask_gaps:
            mask[~np.isfinite(image).all(axis=1)] = MASK_NODATA
        x = self.inputs.values(image, offsets_by_row(self.pack, rows, self.inputs))
        for place, turn in enumerate(turns if turns is not None else []):
            x[place], mask[place] = turned(x[place], int(turn)), turned(mask[place], int(turn))
        return x, mask


def _epoch(torch: Any, training: Training, tiles: Tiles, settings: Network, seed: int, epoch: int) -> None:
    """Train for an epoch and append its record.

    Raises:
        UserError: no pixel of train counts.
    """
    began = reported = time.monotonic()
    torch.manual_seed(hash_of(seed, epoch))
    generator = torch.Generator().manual_seed(hash_of(seed, epoch))
    training.network.train()
    losses: list[tuple[float, float]] = []
    own = list(batches(tiles.rows, settings.batch, seed, epoch, settings.shuffle, settings.augment))
    for start in range(0, len(own), settings.accumulate):
        losses += _step(torch, training, [tiles.read(rows, turns) for rows, turns in own[start : start + settings.accumulate]], generator)
        if time.monotonic() - reported > REPORT_EVERY:
            reported = time.monotonic()
            logger.info("epoch %d: %d of %d batches, loss %.4g", epoch, len(losses), len(own), _mean_loss(losses))
    rate = training.optimizer.param_groups[0]["lr"]
    training.scheduler.step()
    seconds = time.monotonic() - began
    if not any(weight for _, weight in losses):
        found = "none: all are unknown, or have a gap in a band"
        raise UserError(f"pixels of train with a class and all of {', '.join(settings.bands)}", found, "leave out the row or the split")
    training.records.append({"epoch": epoch, "loss": _mean_loss(losses), "learning_rate": rate, "seconds": round(seconds, 2)})


def _step(
    torch: Any, training: Training, read: Sequence[tuple[NDArray[np.float32], NDArray[np.int64]]], generator: Any
) -> list[tuple[float, float]]:
    """Change the network by the gradient of some batches together, as if they were one; return loss and weight of each.

    A loss is a mean over what it weights, which differs between batches: each counts as much as the weight of its pixels, so that the
    split into batches changes nothing.
    """
    device = device_of(torch)
    weights = [float(training.network.weight(torch.from_numpy(mask).to(device))) for _, mask in read]
    losses = []
    for (x, mask), weight in zip(read, weights, strict=True):
        with torch.autocast(device.type, dtype=torch.float16, enabled=device.type == "cuda"):
            loss = _loss(training.network, torch.from_numpy(x).to(device), torch.from_numpy(mask).to(device), generator)
        training.scaler.scale(loss * (weight / (sum(weights) or 1.0))).backward()
        losses.append(float(loss.detach()))
    training.scaler.step(training.optimizer)
    training.scaler.update()
    training.optimizer.zero_grad(set_to_none=True)
    return list(zip(losses, weights, strict=True))


def _loss(network: Any, x: Any, mask: Any, generator: Any) -> Any:
    try:
        return network.loss(x, mask, generator)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        expected = "two tiles in a batch or more: this network normalises over the tiles of a batch"
        do = "set batch to 2 or more in config/benchmark/<row>.yaml; leave the row out where train has one tile"
        raise UserError(expected, f"{len(x)} of {x.shape[-1]} px", do) from None


def _mean_loss(losses: Sequence[tuple[float, float]]) -> float:
    """Return the mean of losses by their weights; those that are not finite, whose step is left out on a GPU, do not count."""
    finite = [(loss, weight) for loss, weight in losses if np.isfinite(loss)]
    total = sum(weight for _, weight in finite)
    return sum(loss * weight for loss, weight in finite) / total if total else float("nan")


def diverged(torch: Any, training: Training) -> str:
    """Return what is not finite, the loss or a number of the network, which then predicts nothing any more; "" where all are."""
    record = training.records[-1]
    broken = [name for name, value in training.network.state_dict().items() if not bool(torch.isfinite(value).all())]
    if not broken and np.isfinite(record["loss"]):
        return ""
    return f"loss {record['loss']:g}" + (f", other numbers in {broken[0]}" if broken else "")


def hash_of(seed: int, epoch: int) -> int:
    """Return a seed for an epoch, so that an epoch draws the same whether or not the job was killed before it."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> 1)


def has_mining(tiles: Tiles) -> bool:
    """Return whether any pixel that counts is mining."""
    return any(bool((tiles.read(rows)[1] == 1).any()) for rows in chunks(tiles.rows))


def val_iou(torch: Any, network: Any, tiles: Tiles, batch: int) -> float:
    """Return the IoU of mining at 0.5 over all pixels of val; 0 where neither mask nor prediction has any."""
    network.train(False)
    both = either = 0
    for probability, mask in predictions(torch, network, tiles, batch):
        predicted, truth = (to_uint8(probability) >= HALF) & (mask != MASK_NODATA), mask == 1
        both += int((predicted & truth).sum())
        either += int((predicted | truth).sum())
    return both / either if either else 0.0


def predictions(torch: Any, network: Any, tiles: Tiles, batch: int) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Yield the probability of mining and the masks of tiles, batch by batch."""
    device = device_of(torch)
    generator = torch.Generator().manual_seed(0)
    for start in range(0, len(tiles.rows), batch):
        x, mask = tiles.read(tiles.rows[start : start + batch])
        with torch.no_grad():
            values = network.probability(torch.from_numpy(x).to(device), torch.from_numpy(mask).to(device), generator)
        yield values.cpu().numpy(), mask


def checkpoint_of(torch: Any, training: Training) -> Checkpoint:
    """Return what a later job needs to go on."""
    parts = {name: getattr(training, name).state_dict() for name in ("network", "optimizer", "scheduler", "scaler")}
    return Checkpoint(parts, training.records, training.best)


def kept_for(kept: Kept | None, weights: Path | None) -> Kept | None:
    """Return what is kept of a training that starts from some weights: with others it begins anew."""
    return kept if kept is None or weights is None else replace(kept, key=digest([kept.key, sha256(weights)]))


def resume(torch: Any, training: Training, kept: Kept) -> None:
    """Go on from the checkpoint, if there is one of this training, also on a GPU after the CPU: the scaler of the CPU has no state."""
    checkpoint = kept.read(torch)
    if checkpoint is None:
        return
    for name, state in checkpoint.parts.items():
        if state or name != "scaler":
            getattr(training, name).load_state_dict(state)
    training.records, training.best = checkpoint.records, checkpoint.best
    logger.info("going on after epoch %d, from a checkpoint", len(training.records))
