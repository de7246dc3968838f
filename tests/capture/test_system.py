"""What a machine and a tree of processes are doing is measured, as far as the system tells."""

from __future__ import annotations

import os
import subprocess
import sys
import types

import pytest

from mlv.capture.system import Gpus, ProcessTree, SystemMeter

BUSY = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()\n"


def test_a_machine(tmp_path):
    """The first measure knows what is, the second also what became since; all are numbers."""
    meter = SystemMeter(tmp_path, os.getpid())
    first, second = meter.measure(), meter.measure()

    assert {"cpu_percent", "memory_percent", "memory_used_bytes", "disk_percent", "disk_free_bytes"} <= first.keys()
    assert {"process_memory_bytes", "process_threads", "process_count"} <= first.keys()
    assert {"network_sent_bytes_s", "network_received_bytes_s", "process_cpu_percent"} <= second.keys() - first.keys()
    assert all(type(value) in (int, float) for value in second.values())
    assert 0 <= second["disk_percent"] <= 100


def test_what_cannot_be_measured_is_left_out(tmp_path):
    """A folder that is gone, or a process that is, leaves the rest."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()

    found = SystemMeter(tmp_path / "gone", process.pid).measure()

    assert "disk_percent" not in found
    assert "process_count" not in found
    assert "memory_percent" in found


@pytest.mark.parametrize("is_seen", [True, False])
def test_children_come_and_go(is_seen):
    """What ended children have used counts, also those that came and went between two looks."""
    tree = ProcessTree(os.getpid())
    before = tree.use().cpu_s

    process = subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    if is_seen:
        tree.use()
    process.communicate(b"\n")
    used = tree.use().cpu_s - before

    assert 0.25 < used < 3
    assert tree.use().cpu_s >= used


def test_orphans_still_belong():
    """A process whose parent ended is still of the tree that it was seen in."""
    nested = "import subprocess; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"
    parent = subprocess.Popen([sys.executable, "-c", nested], stdout=subprocess.PIPE)
    orphan = int(parent.stdout.readline())
    tree = ProcessTree(os.getpid())
    tree.use()
    parent.kill()
    parent.wait()

    tree.use()

    assert orphan in tree.pids
    os.kill(orphan, 9)
    parent.stdout.close()


class Nvml(types.ModuleType):
    """A machine with two GPUs, the second of which tells little."""

    NVML_TEMPERATURE_GPU = 0

    def nvmlInit(self):
        pass

    def nvmlDeviceGetCount(self):
        return 2

    def nvmlDeviceGetHandleByIndex(self, index):
        return index

    def nvmlDeviceGetUtilizationRates(self, handle):
        return types.SimpleNamespace(gpu=40 + handle, memory=1)

    def nvmlDeviceGetMemoryInfo(self, handle):
        if handle == 1:
            raise RuntimeError("Not Supported")
        return types.SimpleNamespace(total=80 << 30, used=20 << 30)

    def nvmlDeviceGetPowerUsage(self, handle):
        return 250_500

    def nvmlDeviceGetTemperature(self, handle, sensor):
        return 61

    def nvmlDeviceGetComputeRunningProcesses(self, handle):
        return [types.SimpleNamespace(pid=pid, usedGpuMemory=pid << 20) for pid in (1, 2, 3)] if handle == 0 else []


def test_gpus(monkeypatch):
    """Each GPU tells what it can."""
    monkeypatch.setitem(sys.modules, "pynvml", Nvml("pynvml"))

    assert Gpus().measure({2, 3, 4}) == {
        "gpu0_percent": 40, "gpu0_memory_used_bytes": 20 << 30, "gpu0_memory_percent": 25, "gpu0_power_w": 250.5,
        "gpu0_temperature_c": 61, "gpu0_process_memory_bytes": 5 << 20,
        "gpu1_percent": 41, "gpu1_power_w": 250.5, "gpu1_temperature_c": 61,
    }  # fmt: skip


def test_no_gpus(monkeypatch):
    """Without NVML, or without its driver, there is nothing to tell, and that is not asked again."""
    broken = Nvml("pynvml")
    broken.nvmlInit = lambda: 1 / 0
    monkeypatch.setitem(sys.modules, "pynvml", broken)
    gpus = Gpus()

    with pytest.raises(ZeroDivisionError):
        gpus.measure()
    assert gpus.measure() == {}
