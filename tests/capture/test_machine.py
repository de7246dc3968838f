"""The machine is recorded as far as it can be known, and no driver can hold the recording up."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from mlv.capture import machine
from mlv.capture.machine import capture_machine

NVML = """
    class Memory:
        total = 80 * 2**30

    def nvmlInit(): pass
    def nvmlShutdown(): pass
    def nvmlSystemGetDriverVersion(): return b"550.54"
    def nvmlDeviceGetCount(): return 2
    def nvmlDeviceGetHandleByIndex(index): return index
    def nvmlDeviceGetName(handle): return "NVIDIA H100"
    def nvmlDeviceGetMemoryInfo(handle):
        if handle: raise RuntimeError("Not Supported")
        return Memory
"""


@pytest.fixture
def nvml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Install a `pynvml` of the test's own."""

    def install(source: str) -> None:
        (tmp_path / "pynvml.py").write_text(textwrap.dedent(source))
        monkeypatch.syspath_prepend(str(tmp_path))

    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    yield install
    sys.modules.pop("pynvml", None)


def test_this_machine():
    """What is recorded of this machine agrees with what the system says."""
    record = capture_machine()

    json.dumps(record, ensure_ascii=False).encode()
    assert record["memory_bytes"] == psutil.virtual_memory().total
    assert record["cores"]["logical"] == os.cpu_count()
    assert 1 <= record["cores"]["usable"] <= record["cores"]["logical"]
    assert all(isinstance(record[key], str) and record[key] for key in ("host", "user", "platform", "os", "arch"))
    assert record.keys() >= {"cpu", "gpus"}


@pytest.mark.skipif(sys.platform != "linux", reason="a file of Linux")
def test_the_processor_has_a_name():
    """The model of the processor is the one that the kernel names, if it names one."""
    text = Path("/proc/cpuinfo").read_text()

    assert ("model name" not in text) or f": {capture_machine()['cpu']}\n" in text


def test_without_nvml(monkeypatch):
    """Without the bindings of NVML there are no GPUs to tell of."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.delitem(sys.modules, "pynvml")
    monkeypatch.setattr(sys, "path", [])

    assert capture_machine()["gpus"] == []


def test_gpus(nvml):
    """Every GPU has its name, its driver, and its memory if it has one of its own."""
    nvml(NVML)

    assert capture_machine()["gpus"] == [
        {"name": "NVIDIA H100", "memory_bytes": 80 * 2**30, "driver": "550.54"},
        {"name": "NVIDIA H100", "memory_bytes": None, "driver": "550.54"},
    ]


@pytest.mark.parametrize(
    "source",
    [
        NVML + "    def nvmlInit(): raise RuntimeError('Driver Not Loaded')\n",
        NVML + "    def nvmlDeviceGetCount(): raise RuntimeError('Driver Not Loaded')\n",
        "raise ImportError('Driver Not Loaded')",
    ],
)
def test_nvml_that_fails(nvml, source):
    """A driver that does not answer is recorded with its words."""
    nvml(source)

    record = capture_machine()

    assert (record["gpus"], record["gpus_error"]) == ([], "Driver Not Loaded")


def test_nvml_that_hangs(nvml):
    """A driver that never answers holds nothing up beyond its time."""
    nvml(NVML + "    def nvmlInit():\n        import time\n        time.sleep(3)\n")

    record = capture_machine(gpu_timeout_s=0.05)

    assert (record["gpus"], record["gpus_error"]) == ([], "NVML took longer than 0.05 s")


def test_what_cannot_be_found_out_is_none(monkeypatch):
    """Where the system hides something, as containers do, the rest is still recorded."""

    def refuse(*arguments: object) -> None:
        raise PermissionError("hidden")

    for name in ("_host", "_user", "_cpu_model", "_physical_cores", "_memory_bytes", "_distribution"):
        monkeypatch.setattr(machine, name, refuse)

    record = capture_machine()

    assert [record[key] for key in ("host", "user", "cpu", "memory_bytes")] == [None] * 4
    assert record["os"] == " ".join(record["platform"].removesuffix("-" + record["arch"]).split("-", 1))
