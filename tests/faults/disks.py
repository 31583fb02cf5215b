"""Run a command again and again while one folder is a small disk that grows: `unshare --mount python disks.py` with JSON on stdin.

Reads {"folder", "kept", "sizes" (KiB of free space at the start of each run), "command", "cwd"}; prints [{"size", "status", "output"}].
The folder's content is on the small disk, and in `kept` in the end. The disk vanishes with the process.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

LIMIT = 900
"""Seconds after which a run counts as hanging."""


def mount(folder: Path, *options: str) -> None:
    """Mount a tmpfs, or change the one that is mounted."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)], check=True)


def main() -> None:
    """Do what the JSON says."""
    job = json.load(sys.stdin)
    folder, kept = Path(job["folder"]), Path(job["kept"])
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder, kept, symlinks=True)
    mount(folder, "size=1g")
    shutil.copytree(kept, folder, symlinks=True, dirs_exist_ok=True)
    runs = []
    for size in job["sizes"]:
        used = shutil.disk_usage(folder).used // 1024
        mount(folder, "remount", f"size={max(used + size, 4)}k")  # 0 would be no limit
        try:
            done = subprocess.run(
                job["command"], cwd=job["cwd"], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=LIMIT
            )
            runs.append({"size": size, "status": done.returncode, "output": done.stdout})
        except subprocess.TimeoutExpired:
            runs.append({"size": size, "status": "hangs", "output": ""})
    mount(folder, "remount", "size=1g")
    shutil.rmtree(kept)
    shutil.copytree(folder, kept, symlinks=True)
    print(json.dumps(runs))


if __name__ == "__main__":
    os.environ.setdefault("LC_ALL", "C")
    main()
