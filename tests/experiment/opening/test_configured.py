"""Name, tags and experiment from the environment: for scripts that somebody else wrote, and jobs that go on."""

from __future__ import annotations

import pytest

from mlv import Exp, InvalidArgument, InvalidName, ParamsConflict, init_sub_exp

# What a writer process adds is tested elsewhere.
pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder as the current one, where experiments go."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(*arguments, **options) -> Exp:
    return Exp(*arguments, **{"capture": (), **options})


def test_name(folder, monkeypatch):
    """`MLV_NAME` names what has no name, and a name that is taken gets its suffix; the script's own name wins."""
    monkeypatch.setenv("MLV_NAME", "night")

    assert [made().path.relative_to(folder).as_posix() for _ in range(2)] == ["runs/night", "runs/night_1"]
    assert made("runs", "digits").name == "digits"


def test_tags(monkeypatch):
    """`MLV_TAGS` are added to the tags of each new experiment, sub-experiments included, once each."""
    monkeypatch.setenv("MLV_TAGS", "paper, night")
    exp = made("runs", "digits", tags=["mine", "night"])

    assert exp.tags == ("mine", "night", "paper")
    with exp.file("weights", "wb") as file:
        file.write(b"1")
    assert init_sub_exp(exp.path / "files" / "weights", "squeeze").tags == ("paper", "night")


def test_an_experiment_goes_on(folder, monkeypatch):
    """`MLV_EXP` has a script without a name go on in that experiment, which is made where it is missing."""
    monkeypatch.setenv("MLV_EXP", "elsewhere/digits")
    for epoch in range(2):
        with made("runs", params={"lr": 0.1}) as exp:
            exp.log({"loss": 1.0 / (epoch + 1)}, step=epoch)

    assert exp.path == folder / "elsewhere" / "digits"
    assert [event.data["loss"] for event in exp.events("metrics")] == [1.0, 0.5]
    assert len(exp.runs) == 2
    assert not (folder / "runs").exists()
    with pytest.raises(ParamsConflict):
        made(params={"lr": 0.2})


def test_two_libraries_share_it(monkeypatch):
    """Within one process both log into the same run; that ends with the one that began it."""
    monkeypatch.setenv("MLV_EXP", "runs/shared")
    first = made()
    second = made()
    second.log({"b": 2.0})
    second.close()
    first.log({"a": 1.0})
    first.close()

    assert len(first.runs) == 1
    assert [event.data for event in first.events("metrics")] == [{"b": 2.0}, {"a": 1.0}]


def test_its_own_name_wins(folder, monkeypatch):
    """A script that names its experiment makes that one."""
    monkeypatch.setenv("MLV_EXP", "runs/shared")

    assert made("runs", "digits").path == folder / "runs" / "digits"


BAD = [("MLV_NAME", "a/b", InvalidName), ("MLV_EXP", "s3://b/c", InvalidArgument)]


@pytest.mark.parametrize(("name", "value", "error"), BAD)
def test_what_cannot_be(monkeypatch, name, value, error):
    """It is an error before anything is on the disk."""
    monkeypatch.setenv(name, value)

    with pytest.raises(error):
        made()
