"""Owners: processes that can be recognised later, and be proven to be gone."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from mlv.frozen import FrozenRecord


class Owner(FrozenRecord):
    """A description of a process that never fits another one."""

    machine: str
    """Machine ID, or the host's name where there is none."""
    boot: str
    """ID of the boot; the same for all containers of one kernel."""
    pidns: str
    """Process namespace: within it the pid has a meaning."""
    pid: int
    start: str
    """Start time of the process, as its system gives it: pids are used again."""

    def to_data(self) -> dict[str, Any]:
        """Return a mapping for JSON."""
        return self.to_dict()

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Owner:
        """Read the mapping back.

        Raises:
            KeyError, TypeError, ValueError: It does not describe a process.
        """
        machine, boot, pidns = (str(data[key]) for key in ("machine", "boot", "pidns"))
        return cls(machine, boot, pidns, int(data["pid"]), str(data["start"]))

    @classmethod
    def current(cls) -> Owner:
        """Describe the calling process."""
        machine, boot, pidns = _host()
        return cls(machine, boot, pidns, os.getpid(), process_start(os.getpid()) or "")

    def is_gone(self) -> bool:
        """Return whether the process has provably ended: False also means that this host cannot know."""
        machine, boot, pidns = _host()
        if self.machine == machine and self.boot != boot:
            return True  # the machine was started again since
        if (self.machine, self.boot, self.pidns) != (machine, boot, pidns):
            return False
        return process_start(self.pid) != self.start


def process_is_gone(process: Mapping[str, Any]) -> bool:
    """Return whether the process that a `run_started` describes has provably ended."""
    try:
        return Owner.from_data(process).is_gone()
    except (KeyError, TypeError, ValueError):
        return False


def is_of_this_machine(process: Mapping[str, Any]) -> bool:
    """Return whether the process that a `run_started` describes ran, or runs, on this machine."""
    return process.get("machine") == _host()[0]


def process_start(pid: int) -> str | None:
    """Return the start time of a process that runs; None if there is none, or only a zombie."""
    if sys.platform.startswith("linux"):
        try:
            stat = Path(f"/proc/{pid}/stat").read_bytes()
        except OSError:  # no process has this number
            return None
        # The command stands in parentheses and may hold any byte, also parentheses.
        fields = stat[stat.rindex(b")") + 2 :].split()
        # A zombie has ended; its pid is kept only until its parent asks for its status.
        return None if fields[0] in (b"Z", b"X") else fields[19].decode()
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else repr(process.create_time())
    except psutil.Error:
        return None


@lru_cache(maxsize=1)
def _host() -> tuple[str, str, str]:
    return _machine_id(), _boot_id(), _pid_namespace()


def _machine_id() -> str:
    # The host's name goes in too: containers often share the machine ID of their image.
    try:
        return f"{Path('/etc/machine-id').read_text().strip()[:12]}-{host_name()}".lstrip("-")
    except OSError:
        return host_name()


def host_name() -> str:
    """Return the name of this machine in the network."""
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import psutil

        return repr(round(psutil.boot_time()))


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:  # only Linux has them
        return ""
