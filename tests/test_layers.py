"""Imports point one way: a module imports only from floors below its own, or from its own folder."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import mlv

PACKAGE = Path(mlv.__file__).parent
FLOORS = [
    {"mlv.digests", "mlv.frozen", "mlv.interrupts", "mlv.order", "mlv.wire", "mlv.words"},
    {"mlv.errors", "mlv.events", "mlv.foreign"},
    {"mlv.encoding", "mlv.notices", "mlv.optional", "mlv.protocols", "mlv.state"},
    {"mlv.never_raising", "mlv.settings"},
    {"mlv.capture", "mlv.store"},
    {"mlv.media"},
    {"mlv.query", "mlv.retention"},
    {"mlv.hdf", "mlv.transport"},
    {"mlv.audit", "mlv.projections"},
    {"mlv.experiment"},
    {"mlv"},
    {"mlv.compat", "mlv.integrations", "mlv.web"},
    {"mlv.cli"},
    {"mlv.__main__"},
]
"""Floor 0 is the ground; CONTRIBUTING shows them."""

PUBLIC_ONLY = ("mlv.integrations", "mlv.compat")
"""These are written against the public names: any library could do what they do."""

PUBLIC = {"mlv", "mlv.errors", "mlv.hdf", "mlv.projections"}

SOURCES = sorted(PACKAGE.rglob("*.py"))

STARTED = {"mlv.transport.orders": "mlv.projections.follower"}
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
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "mlv")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where they lead"
            if (node.module or "").split(".")[0] == "mlv":
                yield from (resolved(node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and NAMED.fullmatch(node.value):
            yield from by_name(module_name(path), node.value.rstrip("."))


def by_name(module: str, name: str) -> Iterator[str]:
    """The module that a text names, such as `mlv.query.tail` or, in front of a brace, `mlv.media.`."""
    while name not in MODULES:
        name = name.rpartition(".")[0]
    if name != "mlv" and STARTED.get(module) != name:
        yield name


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
    """Modules do not import each other in a circle, not even inside functions; for types they may."""
    edges = {module_name(path): {name for name in needed(path) if name != "mlv"} for path in SOURCES}
    while leaves := {name for name, wanted in edges.items() if not wanted & edges.keys()}:
        edges = {name: wanted for name, wanted in edges.items() if name not in leaves}

    assert edges == {}


def needed(path: Path) -> Iterator[str]:
    """What a file imports when it is imported or run, and not only for types."""
    nodes: list[ast.AST] = [ast.parse(path.read_bytes())]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mlv"):
            yield from (resolved(node.module or "", alias.name) for alias in node.names)
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "_TYPE_CHECKING")):
            nodes += ast.iter_child_nodes(node)


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
    wrong = []
    for path in SOURCES:
        lines = path.read_text().splitlines()
        for node in ast.walk(ast.parse(path.read_bytes())):
            is_own = isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mlv"
            if not is_own or node.col_offset == 0 or "TYPE_CHECKING" in enclosing(lines, node.lineno):
                continue
            first = node.lineno - 1
            while lines[first - 1].lstrip().startswith(("from ", "import ")):
                first -= 1
            if not any("#" in line for line in lines[max(0, first - 1) : node.end_lineno]):
                wrong.append(f"{module_name(path)}:{node.lineno}: {lines[node.lineno - 1].strip()}")

    assert wrong == []


def enclosing(lines: list[str], number: int) -> str:
    """The line of the block that a line stands in."""
    depth = len(lines[number - 1]) - len(lines[number - 1].lstrip())
    return next((line for line in reversed(lines[:number]) if line.strip() and len(line) - len(line.lstrip()) < depth), "")
