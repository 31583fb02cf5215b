"""SAM-2 hiera small (transformers): with a point of the truth, as the released script trains and tests it, or without prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smallmines.benchmark.deep.networks import Segmenter, load, read_weights
from smallmines.core.product import MASK_NODATA
from smallmines.settings.benchmark import Network

IMAGE_PX = 1024
"""Side to which tiles are enlarged. The positions of SAM-2's windows are those of this size."""

STAGES, GLOBAL_BLOCKS = [1, 2, 11, 2], [7, 10, 13]
"""Blocks by stage, and blocks that attend to the whole image, of hiera small."""

SCORE_WEIGHT = 0.05
"""Weight of |score − IoU| in the published loss."""

FLOOR = 1e-5
"""Added to probabilities in the published loss before the logarithm."""


class Sam2(Segmenter):
    """SAM-2 hiera small.

    Without prompts the network gives one mask, whose logit is that of mining against 0. With prompts it gets one point in each class of
    the mask and gives a mask for it, the first of three; this tells it the truth, also in a test.
    """

    def __init__(self, settings: Network, weights: Path | None, side: int = IMAGE_PX) -> None:
        super().__init__(settings)
        from transformers import Sam2Config, Sam2HieraDetConfig, Sam2Model, Sam2PromptEncoderConfig, Sam2VisionConfig

        backbone = Sam2HieraDetConfig(blocks_per_stage=STAGES, global_attention_blocks=GLOBAL_BLOCKS, image_size=[side, side])
        sizes = [[side // step, side // step] for step in (4, 8, 16)]
        vision = Sam2VisionConfig(backbone_config=backbone, backbone_feature_sizes=sizes)
        self.network = Sam2Model(Sam2Config(vision_config=vision, prompt_encoder_config=Sam2PromptEncoderConfig(image_size=side)))
        self.encoder = self.network.vision_encoder
        self.side, self.prompts = side, settings.prompts
        if not settings.train_encoder:
            self.network.no_memory_embedding.requires_grad_(False)
        if weights:
            load(self.network, read_weights(weights), weights)

    def _resized(self, x: Tensor, side: int | tuple[int, int]) -> Tensor:
        return nn.functional.interpolate(x, size=side, mode="bilinear", align_corners=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (tile, 2, row, column) without prompts."""
        answer = self.network(pixel_values=self._resized(x, self.side), multimask_output=False)
        mining = self._resized(answer.pred_masks[:, 0], tuple(x.shape[-2:]))
        return torch.cat([torch.zeros_like(mining), mining], dim=1)

    def prompted(self, x: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits (point, row, column) and scores (point,) of the masks of points in one tile.

        Args:
            x: input (1, band, row, column).
            points: (point, 2) column and row.
        """
        place = (points.float() * (self.side / x.shape[-1]))[None, :, None]
        labels = torch.ones(place.shape[:3], dtype=torch.int32, device=x.device)
        pixels = self._resized(x, self.side)
        answer = self.network(pixel_values=pixels, input_points=place, input_labels=labels, multimask_output=True)
        masks = self._resized(answer.pred_masks[0, :, :1], tuple(x.shape[-2:]))[:, 0]
        return masks, answer.iou_scores[0, :, 0]

    def loss(self, x: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss of the tiles: see `Segmenter.loss`; with prompts the published one, by class and tile."""
        if self.prompts == "none":
            return super().loss(x, mask, generator)
        losses = [self._prompted_loss(x[place : place + 1], mask[place], generator) for place in range(len(x))]
        return torch.stack(losses).sum() / self.weight(mask).clamp(min=1)

    def weight(self, mask: Tensor) -> Tensor:
        """Return what the mean of `loss` divides by; with prompts the number of tiles that have a class."""
        return super().weight(mask) if self.prompts == "none" else (mask != MASK_NODATA).any(dim=(1, 2)).sum()

    def _prompted_loss(self, x: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        values, points = truth_points(mask, generator)
        if not len(values):
            return (self(x) * 0).sum()
        logits, score = self.prompted(x, points)
        own = (mask[None] == values[:, None, None]).float()
        inside = torch.sigmoid(logits.float())
        cross = -(own * torch.log(inside + FLOOR) + (1 - own) * torch.log(1 - inside + FLOOR)).mean()
        return cross + SCORE_WEIGHT * (score.float() - iou_of(inside > 0.5, own)).abs().mean()

    def probability(self, x: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        """Return the probability of mining; with prompts 0 in tiles whose mask has none, since there is no point to give."""
        if self.prompts == "none":
            return super().probability(x, mask, generator)
        result = torch.zeros(mask.shape, device=x.device)
        for place in range(len(x)):
            values, points = truth_points(mask[place], generator)
            mining = values == 1
            if bool(mining.any()):
                result[place] = torch.sigmoid(self.prompted(x[place : place + 1], points[mining])[0][0].float())
        return result

    def printed_iou(self, x: Tensor, mask: Tensor, generator: torch.Generator) -> float:
        """Return the score that the released script prints, of one tile: the mean IoU of the masks of its classes, each with its point.

        NaN for a tile without a known pixel, which has no class.
        """
        values, points = truth_points(mask[0], generator)
        if not len(values):
            return float("nan")
        logits, _ = self.prompted(x, points)
        own = (mask[:1] == values[:, None, None]).float()
        return float(iou_of(torch.sigmoid(logits) > 0.5, own).mean())


def truth_points(mask: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the classes of a mask (row, column) and a random pixel of each: (class,), and (class, 2) column and row."""
    values = torch.unique(mask)
    values = values[values != MASK_NODATA]
    places: list[Any] = []
    for value in values:
        own = torch.nonzero(mask == value)
        drawn = torch.randint(len(own), (1,), generator=generator).item()
        places.append(own[int(drawn)].flip(0))
    return values, torch.stack(places) if places else torch.zeros((0, 2), dtype=torch.int64)


def iou_of(predicted: Tensor, truth: Tensor) -> Tensor:
    """Return the IoU of masks (mask, row, column), 0 where both are empty."""
    both = (predicted * truth).sum(dim=(1, 2))
    either = predicted.sum(dim=(1, 2)) + truth.sum(dim=(1, 2)) - both
    return both / either.clamp(min=1)
