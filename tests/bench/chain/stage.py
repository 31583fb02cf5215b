"""Run one stage of a chain in this process: `python -m bench.chain.stage CASE CHAIN STAGE [CHUNK]`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from bench.chain.case import read_case

if __name__ == "__main__":
    path, chain, stage, *chunk = sys.argv[1:]
    case = read_case(Path(path), chain)
    case.out.mkdir(parents=True, exist_ok=True)
    getattr(importlib.import_module(f"bench.chain.{chain}"), stage)(case, *map(int, chunk))
