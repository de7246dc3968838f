"""Imports point one way: a module imports only from floors below its own, or from its own folder."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from counts import TOUCHED, Sources, private_names

import mlv

PACKAGE = Path(mlv.__file__).parent
FLOORS = [
    {"mlv.digests", "mlv.frozen", "mlv.interpreter", "mlv.interrupts", "mlv.order", "mlv.tasks", "mlv.wire", "mlv.words"},
    {"mlv.errors", "mlv.events", "mlv.foreign"},
    {"mlv.encoding", "mlv.notices", "mlv.optional", "mlv.protocols", "mlv.remote_tasks", "mlv.state", "mlv.workers"},
    {"mlv.never_raising", "mlv.settings"},
    {"mlv.capture", "mlv.executors", "mlv.store"},
    {"mlv.media"},
    {"mlv.query", "mlv.retention"},
    {"mlv.hdf", "mlv.transport"},
    {"mlv.audit", "mlv.projections"},
    {"mlv.bucket"},
    {"mlv.lake"},
    {"mlv.experiment"},
    {"mlv"},
    {"mlv.compat", "mlv.importers", "mlv.integrations", "mlv.web"},
    {"mlv.cli"},
    {"mlv.__main__"},
]
"""Floor 0 is the ground; CONTRIBUTING shows them."""

PUBLIC = {"mlv", "mlv.errors", "mlv.hdf", "mlv.projections"}

OF_OUTPUTS = {f"mlv.projections.{name}" for name in ("h5files", "points", "scalar_records", "summaries", "tfevents")}

BESIDE = {"mlv.integrations": PUBLIC, "mlv.compat": PUBLIC | OF_OUTPUTS | {"mlv.capture.redaction", "mlv.settings"}}
"""What those may import that are written against the public names: any library could do what they do.

Outputs of a drop-in module are made of what the outputs of `mlv` are made of; its experiments lie in folders below the one that
the settings name, and no file that it writes itself holds a credential.
"""

SOURCES = sorted(PACKAGE.rglob("*.py"))
COUNTED = Sources()

STARTED = {"mlv.transport.orders": {"mlv.projections.follower", "mlv.bucket.follower"}}
"""What is started by its name as a process of its own, and imports everything anew."""

NAMED = re.compile(r"mlv(?:\.\w+)+\.?")


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path) for path in SOURCES}


def room(module: str) -> str:
    """The part of the house that a module is in: `mlv.store` for `mlv.store.files`."""
    return ".".join(module.split(".")[:2])


def floor(module: str) -> int:
    found = [number for number, rooms in enumerate(FLOORS) if room(module) in rooms]
    assert found, f"{module} is in no room that the design knows: add it to FLOORS, and to the design"
    return found[0]


def imported(path: Path) -> Iterator[str]:
    """Every module of mlv that a file imports, also within functions, for types, and by its name in a text."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from COUNTED.own(node)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where they lead"
            yield from COUNTED.own(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and NAMED.fullmatch(node.value):
            yield from by_name(module_name(path), node.value.rstrip("."))


def by_name(module: str, name: str) -> Iterator[str]:
    """The module that a text names, such as `mlv.query.tail` or, in front of a brace, `mlv.media.`."""
    while name not in MODULES:
        name = name.rpartition(".")[0]
    if name != "mlv" and name not in STARTED.get(module, ()):
        yield name


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_point_down(path):
    """A module imports only from floors below its own, or from its own folder."""
    module = module_name(path)
    wrong = [name for name in imported(path) if room(name) != room(module) and floor(name) >= floor(module)]

    assert wrong == []


@pytest.mark.parametrize("path", [path for path in SOURCES if room(module_name(path)) in BESIDE], ids=module_name)
def test_integrations_use_public_names_only(path):
    """What stands outside the core uses what everybody may use."""
    own = room(module_name(path))

    assert {name for name in imported(path) if room(name) != own} <= BESIDE[own]


def test_no_import_goes_in_a_circle():
    """Modules do not import each other in a circle, not even inside functions; for types they may."""
    assert COUNTED.circles() == []


def test_public_functions_have_docstrings():
    """Every public module, class and function says in a sentence what it does."""
    wrong = []
    for path in SOURCES:
        tree = ast.parse(path.read_bytes())
        nodes = [tree, *(node for node in ast.walk(tree) if isinstance(node, (ast.ClassDef, ast.FunctionDef)))]
        for node in nodes:
            name = getattr(node, "name", path.stem)
            said = ast.get_docstring(node) or "."
            if not name.startswith("_") and said.split("\n\n")[0].strip()[-1] not in '.:?`"':
                wrong.append(f"{module_name(path)}.{name}: {said.splitlines()[0]}")

    assert wrong == []


def test_contributing_prints_the_floors():
    """The floors are listed once, here: CONTRIBUTING shows the same, the ground first."""
    lines = [", ".join(sorted(name.removeprefix("mlv.") for name in rooms)) for rooms in FLOORS]

    assert "".join(f"  {line}\n" for line in lines) in (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()


def test_deferred_imports_say_why():
    """Own modules are imported inside a function for a reason, which stands beside the import or above it."""
    assert [f"{name}:{node.lineno}" for name, node, has_reason in COUNTED.deferred() if not has_reason] == []


def test_the_files_to_touch_are_there():
    """What is to be changed for a new kind of media, output or column is named once, and is there."""
    paths = {path for paths in TOUCHED.values() for path in paths if "{" not in path}

    assert [path for path in sorted(paths) if not (PACKAGE.parent / path).is_file()] == []


REACHED = {
    "mlv.compat.helios.core.loggers._ACTIVE_LOGGERS"  # of the original library: scripts put loggers of their own into it
}
"""Private names that tests may use, each with its reason."""


def test_tests_use_no_private_names():
    """Tests leave the inner names of modules alone: limits are arguments, and only public names are replaced."""
    paths = sorted(Path(__file__).parent.rglob("*.py"))
    names = {f"{path.name}: {name}" for path in paths for name in private_names(path, MODULES) if name not in REACHED}

    assert names == set()
