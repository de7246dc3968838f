"""What all tests share: a spool of their own, and helpers that run real processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mlv import notices

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts us in the background ignores Ctrl-C, and what we start would inherit that: tests that send it to a
    # process would wait for ever. What is handled is not inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)

with suppress(ImportError):
    from hypothesis import HealthCheck, settings

    # How long an example takes is the machine's affair. Where `CI` is set, hypothesis tries the same examples each time.
    settings.register_profile("mlv", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("mlv")


@pytest.fixture(autouse=True)
def spool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Keep the rings of each test apart from those of the machine, and see that none is left behind."""
    folder = tempfile.mkdtemp(prefix="mlv-test-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    monkeypatch.setenv("MLV_SPOOL", folder)
    yield Path(folder)
    wait_until(lambda: _is_removed(folder))


@pytest.fixture(autouse=True)
def every_warning_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was said once in another test may be said again."""
    monkeypatch.setattr(notices, "_lines_warned", set())


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script in a fresh interpreter, in a folder of its own, with a deadline."""

    def run(source: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        script = tmp_path / f"script_{time.monotonic_ns()}.py"
        script.write_text(textwrap.dedent(source))
        command = [sys.executable, "-W", "error", str(script), *map(str, arguments)]
        settings: dict[str, object] = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 60, **options}
        return subprocess.run(command, **settings)  # type: ignore[call-overload,no-any-return]

    return run


def _is_removed(folder: str) -> bool:
    """Remove a folder in which a writer may be busy still, after a run that nobody waited for."""
    shutil.rmtree(folder, ignore_errors=True)
    return not os.path.exists(folder)


def wait_until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Return when the condition holds; fail when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s in vain for {condition}"
        time.sleep(0.005)
