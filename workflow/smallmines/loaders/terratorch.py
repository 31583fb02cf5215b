"""Write split files and a configuration of the published dataset for `terratorch fit --config …`. Does not import TerraTorch.

How TerraTorch 1.2.11's generic datasets work (from their source, checked by tests/loaders/test_terratorch.py), and how the files
written here deal with it:

- Images and masks are two globs, each filtered by the same split file and sorted by path, then paired by position, with no
  check. `<year>/IMAGE/IMG_<rest>` and `<year>/MASK/MASK_<rest>` sort alike as long as both exist for every name of the
  split file, which `read_pairs` ensures, so the root is the dataset's folder, with one year or several.
- A line of a split file is by default a substring of base names: an empty line matches every name, and 10 matches 0010
  and 0100. With `allow_substring_split_file: false` a line is a whole name (base name, without the
  extension). One file serves both globs, so it lists images and masks.
- A file's bands are taken by position: `dataset_bands` names all thirteen, `output_bands` chooses among these names. Six
  names alone would mean the first six bands. The number of names is not compared with the file.
- Files are read masked: pixels of the nodata tag become NaN, in masks too. Without `no_data_replace` NaN reaches the
  normaliser, without `no_label_replace` a mask's NaN becomes an arbitrary integer; so 0 and 255, and `ignore_index: 255`.
  A file without the tag would pass −9999 on, so `split_files` checks every file's header.
- `no_data_replace` is one number for all bands, inserted before the normaliser: a gap becomes −mean/sd there (in Sentinel-2
  usually −5 and beyond), finite but not neutral.
- Pretrained weights of the patch embedding are matched by band name (`HLSBands`); a band whose name Prithvi does not know,
  such as VNIR_5, VV or DEM, gets random weights without a warning. B8A is NIR_NARROW, one of its six.
- `drop_last` is true by default: a train split smaller than a batch would give no batch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import pandas as pd
import rasterio

from smallmines.core.errors import UserError
from smallmines.core.product import CLASSES, IMAGE, MASK, PATCH_BANDS, SPLITS
from smallmines.dataset.change import CLASSES as CHANGES
from smallmines.loaders.folder import require_bands

NAMES: dict[str, str] = {
    "B02": "BLUE",
    "B03": "GREEN",
    "B04": "RED",
    "B05": "RED_EDGE_1",
    "B06": "RED_EDGE_2",
    "B07": "RED_EDGE_3",
    "B08": "NIR_BROAD",
    "B8A": "NIR_NARROW",
    "B11": "SWIR_1",
    "B12": "SWIR_2",
    "VV": "VV",
    "VH": "VH",
    "DEM": "DEM",
}
"""TerraTorch's name of each band."""

PRITHVI_BANDS = ("B02", "B03", "B04", "B8A", "B11", "B12")
"""Bands for which Prithvi-EO has pretrained weights."""

Model = Literal["unet", "prithvi_eo_v2_tiny_tl", "prithvi_eo_v2_100_tl", "prithvi_eo_v2_300", "prithvi_eo_v2_300_tl"]

_DECODED_LAYERS = {
    "prithvi_eo_v2_tiny_tl": [2, 5, 8, 11],
    "prithvi_eo_v2_100_tl": [2, 5, 8, 11],
    "prithvi_eo_v2_300": [5, 11, 17, 23],
    "prithvi_eo_v2_300_tl": [5, 11, 17, 23],
}
"""Layers of the 12 or 24 of each model whose output the decoder gets."""


@dataclass(frozen=True)
class Training:
    """Options of a configuration.

    Attributes:
        bands: names as in the dataset, in the order wanted.
        model: U-Net with a ResNet-50, or a Prithvi-EO-2.0 with a U-Net decoder.
        pretrained: start from published weights, which TerraTorch downloads.
        no_data_replace: value of gaps before they are normalised; finite.
        batch_size: patches in a batch.
        epochs: maximum number of epochs.
        workers: processes that read.
        pairs: whether a sample is a tile in two years and its change, for models that take a series (Prithvi).
    """

    bands: tuple[str, ...] = PRITHVI_BANDS
    model: Model = "unet"
    pretrained: bool = True
    no_data_replace: float = 0.0
    batch_size: int = 16
    epochs: int = 50
    workers: int = 4
    pairs: bool = False


