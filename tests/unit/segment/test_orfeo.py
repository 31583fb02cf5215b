"""Finding OTB, sharing a job's memory, and telling failures."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from sections import Segmentation
from smallmines.core.errors import UserError
from smallmines.segment import orfeo


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`find` sets variables of this process: put them back."""
    for name in ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "GDAL_CACHEMAX", "OTB_LOGGER_LEVEL", "OTB_APPLICATION_PATH", "OTB_ROOT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like an unpacked release, whose programs print their arguments and end as `STATUS` says."""
    program = tmp_path / "bin" / "otbcli_MeanShiftSmoothing"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho threads $ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS\necho "$@"\nexit ${STATUS:-0}\n')
    program.chmod(0o755)
    monkeypatch.setenv("OTB_ROOT", str(tmp_path))
    return tmp_path


def smoothing() -> dict[str, orfeo.Value]:
    limits = orfeo.Resources(2, 1500, 512)
    return orfeo.smoothing(Path("a.tif"), Path("b.tif"), Path("c.tif"), Segmentation(range_radius=62.5), limits)


def test_command_line_of_a_release(release: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "smallmines")
    otb = orfeo.find("auto", 3)
    assert otb.backend == "cli"  # the folder has no otbApplication, and one from elsewhere would be another OTB
    otb.run("MeanShiftSmoothing", smoothing())
    assert [record.message for record in caplog.records] == [
        "otb: threads 3",
        "otb: -in a.tif -fout b.tif float -foutpos c.tif float -spatialr 5 -ranger 62.5 -thres 0.1 -maxiter 10"
        " -modesearch false -ram 1500 -progress false",
    ]


def test_a_failing_program_is_told_with_its_last_lines(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATUS", "3")
    with pytest.raises(UserError, match=r"(?s)MeanShiftSmoothing.*-in a\.tif.*exit status 3.*mem_mb"):
        orfeo.find("cli", 1).run("MeanShiftSmoothing", smoothing())


def test_missing_otb_is_told_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "otbApplication", None)
    with pytest.raises(UserError, match="make otb-python"):
        orfeo.find("python", 1)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="apt-get install otb-bin"):
        orfeo.find("auto", 1)
    monkeypatch.setenv("OTB_ROOT", str(tmp_path))
    with pytest.raises(UserError, match=str(tmp_path)):
        orfeo.find("auto", 1)


API = """
import json, os, sys, time
ImagePixelType_float, ImagePixelType_uint32 = 6, 3
class Registry:
    GetAvailableApplications = staticmethod(lambda: ("MeanShiftSmoothing",))
    CreateApplication = staticmethod(lambda name: App())
class App:
    def __init__(self):
        self.calls = []
    def __getattr__(self, name):
        return lambda key, value: self.calls.append([name, key, value])
    def ExecuteAndWriteOutput(self):
        with open(os.environ["CALLS"], "w") as file:
            json.dump(self.calls, file)
        os.write(1, b"Writing...: 5% [**  ]\\rWriting...: 100% [****]\\n(WARNING) on the way\\n")
        return OUTCOME()
"""
"""Stands for the module otbApplication: notes what is set, prints like C++, ends as `OUTCOME` says."""


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Installs `API` with an outcome; returns the file of what is set."""

    def install(outcome: str) -> Path:
        (tmp_path / "otbApplication.py").write_text(f"{API}\ndef OUTCOME():\n    {outcome}\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setitem(sys.modules, "otbApplication", None)  # so that the stand-in is taken out at the end
        del sys.modules["otbApplication"]
        monkeypatch.setenv("CALLS", str(tmp_path / "calls.json"))
        return tmp_path / "calls.json"

    return install


def test_parameters_of_the_python_api(api: Callable[[str], Path], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "smallmines")
    calls = api("return 0")
    otb = orfeo.find("auto", 2)
    assert otb.backend == "python"
    otb.run("MeanShiftSmoothing", smoothing())
    assert json.loads(calls.read_text()) == [
        ["SetParameterString", "in", "a.tif"],
        ["SetParameterString", "fout", "b.tif"],
        ["SetParameterOutputImagePixelType", "fout", 6],
        ["SetParameterString", "foutpos", "c.tif"],
        ["SetParameterOutputImagePixelType", "foutpos", 6],
        ["SetParameterInt", "spatialr", 5],
        ["SetParameterFloat", "ranger", 62.5],
        ["SetParameterFloat", "thres", 0.1],
        ["SetParameterInt", "maxiter", 10],
        ["SetParameterInt", "modesearch", 0],
        ["SetParameterInt", "ram", 1500],
    ]
    assert [record.message for record in caplog.records] == ["otb: (WARNING) on the way"]


@pytest.mark.parametrize(("outcome", "words"), [("return 1", "on the way"), ("raise RuntimeError('bad image')", "bad image")])
def test_a_failing_call_is_told(api: Callable[[str], Path], outcome: str, words: str) -> None:
    api(outcome)
    with pytest.raises(UserError, match=f"(?s)MeanShiftSmoothing.*{words}"):
        orfeo.find("python", 1).run("MeanShiftSmoothing", smoothing())


MESSAGES = (
    "ERROR 1: _tiffWriteProc:No space left on device",
    "ERROR 1: _tiffWriteProc:Disk quota exceeded",
    "ERROR 1: TIFFAppendToStrip:Write error at scanline 204",
    "ERROR 1: _tiffWriteProc:Input/output error",
)
"""What OTB's GDAL prints, the first and third on a full tmpfs, before the application goes on for ever."""


def test_a_program_that_cannot_write_and_never_returns_is_ended(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for message in MESSAGES:
        started = f'echo $$ >{tmp_path}/pid; echo "{message}" >&2; exec sleep 600'
        (release / "bin/otbcli_MeanShiftSmoothing").write_text(f"#!/bin/sh\n[ $1 = -version ] && exit\nsh -c '{started}'\nexit 0\n")
        parameters = {**smoothing(), "fout": orfeo.Image(tmp_path / "b.tif", "float")}
        with pytest.raises(UserError) as refused:
            orfeo.find("cli", 1).run("MeanShiftSmoothing", parameters)
        assert refused.value.expected == f"room to write in {tmp_path}"
        assert message in refused.value.found
        assert re.search(r"\(\d+ of \d+ MB free now\)$", refused.value.found)
        with suppress(psutil.NoSuchProcess):  # the program under the script is ended too
            psutil.Process(int((tmp_path / "pid").read_text())).wait(timeout=10)


def test_a_call_that_cannot_write_and_never_returns_is_ended(api: Callable[[str], Path]) -> None:
    api(f"os.write(2, {MESSAGES[0].encode()!r} + b'\\n'); time.sleep(600)")
    with pytest.raises(UserError, match=r"No space left on device \(\d+ of \d+ MB free now\)"):
        orfeo.find("python", 1).run("MeanShiftSmoothing", smoothing())


@pytest.mark.parametrize("mem_mb", [1000, 4000, 64000])
def test_resources_stay_within_the_job(mem_mb: int) -> None:
    limits = orfeo.resources(4, mem_mb, 10)
    assert limits.threads == 4
    assert 250 <= limits.ram_mb <= mem_mb / 2
    assert 256 <= limits.tile_px <= 2048
    assert limits.tile_px**2 * 12 * 24 <= max(mem_mb * 2**20 / 8, 256**2 * 12 * 24)
