"""A pretrained network on real images through the pack and the prediction of the benchmark: the cloud network of ukis-csmask (DLR).

It takes reflectances of the bands of RGB+ and comes with its package. Its answer is compared with the scene classification of 118 dates of
a place in Flanders at 20 m. The digital numbers get the offset of 1000, as in the dataset. Tiles of 32 px are repeated by reflection to the
network's 256, so that the figures are no measure of the network.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="networks have an environment of their own: make test-deep")

import onnxruntime
import rasterio
import torch
import ukis_csmask

from made_pack import write_patch
from smallmines.benchmark.deep.inputs import Inputs
from smallmines.benchmark.deep.model import NetworkModel
from smallmines.benchmark.metrics import HALF
from smallmines.benchmark.pack import Pack
from smallmines.benchmark.packing import write_pack
from smallmines.config.benchmark import Benchmark, read_rows
from smallmines.core.product import PATCH_BANDS, S2_BANDS
from smallmines.settings.benchmark import settings_of_row

pytestmark = [pytest.mark.deep, pytest.mark.real]

BANDS = ("B02", "B03", "B04", "B8A", "B11", "B12")
CLASSES = {"cloud": ((8, 9, 10), 1), "shadow": ((3,), 2)}
"""Values of the scene classification, and the class of the network."""

CLEAR, UNKNOWN = (2, 4, 5, 6), 255
MODEL = Path(ukis_csmask.__file__).with_name("model_6b_l2a.onnx")


class Network:
    """The network as rows of the benchmark have it: input → probability of a class."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
        self.side = self.session.get_inputs()[0].shape[-1]

    def probability(self, x: torch.Tensor, mask: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Repeat tiles by reflection to the network's size, and cut the answer to theirs."""
        side = x.shape[-1]
        padded = np.pad(x.numpy(), ((0, 0), (0, 0), (0, self.side - side), (0, self.side - side)), mode="symmetric")
        logits = np.concatenate([self.session.run(None, {"input": tile[None]})[0] for tile in padded])
        return torch.softmax(torch.from_numpy(logits), dim=1)[:, self.number, :side, :side]


def read(path: Path, band: str) -> np.ndarray:
    """Read all dates of a band: (date, row, column)."""
    with rasterio.open(f'netcdf:"{path}":{band}') as source:
        return np.asarray(source.read())


@pytest.fixture(scope="module", params=[*CLASSES])
def place(request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Pack]:
    """A class, and a pack with a tile a date and this class as class 1; what is neither it nor clear is unknown."""
    folder = next((shared_data / "worldcereal").glob("0*"))
    fine, coarse = (next(folder.glob(f"S2_L2A_{size}_*.nc")) for size in ("10m", "20m"))
    bands = {band: read(fine if band in ("B02", "B03", "B04", "B08") else coarse, band) for band in (*S2_BANDS, "SCL")}
    root = tmp_path_factory.mktemp(request.param)
    records = []
    for number, scl in enumerate(bands["SCL"]):
        image = np.zeros((len(PATCH_BANDS), *scl.shape), np.float32)
        for index, band in enumerate(S2_BANDS):
            values = bands[band][number].astype(np.float32)
            values = values if values.shape == scl.shape else values.reshape(len(scl), 2, -1, 2).mean(axis=(1, 3))
            image[index] = np.where(scl > 0, np.rint(values) + 1000, -9999)
        mask = np.where(np.isin(scl, CLASSES[request.param][0]), 1, np.where(np.isin(scl, CLEAR), 0, UNKNOWN)).astype(np.uint8)
        row, column = divmod(number, 11)
        tile = f"{number + 1:04d}"
        write_patch(root / f"dataset/2018/IMAGE/IMG_BE_{tile}_2018.tif", image, row, column, -9999, RADIOMETRY="dn_plus1000")
        write_patch(root / f"dataset/2018/MASK/MASK_BE_{tile}_2018.tif", mask, row, column, 255)
        records.append((tile, 2018, "test"))
    pd.DataFrame(records, columns=["tile_id", "year", "split"]).to_csv(root / "dataset/splits.csv", index=False)
    write_pack(root / "dataset", root / "pack")
    return request.param, Pack.open(root / "pack")


def agreement(pack: Pack, network: Network, repository: Path, bands: tuple[str, ...] = BANDS, take_off: bool = True) -> float:
    """Return the IoU of the class between network and scene classification.

    Args:
        bands: in the places that the network has for `BANDS`.
        take_off: whether the offset is taken off.
    """
    mean, sd = json.loads(MODEL.with_suffix(".json").read_text())["data"]["dataset_statistics"]["img"]
    inputs = Inputs(bands, tuple(10_000 * value for value in mean), tuple(10_000 * value for value in sd), take_off, None, True)
    row = next(row for row in read_rows(repository / "config/benchmark", Benchmark()) if row.name == "prithvi_300")
    settings = dataclasses.replace(settings_of_row(row.values), bands=bands)  # type: ignore[type-var]  # a network
    model = NetworkModel(settings, inputs, pack.side, {}, None, False, 0, 0, [], 0, _network=network)  # type: ignore[arg-type]  # the same
    predicted = model.on_pack(pack, np.arange(len(pack)), 2) >= HALF
    mask = pack.masks(np.arange(len(pack)))
    return float((predicted & (mask == 1)).sum() / ((predicted | (mask == 1)) & (mask != UNKNOWN)).sum())


def test_agreement_falls_where_bands_are_exchanged_or_the_offset_is_left(place: tuple[str, Pack], repository: Path) -> None:
    name, pack = place
    network = Network(CLASSES[name][1])
    right = agreement(pack, network, repository)
    ways = {
        "red and blue exchanged": agreement(pack, network, repository, bands=("B04", "B03", "B02", "B8A", "B11", "B12")),
        "B8A and B12 exchanged": agreement(pack, network, repository, bands=("B02", "B03", "B04", "B12", "B11", "B8A")),
        "offset left in": agreement(pack, network, repository, take_off=False),
    }
    print(f"IoU of {name}: {right:.3f};", ", ".join(f"{way} {value:.3f}" for way, value in ways.items()))
    if name == "shadow":  # dark: 0.1 of reflectance more hides it
        assert right > 0.25
        assert all(value < 0.7 * right for value in ways.values())
    else:  # bright: the offset makes little difference
        assert right > 0.75
        assert ways["red and blue exchanged"] < right - 0.05
        assert ways["B8A and B12 exchanged"] < right
