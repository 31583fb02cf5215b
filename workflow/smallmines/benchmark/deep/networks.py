"""Networks of the rows: built by segmentation-models-pytorch and TerraTorch, trained and applied alike. Imports PyTorch."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smallmines.core.errors import UserError
from smallmines.core.files import flat
from smallmines.core.product import MASK_NODATA, PATCH_BANDS, S1, S2_BANDS
from smallmines.loaders.terratorch import NAMES
from smallmines.settings.benchmark import Network

CLASSES = 2

PRITHVI_LAYERS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "prithvi_300": ("prithvi_eo_v2_300", (5, 11, 17, 23)),
    "prithvi_600": ("prithvi_eo_v2_600", (7, 15, 23, 31)),
}
"""TerraTorch's name of each Prithvi, and the layers whose output the decoder gets."""

TERRAMIND: Mapping[str, str] = {"terramind_tiny": "terramind_v1_tiny", "terramind_base": "terramind_v1_base"}
TERRAMIND_LAYERS = (2, 5, 8, 11)
MODALITIES: Mapping[str, tuple[str, ...]] = {"S2L2A": S2_BANDS, "S1RTC": PATCH_BANDS[S1], "DEM": PATCH_BANDS[-1:]}
"""TerraMind's name of each modality of the dataset."""


