"""Code that runs in a process which kills itself at a chosen system call."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence

_DYING = """
import os, signal, sys
from pathlib import Path

calls = 0

def dying(name):
    real = getattr(os, name)
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    setattr(os, name, call)

"""


def is_done(code: str, arguments: Sequence[object], number: int, names: Sequence[str]) -> bool:
    """Run code until the call with a number, of the functions of `os` with these names; True where it ended before.

    The arguments are `sys.argv[2:]`; `Path` is imported. The imports of the code come before the calls are counted.
    """
    imports, _, work = textwrap.dedent(code).strip().partition("\n\n")
    script = "\n".join([_DYING, imports, f"for name in {tuple(names)!r}:", "    dying(name)", work])
    command = [sys.executable, "-c", script, str(number), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode == 0
