"""The experiment of an integration is passed or made, opened when it is used, and never ends a framework's run."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
import sys
import types
import warnings

import pytest

import mlv
from mlv.integrations import register
from mlv.integrations.connection import Connection
from mlv.integrations.frameworks import framework


@pytest.fixture(autouse=True)
def inline(monkeypatch):
    """Write inline: no writer has to start."""
    monkeypatch.setenv("MLV_INLINE", "1")


def steps(path):
    return [event.step for event in mlv.Exp.open(path).events("metrics")]


def test_made_at_first_use(tmp_path):
    """Nothing is written until the experiment is used; then it is made of the arguments."""
    connection = Connection(None, tmp_path, "digits", {"lr": 0.1}, tags=["paper"])
    assert not connection.is_open
    assert list(tmp_path.iterdir()) == []

    connection.log({"loss": 1.0}, step=0)
    connection.close()

    exp = mlv.Exp.open(tmp_path / "digits")
    assert (exp.params, exp.tags, exp.status) == ({"lr": 0.1}, ("paper",), "ok")


def test_a_made_one_is_opened_again(tmp_path):
    """An experiment that was closed goes on in another run at its next use."""
    connection = Connection(savedir=tmp_path, name="digits")
    connection.log({"loss": 1.0}, step=0)
    connection.close()

    connection.log({"loss": 0.5}, step=1)
    connection.close()

    assert steps(tmp_path / "digits") == [0, 1]
    assert [run.status for run in mlv.Exp.open(tmp_path / "digits").runs] == ["ok", "ok"]
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["digits"]


def test_a_passed_one_is_not_closed(tmp_path):
    """Whoever passes an experiment goes on with it, and closes it."""
    with mlv.Exp(tmp_path, "digits") as exp:
        connection = Connection(exp)
        connection.log({"loss": 1.0}, step=0)
        connection.close("failed")
        exp.log({"loss": 0.5}, step=1)

    assert steps(exp.path) == [0, 1]
    assert exp.status == "ok"


def test_a_path_is_opened(tmp_path):
    """The path of an experiment opens it for another run, which ends with the connection."""
    with mlv.Exp(tmp_path, "digits") as exp:
        exp.log({"loss": 1.0}, step=0)

    connection = Connection(str(exp.path))
    connection.log({"loss": 0.5}, step=1)
    connection.close()

    assert steps(exp.path) == [0, 1]
    assert len(exp.runs) == 2


def test_the_settings_decide_without_arguments(tmp_path, monkeypatch):
    """With neither `exp` nor `savedir` the variables say where."""
    monkeypatch.setenv("MLV_EXP", str(tmp_path / "shared"))

    connection = Connection()
    connection.log({"loss": 1.0}, step=0)
    connection.close()

    assert steps(tmp_path / "shared") == [0]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"exp": 3}, "exp=3 is of type int"),
        ({"exp": "runs/digits", "name": "digits"}, "name= cannot be used here"),
        ({"exp": "runs/digits", "on_exists": "open"}, "on_exists= cannot be used here"),
        ({"savedir": "runs", "project": "vision"}, "project= cannot be used here"),
    ],
)
def test_wrong_arguments(arguments, text):
    """Arguments that do not fit are an error at once, before anything is trained."""
    with pytest.raises(mlv.InvalidArgument, match=text):
        Connection(**arguments)


def test_starting_speaks_up(tmp_path):
    """An experiment that cannot be made is an error: nobody trains for a week without a log."""
    (tmp_path / "file").touch()

    with pytest.raises(mlv.MlvError, match="file"):
        _ = Connection(savedir=tmp_path / "file", name="digits").exp


def test_an_experiment_that_was_removed(tmp_path):
    """An experiment that cannot be opened again after its run is no error: an evaluation after the training goes on."""
    connection = Connection(savedir=tmp_path, name="digits")
    connection.log({"loss": 1.0}, step=0)
    connection.close()
    shutil.rmtree(tmp_path / "digits")

    with pytest.warns(mlv.MlvWarning) as shown:
        connection.log({"loss": 0.5}, step=1)
    connection.close()

    assert str(shown[0].message).startswith("mlv logs no more, and the run goes on: NotAnExperiment")
    assert not (tmp_path / "digits").exists()


def test_an_error_is_one_warning(tmp_path):
    """An error in a guarded block is a warning and a message, once for each subject."""
    connection = Connection(savedir=tmp_path, name="digits")
    connection.log({"loss": 1.0}, step=0)

    def draw():
        with connection.guard("the graph"):
            raise OSError("disk full 100%")

    with pytest.warns(mlv.MlvWarning, match="left out the graph.*OSError: disk full 100%") as shown:
        _ = [draw() for _ in range(3)]
    connection.close()

    [message] = mlv.Exp.open(tmp_path / "digits").events("message")
    assert len(shown) == 1
    assert message.data["message"].endswith("OSError: disk full 100%")


def test_an_experiment_closed_too_early_is_one_warning(tmp_path):
    """What cannot be done any more in an experiment that was closed is warned about once, not a second time for the warning."""
    with mlv.Exp(tmp_path, "digits") as exp:
        connection = Connection(exp)
        connection.log({"loss": 1.0}, step=0)

    with pytest.warns(mlv.MlvWarning) as shown, connection.guard("a checkpoint"):
        connection.exp.checkpoints(latest=2).save({"weight": 1.0}, step=0)
    connection.close()

    assert ["the run has ended" in str(warning.message) for warning in shown] == [True]
    assert len(exp.runs) == 1


def test_warnings_as_errors_end_nothing(tmp_path, capsys):
    """Where warnings are errors, they are printed."""
    with warnings.catch_warnings(), Connection(savedir=tmp_path).guard("the graph"):
        warnings.simplefilter("error")
        raise OSError("disk full")

    assert "left out the graph" in capsys.readouterr().err


def test_an_interruption_passes(tmp_path):
    """Ctrl-C is not kept back."""
    with pytest.raises(KeyboardInterrupt), Connection(savedir=tmp_path).guard("the graph"):
        raise KeyboardInterrupt


def test_params_of_frameworks_are_lenient(tmp_path):
    """Params that cannot be stored, or that change, are no error."""
    connection = Connection(savedir=tmp_path, name="digits")
    with pytest.warns(mlv.MlvWarning):
        connection.add_params({"lr": 0.1, "activation": print})
    with pytest.warns(mlv.MlvWarning, match="the first value stays"):
        connection.add_params({"lr": 0.2})
    connection.close()

    assert mlv.Exp.open(tmp_path / "digits")["lr"] == 0.1


def test_rewind(tmp_path):
    """A rewind supersedes what was logged with a greater step, in the same run; where there is nothing, it does nothing."""
    pytest.importorskip("pandas")
    connection = Connection(savedir=tmp_path, name="digits")
    connection.rewind(5)
    for step in range(4):
        connection.log({"loss": 1.0 - step}, step=step)
    connection.rewind(1)
    connection.log({"loss": 7.0}, step=2)
    connection.rewind(2)
    connection.close()

    exp = mlv.Exp.open(tmp_path / "digits")
    assert list(exp.history("loss")["step"]) == [0, 1, 2]
    assert len(exp.runs) == 1


def test_a_rewind_before_the_first_event(tmp_path):
    """A framework rewinds before it logs: that begins the run in which it goes on, not one of its own."""
    with mlv.Exp(tmp_path, "digits") as exp:
        _ = [exp.log({"loss": 1.0}, step=step) for step in range(3)]

    for passed in (str(exp.path), mlv.Exp.open(exp.path)):
        connection = Connection(passed)
        connection.rewind(1)
        connection.log({"loss": 0.5}, step=2)
        connection.exp.close()

    assert [run.status for run in exp.runs] == ["ok"] * 3


def test_disabled(tmp_path, monkeypatch):
    """Where mlv is disabled, all calls are there, and nothing is stored."""
    monkeypatch.setenv("MLV_DISABLED", "1")
    connection = Connection(savedir=tmp_path, name="digits")
    connection.log({"loss": 1.0}, step=3)
    connection.add_params({"lr": 0.1})
    connection.rewind(1)
    connection.close()
    connection.log({"loss": 1.0}, step=2)

    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("travel", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_travels(tmp_path, travel):
    """A copy of a connection logs into the same experiment, whichever of them is the first to log."""
    connection = Connection(savedir=tmp_path, name="digits")

    travel(connection).log({"loss": 1.0}, step=0)
    connection.log({"loss": 0.5}, step=1)
    connection.close()

    assert steps(tmp_path / "digits") == [0, 1]


def test_copies_that_are_used_one_after_the_other(tmp_path):
    """An estimator is copied for each fit of a search: each fit is a run that ends well, of one experiment."""
    original = Connection(savedir=tmp_path, name="digits")
    for step, copied in enumerate([copy.deepcopy(original), copy.copy(original), original]):
        copied.log({"loss": 1.0}, step=step)
        copied.close()

    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["digits"]
    assert [run.status for run in mlv.Exp.open(tmp_path / "digits").runs] == ["ok"] * 3
    assert steps(tmp_path / "digits") == [0, 1, 2]


@pytest.mark.parametrize("travel", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
@pytest.mark.parametrize("is_there", [False, True])
def test_the_end_of_a_copy_is_not_that_of_the_original(tmp_path, travel, is_there):
    """A copy that ends its fit, in the same process, leaves the original to go on, whichever of them was the first to log."""
    making = {"savedir": tmp_path, "name": "digits"}
    if is_there:
        mlv.Exp(**making).close()
        making = {"exp": tmp_path / "digits"}
    connection = Connection(**making)
    copied = travel(connection)
    copied.log({"loss": 1.0}, step=0)
    log = connection.log
    log({"loss": 0.5}, step=1)
    copied.close()
    log({"loss": 0.25}, step=2)
    connection.close()

    assert steps(tmp_path / "digits") == [0, 1, 2]
    assert {run.status for run in mlv.Exp.open(tmp_path / "digits").runs} == {"ok"}


@pytest.fixture
def library(monkeypatch):
    """Return a function that installs a library of a version."""

    def install(version, name="trainers"):
        module = types.ModuleType(name)
        module.__version__ = version
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return install


@pytest.mark.parametrize("version", ["2.0", "2.13.0+cpu", "2.9rc1", "main", None])
def test_versions_that_work(library, version):
    """A version in between is imported without a word, and so is one that cannot be told."""
    module = library(version)

    assert framework("trainers", least="2.0", below="3") is module


def test_a_missing_library(monkeypatch):
    """A library that is not installed is an error that says what to install."""
    monkeypatch.setitem(sys.modules, "trainers", None)

    with pytest.raises(mlv.MissingExtra, match=r"this needs py-trainers.*pip install 'py-trainers>=2.0,<3'"):
        framework("trainers.callbacks", least="2.0", below="3", install="py-trainers")


def test_a_library_that_is_too_old(library):
    """A library without the interface is an error that says which versions have it."""
    library("1.9.9")

    with pytest.raises(mlv.MissingExtra, match=r"trainers 1.9.9 is too old: this works with 2.0 and newer"):
        framework("trainers", least="2.0", below="3")


def test_a_library_that_is_too_new(library):
    """A library that nobody has tried is used, and one warning says so."""
    name = f"trainers_{os.urandom(4).hex()}"  # no other test, nor this one before, was warned of it
    library("3.0", name)

    with pytest.warns(mlv.MlvWarning, match=rf"{name} 3.0 is newer than mlv knows") as shown:
        _ = [framework(name, least="2.0", below="3") for _ in range(2)]

    assert len(shown) == 1


def test_register_of_what_has_no_hook():
    """A library that cannot be registered with is an error that names the others."""
    with pytest.raises(mlv.InvalidArgument, match="'keras3' has nothing to register with: give accelerate"):
        register("keras3")


@pytest.mark.parametrize(("suggested", "name"), [("tiny", "tiny"), ("out/tiny", None), (None, None), (3, None)])
def test_a_name_of_the_framework(tmp_path, suggested, name):
    """A framework's name for its run names the experiment where nobody else does, unless it is a path."""
    connection = Connection(savedir=tmp_path)
    connection.suggest_name(suggested)
    connection.exp.close()

    assert (connection.exp.name == name) is (name is not None)


def test_a_name_of_the_framework_gives_way(tmp_path, monkeypatch):
    """A name from the script or from the variables counts more than one of the framework."""
    named = Connection(savedir=tmp_path, name="mine")
    named.suggest_name("tiny")
    monkeypatch.setenv("MLV_NAME", "variable")
    unnamed = Connection(savedir=tmp_path)
    unnamed.suggest_name("tiny")

    assert [connection.exp.name for connection in (named, unnamed)] == ["mine", "variable"]
    named.close()
    unnamed.close()
