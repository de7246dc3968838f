"""The selection `quick` has tests of every room."""

from __future__ import annotations

from pathlib import Path

import pytest

import mlv

ROOT = Path(__file__).parents[1]
ROOMS = sorted(path.name for path in Path(mlv.__file__).parent.iterdir() if (path / "__init__.py").exists())


@pytest.fixture
def modules(pytestconfig: pytest.Config) -> list[str]:
    """The test modules that are quick."""
    return list(pytestconfig.getini("quick_modules"))


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_one(modules, room):
    """Each folder of the package has a module of tests that is quick."""
    assert any(module.startswith(f"tests/{room}/") for module in modules)


def test_all_are_there(modules):
    """Each module of the list is there, and is named once; none kills processes."""
    assert len(set(modules)) == len(modules)
    assert [module for module in modules if not (ROOT / module).is_file()] == []
    assert [module for module in modules if "mark.crash" in (ROOT / module).read_text() and "test_quick" not in module] == []


def test_they_are_marked(request):
    """What the list names is chosen by `-m quick`, this module too."""
    assert request.node.get_closest_marker("quick") is not None