def split_files(pairs: pd.DataFrame, folder: str | Path, years: int = 1) -> dict[str, Path]:
    """Write `train.txt`, `val.txt` and `test.txt`: the exact names of the images and masks of each split, one a line.

    Args:
        pairs: as `folder.read_pairs` returns it, of the years wanted; rows of other splits (`buffer`) are left out.
        folder: where to write; created if it does not exist.
        years: whose bands an image holds.

    Returns:
        The files by split.

    Raises:
        UserError: a split without patches, which TerraTorch cannot use, or a patch without its nodata tag, of another number of
            bands or of another size than the first.
    """
    sets = {name: pairs[pairs["split"] == name] for name in SPLITS}
    if empty := [name for name, rows in sets.items() if rows.empty]:
        both, how = (" in both years", "with the method spatial_block") if years > 1 else ("", "with all three")
        raise UserError(f"patches of train, val and test{both}", f"none of {', '.join(empty)}", f"make splits {how} (docs/splits.md)")
    first: tuple[int, int] | None = None
    for column, form in (("image", IMAGE), ("mask", MASK)):
        for path in pairs[column]:
            with rasterio.open(path) as source:
                header = (source.count, source.nodata, source.shape)
            first = first or source.shape
            if header != (bands := len(form.bands) * (years if form is IMAGE else 1), form.nodata, first):
                expected = f"{bands} bands, nodata {form.nodata:g}, shape {first} of {path}"
                raise UserError(expected, str(header), "make the patch again")
    Path(folder).mkdir(parents=True, exist_ok=True)
    files = {name: Path(folder) / f"{name}.txt" for name in SPLITS}
    for name, rows in sets.items():
        lines = [Path(path).name for column in ("image", "mask") for path in rows[column]]
        files[name].write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return files


def terratorch_config(
    root: str | Path,
    splits: Mapping[str, Path],
    statistics: pd.DataFrame,
    target: str | Path,
    training: Training,
) -> Path:
    """Write a configuration for `terratorch fit --config <target>`; paths in it are absolute.

    Args:
        root: folder of the published dataset that `splits` names patches of; of pairs, that of `terratorch_pairs.write_pairs`.
        splits: as `split_files` returns it.
        statistics: as `folder.band_statistics` returns it, of the train split.
        target: the YAML file.

    Returns:
        `target`.

    Raises:
        UserError: an unknown band or model, pairs for a model of single images, or a no_data_replace that is not finite.
    """
    chosen, model = require_bands(training.bands), training.model
    if model not in get_args(Model):
        raise UserError(f"a model among {', '.join(get_args(Model))}", model, "name one of these")
    if not math.isfinite(training.no_data_replace):
        raise UserError("a finite no_data_replace", f"{training.no_data_replace}", "give a number")
    if training.pairs and model == "unet":
        raise UserError("a model that takes both years of a tile, e.g. prithvi_eo_v2_300", model, "name one, or leave the pairs out")
    target = Path(target)
    rgb = [chosen.index(band) for band in ("B04", "B03", "B02") if band in chosen]
    values = {
        "root": str(Path(root).resolve()),
        "target": str(target.resolve().parent / f"{target.stem}_runs"),
        **{name: str(splits[name].resolve()) for name in SPLITS},
        "dataset_bands": [NAMES[band] for band in PATCH_BANDS],
        "output_bands": [NAMES[band] for band in chosen],
        "means": statistics.loc[list(chosen), "mean"].round(4).tolist(),
        "stds": statistics.loc[list(chosen), "sd"].round(4).tolist(),
        "rgb": rgb if len(rgb) == 3 else None,
        "plot": len(rgb) == 3 and not training.pairs and 10,
        "classes": list(CHANGES if training.pairs else CLASSES),
        "number": len(CHANGES if training.pairs else CLASSES),
        "weights": [0.1, *[0.9] * (len(CHANGES if training.pairs else CLASSES) - 1)],
        "images": f"IMAGE/{IMAGE.prefix}_*.vrt" if training.pairs else f"[0-9][0-9][0-9][0-9]/IMAGE/{IMAGE.prefix}_*.tif",
        "labels": f"{'' if training.pairs else '[0-9][0-9][0-9][0-9]/'}MASK/{MASK.prefix}_*.tif",
        "frames": 2 if training.pairs else 1,
        "series": training.pairs,
        "gap": float(training.no_data_replace),
        "pretrained": training.pretrained,
        "batch": training.batch_size,
        "epochs": training.epochs,
        "workers": training.workers,
        "model": model,
        "layers": _DECODED_LAYERS.get(model),
    }
    text = {key: json.dumps(value, ensure_ascii=False) for key, value in values.items()}
    network, rates = (_UNET, _UNET_RATES) if model == "unet" else (_PRITHVI, _PRITHVI_RATES)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text((_DATA + network + rates).format_map(text), encoding="utf-8")
    return target


