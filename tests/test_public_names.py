"""The names that are promised are there, documented, and cheap to import."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mlv
from mlv import errors

PROMISED = {
    mlv.Exp: "id short_id params_id path name kind params meta parent sub_exps runs status tags notes "
    "add_params add_tags add_note pause resume paused flush close open log logger events __enter__ __exit__ __getitem__ "
    "resolve checkpoints best latest",
    mlv.Checkpoint: "path step metrics sha256 size save load reference",
    mlv.Logger: "metrics metric value describe debug info warning error exception sub parent root name at each span __call__",
    mlv.Event: "run seq time type name step at data",
    mlv.Experiments: "__iter__ __len__ __getitem__ frame history aggregate paired plot compare sql export",
    mlv.FileRef: "host path size modified sha256",
    mlv.ExpRef: "id path name",
}
SIGNATURES = {
    mlv.Exp: "savedir name params kind tags notes on_exists may_change",
    mlv.Exp.open: "path",
    mlv.Exp.resolve: "ref",
    mlv.FileRef: "path",
    mlv.ExpRef: "exp",
    mlv.whence: "path root",
    mlv.find: "root kind where tags",
    mlv.log_to: "path",
    mlv.read: "path type name",
    mlv.Experiments.aggregate: "over metrics x stats ci",
    mlv.Experiments.compare: "a b",
    mlv.Experiments.paired: "a b over",
    mlv.Experiments.plot: "metric x by over",
    mlv.Experiments.sql: "query",
    mlv.init_sub_exp: "checkpoint kind name params tags notes",
    mlv.add_arguments_to: "parser",
    mlv.exp_from_args: "args kind args_to_ignore params",
    mlv.Exp.events: "type name stream follow",
    mlv.Exp.logger: "stream filter",
    mlv.Exp.flush: "timeout",
    mlv.Exp.checkpoints: "every top metric mode latest folder",
    mlv.Checkpoint.load: "trust",
    mlv.Exp.close: "status",
    mlv.Logger.describe: "name unit format mode description",
    mlv.Logger.info: "message args step exc_info data",
}


def public() -> list[object]:
    return [getattr(mlv, name) for name in sorted({*mlv.__all__, *errors.__all__})]


def test_all_is_all():
    """`mlv.__all__` names what `mlv` offers, in order, and nothing else is there."""
    there = {name: getattr(mlv, name) for name in dir(mlv)}
    offered = {name for name, value in there.items() if not name.startswith("_") and not inspect.ismodule(value)}

    assert mlv.__all__ == sorted(mlv.__all__)
    assert offered == set(mlv.__all__)


@pytest.mark.parametrize("owner", PROMISED, ids=lambda owner: owner.__name__)
def test_promised_names(owner):
    """Every name that the design promises is there."""
    assert [name for name in PROMISED[owner].split() if not hasattr(owner, name)] == []


@pytest.mark.parametrize("function", SIGNATURES, ids=lambda function: function.__qualname__)
def test_promised_arguments(function):
    """Every argument that the design promises is there, in that order."""
    arguments = [name for name in inspect.signature(function).parameters if name != "self"]
    promised = SIGNATURES[function].split()

    assert [name for name in arguments if name in promised] == promised


@pytest.mark.parametrize("thing", public(), ids=lambda thing: thing.__name__)
def test_docstrings(thing):
    """Every public name, and every public method and property of it, has a docstring that is a sentence."""
    members = [value for name, value in vars(thing).items() if not name.startswith("_")] if inspect.isclass(thing) else []
    documented = [thing, *(member for member in members if callable(member) or isinstance(member, (property, classmethod)))]

    wrong = [member for member in documented if not re.match(r"\S.*[.:]", (inspect.getdoc(member) or "").replace("\n", " "))]

    assert wrong == []


@pytest.mark.parametrize("thing", public(), ids=lambda thing: thing.__name__)
def test_errors_and_warnings_are_public(thing):
    """What can be raised can be caught by a public name."""
    if inspect.isclass(thing) and issubclass(thing, (Exception, Warning)):
        assert thing.__module__ == "mlv.errors"


def test_every_error_is_public():
    """`mlv.errors` names all errors and warnings, and `mlv` gives each as well."""
    kinds = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}

    assert sorted(kinds) == errors.__all__
    assert all(getattr(mlv, name) is getattr(errors, name) for name in errors.__all__)


def test_version():
    """The version is one."""
    assert re.fullmatch(r"\d+\.\d+\.\d+", mlv.__version__)


def test_typed():
    """Type checkers are told that the package has types."""
    assert (Path(mlv.__file__).parent / "py.typed").exists()


def test_modules_are_there():
    """`mlv.integrations.register(...)` needs no import but that of mlv."""
    script = "import mlv; mlv.integrations.register(); print(mlv.projections.__name__)"
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert printed.split() == ["mlv.projections"]


def test_import_is_light():
    """`import mlv` imports nothing that costs: neither optional packages, nor those used only now and then."""
    optional = ["numpy", "torch", "pandas", "hypothesis", "typer"]
    costly = [
        "git",
        "hashlib",
        "psutil",
        "filelock",
        "asyncio",
        "multiprocessing",
        "concurrent.futures",
        "argparse",
        "decimal",
        "fractions",
    ]
    costly += [
        "mlv.transport.writer",
        "mlv.transport.recovery",
        "mlv.media.arrays",
        "mlv.experiment.experiments",
        "mlv.query.sql.engine",
    ]
    costly += [
        "mlv.query.events",
        "mlv.experiment.files.dedup",
        "mlv.experiment.opening.sub_experiments",
        "mlv.experiment.opening.args",
    ]
    code = f"import sys, mlv; print([name for name in {optional + costly!r} if name in sys.modules])"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert found.stdout.strip() == "[]"


def test_import_says_nothing_and_starts_nothing(tmp_path):
    """`import mlv` prints nothing, starts no thread and no process, leaves signals alone, and makes no files."""
    code = "import mlv, threading, os, signal; assert threading.active_count() == 1; assert not os.listdir()"
    command = [sys.executable, "-W", "error", "-c", code]

    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)

    assert found.stdout + found.stderr == ""


def test_import_without_assertions_and_docstrings():
    """`python -OO` runs as well."""
    subprocess.run([sys.executable, "-OO", "-c", "import mlv"], capture_output=True, timeout=60, check=True)
