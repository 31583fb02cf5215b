#!/usr/bin/env python3
"""Stand-in for PBS: `qsub`, `qstat` and `qdel` (by the name under which this is called) run jobs on this machine.

Each job has a folder in `$STUB_PBS`: how it was submitted, its script, its state. A job runs at once.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

JOBS = Path(os.environ["STUB_PBS"])


def qsub(words: list[str]) -> None:
    """Start the script, which is the last word, with a shell that notes its exit status; print the job's id."""
    JOBS.mkdir(exist_ok=True)
    job = JOBS / f"{len(list(JOBS.iterdir())) + 1}.stub"
    job.mkdir()
    shutil.copy(words[-1], job / "script")  # PBS takes a copy at submission
    (job / "submitted").write_text(" ".join(words[:-1]))
    shell = f"sh '{job}/script' >'{job}/output' 2>&1; echo $? >'{job}/ends'; mv '{job}/ends' '{job}/exit'"
    process = subprocess.Popen(["sh", "-c", shell], start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    (job / "pid").write_text(str(process.pid))
    print(job.name)


def qstat(words: list[str]) -> None:
    """Print the state of a job as `qstat -x -f ID` does; 153 if there is none."""
    options, job = words[:-1], JOBS / words[-1]
    if options != ["-x", "-f"] or not job.is_dir():
        sys.exit(153)
    ended = (job / "exit").is_file()
    print(f"Job Id: {job.name}\n    Job_Name = smallmines\n    job_state = {'F' if ended else 'R'}")
    if ended:
        print(f"    Exit_status = {(job / 'exit').read_text().strip()}")


def qdel(words: list[str]) -> None:
    """End jobs."""
    for name in words:
        os.killpg(int((JOBS / name / "pid").read_text()), signal.SIGKILL)
        (JOBS / name / "exit").write_text("271\n")


if __name__ == "__main__":
    {"qsub": qsub, "qstat": qstat, "qdel": qdel}[Path(sys.argv[0]).name](sys.argv[1:])
