"""The load of a machine and of the processes of a run: processors, memory, disk, network and GPUs, at one moment."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

Values = dict[str, float]


class SystemMeter:
    """Measures a machine, the disk of a folder and the tree of processes below one; rates are those since the call before."""

    def __init__(self, folder: Path, pid: int, gpus: Gpus | None = None) -> None:
        """Prepare to measure. The first call of `measure` gives no rates: they need two."""
        self._folder, self._tree, self._gpus = folder, ProcessTree(pid), gpus
        self._before: dict[str, tuple[float, float]] = {}
        """The previous reading of each counter, and its time."""

    def measure(self) -> Values:
        """Return the values that can be measured, by name: `_percent`, `_bytes`, `_bytes_s` are units, others are numbers.

        Percents are those of the whole machine, disk or GPU, but `process_cpu_percent`, where 100 is one core.
        """
        measures = (_cpu, _memory, self._disk, self._network, self._process, self._gpu)
        return {name: round(value, 3) for measure in measures for name, value in _attempt(measure).items()}

    def _disk(self) -> Values:
        import psutil

        usage = psutil.disk_usage(str(self._folder))  # hangs where the disk does
        device = _device_of(self._folder)
        io = psutil.disk_io_counters(perdisk=True).get(device) if device else None
        counters: Values = {}
        if io is not None:
            counters = {"disk_read_bytes_s": io.read_bytes, "disk_written_bytes_s": io.write_bytes}
        return {"disk_percent": usage.percent, "disk_free_bytes": usage.free, **self._rates(counters)}

    def _network(self) -> Values:
        import psutil

        cards = [card for name, card in psutil.net_io_counters(pernic=True).items() if not name.startswith("lo")]
        received, sent = sum(card.bytes_recv for card in cards), sum(card.bytes_sent for card in cards)
        return self._rates({"network_received_bytes_s": received, "network_sent_bytes_s": sent})

    def _process(self) -> Values:
        use = self._tree.use()
        rates = {"process_cpu_percent": 100 * use.cpu_s}
        if use.read_bytes is not None:
            rates |= {"process_read_bytes_s": use.read_bytes, "process_written_bytes_s": use.written_bytes}
        now = {"process_memory_bytes": use.memory_bytes, "process_threads": use.threads, "process_count": use.processes}
        return {**self._rates(rates), **now}

    def _gpu(self) -> Values:
        return self._gpus.measure(self._tree.pids) if self._gpus is not None else {}

    def _rates(self, counters: Mapping[str, float]) -> Values:
        """Return the growth of each counter per second, since its previous reading."""
        now, rates = monotonic(), {}
        for name, count in counters.items():
            if name in self._before:
                before, then = self._before[name]
                rates[name] = max(0.0, count - before) / max(now - then, 1e-9)  # less than before: the counter began anew
            self._before[name] = count, now
        return rates


class Use(NamedTuple):
    """The resources that a tree of processes has used so far, and those that it holds now."""

    cpu_s: float
    read_bytes: float | None
    """None where the system does not say."""
    written_bytes: float
    memory_bytes: float
    """Resident memory; shared pages count in each process."""
    threads: int
    processes: int


class _Usage(NamedTuple):
    cpu_s: float
    reaped_s: float
    """Of children that ended and were waited for."""
    io: tuple[int, int] | None


class ProcessTree:
    """A process and all below it; children that end are not forgotten, and those whose parent ended still belong to it."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._usages: dict[Any, _Usage] = {}
        self._cpu_s = 0.0
        self._io: tuple[int, int] | None = None

    @property
    def pids(self) -> frozenset[int]:
        """The processes that existed at the last call of `use`."""
        return frozenset(process.pid for process in self._usages)

    def use(self) -> Use:
        """Look at every process of the tree.

        Raises:
            psutil.NoSuchProcess: The process is gone.
        """
        import psutil

        root = psutil.Process(self._pid)
        orphans = (process for process in self._usages if process.is_running())
        usages: dict[Any, _Usage] = {}
        memory_bytes = threads = 0
        for process in dict.fromkeys([root, *root.children(recursive=True), *orphans]):
            with suppress(psutil.Error), process.oneshot():  # it ended just now, or is not ours to look at
                times = process.cpu_times()
                memory_bytes += process.memory_info().rss
                threads += process.num_threads()
                reaped_s = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
                usages[process] = _Usage(times.user + times.system, reaped_s, _io(process))
        self._add(usages)
        read, written = self._io or (None, 0)
        return Use(self._cpu_s, read, written, memory_bytes, threads, len(usages))

    def _add(self, usages: dict[Any, _Usage]) -> None:
        """Add the use since the previous call; a child that ended meanwhile counts through the time its parent reaped."""
        nothing = _Usage(0.0, 0.0, (0, 0))
        own_s = reaped_s = 0.0
        for process, now in usages.items():
            before = self._usages.get(process, nothing)
            own_s += now.cpu_s - before.cpu_s
            reaped_s += now.reaped_s - before.reaped_s
            if now.io is not None and before.io is not None:
                read, written = self._io or (0, 0)
                self._io = read + max(0, now.io[0] - before.io[0]), written + max(0, now.io[1] - before.io[1])
        ended_s = sum(before.cpu_s + before.reaped_s for process, before in self._usages.items() if process not in usages)
        self._cpu_s += max(0.0, own_s) + max(0.0, reaped_s - ended_s)
        self._usages = usages