class Segmenter(nn.Module):
    """A network with two classes: `forward(x)` → logits (tile, 2, row, column).

    Attributes:
        encoder: its pretrained part.
        class_weights: of the loss, or None.
    """

    encoder: nn.Module

    def __init__(self, settings: Network) -> None:
        super().__init__()
        weights = None if settings.class_weights is None else torch.tensor(settings.class_weights)
        self.register_buffer("class_weights", weights, persistent=False)

    def loss(self, x: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        """Return the cross-entropy over the pixels that have a class, weighted by class.

        Args:
            x: input (tile, band, row, column).
            mask: (tile, row, column) int64, 255 unknown.
            generator: for what is drawn; not used here.
        """
        logits = self(x).float()
        if not bool((mask != MASK_NODATA).any()):
            return logits.sum() * 0
        return nn.functional.cross_entropy(logits, mask, self.class_weights, ignore_index=MASK_NODATA)

    def weight(self, mask: Tensor) -> Tensor:
        """Return what the mean of `loss` divides by: the weights of the pixels that have a class."""
        weights = torch.ones(CLASSES, device=mask.device) if self.class_weights is None else self.class_weights
        return torch.stack([(mask == value).sum() * weights[value] for value in range(CLASSES)]).sum()

    def probability(self, x: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        """Return the probability of mining (tile, row, column). Masks are for networks that are told a point of the truth."""
        return torch.softmax(self(x).float(), dim=1)[:, 1]


class UNet(Segmenter):
    """U-Net with a ResNet-50 (segmentation-models-pytorch)."""

    def __init__(self, settings: Network, weights: Path | None) -> None:
        super().__init__(settings)
        import segmentation_models_pytorch as smp

        self.network = smp.Unet("resnet50", encoder_weights=None, in_channels=3 if weights else len(settings.bands), classes=CLASSES)
        if weights:
            load(self.network.encoder, read_weights(weights), weights)
            self.network.encoder.set_in_channels(len(settings.bands), pretrained=True)
        self.encoder = self.network.encoder

    def forward(self, x: Tensor) -> Tensor:
        """Return logits; input whose side no 32 divides is padded by reflection."""
        down, right = (-x.shape[-2] % 32, -x.shape[-1] % 32)
        padded = nn.functional.pad(x, (0, right, 0, down), mode="reflect") if down or right else x
        logits: Tensor = self.network(padded)[..., : x.shape[-2], : x.shape[-1]]
        return logits


class Prithvi(Segmenter):
    """Prithvi-EO-2.0 with UperNet (TerraTorch)."""

    def __init__(self, settings: Network, weights: Path | None) -> None:
        super().__init__(settings)
        name, layers = PRITHVI_LAYERS[settings.architecture]
        self.network = _terratorch(
            settings,
            name,
            {"bands": band_names(settings), "num_frames": 1, "out_indices": list(layers)},
            ("UperNetDecoder", {"channels": 256, "scale_modules": True}),
            [{"name": "ReshapeTokensToImage"}],
        )
        self.encoder = self.network.encoder
        if weights:
            from terratorch.models.backbones.prithvi_vit import PRETRAINED_BANDS, checkpoint_filter_fn_vit

            state = read_weights(weights)
            if any("patch_embed.proj.weight" in name for name in state):
                state = checkpoint_filter_fn_vit(state, self.encoder, PRETRAINED_BANDS, self.encoder.model_bands)
            load(self.encoder, state, weights)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.network(x).output
        return logits


class TerraMind(Segmenter):
    """TerraMind 1.0 on the modalities of its bands, with a U-Net decoder (TerraTorch)."""

    def __init__(self, settings: Network, weights: Path | None) -> None:
        super().__init__(settings)
        self.groups = {
            name: [place for place, band in enumerate(settings.bands) if band in own]
            for name, own in MODALITIES.items()
            if set(own) & set(settings.bands)
        }
        bands = {name: [NAMES[settings.bands[place]] for place in places] for name, places in self.groups.items()}
        self.network = _terratorch(
            settings,
            TERRAMIND[settings.architecture],
            {"modalities": list(self.groups)},
            ("UNetDecoder", {"channels": [512, 256, 128, 64]}),
            [
                {"name": "SelectIndices", "indices": list(TERRAMIND_LAYERS)},
                {"name": "ReshapeTokensToImage", "remove_cls_token": False},
                {"name": "LearnedInterpolateToPyramidal"},
            ],
        )
        self.encoder = self.network.encoder
        from terratorch.models.backbones.terramind.model.terramind_register import PRETRAINED_BANDS, select_modality_patch_embed_weights

        if weights:
            wanted = {name for name in self.encoder.state_dict() if not name.startswith("tokenizer")}
            load(self.encoder, {name: value for name, value in read_weights(weights).items() if name in wanted}, weights)
        select_modality_patch_embed_weights(self.encoder, bands, PRETRAINED_BANDS)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.network({name: x[:, places] for name, places in self.groups.items()}).output
        return logits


def build(settings: Network, weights: Path | None, seed: int) -> Segmenter:
    """Build the network of a row. What no weights are for starts from random numbers.

    Args:
        weights: file of pretrained weights of the encoder, or None: random ones.

    Raises:
        UserError: weights that are not those of this network.
    """
    torch.manual_seed(seed)
    kind: Any
    if settings.architecture == "unet_resnet50":
        kind = UNet
    elif settings.architecture in PRITHVI_LAYERS:
        kind = Prithvi
    elif settings.architecture in TERRAMIND:
        kind = TerraMind
    else:
        from smallmines.benchmark.deep.sam2 import Sam2

        kind = Sam2
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "DeprecationWarning: scale_modules", UserWarning)
        network: Segmenter = kind(settings, weights)
    if not settings.train_encoder:
        network.encoder.requires_grad_(False)
    return network


def band_names(settings: Network) -> list[str]:
    """Return the names under which Prithvi's weights are looked up: TerraTorch's, or those that the settings state, as published.

    Raises:
        UserError: a band that Prithvi has no weights for: it would start from random numbers without a word.
    """
    from terratorch.models.backbones.prithvi_vit import PRETRAINED_BANDS

    if settings.band_names:
        return list(settings.band_names)
    names, pretrained = [NAMES[band] for band in settings.bands], [band.value for band in PRETRAINED_BANDS]
    if unknown := [band for band, name in zip(settings.bands, names, strict=True) if name not in pretrained]:
        own = [band for band, name in NAMES.items() if name in pretrained]
        raise UserError(f"bands of Prithvi, {', '.join(own)}", ", ".join(unknown), "correct bands in config/benchmark/<row>.yaml")
    return names


def counted(network: Segmenter) -> tuple[int, int]:
    """Return the number of parameters, and of those that are trained."""
    return _count(network.parameters()), _count(p for p in network.parameters() if p.requires_grad)


def _count(parameters: Iterable[Any]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def load(module: nn.Module, state: Mapping[str, Tensor], path: Path, ignored: Sequence[str] = ()) -> None:
    """Load weights; each of the module's numbers must be among them.

    Args:
        ignored: patterns of names that the file may have in addition, or lack.

    Raises:
        UserError: names or shapes that differ.
    """
    own = module.state_dict()
    skip = [*ignored, r"num_batches_tracked$", r"^tokenizer"]
    missing = [name for name in own if name not in state and not any(re.search(pattern, name) for pattern in skip)]
    other = [name for name, value in state.items() if name in own and value.shape != own[name].shape]
    if missing or other:
        found = "; ".join(
            [f"none for {len(missing)}, such as {missing[0]}"] * bool(missing) + [f"another shape of {name}" for name in other[:1]]
        )
        expected = f"weights for all {len(own)} arrays of {type(module).__name__} in {path}"
        raise UserError(expected, found, "correct repository, file and revision in config/benchmark/<row>.yaml")
    module.load_state_dict({name: value for name, value in state.items() if name in own}, strict=False)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the arrays of a file of weights: safetensors where the name ends so, else PyTorch's form, which must run no code when read.

    Raises:
        UserError: it cannot be read, or holds no arrays by name.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # both readers raise anything
        do = f"delete {path.resolve()}: it is downloaded again"
        raise UserError(f"readable weights in {path}", flat(error)[:200] or type(error).__name__, do) from None
    for name in ("model", "state_dict"):
        state = state.get(name, state) if isinstance(state, dict) else None
    if not isinstance(state, dict):
        do = "correct repository, file and revision in config/benchmark/<row>.yaml"
        raise UserError(f"arrays by name in {path}", "other content", do)
    return {name: value for name, value in state.items() if isinstance(name, str) and isinstance(value, Tensor)}


def _terratorch(
    settings: Network, backbone: str, options: Mapping[str, Any], decoder: tuple[str, Mapping[str, Any]], necks: list[dict[str, Any]]
) -> Any:
    from terratorch.models import EncoderDecoderFactory

    return EncoderDecoderFactory().build_model(
        "segmentation",
        backbone=backbone,
        backbone_kwargs={"pretrained": False, **options},
        decoder=decoder[0],
        decoder_kwargs=dict(decoder[1]),
        head_kwargs={"dropout": settings.head_dropout},
        necks=necks,
        num_classes=CLASSES,
        rescale=True,
    )
