"""Run an application of Orfeo ToolBox through its Python API: `python -P orfeo_python.py APPLICATION PARAMETERS`.

A process of its own, as OTB's programs are: the job can end it where OTB does not return (`orfeo`). Only the standard library and
otbApplication are imported.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

FAILED = 3
"""Exit status of an application that returns an error or raises one."""


def import_api() -> Any:
    """Import otbApplication; with `OTB_ROOT`, only from that folder.

    Raises:
        ImportError: it is not installed, or has none of the applications.
    """
    if os.environ.get("OTB_ROOT"):
        root = Path(os.environ["OTB_ROOT"])
        folders = [folder for folder in (root / "lib/python", root / "lib/otb/python") if (folder / "otbApplication.py").is_file()]
        if not folders:
            raise ImportError(f"no otbApplication.py in {root}/lib/python")
        if str(folders[0]) not in sys.path:
            sys.path.insert(0, str(folders[0]))
    import otbApplication as api

    if "MeanShiftSmoothing" not in api.Registry.GetAvailableApplications():
        raise ImportError(f"otbApplication finds no applications in OTB_APPLICATION_PATH={os.environ.get('OTB_APPLICATION_PATH', '')}")
    return api


def run(api: Any, application: str, parameters: list[list[Any]]) -> int:
    """Run an application.

    Args:
        parameters: key, kind and value: `float` and `uint32` are images to write with this pixel type; `bool`, `int`, `real`, `text`.

    Returns:
        What the application returns, 0 where it succeeds.
    """
    app = api.Registry.CreateApplication(application)
    for key, kind, value in parameters:
        if kind in ("float", "uint32"):
            app.SetParameterString(key, value)
            app.SetParameterOutputImagePixelType(key, {"float": api.ImagePixelType_float, "uint32": api.ImagePixelType_uint32}[kind])
        elif kind in ("bool", "int"):
            app.SetParameterInt(key, int(value))
        elif kind == "real":
            app.SetParameterFloat(key, value)
        else:
            app.SetParameterString(key, value)
    return int(app.ExecuteAndWriteOutput())


if __name__ == "__main__":
    try:
        status = run(import_api(), sys.argv[1], json.loads(sys.argv[2]))
    except RuntimeError as error:
        sys.exit(str(error))
    if status != 0:
        print("it returned an error", flush=True)
        sys.exit(FAILED)
