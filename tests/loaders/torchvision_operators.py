"""Declares torchvision's compiled operators where its wheel does not fit PyTorch's (the CPU build): imports work, calling them fails.

No loader and no model of the tests calls one: they are for the detection of objects. To be imported before torchvision.
"""

from __future__ import annotations

import contextlib
import importlib.util
from pathlib import Path

import torch

LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
"""Keeps the declarations alive."""


def declare() -> bool:
    """Declare the operators that torchvision registers on import, unless its own library loads; returns whether it did."""
    package = importlib.util.find_spec("torchvision")
    assert package is not None
    assert package.origin is not None
    for library in Path(package.origin).parent.glob("_C*.so"):
        with contextlib.suppress(OSError):
            torch.ops.load_library(str(library))
            return False
    for name in ("nms", "qnms"):
        LIBRARY.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return True


DECLARED = declare()
