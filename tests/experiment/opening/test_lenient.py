"""Params that a framework hands over are stored as far as they can be, and nothing in them is an error."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import mlv
from mlv import Exp, MlvWarning, ParamsConflict

# What a writer process adds is tested elsewhere.
pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def exp(tmp_path):
    with Exp(tmp_path, "exp", {"lr": 0.1, "betas": {"b1": 0.9}}, capture=()) as exp:
        yield exp


def test_a_value_that_changed(exp):
    """The first value stays, one warning names the other, and an event keeps it."""
    with pytest.warns(MlvWarning, match=r"params\.lr is now 0\.2") as shown:
        exp.add_params({"lr": 0.2, "betas": {"b1": 0.9}, "epochs": 3}, lenient=True)

    assert len(shown) == 1
    assert dict(exp.params) == {"lr": 0.1, "betas": {"b1": 0.9}, "epochs": 3}
    assert [event.data for event in exp.events("params_changed")] == [{"lr": 0.2}]
    assert [event.data for event in exp.events("params")] == [{"epochs": 3}]


def test_the_same_again(exp):
    """A framework that hands over the same params each epoch is warned once, and leaves one event for each new value."""
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        for lr in (0.2, 0.2, 0.1, 0.3, 0.3):
            exp.add_params({"lr": lr, "loss": print}, lenient=True)

    assert [event.data for event in exp.events("params_changed")] == [{"lr": 0.2}, {"lr": 0.3}]
    assert len(exp.frame("message")) == 1
    assert len(shown) == 3


def test_values_without_a_json_form(exp):
    """They become text, which one warning and a message in the log name."""
    with pytest.warns(MlvWarning, match=r"params\.dtype is of type type") as shown:
        exp.add_params({"dtype": float, "hooks": [print], "width": 8}, lenient=True)

    assert len(shown) == 1
    assert exp["width"] == 8
    assert exp["dtype"] == "float"
    [message] = exp.events("message")
    assert message.data["level"] == "warning"
    assert "params.dtype" in message.data["message"]


class Raising:
    @property
    def __dict__(self):
        raise RuntimeError("not now")


@pytest.mark.parametrize(
    "params", [3, "text", [1, 2], object(), Raising(), dict], ids=["int", "str", "list", "object", "raises", "class"]
)
def test_what_is_no_mapping(exp, params):
    """It is not stored, with a warning and a message, and the run goes on."""
    with pytest.warns(MlvWarning, match="params are"):
        exp.add_params(params, lenient=True)

    exp.log({"loss": 1.0})
    assert [event.type for event in exp.events() if event.type in ("params", "message", "metrics")] == ["message", "metrics"]


def test_files_that_changed(exp, tmp_path):
    """A reference to a file that is gone costs the other params nothing."""
    path = tmp_path / "data.bin"
    path.write_bytes(b"1")
    reference = mlv.FileRef(path)
    path.unlink()

    with pytest.warns(MlvWarning, match=r"params\.data refers to"):
        exp.add_params({"data": reference, "epochs": 3}, lenient=True)

    assert exp["epochs"] == 3


def test_credentials(exp):
    """Values that look like credentials are kept from the disk, and seen again in another run they are no change."""
    with pytest.warns(MlvWarning):
        exp.add_params({"api_key": "sk-abcdefghijklmnopqrstuvwx0123456789"}, lenient=True)
    exp.close()

    with Exp.open(exp.path) as again, pytest.warns(MlvWarning) as shown:
        again.add_params({"api_key": "sk-abcdefghijklmnopqrstuvwx0123456789"}, lenient=True)

    assert not [str(warning.message) for warning in shown if "is now" in str(warning.message)]
    assert not list(exp.events("params_changed"))
    assert b"sk-abcdef" not in b"".join(path.read_bytes() for path in Path(exp.path).glob("*.jsonl"))


def test_people_are_asked(exp):
    """Without `lenient`, a value that changed is an error."""
    with pytest.raises(ParamsConflict):
        exp.add_params({"lr": 0.2})
