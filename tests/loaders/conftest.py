"""Lets torchvision be imported beside the CPU build of PyTorch."""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("torch"):
    import torchvision_operators  # noqa: F401
