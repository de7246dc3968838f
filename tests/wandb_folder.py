"""What the tests of `mlv.compat.wandb` share: a folder of their own, runs that end with each test, and scripts to compare."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import mlv.compat.wandb as wandb
from mlv.compat.wandb import installing


@contextmanager
def own_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make a folder the current one and that of experiments, without variables of wandb; end all runs behind it."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLV_DIR", str(folder / "runs"))
    monkeypatch.setenv("MLV_SYSTEM", "off")
    monkeypatch.setenv("WANDB_CONSOLE", "off")
    yield
    wandb.teardown()


BEGINNING = """
import argparse, json, math, os, sys
import numpy as np

if sys.argv[1] == "ours":
    import mlv.compat.wandb
    mlv.compat.wandb.install()
import wandb
from wandb.errors import UsageError
from wandb.sdk.lib.config_util import ConfigError

seen = []

def plain(value):
    if type(value).__name__ in ("Summary", "SummarySubDict"):
        return {key: plain(value[key]) for key in value.keys() if not key.startswith("_")}
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value

def see(label, call):
    try:
        seen.append([label, plain(call())])
    except Exception as error:
        seen.append([label, [base.__name__ for base in type(error).__mro__ if base.__module__ != "mlv.compat.wandb.errors"
                             and base.__name__ in ("TypeError", "ValueError", "KeyError", "AttributeError")]
                            or type(error).__name__])

"""
"""What a script for `outcomes` begins with: it calls `see(label, call)`, and may import the drop-in or the real wandb."""


def outcomes(folder: Path, which: str, script: str) -> dict[str, Any]:
    """Run a script under the drop-in (`ours`) or the real wandb; return what its calls gave, by their labels."""
    folder.mkdir()
    (folder / "script.py").write_text(f'{BEGINNING}{script}\njson.dump(seen, open("seen.json", "w"))\n')
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    environment |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_CONSOLE": "off", "MLV_SYSTEM": "off", "MLV_DIR": ""}
    done = subprocess.run(
        [sys.executable, "script.py", which], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads((folder / "seen.json").read_text()))


@contextmanager
def installed() -> Iterator[None]:
    """Have `import wandb` give the drop-in, and nothing of it afterwards; the real one stays out of the way."""
    real = {name: sys.modules.pop(name) for name in [*sys.modules] if name.partition(".")[0] == "wandb"}
    wandb.install()
    yield
    installing.uninstall()
    sys.modules.update(real)
