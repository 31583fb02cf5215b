"""Run the mean-shift segmentation of Orfeo ToolBox (OTB) as three chained applications.

MeanShiftSmoothing (without mode search, which is not reproducible), LSMSSegmentation and LSMSSmallRegionsMerging
(Michel, Youssefi, Grizonnet 2015, doi 10.1109/TGRS.2014.2330857) rather than LargeScaleMeanShift, which takes three
times the time and five times the memory, or SmallRegionsMerging, which takes ten times the memory.

OTB runs through its Python API `otbApplication` where that can be imported, and as programs `otbcli_*` otherwise; both get the
same parameters and give the same bytes. It is searched in the folder `OTB_ROOT` (an unpacked binary release) where that is set,
else on PATH and in the site-packages of Python.

Either way OTB is a process of its own, whose output is watched: on a full disk OTB 8.1 prints GDAL's errors and then never
returns, at 100 % of a core.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from smallmines.core.environment import GDAL_CACHE_MB
from smallmines.core.errors import UserError
from smallmines.core.files import WRITE_FAILED
from smallmines.core.log import logger
from smallmines.segment.orfeo_python import import_api
from smallmines.settings.segmentation import Segmentation

FAR = 65535
"""Value of masked pixels in the image that OTB reads. Farther from every reflectance than any range radius, so that a masked
pixel never enters a mean and a small segment joins its region last (0 is too near to dark water)."""

MERGING_TILE_PX = 512
"""Largest side of the merging's tiles: of 10 M pieces on 3840 × 3840 px it took 74 s, 94 s with 1349 px and 173 s in one tile."""

LAST_LINES = 12
"""Last lines of a failing application that an error quotes."""

INSTALL = "install Orfeo ToolBox: sudo apt-get install otb-bin (or set OTB_ROOT to an unpacked release of OTB)"


@dataclass(frozen=True)
class Image:
    """An image that an application writes, with its pixel type."""

    path: Path
    pixel: Literal["float", "uint32"]


Value = str | int | float | bool | Path | Image


@dataclass(frozen=True)
class Resources:
    """Resources of a job.

    Attributes:
        threads: threads of ITK, the library under OTB.
        ram_mb: memory in MB with which OTB plans its streamed tiles (`-ram`); see `resources`.
        tile_px: side of the tiles of the segmentation and the merging, in pixels.
    """

    threads: int
    ram_mb: int
    tile_px: int


def resources(threads: int, mem_mb: int, bands: int) -> Resources:
    """Divide a job's memory: half for OTB's plan, which it exceeds by up to 45 % (measured), the rest for labels and Python.

    Tiles are as large as an eighth of the memory holds at 24 bytes per pixel and band (image, copies and padding), within 256 to 2048 px.
    """
    ram = max(256, (mem_mb - 500) // 2)
    side = int((mem_mb * 2**20 / 8 / (24 * (bands + 2))) ** 0.5)
    return Resources(threads, ram, min(2048, max(256, side)))


PROGRAM = "otbcli_MeanShiftSmoothing"
"""Program by which OTB is found; the others come with it."""


@dataclass(frozen=True)
class Orfeo:
    """A way to run OTB's applications.

    Attributes:
        backend: `python` or `cli`.
        run: runs one application with its parameters; raises UserError where it fails.
        version: of Orfeo ToolBox, as its programs report it; else `unknown`.
    """

    backend: Literal["python", "cli"]
    run: Callable[[str, Mapping[str, Value]], None]
    version: str


def find(backend: Literal["auto", "python", "cli"], threads: int) -> Orfeo:
    """Find OTB; backend `auto` is `python` where otbApplication can be imported, else `cli`.

    Raises:
        UserError: OTB is not installed; names the command that installs it.
    """
    os.environ.update(_environment(threads))
    problem = ""
    if backend in ("auto", "python"):
        try:
            import_api()
            return Orfeo("python", _run_api, _version())
        except ImportError as error:
            problem = str(error)
    if backend == "python":
        expected = "the Python API of Orfeo ToolBox (segmentation.backend is python)"
        raise UserError(expected, problem, "run: make otb-python, or set the backend to auto")
    folder = _programs()
    if shutil.which(PROGRAM, path=folder and str(folder)) is None:
        raise UserError("Orfeo ToolBox", f"no {PROGRAM} {f'in {folder}' if folder else 'on PATH'}", INSTALL)
    return Orfeo("cli", lambda application, parameters: _run_cli(folder, application, parameters), _version())


def smoothing(image: Path, smooth: Path, position: Path, settings: Segmentation, limits: Resources) -> dict[str, Value]:
    """Return parameters of MeanShiftSmoothing: `image` (any bands) to `smooth` (its bands, float32) and `position` (2 bands, float32)."""
    return {
        "in": image,
        "fout": Image(smooth, "float"),
        "foutpos": Image(position, "float"),
        "spatialr": settings.spatial_radius,
        "ranger": settings.range_radius,
        "thres": settings.convergence,
        "maxiter": settings.max_iterations,
        "modesearch": False,
        "ram": limits.ram_mb,
    }


def segmentation(smooth: Path, position: Path, labels: Path, settings: Segmentation, limits: Resources) -> dict[str, Value]:
    """Return parameters of LSMSSegmentation: neighbours within both radii share a label (uint32, 1.., ids depend on the tiles)."""
    return {
        "in": smooth,
        "inpos": position,
        "out": Image(labels, "uint32"),
        "spatialr": float(settings.spatial_radius),
        "ranger": settings.range_radius,
        "minsize": 0,
        "tilesizex": limits.tile_px,
        "tilesizey": limits.tile_px,
        "tmpdir": labels.parent,
    }


def merging(smooth: Path, labels: Path, merged: Path, settings: Segmentation, limits: Resources) -> dict[str, Value]:
    """Return parameters of LSMSSmallRegionsMerging: segments below the minimum size join the neighbour nearest in mean (uint32)."""
    return {
        "in": smooth,
        "inseg": labels,
        "out": Image(merged, "uint32"),
        "minsize": settings.min_size,
        "tilesizex": min(limits.tile_px, MERGING_TILE_PX),
        "tilesizey": min(limits.tile_px, MERGING_TILE_PX),
        "ram": limits.ram_mb,
    }


def _root() -> Path | None:
    return Path(os.environ["OTB_ROOT"]) if os.environ.get("OTB_ROOT") else None


def _programs() -> Path | None:
    """Return the folder of OTB's programs; None: they are on PATH."""
    root = _root()
    return root / "bin" if root else None


def _version() -> str:
    folder = _programs()
    program = shutil.which(PROGRAM, path=folder and str(folder))
    if program is None:
        return "unknown"
    done = subprocess.run([program, "-version"], capture_output=True, text=True, errors="replace", check=False)
    number = re.search(r"version\D*(\d+(?:\.\d+)+)", done.stdout + done.stderr)
    return number[1] if number else "unknown"


def _environment(threads: int) -> dict[str, str]:
    """Return the variables that ITK and OTB's GDAL read once, when they are first used in a process."""
    values = {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(threads), "GDAL_CACHEMAX": GDAL_CACHE_MB, "OTB_LOGGER_LEVEL": "WARNING"}
    root = _root()
    places = [str(root / "lib/otb/applications")] if root else sorted(glob.glob("/usr/lib/*/otb/applications"))
    if (root or "OTB_APPLICATION_PATH" not in os.environ) and places and Path(places[0]).is_dir():
        values["OTB_APPLICATION_PATH"] = places[0]
    return values


def _run_api(application: str, parameters: Mapping[str, Value]) -> None:
    """Run an application through otbApplication."""
    command = [sys.executable, "-P", str(Path(__file__).with_name("orfeo_python.py")), application]
    command.append(json.dumps([[key, *_typed(value)] for key, value in parameters.items()]))
    _run(command, application, parameters, {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))})


