"""Lets torchvision be imported beside PyTorch's build for the CPU, whose version its compiled operators do not fit.

`setup-deep.sh` puts this file into such an environment, where a .pth file imports it at the start of Python. It declares torchvision's
operators just before torchvision is imported, so that imports work; calling them fails. No loader and no network here calls one: they are
for the detection of objects.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any

KEPT: list[Any] = []
"""Keeps the declarations alive."""


class Declaring(MetaPathFinder):
    """Finds nothing itself: declares the operators when torchvision is looked for, once."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """Declare the operators before torchvision itself is found."""
        if fullname != "torchvision":
            return
        sys.meta_path.remove(self)
        import torch

        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        KEPT.append(library)


sys.meta_path.insert(0, Declaring())
