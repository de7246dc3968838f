"""W17: under a locale that knows ASCII alone each call either works, or says what to do."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, sys, mlv

folder, action = sys.argv[1], sys.argv[2]
name = "\\u043c\\u043e\\u0434\\u0435\\u043b\\u044c"
exp = mlv.Exp(folder, "x", capture=(), system=False)

def write(block):
    with block as file:
        file.write(b"x") if hasattr(file, "write") else file.write_bytes(b"x")

actions = {
    "file": lambda: write(exp.file(name + ".bin", "wb")),
    "new file": lambda: write(exp.file(name + ".bin", "xb")),
    "filepath": lambda: write(exp.filepath(name + ".pt")),
    "attach": lambda: exp.attach(os.path.join(folder, name)),
    "attach as": lambda: exp.attach(__file__ if "__file__" in globals() else "/etc/hostname", name),
    "exp": lambda: mlv.Exp(folder, name, capture=(), system=False),
    "savedir": lambda: mlv.Exp(os.path.join(folder, name), "y", capture=(), system=False),
    "stream": lambda: exp.logger(name)({"a": 1}),
    "reference": lambda: mlv.FileRef(os.path.join(folder, name)),
    "open": lambda: mlv.Exp.open(os.path.join(folder, name)),
}
try:
    actions[action]()
except mlv.MlvError as error:
    print(type(error).__name__, ascii(str(error)))
exp.log({name: 1.0})
exp.log(name, {"text": name, "path": __import__("pathlib").Path(name), "bytes": os.fsdecode(name.encode())})
exp.log.text(name, name)
exp.close()
"""


@pytest.mark.parametrize(
    "action", ["file", "new file", "filepath", "attach", "attach as", "exp", "savedir", "stream", "reference", "open"]
)
def test_ascii(tmp_path, action):
    """A name that no file can have there is refused in words; what is logged is stored all the same."""
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}

    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), action], env=environment, capture_output=True, text=True, check=False
    )

    assert run.returncode == 0, run.stderr
    assert "PYTHONUTF8=1" in run.stdout
    log = (tmp_path / "x" / "log.jsonl").read_text(encoding="utf-8")
    assert log.count('"модель"') >= 4