_DATA = """\
# Written by smallmines.loaders.terratorch, for: terratorch fit --config <this file>
# Hyperparameters of the SmallMinesDS paper: AdamW; Prithvi-EO-2.0 with lr 1e-3 and weight decay 0.05; U-Net (ResNet-50) with lr 1e-3,
# times 0.1 every 10 epochs; cross-entropy weighted 0.9 (mining) to 0.1. Batch size and epochs are not from the paper.
seed_everything: 0
trainer:
  max_epochs: {epochs}
  log_every_n_steps: 10
  default_root_dir: {target}
data:
  class_path: terratorch.datamodules.GenericNonGeoSegmentationDataModule
  init_args:
    batch_size: {batch}
    num_workers: {workers}
    num_classes: {number}
    # one root and one pattern for all years; the split files say which files
    train_data_root: {root}
    val_data_root: {root}
    test_data_root: {root}
    train_label_data_root: {root}
    val_label_data_root: {root}
    test_label_data_root: {root}
    img_grep: {images}
    label_grep: {labels}
    train_split: {train}
    val_split: {val}
    test_split: {test}
    allow_substring_split_file: false # a line is a whole name
    ignore_split_file_extensions: true
    dataset_bands: {dataset_bands} # all bands of a file, by position
    output_bands: {output_bands} # the chosen ones, by name
    expand_temporal_dimension: {series} # of files with all bands of one year after those of the other
    rgb_indices: {rgb}
    no_data_replace: {gap} # gaps of images, before they are normalised
    no_label_replace: 255 # gaps of masks: see ignore_index
    # of the train split, bands as in output_bands
    means: {means}
    stds: {stds}
    drop_last: false
    check_stackability: false # checked when the split files were written
model:
  class_path: terratorch.tasks.SemanticSegmentationTask
  init_args:
    loss: ce
    ignore_index: 255
    class_weights: {weights}
    class_names: {classes}
    plot_on_val: {plot}
"""

_UNET = """\
    model_factory: SMPModelFactory
    model_args:
      model: Unet
      backbone: resnet50
      bands: {output_bands}
      num_classes: 2
      pretrained: {pretrained}
"""

_UNET_RATES = """\
optimizer:
  class_path: torch.optim.AdamW
  init_args:
    lr: 0.001
lr_scheduler:
  class_path: torch.optim.lr_scheduler.StepLR
  init_args:
    step_size: 10
    gamma: 0.1
"""

_PRITHVI = """\
    model_factory: EncoderDecoderFactory
    model_args:
      backbone: {model}
      backbone_pretrained: {pretrained}
      backbone_bands: {output_bands} # weights go by name; unknown names start at random
      backbone_num_frames: {frames}
      necks:
        - name: SelectIndices
          indices: {layers}
        - name: ReshapeTokensToImage
          effective_time_dim: {frames}
        - name: LearnedInterpolateToPyramidal
      decoder: UNetDecoder
      decoder_channels: [512, 256, 128, 64]
      num_classes: {number}
"""

_PRITHVI_RATES = """\
optimizer:
  class_path: torch.optim.AdamW
  init_args:
    lr: 0.001
    weight_decay: 0.05
"""
