"""Run the mean-shift segmentation of Orfeo ToolBox (OTB) as three chained applications.

MeanShiftSmoothing (without mode search, which is not reproducible), LSMSSegmentation and LSMSSmallRegionsMerging
(Michel, Youssefi, Grizonnet 2015, doi 10.1109/TGRS.2014.2330857) rather than LargeScaleMeanShift, which takes three
times the time and five times the memory, or SmallRegionsMerging, which takes ten times the memory.

OTB runs in this process through its Python API `otbApplication` where that can be imported, and as programs `otbcli_*`
otherwise; both get the same parameters and give the same bytes. It is searched in the folder `OTB_ROOT` (an unpacked binary
release) where that is set, else on PATH and in the site-packages of Python.
"""

from __future__ import annotations

import ctypes
import glob
import os
import re
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Literal

from smallmines.core.environment import GDAL_CACHE_MB
from smallmines.core.errors import UserError
from smallmines.core.log import logger
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
            api = _import_api()
            return Orfeo("python", lambda application, parameters: _run_api(api, application, parameters), _version())
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


def _import_api() -> Any:
    """Import otbApplication; with `OTB_ROOT`, only from that folder.

    Raises:
        ImportError: it is not installed, or has none of the applications.
    """
    root = _root()
    if root:
        folders = [folder for folder in (root / "lib/python", root / "lib/otb/python") if (folder / "otbApplication.py").is_file()]
        if not folders:
            raise ImportError(f"no otbApplication.py in {root}/lib/python")
        if str(folders[0]) not in sys.path:
            sys.path.insert(0, str(folders[0]))
    import otbApplication as api

    if "MeanShiftSmoothing" not in api.Registry.GetAvailableApplications():
        raise ImportError(f"otbApplication finds no applications in OTB_APPLICATION_PATH={os.environ.get('OTB_APPLICATION_PATH', '')}")
    return api


def _run_api(api: Any, application: str, parameters: Mapping[str, Value]) -> None:
    """Run an application in this process; its output (from C++) goes to the log."""
    lines: list[str] = []
    problem = ""
    with _printed(lines):
        try:
            app = api.Registry.CreateApplication(application)
            for key, value in parameters.items():
                if isinstance(value, Image):
                    app.SetParameterString(key, str(value.path))
                    pixel = {"float": api.ImagePixelType_float, "uint32": api.ImagePixelType_uint32}[value.pixel]
                    app.SetParameterOutputImagePixelType(key, pixel)
                elif isinstance(value, bool):
                    app.SetParameterInt(key, int(value))
                elif isinstance(value, int):
                    app.SetParameterInt(key, value)
                elif isinstance(value, float):
                    app.SetParameterFloat(key, value)
                else:
                    app.SetParameterString(key, str(value))
            if app.ExecuteAndWriteOutput() != 0:
                problem = "it returned an error"
        except RuntimeError as error:
            problem = str(error)
    for line in lines:
        logger.info("otb: %s", line)
    if problem:
        raise _failure(application, [*lines, *problem.splitlines()])


@contextmanager
def _printed(lines: list[str]) -> Iterator[None]:
    """Append what this process writes to file descriptors 1 and 2 inside the block to `lines`."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with TemporaryFile("w+b") as file:
        try:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            yield
        finally:
            ctypes.CDLL(None).fflush(None)  # C++ keeps lines in the C library's buffer
            for number, old in enumerate(kept, 1):
                os.dup2(old, number)
                os.close(old)
            file.seek(0)
            printed = re.split(r"[\r\n\b]+", file.read().decode(errors="replace"))
            lines.extend(line for line in printed if line.strip() and "% [" not in line)  # no progress bars


def _run_cli(folder: Path | None, application: str, parameters: Mapping[str, Value]) -> None:
    """Run an application as a program; its output goes to the log line by line."""
    command = [str(folder / f"otbcli_{application}") if folder else f"otbcli_{application}"]
    for key, value in parameters.items():
        command.append(f"-{key}")
        if isinstance(value, Image):
            command += [str(value.path), value.pixel]
        elif isinstance(value, bool):
            command.append("true" if value else "false")
        else:
            command.append(repr(value) if isinstance(value, float) else str(value))
    command += ["-progress", "false"]
    lines: deque[str] = deque(maxlen=LAST_LINES)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip():
                lines.append(line.rstrip())
                logger.info("otb: %s", line.rstrip())
    if process.returncode != 0:
        killed = " (killed: memory?)" if process.returncode in (-9, 137) else ""
        raise _failure(application, [*lines, f"exit status {process.returncode}{killed}"])


def _failure(application: str, lines: list[str]) -> UserError:
    last = [line.strip() for line in lines if line.strip()][-LAST_LINES:]
    return UserError(
        f"OTB's {application} to succeed",
        " | ".join(last) or "no message",
        "read the job's log; if memory ran out, give the rule more (--set-resources segment:mem_mb=8000)",
    )
