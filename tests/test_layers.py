"""Imports point one way: a module imports only from floors below its own, or from its own folder."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mlv

PACKAGE = Path(mlv.__file__).parent
FLOORS = [
    {"mlv.words"},
    {"mlv.errors", "mlv.interrupts"},
    {"mlv.digests", "mlv.foreign", "mlv.frozen", "mlv.notices", "mlv.order"},
    {"mlv.events", "mlv.settings"},
    {"mlv.encoding", "mlv.state", "mlv.protocols"},
    {"mlv.store", "mlv.capture"},
    {"mlv.media", "mlv.retention"},
    {"mlv.transport"},
    {"mlv.query"},
    {"mlv.experiment", "mlv.hdf"},
    {"mlv", "mlv.projections"},
    {"mlv.integrations", "mlv.compat"},
    {"mlv.web"},
    {"mlv.cli"},
    {"mlv.__main__"},
]
"""As in the design: floor 0 is the ground."""

PUBLIC_ONLY = ("mlv.integrations", "mlv.compat")
"""These are written against the public names: any library could do what they do."""

PUBLIC = {"mlv", "mlv.hdf", "mlv.projections"}

SOURCES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    """The part of the house that a module is in: `mlv.store` for `mlv.store.files`."""
    return ".".join(module.split(".")[:2])


def floor(module: str) -> int:
    found = [number for number, rooms in enumerate(FLOORS) if room(module) in rooms]
    assert found, f"{module} is in no room that the design knows: add it to FLOORS, and to the design"
    return found[0]


def imported(path: Path) -> Iterator[str]:
    """Every module of mlv that a file imports, also within functions and for types."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "mlv")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where they lead"
            if (node.module or "").split(".")[0] == "mlv":
                yield from (resolved(node.module or "", alias.name) for alias in node.names)


def resolved(module: str, name: str) -> str:
    """`mlv.encoding` for `from mlv import encoding`; `mlv` itself where a public name is meant."""
    is_module = (PACKAGE.parent / Path(*module.split("."), name)).with_suffix(".py").exists()
    is_package = (PACKAGE.parent / Path(*module.split("."), name)).is_dir()
    return f"{module}.{name}" if is_module or is_package else module


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_point_down(path):
    """A module imports only from floors below its own, or from its own folder."""
    module = module_name(path)
    wrong = [name for name in imported(path) if room(name) != room(module) and floor(name) >= floor(module)]

    assert wrong == []


@pytest.mark.parametrize("path", [path for path in SOURCES if room(module_name(path)) in PUBLIC_ONLY], ids=module_name)
def test_integrations_use_public_names_only(path):
    """What stands outside the core uses what everybody may use."""
    assert {name for name in imported(path) if room(name) != room(module_name(path))} <= PUBLIC


def test_no_import_goes_in_a_circle():
    """Modules of one folder do not import each other at the top in a circle."""
    edges = {module_name(path): {name for name in top_level(path) if name != "mlv"} for path in SOURCES}
    while leaves := {name for name, wanted in edges.items() if not wanted & edges.keys()}:
        edges = {name: wanted for name, wanted in edges.items() if name not in leaves}

    assert edges == {}


def top_level(path: Path) -> Iterator[str]:
    """What a file imports when it is imported."""
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mlv"):
            yield from (resolved(node.module or "", alias.name) for alias in node.names)


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
