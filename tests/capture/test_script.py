"""How a script was started is recorded, in each of the ways to start one."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import mlv
from mlv.capture.redaction import REDACTED, Redactor
from mlv.capture.script import capture_script

SOURCE = "import json; from mlv.capture.script import capture_script; print(json.dumps(capture_script()))"


@pytest.fixture
def started(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Start Python with some words and input, in a folder with a script and a package, and give back its record."""
    (tmp_path / "train.py").write_text(SOURCE)
    (tmp_path / "nets").mkdir()
    for name in ("__init__.py", "__main__.py", "unet.py"):
        (tmp_path / "nets" / name).write_text("" if name == "__init__.py" else SOURCE)

    def start(*words: str, stdin: str = "") -> dict[str, Any]:
        environ = {**os.environ, "PYTHONPATH": str(Path(mlv.__file__).parents[1])}
        command = [sys.executable, "-W", "error", *words]
        result = subprocess.run(
            command, input=stdin, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False
        )
        assert result.returncode == 0, result.stderr
        record: dict[str, Any] = json.loads(result.stdout.removeprefix(">>> ").splitlines()[0])
        return record

    return start


def test_script(started, tmp_path):
    """A script is its file, its words, its folder and its Python."""
    assert started("train.py", "--lr", "3") == {
        "kind": "script",
        "path": str(tmp_path / "train.py"),
        "argv": ["train.py", "--lr", "3"],
        "orig_argv": [sys.executable, "-W", "error", "train.py", "--lr", "3"],
        "cwd": str(tmp_path),
        "python": {
            "version": platform.python_version(),
            "implementation": sys.implementation.name,
            "executable": sys.executable,
        },
    }


@pytest.mark.parametrize(
    ("words", "module", "file"),
    [(["-m", "nets.unet"], "nets.unet", "nets/unet.py"), (["-m", "nets"], "nets", "nets/__main__.py")],
)
def test_module(started, tmp_path, words, module, file):
    """`python -m` is told by the module's name as well as by its file."""
    record = started(*words)

    assert (record["kind"], record["module"], record["path"]) == ("module", module, str(tmp_path / file))
    assert record["orig_argv"][-2:] == words


def test_folder(started, tmp_path):
    """A folder with a `__main__.py`, given to Python, is a script."""
    record = started("nets")

    assert (record["kind"], record["path"]) == ("script", str(tmp_path / "nets/__main__.py"))
    assert "module" not in record


@pytest.mark.parametrize(
    ("words", "stdin", "kind"),
    [
        (["-c", SOURCE], "", "command"),
        (["-", "x"], SOURCE, "stdin"),
        ([], SOURCE, "stdin"),
        (["-i", "-q"], SOURCE + "\n", "interactive"),
    ],
    ids=["command", "stdin", "piped", "interactive"],
)
def test_code_without_a_file(started, words, stdin, kind):
    """Code that no file holds has a kind, and no path."""
    record = started(*words, stdin=stdin)

    assert (record["kind"], record["path"]) == (kind, None)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Pretend that this process is the kernel of a notebook; give back its `__main__`."""
    ipython = ModuleType("IPython")
    shell = ModuleType("shell")
    shell.kernel = object()  # type: ignore[attr-defined]
    ipython.get_ipython = lambda: shell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    return ModuleType("__main__")


@pytest.mark.parametrize(
    ("variables", "environ", "notebook"),
    [
        ({"__vsc_ipynb_file__": "/home/me/a.ipynb"}, {}, "/home/me/a.ipynb"),
        ({}, {"JPY_SESSION_NAME": "/home/me/b.ipynb"}, "/home/me/b.ipynb"),
        ({}, {}, None),
    ],
)
def test_notebook(kernel, variables, environ, notebook):
    """A notebook is named where VS Code or Jupyter tells its name."""
    vars(kernel).update(variables)

    record = capture_script(["kernel.py", "-f", "x.json"], main=kernel, environ=environ)

    assert (record["kind"], record["path"], record.get("notebook")) == ("notebook", None, notebook)


def test_ipython_in_a_terminal_is_no_notebook(monkeypatch):
    """IPython without a kernel is an interactive session."""
    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)

    assert capture_script([""], main=ModuleType("__main__"))["kind"] == "interactive"


def test_credentials_are_redacted():
    """Neither list of words nor the program of `python -c` tells a credential."""
    redactor = Redactor()
    words = ["python", "-c", 'login(api_key="hunter22")', "--token=hunter22"]

    record = capture_script(["-c", "--token", "hunter22"], redactor, orig_argv=words)

    assert "hunter22" not in json.dumps(record)
    assert record["argv"] == ["-c", "--token", REDACTED]
    assert redactor.redactions == ["script.argv[2]", "script.orig_argv[2]", "script.orig_argv[3]"]


def test_a_deleted_folder(tmp_path, monkeypatch):
    """A process whose folder was deleted has none, and no error."""
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()

    assert capture_script()["cwd"] is None


def test_strange_words(monkeypatch):
    """Words that are not text, which some programs leave in `sys.argv`, are written as such."""
    record = capture_script(["train.py", 3, Path("x"), "\udcff"])  # type: ignore[list-item]

    assert record["argv"] == ["train.py", "3", "x", "\\udcff"]
