"""Code that runs as another user of the machine."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable

import pytest

OTHER_UID = 65534


def as_other(task: Callable[[], None]) -> None:
    """Do something in a process of another user; without root there is none."""
    if os.getuid() != 0:
        pytest.skip("only root can act as a second user")
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(OTHER_UID)
            os.setuid(OTHER_UID)
            os.umask(0)
            task()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
