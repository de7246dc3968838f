"""The command line of a sweep with a program: `command` with its macros filled in."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlv.compat.wandb.errors import UsageError

_DEFAULT = ("${env}", "${interpreter}", "${program}", "${args}")
_VARIABLE = re.compile(r"\$\{envvar:([A-Za-z0-9_]+)\}")
_MACRO = re.compile(r"\$\{([a-z_]+)\}")


def command_of(sweep: Mapping[str, Any], config: Mapping[str, Any], json_path: Path | None) -> list[str]:
    """Return the command that tries a config.

    Args:
        sweep: The config of the sweep: `program`, and `command` if that is not `${env} ${interpreter} ${program} ${args}`.
        config: Of the point.
        json_path: A file for `${args_json_file}`, which is written where the command names it; None to check the command alone.

    Raises:
        UsageError: There is no program, or a macro is unknown.
    """
    words = sweep.get("command") or _DEFAULT
    if isinstance(words, str):
        raise UsageError(f"command={words!r}: give a list of words")
    values = _macros(config)
    program = sweep.get("program")
    command: list[str] = []
    for word in words:
        text = _VARIABLE.sub(lambda match: os.environ.get(match[1], match[1]), str(word))
        macro = _MACRO.fullmatch(text)
        if macro is None:
            command.append(text)
        elif macro[1] == "program":
            if not program:
                raise UsageError("the config of the sweep names no program: give it one, or agent(sweep_id, function=...)")
            command.append(str(program))
        elif macro[1] == "args_json_file":
            if json_path is not None:
                json_path.write_text(values["args_json"][0])
                command.append(str(json_path.absolute()))
        elif macro[1] in values:
            command += values[macro[1]]
        else:
            raise UsageError(f"command has the macro {text}: give one of {', '.join(f'${{{name}}}' for name in _NAMES)}")
    if not program and not sweep.get("command"):
        raise UsageError("the config of the sweep names no program: give it one, or agent(sweep_id, function=...)")
    return command


def without_variables(words: Iterable[Any]) -> list[str]:
    """Return the words of a command without what variables of the environment are put in place of."""
    return [_VARIABLE.sub("", str(word)) for word in words]


def _macros(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return what macros stand for: arguments as wandb writes them."""
    flags = {key: f"{key}={value}" for key, value in config.items()}
    return {
        "env": [] if os.name == "nt" else ["/usr/bin/env"],
        "interpreter": [sys.executable],
        "args": [f"--{flag}" for flag in flags.values()],
        "args_no_equals": [word for key, value in config.items() for word in (f"--{key}", str(value))],
        "args_no_hyphens": list(flags.values()),
        "args_no_boolean_flags": [
            f"--{key}" if config[key] is True else f"--{flag}" for key, flag in flags.items() if config[key] is not False
        ],
        "args_json": [json.dumps(config)],
        "args_append_hydra": [f"+{flag}" for flag in flags.values()],
        "args_override_hydra": [f"++{flag}" for flag in flags.values()],
    }


_NAMES = ("program", "args_json_file", *_macros({}), "envvar:NAME")
