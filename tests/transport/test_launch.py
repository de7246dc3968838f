"""Starting processes that outlive this one."""

from __future__ import annotations

import gc
import subprocess
from typing import Any

import pytest

from mlv.transport import launch


def test_a_signal_handler_that_raises(monkeypatch):
    """What strikes while a process is started goes through, and leaves nothing that warns later."""
    wait = subprocess.Popen.wait

    def interrupted(process: Any, timeout: float | None = None) -> int:
        monkeypatch.setattr(subprocess.Popen, "wait", wait)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        launch.launch_module("mlv.words", [])
    gc.collect()  # a process that is dropped while it runs is a ResourceWarning, and those are errors

    [launcher] = launch.unfinished
    assert launcher.wait(30) is not None
