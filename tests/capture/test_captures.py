"""What all captures promise: they write nothing, start nothing but git, and return what JSON can hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import mlv

# Audit hooks cannot be removed: so this runs in a process of its own.
SOURCE = """
import json, os, sys, time
from pathlib import Path
from mlv.capture.env import capture_env
from mlv.capture.git import capture_git
from mlv.capture.machine import capture_machine
from mlv.capture.redaction import Redactor
from mlv.capture.script import capture_script

events = []

def hook(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        events.append(["written", str(arguments[0])])
    if event == "subprocess.Popen":
        events.append(["started", os.path.basename(arguments[0])])
    if event in ("os.fork", "os.system", "os.posix_spawn", "os.mkdir", "os.remove", "os.rename", "socket.connect"):
        events.append([event])

sys.addaudithook(hook)
redactor = Redactor()
records = [
    capture_script(redactor=redactor),
    capture_env(os.environ, redactor),
    capture_machine(),
    capture_git(Path(sys.argv[1]), redactor=redactor).record,
]
print(json.dumps([records, events]))
"""


def test_captures_write_nothing_and_start_only_git():
    """From a whole capture nothing stays behind, and the only program that runs is git."""
    folder = Path(mlv.__file__).parents[1]
    environ = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-W", "error", "-c", SOURCE, str(folder)]
    result = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)

    assert result.stderr == ""
    records, events = json.loads(result.stdout)
    assert len(records) == 4
    assert [event for event in events if event not in (["started", "git"], ["written", os.devnull])] == []
