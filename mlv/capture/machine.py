"""The machine that a process runs on: its names, its processors, its memory and its GPUs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from mlv.capture.redaction import printable


def capture_machine(*, gpu_timeout_s: float = 2.0) -> dict[str, Any]:
    """Describe this machine without starting a process.

    Args:
        gpu_timeout_s: How long NVML may take; a driver that loads anew needs a second, a broken one never answers.

    Returns:
        `host`, `user`, `platform`, `os`, `arch`, `cpu` (the model), `cores` (`logical`, `physical`, and `usable` by
        this process), `memory_bytes` and `gpus`; None for each that is unknown. `gpus` is empty where
        `pip install nvidia-ml-py` is missing, and `gpus_error` says why NVML did not answer.
    """
    system, release, arch = _system()
    return {
        "host": _attempt(_host),
        "user": _attempt(_user),
        "platform": f"{system}-{release}-{arch}",
        "os": _attempt(_distribution) or f"{system} {release}",
        "arch": arch,
        "cpu": _attempt(_cpu_model),
        "cores": {
            "logical": os.cpu_count(),
            "physical": _attempt(_physical_cores),
            "usable": _attempt(_usable_cores) or os.cpu_count(),
        },
        "memory_bytes": _attempt(_memory_bytes),
        **_gpus_within(gpu_timeout_s),
    }


def _attempt(find: Callable[[], Any]) -> Any:
    try:
        return find()
    except Exception:  # Containers hide /proc, users without a name exist, ...: all that is no reason to fail.
        return None


def _system() -> tuple[str, str, str]:
    if hasattr(os, "uname"):
        system = os.uname()
        return system.sysname, system.release, system.machine
    import platform

    return platform.system(), platform.release(), platform.machine()


def _host() -> str:
    import socket

    return printable(socket.gethostname())


def _user() -> str:
    import getpass

    try:
        return printable(getpass.getuser())
    except (KeyError, OSError):  # A container may run as a number that has no name.
        return str(os.getuid())


def _distribution() -> str | None:
    if sys.platform != "linux":
        return None
    import platform

    return platform.freedesktop_os_release().get("PRETTY_NAME")


def _cpu_model() -> str | None:
    if sys.platform == "linux":
        return _cpu_model_on_linux()
    if sys.platform == "darwin":
        return _cpu_model_on_macos()
    return os.environ.get("PROCESSOR_IDENTIFIER")


def _cpu_model_on_linux() -> str | None:
    # The first processor is enough: the kernel asks every core for its frequency to write the whole of this file.
    with open("/proc/cpuinfo", "rb", buffering=0) as file:
        lines = file.read(4096).decode(errors="replace").splitlines()
    fields = dict(line.partition(":")[::2] for line in lines)
    models = {name.strip(): value.strip() for name, value in fields.items()}
    return models.get("model name") or models.get("Model") or models.get("Hardware")


def _cpu_model_on_macos() -> str | None:
    import ctypes

    buffer, size = ctypes.create_string_buffer(256), ctypes.c_size_t(256)
    ctypes.CDLL(None).sysctlbyname(b"machdep.cpu.brand_string", buffer, ctypes.byref(size), None, 0)
    return buffer.value.decode() or None


def _physical_cores() -> int | None:
    import psutil

    return psutil.cpu_count(logical=False)


def _usable_cores() -> int | None:
    # A batch system gives a job fewer cores than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _memory_bytes() -> int:
    import psutil

    return int(psutil.virtual_memory().total)


def _gpus_within(timeout_s: float) -> dict[str, Any]:
    """Ask NVML in a thread that may be left behind: no call into a hanging driver can be cut short."""
    from importlib.util import find_spec
    from threading import Thread

    if "pynvml" not in sys.modules and find_spec("pynvml") is None:
        return {"gpus": []}
    answer: dict[str, Any] = {}
    thread = Thread(target=lambda: answer.update(_gpus()), name="mlv-nvml", daemon=True)
    thread.start()
    thread.join(timeout_s)
    return dict(answer) or {"gpus": [], "gpus_error": f"NVML took longer than {timeout_s:g} s"}


def _gpus() -> dict[str, Any]:
    try:
        import pynvml

        pynvml.nvmlInit()
        try:
            driver = _text(pynvml.nvmlSystemGetDriverVersion())
            return {"gpus": [_gpu(pynvml, index, driver) for index in range(pynvml.nvmlDeviceGetCount())]}
        finally:
            pynvml.nvmlShutdown()
    except Exception as error:  # No driver, no permission, another version: the words of NVML say which.
        return {"gpus": [], "gpus_error": str(error) or type(error).__name__}


def _gpu(nvml: Any, index: int, driver: str) -> dict[str, Any]:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    # Unified memory has no size of its own, and then NVML refuses.
    memory = _attempt(lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).total))
    return {"name": _text(nvml.nvmlDeviceGetName(handle)), "memory_bytes": memory, "driver": driver}


def _text(value: str | bytes) -> str:
    # Older bindings answer in bytes.
    return value.decode(errors="replace") if isinstance(value, bytes) else value
