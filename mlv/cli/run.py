"""`mlv run`: a script that imports other loggers, run unchanged with drop-ins in their places."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import NoReturn

from mlv.compat.replacing import environment_of
from mlv.errors import FileUnusable, InvalidArgument

NAMES = ("wandb", "tensorboard")
"""Libraries that may have a drop-in with an `install`."""


def run(replaced: str, words: Sequence[str]) -> NoReturn:
    """Replace this process by the command, with the drop-ins in its environment; exit status and signals are its own.

    Raises:
        InvalidArgument: A library has no drop-in, or there is no command.
        FileUnusable: The script or program is not there.
    """
    if not words or not words[0]:
        raise InvalidArgument("there is nothing to run: give a script and its arguments, such as train.py --lr 0.1")
    command = command_of(words)
    environment = environment_of(checked_names(replaced), os.environ)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        if os.name == "nt":  # where exec would leave the shell waiting for nobody
            sys.exit(subprocess.run(command, env=environment, check=False).returncode)
        os.execvpe(command[0], command, environment)  # noqa: S606 - the caller names the command
    except OSError as error:
        raise FileUnusable(f"{command[0]} cannot be run: {error.strerror}", path=command[0]) from error


def checked_names(replaced: str) -> list[str]:
    """Return the libraries that a text with commas names.

    Raises:
        InvalidArgument: One has no drop-in.
    """
    available = [name for name in NAMES if find_spec(f"mlv.compat.{name}") is not None]
    names = [name.strip() for name in replaced.split(",") if name.strip()]
    wrong = [name for name in names if name not in available]
    if wrong or not names:
        raise InvalidArgument(f"--as {replaced}: give one or more of {', '.join(available)}, with commas", names=names)
    return list(dict.fromkeys(names))


def command_of(words: Sequence[str]) -> list[str]:
    """Return the command line: this Python in front of a script, and of `-m` and `-c`; a program as it is.

    Raises:
        FileUnusable: The script is not there.
    """
    first = words[0]
    is_script = first.endswith(".py") or (os.path.isdir(first) and os.path.isfile(os.path.join(first, "__main__.py")))
    if is_script and not os.path.exists(first):
        raise FileUnusable(f"there is no script {first}: give its path from here ({os.getcwd()})", path=first)
    return [sys.executable, *words] if is_script or first in ("-m", "-c") else [*words]
