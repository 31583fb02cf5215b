"""Files of pretrained weights in the libraries' forms, made here: each number reaches its place, other files are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="networks have an environment of their own: make test-deep")

import torch
from safetensors.torch import save_file
from terratorch.registry import BACKBONE_REGISTRY

from smallmines.benchmark.deep import networks
from smallmines.core.errors import UserError
from smallmines.settings.benchmark import Network

pytestmark = pytest.mark.deep


def random_state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the state of a module with other numbers, whole numbers as they are."""
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(value.shape, generator=generator) if value.is_floating_point() else value.clone()
        for name, value in module.state_dict().items()
    }


def test_unet_takes_imagenet_weights_and_repeats_them_over_more_bands(settings: dict[str, Network], tmp_path: Path) -> None:
    state = random_state(networks.build(settings["unet_rgb/fixed"], None, 0).encoder)
    save_file({**state, "fc.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    three = networks.build(settings["unet_rgb/fixed"], tmp_path / "model.safetensors", 0).encoder.state_dict()
    assert all(torch.equal(three[name], value) for name, value in state.items())
    six = networks.build(settings["unet_rgb_plus/fixed"], tmp_path / "model.safetensors", 0).encoder.state_dict()
    for band in range(6):
        torch.testing.assert_close(six["conv1.weight"][:, band], state["conv1.weight"][:, band % 3] / 2)
    assert all(torch.equal(six[name], value) for name, value in state.items() if name != "conv1.weight")


def test_prithvi_takes_each_band_by_name_and_the_published_row_a_random_one(settings: dict[str, Network], tmp_path: Path) -> None:
    encoder = networks.build(settings["prithvi_300/fixed"], None, 0).encoder
    state = random_state(encoder)
    state["pos_embed"] = encoder.state_dict()["pos_embed"]
    whole = {f"encoder.{name}": value for name, value in state.items()} | {"decoder.mask_token": torch.zeros(1)}
    torch.save(whole, tmp_path / "weights.pt")
    own = networks.build(settings["prithvi_300/fixed"], tmp_path / "weights.pt", 0).encoder.state_dict()
    assert all(torch.equal(own[name], value) for name, value in state.items())
    published = networks.build(settings["prithvi_300/as_published"], tmp_path / "weights.pt", 0)
    columns = published.encoder.state_dict()["patch_embed.proj.weight"]
    same = [torch.equal(columns[:, band], state["patch_embed.proj.weight"][:, band]) for band in range(6)]
    assert same == [True, True, True, False, True, True], "near infrared is random, and frozen"
    assert not any(parameter.requires_grad for parameter in published.encoder.parameters())


def test_terramind_takes_the_dataset_s_bands_of_each_modality(settings: dict[str, Network], tmp_path: Path) -> None:
    backbone = BACKBONE_REGISTRY.build("terramind_v1_tiny", pretrained=False, modalities=["S2L2A", "S1RTC", "DEM"])
    state = random_state(backbone)
    torch.save({**state, "decoder.weight": torch.zeros(1)}, tmp_path / "weights.pt")
    own = networks.build(settings["terramind_tiny/fixed"], tmp_path / "weights.pt", 0).encoder.state_dict()
    key = "encoder_embeddings.untok_sen2l2a@224.proj.weight"
    width = state[key].shape[0]
    twelve, ten = state[key].view(width, -1, 12), own[key].view(width, -1, 10)
    kept = [1, 2, 3, 4, 5, 6, 7, 8, 10, 11]  # without B01 and B09
    assert torch.equal(ten, twelve[..., kept])
    others = [name for name, value in state.items() if name != key and name in own and value.is_floating_point()]
    assert len(others) > 50
    assert all(torch.equal(own[name], state[name]) for name in others)


def test_sam2_takes_its_weights(settings: dict[str, Network], tmp_path: Path) -> None:
    state = random_state(networks.build(settings["sam2_rgb/fixed"], None, 0).network)
    save_file({**state, "memory_encoder.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    own = networks.build(settings["sam2_rgb/fixed"], tmp_path / "model.safetensors", 1).network.state_dict()
    assert all(torch.equal(own[name], value) for name, value in state.items())


@pytest.mark.parametrize("name", ["unet_rgb/fixed", "prithvi_300/fixed", "terramind_tiny/fixed", "sam2_rgb/fixed"])
def test_weights_of_another_network_are_refused(settings: dict[str, Network], tmp_path: Path, name: str) -> None:
    path = tmp_path / ("model.safetensors" if name.startswith(("unet", "sam2")) else "weights.pt")
    if path.suffix == ".safetensors":
        save_file({"something.weight": torch.zeros(2)}, path)
    else:
        torch.save({"patch_embed.proj.weight": torch.zeros(2, 6, 1, 4, 4), "something.weight": torch.zeros(2)}, path)
    with pytest.raises(UserError, match="weights for all"):
        networks.build(settings[name], path, 0)


@pytest.mark.parametrize("name", ["prithvi_300/fixed", "terramind_tiny/fixed"])
@pytest.mark.parametrize(
    "content", [[1], torch.zeros(2), {}, {"model": 3}, {"model": {"a": 1}}, {1: torch.zeros(2)}, {"a.weight": torch.zeros(2)}]
)
def test_a_file_of_something_else_is_refused(settings: dict[str, Network], tmp_path: Path, name: str, content: object) -> None:
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=r"(arrays by name|weights for all)[\s\S]*correct repository"):
        networks.build(settings[name], tmp_path / "weights.pt", 0)


def test_a_broken_file_is_refused(settings: dict[str, Network], tmp_path: Path) -> None:
    for name, path in (("unet_rgb/fixed", tmp_path / "model.safetensors"), ("prithvi_300/fixed", tmp_path / "weights.pt")):
        path.write_bytes(bytes(100))
        with pytest.raises(UserError, match=f"delete {path}: it is downloaded again"):
            networks.build(settings[name], path, 0)