class Gpus:
    """The GPUs that NVML lists; none where there is no NVML, or `pip install nvidia-ml-py` is missing."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handles: list[Any] = []

    def measure(self, pids: Iterable[int] = ()) -> Values:
        """Return use, memory, power and temperature of each GPU (`gpu0_percent` ...), and its memory that `pids` hold."""
        if self._nvml is None:
            self._open()
        measured: Values = {}
        for index, handle in enumerate(self._handles):
            measures = (_gpu_use, _gpu_memory, _gpu_power, _gpu_temperature, _gpu_processes)
            for measure in measures:  # each may be unknown to a card, a driver or a container
                values = _attempt(partial(measure, self._nvml, handle, frozenset(pids)))
                measured |= {f"gpu{index}_{name}": value for name, value in values.items()}
        return measured

    def _open(self) -> None:
        self._nvml = False
        if "pynvml" not in sys.modules and find_spec("pynvml") is None:
            return
        import pynvml

        self._nvml = pynvml
        pynvml.nvmlInit()
        self._handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]


def _attempt(measure: Callable[[], Values]) -> Values:
    try:
        return measure()
    except Exception:  # a value that cannot be measured is left out: no permission, no such file, another system
        return {}


def _cpu() -> Values:
    import psutil

    values = {"cpu_percent": psutil.cpu_percent()}
    with suppress(OSError, AttributeError):  # not every system has it
        values["load"] = os.getloadavg()[0]
    return values


def _memory() -> Values:
    import psutil

    memory = psutil.virtual_memory()
    return {"memory_percent": memory.percent, "memory_used_bytes": memory.total - memory.available}


def _device_of(folder: Path) -> str | None:
    """Name of the disk or partition that a folder lies on, None where it lies on none: on a network, in memory."""
    device = os.stat(folder).st_dev
    link = f"/sys/dev/block/{os.major(device)}:{os.minor(device)}" if hasattr(os, "major") else ""
    return os.path.basename(os.path.realpath(link)) if link and os.path.exists(link) else None


def _io(process: Any) -> tuple[int, int] | None:
    try:
        counters = process.io_counters()
    except Exception:  # not on every system, and not for every process
        return None
    return counters.read_bytes, counters.write_bytes


def _gpu_use(nvml: Any, handle: Any, _: frozenset[int]) -> Values:
    return {"percent": float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)}


def _gpu_memory(nvml: Any, handle: Any, _: frozenset[int]) -> Values:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return {"memory_used_bytes": float(memory.used), "memory_percent": 100 * memory.used / memory.total}


def _gpu_power(nvml: Any, handle: Any, _: frozenset[int]) -> Values:
    return {"power_w": nvml.nvmlDeviceGetPowerUsage(handle) / 1000}


def _gpu_temperature(nvml: Any, handle: Any, _: frozenset[int]) -> Values:
    return {"temperature_c": float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))}


def _gpu_processes(nvml: Any, handle: Any, pids: frozenset[int]) -> Values:
    ours = [each for each in nvml.nvmlDeviceGetComputeRunningProcesses(handle) if each.pid in pids]
    return {"process_memory_bytes": float(sum(each.usedGpuMemory or 0 for each in ours))} if ours else {}