def _typed(value: Value) -> tuple[str, str | int | float | bool]:
    """Return kind and value of a parameter, see `orfeo_python.run`."""
    if isinstance(value, Image):
        return value.pixel, str(value.path)
    if isinstance(value, bool | int):
        return type(value).__name__, value
    return ("real", value) if isinstance(value, float) else ("text", str(value))


def _run_cli(folder: Path | None, application: str, parameters: Mapping[str, Value]) -> None:
    """Run an application as a program."""
    command = [str(folder / f"otbcli_{application}") if folder else f"otbcli_{application}"]
    for key, value in parameters.items():
        command.append(f"-{key}")
        if isinstance(value, Image):
            command += [str(value.path), value.pixel]
        elif isinstance(value, bool):
            command.append("true" if value else "false")
        else:
            command.append(repr(value) if isinstance(value, float) else str(value))
    _run([*command, "-progress", "false"], application, parameters)


def _run(command: list[str], application: str, parameters: Mapping[str, Value], environment: Mapping[str, str] | None = None) -> None:
    """Run a command; its output goes to the log line by line. End it as soon as it prints that it cannot write.

    Raises:
        UserError: it cannot write, or fails.
    """
    lines: deque[str] = deque(maxlen=LAST_LINES)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
    ) as process:
        assert process.stdout is not None
        try:
            for line in (part.strip() for text in process.stdout for part in text.split("\b")):
                if not line or "% [" in line:  # a progress bar
                    continue
                lines.append(line)
                logger.info("otb: %s", line)
                if WRITE_FAILED.search(line):
                    raise _cannot_write(application, line, parameters)
        except BaseException:
            _end(process.pid)
            raise
    if process.returncode != 0:
        killed = " (killed: memory?)" if process.returncode in (-9, 137) else ""
        raise _failure(application, [*lines, f"exit status {process.returncode}{killed}"])


def _end(pid: int) -> None:
    """Kill a process and all its children; `otbcli_*` are shell scripts around the program."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for member in (*process.children(recursive=True), process):
            with suppress(psutil.NoSuchProcess):
                member.kill()


def _cannot_write(application: str, line: str, parameters: Mapping[str, Value]) -> UserError:
    folder = next(value.path.parent for value in parameters.values() if isinstance(value, Image))
    disk = shutil.disk_usage(folder)
    return UserError(
        f"room to write in {folder}",
        f"OTB's {application}: {line} ({disk.free / 1e6:.0f} of {disk.total / 1e6:.0f} MB free now)",
        "free some disk space and run again; finished products are intact",
    )


def _failure(application: str, lines: list[str]) -> UserError:
    last = [line.strip() for line in lines if line.strip()][-LAST_LINES:]
    return UserError(
        f"OTB's {application} to succeed",
        " | ".join(last) or "no message",
        "read the job's log; if memory ran out, give the rule more (--set-resources segment:mem_mb=8000)",
    )
