"""Every error says what it is about, is caught as what a caller expects, and survives travelling."""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest

from mlv import errors
from mlv.errors import MlvError, MlvWarning

ERRORS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MlvError) and kind is not MlvError
]
WARNINGS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MlvWarning)]


def test_the_tree_is_drawn():
    """The drawing at the top of the module shows each error with the built-in that it also is."""
    drawn = dict(re.findall(r"[├└]── (\w+) +\((\w+)\)", errors.__doc__ or ""))

    assert drawn == {kind.__name__: kind.__bases__[1].__name__ for kind in ERRORS}
    assert set(re.findall(r"[├└]── (\w+)", errors.__doc__ or "")) == {kind.__name__ for kind in [*ERRORS, *WARNINGS[1:]]}


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_errors_are_what_a_caller_expects(kind):
    """Each error is an MlvError, and the built-in that code without mlv would catch."""
    assert issubclass(kind, MlvError)
    assert kind.__bases__[1].__module__ == "builtins"
    assert inspect.getdoc(kind)


@pytest.mark.parametrize("travel", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copy", "pickle"])
@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_errors_travel(kind, travel):
    """An error that comes back from another process says the same, and carries the same."""
    found = travel(kind("what happened: do this", path="/x", keys=[1, "b"]))

    assert type(found) is kind
    assert str(found) == "what happened: do this"
    assert (found.path, found.keys) == ("/x", [1, "b"])


def test_errors_travel_with_what_cannot():
    """What an error is about need not be picklable for the error to be."""
    found = pickle.loads(pickle.dumps(errors.InvalidParams("no", params={"fn": lambda: None}, path="params.fn")))

    assert found.path == "params.fn"
    assert "dict" in found.params


def test_unknown_attributes():
    """An error has the attributes that it was given, and no others."""
    with pytest.raises(AttributeError, match="'InvalidName' object has no attribute 'nope'"):
        errors.InvalidName("x", name="y").nope  # noqa: B018


@pytest.mark.parametrize("kind", WARNINGS, ids=lambda kind: kind.__name__)
def test_warnings_can_be_silenced_together(kind):
    """Every warning is an MlvWarning, and a UserWarning: it is shown unless somebody says otherwise."""
    assert issubclass(kind, MlvWarning)
    assert issubclass(kind, UserWarning)
