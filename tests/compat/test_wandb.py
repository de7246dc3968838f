"""`mlv.compat.wandb`: runs, rows, config, summary and files as wandb has them, read back from the experiment."""

from __future__ import annotations

import argparse
import inspect
import json
import math
import os
import sys
from collections import UserDict
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from wandb_folder import installed, own_folder

import mlv
import mlv.compat.wandb as wandb
from mlv.audit.verify import verify

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test is a script of its own, in a folder of its own."""
    with own_folder(tmp_path, monkeypatch):
        yield


def opened(run: Any) -> mlv.Exp:
    return mlv.Exp.open(run.exp.path)


def rows(run: Any) -> list[tuple[Any, dict[str, Any]]]:
    """The lines of metrics: step and data."""
    return [(event.step, dict(event.data)) for event in opened(run).events("metrics")]


# Runs.


def test_an_experiment_per_run(tmp_path):
    """A run is an experiment in the folder of its project, with its config as params."""
    run = wandb.init(
        project="digits", name="first", config={"lr": 0.1, "net": {"layers": [1, 2]}}, tags=["a", "b"], notes="why",
        group="g", job_type="train", entity="lab",
    )  # fmt: skip
    wandb.log({"loss": 0.5, "acc": 0.9})
    wandb.finish()

    exp = opened(run)
    assert exp.path == tmp_path / "runs" / "digits" / "first"
    assert exp.params == {"lr": 0.1, "net": {"layers": [1, 2]}}
    assert (exp.kind, exp.tags, exp.notes, exp.status) == ("train", ("a", "b"), ("why",), "ok")
    assert rows(run) == [(0, {"loss": 0.5, "acc": 0.9})]
    [facts] = exp.events("event", name="wandb/run")
    assert facts.data == {
        "id": run.id, "name": "first", "project": "digits", "entity": "lab", "group": "g", "job_type": "train",
    }  # fmt: skip
    assert verify(exp.path).verdict == "intact"


def test_attributes():
    """A run says who it is, and paths are addresses."""
    run = wandb.init(project="p", id="abc", tags=("t",), entity="lab")

    assert (run.id, run.name, run.project, run.entity, run.path) == ("abc", "abc", "p", "lab", "lab/p/abc")
    assert (run.step, run.starting_step, run.resumed, run.offline, run.disabled) == (0, 0, False, True, False)
    assert run.url == run.exp.path.as_uri()
    assert run.project_url == run.exp.path.parent.as_uri()
    assert run.get_url() == run.url
    assert run.project_name() == "p"
    assert (run.group, run.job_type, run.notes, run.sweep_id, run.sweep_url) == ("", "", None, None, None)
    assert wandb.run is run
    assert wandb.config is run.config
    assert wandb.summary is run.summary
    assert run.config_static.keys() == {}.keys()
    with pytest.raises(AttributeError):
        run.id = "other"
    with pytest.raises(wandb.Error, match="foo is not supported"):
        run.foo = 1


def test_variables(monkeypatch):
    """Variables name what arguments and settings do not; arguments win over settings, these over variables."""
    for name, value in {
        "PROJECT": "vp", "NAME": "vn", "RUN_ID": "vid", "TAGS": "a, b", "RUN_GROUP": "vg", "JOB_TYPE": "vj", "NOTES": "vt",
        "ENTITY": "ve", "DIR": "elsewhere",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"WANDB_{name}", value)

    run = wandb.init(job_type="argument", settings=wandb.Settings(run_group="setting", run_job_type="setting"))

    assert run.exp.path == Path("elsewhere").absolute() / "vp" / "vn"
    assert (run.id, run.tags, run.notes, run.entity) == ("vid", ("a", "b"), "vt", "ve")
    assert (run.group, run.job_type, run.exp.kind) == ("setting", "argument", "argument")


def test_variables_of_mlv(monkeypatch):
    """`MLV_NAME` and `MLV_TAGS` name and tag runs that the script gives no name."""
    monkeypatch.setenv("MLV_NAME", "outside")
    monkeypatch.setenv("MLV_TAGS", "x")
    run = wandb.init(project="p", tags=["a"])

    assert (run.exp.name, run.name, {*run.exp.tags}) == ("outside", "outside", {"a", "x"})


def test_names_that_no_folder_can_have():
    """A name with separators is a folder's all the same, and a job type that is no kind stands in the log."""
    run = wandb.init(project="p", name="lr=0.1/seed 3", job_type="log")

    assert (run.exp.name, run.exp.kind, run.job_type, run.name) == ("lr=0.1-seed 3", None, "log", "lr=0.1/seed 3")


def test_names_are_taken_once():
    """A second run of a name is an experiment of its own."""
    names = []
    for _ in range(2):
        with wandb.init(project="p", name="same") as run:
            names.append(run.exp.name)

    assert names == ["same", "same_1"]


def test_second_init_returns_the_first_run():
    """As in wandb: init twice gives one run, and the second config is left aside."""
    first = wandb.init(project="p", config={"lr": 1})

    assert wandb.init(project="q", config={"lr": 2}) is first
    assert first.config.lr == 1


def test_several_runs():
    """`create_new` leaves the global run alone; `reinit=True` ends what goes on."""
    first = wandb.init(project="p")
    beside = wandb.init(project="p", reinit="create_new")
    beside.log({"a": 1})
    wandb.log({"b": 2})

    assert wandb.run is first
    beside.finish()
    third = wandb.init(project="p", reinit=True)
    assert wandb.run is third
    assert opened(first).status == "ok"
    assert rows(beside) == [(0, {"a": 1})]
    assert rows(first) == [(0, {"b": 2})]


def test_before_and_after_a_run():
    """Without a run the functions say what to call first; a finished one says that it is."""
    for call in (lambda: wandb.log({"a": 1}), lambda: wandb.save("x"), lambda: wandb.alert("a", "b"), lambda: wandb.watch(0)):
        with pytest.raises(wandb.Error, match=r"You must call wandb.init\(\) before wandb"):
            call()
    with pytest.raises(wandb.Error, match=r"before wandb\.config\.lr"):
        _ = wandb.config.lr
    with pytest.raises(wandb.Error, match=r"before wandb\.summary"):
        wandb.summary["a"] = 1
    wandb.finish()
    run = wandb.init(project="p", config={"lr": 1})
    run.finish()
    run.finish()

    assert wandb.run is None
    assert run.config.lr == 1
    assert run.name
    for call in (
        lambda: run.log({"a": 1}),
        lambda: run.define_metric("a"),
        lambda: run.config.update({"b": 1}),
        lambda: run.summary.update({"b": 1}),
    ):
        with pytest.raises(wandb.UsageError, match="is finished"):
            call()
    with pytest.raises(wandb.Error, match="before"):
        wandb.log({"a": 1})


@pytest.mark.parametrize(("code", "status"), [(None, "ok"), (0, "ok"), (1, "failed")])
def test_exit_codes(code, status):
    """The exit code says how a run ended."""
    run = wandb.init(project="p")
    wandb.finish(exit_code=code)

    assert opened(run).status == status


def test_block_with_an_exception():
    """A block that an exception leaves is a failed run, with the exception in the log."""
    with pytest.raises(ValueError, match="bad"), wandb.init(project="p") as run:
        raise ValueError("bad")

    assert opened(run).status == "failed"
    assert opened(run).runs[-1].exception["message"] == "bad"


def test_disabled(monkeypatch, tmp_path):
    """Nothing is stored, and config and summary hold values all the same."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    run = wandb.init(project="p", config={"lr": 1})
    run.log({"a": 1})
    run.log({"img": wandb.Histogram(np_histogram=([1], [0, 1]))})
    run.summary["best"] = 2
    run.config.update({"b": 2})
    run.tags += ("t",)
    run.name, run.notes = "n", "text"
    run.alert("a", "b")
    run.define_metric("a", summary="max")
    Path("file").write_text("x")
    assert run.save("file") == []
    assert run.restore("file") is None
    run.log_code()

    assert (run.disabled, run.step, run.url, run.config.b, run.summary["a"], run.summary["best"]) == (True, 0, None, 2, 1, 2)
    assert os.path.isdir(run.dir)
    run.finish()
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "arguments",
    [{"mode": "foo"}, {"id": "a/b"}, {"id": " "}, {"id": ".."}, {"project": "a/b"}, {"resume": "perhaps"}, {"reinit": "maybe"}],
)
def test_arguments_that_cannot_be(arguments, tmp_path):
    """What wandb refuses is refused before anything is made; where its error is a ValueError, so is this."""
    with pytest.raises(wandb.UsageError, match=str(next(iter(arguments.values())))) as caught:
        wandb.init(**arguments)
    assert isinstance(caught.value, ValueError) == bool({"mode", "resume", "reinit"} & arguments.keys())
    assert not (tmp_path / "runs").exists()


def test_default_project(monkeypatch):
    """Without a project, runs lie in the folder `uncategorized`, or in that of the repository's name."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", os.path.dirname(os.getcwd()))

    assert wandb.init().project == "uncategorized"


# Resuming.


def test_resume(monkeypatch):
    """A run of the same ID goes on in the same experiment: steps, config and summary as they were."""
    with wandb.init(project="p", id="r1", name="n", tags=["a"], config={"lr": 1, "net": {"a": [1]}}) as first:
        first.log({"loss": 3}, step=5)
        first.summary["best"] = 7
        first.config.update({"lr": 2}, allow_val_change=True)

    monkeypatch.setenv("WANDB_RUN_ID", "r1")
    with wandb.init(project="p", resume="must", tags=["b"], notes="more", config={"new": 1}) as second:
        assert (second.resumed, second.step, second.starting_step, second.name) == (True, 6, 6, "n")
        assert second.config.as_dict() == {"lr": 2, "net": {"a": [1]}, "new": 1}
        assert dict(second.summary.items()) == {"loss": 3, "best": 7}
        second.log({"loss": 2})

    assert second.exp.path == first.exp.path
    assert len(opened(second).runs) == 2
    assert rows(second) == [(5, {"loss": 3}), (6, {"loss": 2})]
    assert (opened(second).tags, second.tags, opened(second).notes) == (("a", "b"), ("a", "b"), ("more",))


def test_resume_modes():
    """`allow` makes what is missing, `must` and `never` refuse; without any of them a known ID is a new experiment."""
    with pytest.raises(wandb.UsageError, match="no run 'r1'"):
        wandb.init(project="p", id="r1", resume="must")
    with wandb.init(project="p", id="r1", resume="allow") as first:
        assert not first.resumed
    with pytest.raises(wandb.UsageError, match="is run 'r1'"):
        wandb.init(project="p", id="r1", resume="never")
    with wandb.init(project="p", id="r1") as second:
        assert second.exp.path != first.exp.path
    with wandb.init(project="p", id="r1", resume="allow") as third:
        assert third.exp.path == second.exp.path


@pytest.mark.parametrize(("first_id", "second_id"), [("a-", "a"), ("a.", "a"), ("a", "-"), ("x" * 200, "x" * 201)])
def test_each_id_is_one_of_its_own(first_id, second_id):
    """IDs that a folder cannot have, or that look alike as folders, are not taken for each other."""
    with wandb.init(project="p", id=first_id) as first:
        first.log({"a": 1})
    with wandb.init(project="p", id=second_id, resume="allow") as second:
        assert not second.resumed
    for known in (first, second):
        with wandb.init(project="p", id=known.id, resume="must") as again:
            assert (again.resumed, again.exp.path) == (True, known.exp.path)


def test_resume_auto():
    """The last run goes on if it ended badly, and a new one begins if it ended well."""
    first = wandb.init(project="p", resume=True)
    first.finish(exit_code=1)
    second = wandb.init(project="p", resume="auto")
    assert second.id == first.id
    assert second.resumed
    second.finish()
    third = wandb.init(project="p", resume="auto")

    assert third.id != first.id
    assert not third.resumed


def test_resume_from():
    """Going on from a step is a rewind: later lines are superseded."""
    with wandb.init(project="p", id="r1") as first:
        for value in range(5):
            first.log({"a": value})
    with wandb.init(project="p", resume_from="r1?_step=2") as second:
        assert second.step == 3
        second.log({"a": 30})

    summary = opened(second).summary()["a"]
    assert (summary.count, summary.last) == (4, 30)
    with pytest.raises(wandb.UsageError, match="resume_from='nobody"):
        wandb.init(project="p", resume_from="nobody?_step=2")


@pytest.mark.parametrize("reference", ["?_step=1", "..?_step=1", "-?_step=1", "/?_step=1"])
def test_resume_from_needs_an_id(reference):
    """Without an ID no run is chosen, and none is rewound."""
    with wandb.init(project="p") as first:
        for value in range(3):
            first.log({"a": value})

    with pytest.raises(wandb.UsageError, match="give <id>"):
        wandb.init(project="p", resume_from=reference)
    assert opened(first).summary()["a"].count == 3


def test_steps_behind_rows_of_media():
    """A run that logged media alone goes on behind their rows, and behind those that a rewind leaves."""
    with wandb.init(project="p", id="r1") as first:
        for _ in range(4):
            first.log({"h": wandb.Histogram([1, 2])})
    with wandb.init(project="p", id="r1", resume="must") as second:
        assert second.step == 4
    with wandb.init(project="p", resume_from="r1?_step=1") as third:
        assert third.step == 2


def test_names_with_letters_that_no_text_has():
    """A name from a variable that is no UTF-8 is one of a folder without it."""
    with wandb.init(project="p", name="a\udcffb") as run:
        assert run.exp.name == "a-b"


# Rows.


def test_rows():
    """A call is a row; with commit=False, or an explicit step, the next call goes on with it."""
    run = wandb.init(project="p")
    steps = []
    for data, options in (
        ({"a": 1}, {}),
        ({"b": 1}, {"commit": False}),
        ({"b2": 1}, {}),
        ({"c": 1}, {"step": 10}),
        ({"c2": 1}, {"step": 10}),
        ({"c3": 1}, {}),
        ({"d": 1}, {}),
        ({"e": 1}, {"step": 20, "commit": True}),
        ({}, {}),
        ({"f": 1}, {}),
    ):
        wandb.log(data, **options)
        steps.append(run.step)
    run.finish()

    assert steps == [1, 1, 2, 10, 10, 11, 12, 21, 22, 23]
    assert [(step, *data) for step, data in rows(run)] == [
        (0, "a"), (1, "b"), (1, "b2"), (10, "c"), (10, "c2"), (10, "c3"), (11, "d"), (20, "e"), (22, "f"),
    ]  # fmt: skip


def test_lower_steps_are_kept():
    """wandb drops a step below the open row; here it is in the log, and the row stays open."""
    run = wandb.init(project="p")
    wandb.log({"a": 1}, step=10)
    wandb.log({"a": 2}, step=3)
    wandb.log({"a": 3}, step=4, commit=True)
    run.finish()

    assert rows(run) == [(10, {"a": 1}), (3, {"a": 2}), (4, {"a": 3})]
    assert run.step == 10


def test_values():
    """Numbers, texts, lists, mappings and scalars of libraries are one line of metrics, NaN as it is."""
    run = wandb.init(project="p")
    wandb.log({"f": math.nan, "b": True, "s": "text", "n": None, "l": [1, 2], "t": (1,), "x": {"y": 1, "z": {"w": 2}, 3: 4}})
    run.finish()

    [(step, data)] = rows(run)
    assert step == 0
    assert math.isnan(data.pop("f"))
    assert data == {"b": True, "s": "text", "n": None, "l": [1, 2], "t": [1], "x/y": 1, "x/z/w": 2, "x/3": 4}
    assert run.summary["x"]["z"]["w"] == 2
    assert run.summary.x.y == 1


@pytest.mark.parametrize("data", [[1], None, "loss", {1: 1}, {b"a": 1}])
def test_data_that_wandb_refuses(data):
    """What is no mapping of names is a TypeError, as in wandb."""
    wandb.init(project="p")
    with pytest.raises(TypeError):
        wandb.log(data)


@pytest.mark.parametrize("step", [1.5, "1", True, [1]])
def test_steps_that_wandb_refuses(step):
    """A step is an integer."""
    run = wandb.init(project="p")
    with pytest.raises(TypeError):
        wandb.log({"a": 1}, step=step)
    assert run.step == 0


def test_a_value_without_a_form_ends_no_training():
    """wandb raises for such a value; here it is stored as rejected, with a warning, and the others are kept."""
    run = wandb.init(project="p")
    with pytest.warns(mlv.MlvWarning, match="no JSON form"):
        wandb.log({"a": object(), "b": 1})
    run.finish()

    assert rows(run) == [(0, {"b": 1})]
    assert [event.data["type"] for event in opened(run).events("rejected")] == ["metrics"]


# Config and summary.


def test_rows_that_cannot_be_end_no_training():
    """Mappings that hold themselves or cannot be read are rejected, as numbers beyond floats; the next row is stored."""

    class Faulty(UserDict[str, int]):
        def __iter__(self) -> Any:
            raise RuntimeError("of my own")

    circle: dict[str, Any] = {}
    circle["circle"] = circle
    run = wandb.init(project="p")
    run.define_metric("big", summary="mean")
    with pytest.warns(mlv.errors.RejectedWarning):  # both are rejected, and warned about once
        run.log({"bad": circle})
    run.log({"bad": Faulty({"a": 1})})
    run.log({"big": 10**400})
    run.log({"good": 1})
    run.finish()

    assert rows(run)[-1] == (3, {"good": 1})


class Faulty:
    """An object that cannot be looked at."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("of my own")


def circles() -> list[Any]:
    circle: dict[str, Any] = {}
    circle["circle"] = circle
    ring: list[Any] = [1]
    ring.append(ring)
    return [circle, ring, Faulty()]


@pytest.mark.parametrize("number", range(3))
def test_values_that_cannot_be_cost_themselves_only(number):
    """A config, a summary or a row with a value that holds itself, or raises, keeps the others, and warns."""
    bad = circles()[number]
    with pytest.warns(mlv.MlvWarning, match="params.bad"):
        run = wandb.init(project="p", config={"lr": 1, "bad": bad})
    with pytest.warns(mlv.MlvWarning, match="params.worse"):
        run.config.update({"seed": 2, "worse": bad})
    with pytest.warns(mlv.errors.RejectedWarning):
        run.summary.update({"best": 3, "list": [1], "bad": bad})
    run.log({"loss": 4, "row": bad})
    run.log({"loss": 5})
    run.finish()

    exp = opened(run)
    assert (exp.params["lr"], exp.params["seed"], exp.status) == (1, 2, "ok")
    assert {name: exp.summary()[name].value for name in ("best", "loss")} == {"best": 3, "loss": 5}
    assert [event.data for event in exp.events("event", name="wandb/summary")] == [{"list": [1]}]
    assert rows(run) == [(0, {"loss": 4}), (1, {"loss": 5})]
    assert verify(exp.path).verdict == "intact"


def test_a_step_beyond_all_costs_its_row_only():
    """The row of a step that the log rejects is lost; rows without a step go on where they were."""
    run = wandb.init(project="p")
    run.log({"a": 1})
    with pytest.warns(mlv.errors.RejectedWarning):
        run.log({"a": 2}, step=10**400)
    run.log({"a": 3})
    run.finish()

    assert rows(run) == [(0, {"a": 1}), (1, {"a": 3})]


def test_config():
    """Items and attributes; a change is an error unless it is asked for, and is in the log then."""
    run = wandb.init(project="p", config=argparse.Namespace(lr=0.1, name="x"))
    config = run.config
    config.update({"lr": 0.1, "--seed": 3})
    config["deep"] = {"a": 1}
    config.setdefaults({"lr": 9, "late": (1, 2)})

    assert (config.lr, config["name"], config.get("none"), config.get("none", 2)) == (0.1, "x", None, 2)
    assert dict(config) == {"lr": 0.1, "name": "x", "seed": 3, "deep": {"a": 1}, "late": [1, 2]}
    assert "seed" in config
    assert list(config) == config.keys()
    for change in (lambda: setattr(config, "lr", 1), lambda: config.update({"lr": 1}), lambda: config.__setitem__("lr", 1)):
        with pytest.raises(import_module("mlv.compat.wandb.errors").ConfigError, match=r'value of key "lr" from 0\.1 to 1'):
            change()
    with pytest.raises(AttributeError, match="missing"):
        _ = config.missing
    with pytest.raises(KeyError):
        config["missing"]
    with pytest.raises(TypeError):
        config.update(3)
    with pytest.raises(TypeError, match="media"):
        config.update({"h": wandb.Histogram(np_histogram=([1], [0, 1]))})
    with pytest.warns(mlv.MlvWarning, match=r"params\.lr is now 1"):
        config.update({"lr": 1}, allow_val_change=True)
    run.finish()

    assert opened(run).params == {"lr": 0.1, "name": "x", "seed": 3, "deep": {"a": 1}, "late": [1, 2]}
    assert [event.data for event in opened(run).events("params_changed")] == [{"lr": 1}]


def test_config_values_of_any_kind():
    """Functions, classes and objects become texts, sets lists: nothing in a config ends a run."""
    values = {"f": os.path.join, "s": {1}, "c": dict, "p": Path("a"), "n": math.nan, "i": 1 + 2j}
    run = wandb.init(project="p", config=values)
    config = run.config
    run.log({"i": 1 + 2j})
    run.finish()

    assert (rows(run), config.i) == ([(0, {"i": "1+2j"})], "1+2j")
    assert config.f == f"{os.path.__name__}.join"
    assert (config.s, config.c, config.p) == ([1], "builtins.dict", "a")
    assert math.isnan(config.n)


def test_locked_config():
    """Values of a sweep or a framework that are locked stay."""
    config = wandb.init(project="p").config
    config.update_locked({"lr": 1}, user="sweep")
    config.update({"lr": 2})

    assert config.lr == 1


def test_config_files():
    """A file of YAML is a config, and `config-defaults.yaml` is where each begins."""
    pytest.importorskip("yaml")
    Path("config-defaults.yaml").write_text("lr:\n  desc: rate\n  value: 0.5\nseed: 1\n")
    Path("mine.yaml").write_text("seed: 2\n")

    run = wandb.init(project="p", config="mine.yaml")

    assert run.exp.params == {"lr": 0.5, "seed": 2}
    with pytest.raises(import_module("mlv.compat.wandb.errors").ConfigError, match=r"nothing\.yaml"):
        run.config.update("nothing.yaml")


def test_parts_of_a_config():
    """Keys may be chosen or left out, not both."""
    run = wandb.init(project="p", config={"a": 1, "b": 2}, config_exclude_keys=["a"])

    assert run.config.as_dict() == {"b": 2}
    with pytest.raises(wandb.UsageError):
        wandb.init(reinit=True, config={}, config_exclude_keys=["a"], config_include_keys=["b"])


def test_summary():
    """The last value of each metric, unless the script puts another one there; both are read back."""
    run = wandb.init(project="p")
    wandb.log({"loss": 3.0, "acc": 0.5})
    wandb.log({"loss": 2.0})
    run.summary["best"] = 0.9
    run.summary.update({"nested": {"a": 1}, "list": [1, 2]})
    run.summary.nested.a = 2
    run.summary["acc"] = 0.7
    wandb.log({"acc": 0.6})
    assert {key: run.summary[key] for key in ("loss", "acc", "best", "list")} == {
        "loss": 2.0, "acc": 0.6, "best": 0.9, "list": [1, 2],
    }  # fmt: skip
    assert dict(run.summary["nested"].items()) == {"a": 2}
    assert run.summary.get("none") is None
    assert "best" in run.summary
    with pytest.raises(KeyError):
        _ = run.summary["none"]
    del run.summary["list"]
    assert "list" not in run.summary
    run.finish()

    summary = opened(run).summary()
    assert {name: summary[name].value for name in summary} == {"loss": 2.0, "acc": 0.6, "best": 0.9, "nested/a": 2}
    assert [event.data for event in opened(run).events("event", name="wandb/summary")] == [{"list": [1, 2]}]


def test_a_summary_value_without_a_truth_of_its_equality():
    """Values whose comparison has no truth end no run badly, and NaN is stored once."""

    class Frame:
        def __eq__(self, other: object) -> Any:
            raise ValueError("ambiguous")

        __ne__, __hash__ = __eq__, None  # type: ignore[assignment]

    run = wandb.init(project="p")
    run.summary["nan"] = math.nan
    with pytest.warns(mlv.errors.RejectedWarning):
        run.summary["frame"] = Frame()
    run.finish()

    assert opened(run).status == "ok"
    assert len(list(opened(run).events("summary"))) == 1


def test_define_metric():
    """The summary of a metric is what its definition says, and lists of mlv show it."""
    run = wandb.init(project="p")
    run.define_metric("m", summary="max")
    run.define_metric("k", summary="min,mean,first")
    run.define_metric("q", summary="none")
    for value in (1, 5, 3):
        wandb.log({"m": value, "k": value, "q": value})

    assert run.summary["m"]["max"] == 5
    assert "q" not in run.summary
    assert dict(run.summary["k"].items()) == {"min": 1, "mean": 3, "first": 1}
    run.finish()
    summary = opened(run).summary()
    assert [(summary[name].statistic, summary[name].value) for name in "mkq"] == [("max", 5), ("min", 1), ("none", None)]


def test_axes():
    """A metric has another one as its x axis, by its name or the beginning of it; a row that lacks the axis gets it."""
    run = wandb.init(project="p")
    run.define_metric("epoch")
    metric = run.define_metric("val/*", step_metric="epoch")
    run.define_metric("*", step_metric="global")
    wandb.log({"epoch": 2, "global": 7})
    wandb.log({"val/acc": 0.5, "loss": 1.0})
    run.finish()

    assert (metric.name, metric.step_metric, metric.step_sync, metric.summary) == ("val/*", "epoch", True, None)
    assert rows(run)[1] == (1, {"val/acc": 0.5, "loss": 1.0, "epoch": 2, "global": 7})
    described = {event.name: event.data for event in opened(run).events("metadata")}
    assert described == {"val/acc": {"x": "epoch"}, "loss": {"x": "global"}}


NESTED: list[tuple[list[dict[str, Any]], dict[str, Any]]] = [
    ([], {"top": 3, "val": {"acc": 3, "deep": {"x": 3}}, "val/flat": 3}),
    ([{"name": "val.*", "summary": "max"}], {"top": 3, "val": {"acc": {"max": 5}, "deep": {"x": {"max": 5}}}, "val/flat": 3}),
    ([{"name": "val/*", "summary": "max"}], {"top": 3, "val": {"acc": 3, "deep": {"x": 3}}, "val/flat": {"max": 5}}),
    ([{"name": "val.acc", "summary": "max"}], {"top": 3, "val": {"acc": {"max": 5}, "deep": {"x": 3}}, "val/flat": 3}),
    (
        [{"name": "*", "summary": "max"}, {"name": "val.*", "summary": "min"}],
        {"top": {"max": 5}, "val": {"acc": {"max": 5}, "deep": {"x": {"max": 5}}}, "val/flat": {"max": 5}},
    ),
    (
        [{"name": "val.*", "summary": "min"}, {"name": "*", "summary": "max"}],
        {"top": {"max": 5}, "val": {"acc": {"min": 1}, "deep": {"x": {"min": 1}}}, "val/flat": {"max": 5}},
    ),
    ([{"name": "val.*", "summary": "none"}], {"top": 3, "val/flat": 3}),
    (
        [{"name": "top", "summary": "max"}, {"name": "top", "summary": "min"}],
        {"top": {"max": 5, "min": 1}, "val": {"acc": 3, "deep": {"x": 3}}, "val/flat": 3},
    ),
    (
        [{"name": "top", "summary": "max"}, {"name": "top", "summary": "last", "overwrite": True}],
        {"top": {"last": 3}, "val": {"acc": 3, "deep": {"x": 3}}, "val/flat": 3},
    ),
]
"""Definitions, and the summary that wandb 0.31 has after three rows."""


def summary_of(values: Any) -> Any:
    return {key: summary_of(values[key]) for key in values.keys()} if hasattr(values, "keys") else values  # noqa: SIM118


@pytest.mark.parametrize(("definitions", "summary"), NESTED)
def test_definitions_of_nested_metrics(definitions, summary):
    """Nested names join with dots in a definition; of several beginnings the first counts; definitions of a name add up."""
    run = wandb.init(project="p")
    for definition in definitions:
        run.define_metric(**definition)
    for value in (1, 5, 3):
        run.log({"val": {"acc": value, "deep": {"x": value}}, "top": value, "val/flat": value})

    assert summary_of(run.summary) == summary


def test_nested_axes():
    """An axis may be nested; a row that lacks it gets it, and the log describes both by its own names."""
    run = wandb.init(project="p")
    run.define_metric("val.*", step_metric="val.epoch")
    run.log({"val": {"epoch": 3, "loss": 2}})
    run.log({"val": {"acc": 1}})
    run.finish()

    assert rows(run)[1] == (1, {"val/acc": 1, "val/epoch": 3})
    assert {event.name: event.data for event in opened(run).events("metadata")} == {
        "val/loss": {"x": "val/epoch"}, "val/acc": {"x": "val/epoch"},
    }  # fmt: skip
    assert summary_of(run.summary) == {"val": {"epoch": 3, "loss": 2, "acc": 1}}


def test_a_definition_behind_values():
    """A summary that is defined late is that of all values, also of those before a run was resumed."""
    with wandb.init(project="p", id="r1") as run:
        run.log({"a": 7, "b": 1})
        run.define_metric("a", summary="first,min,max")
        run.log({"a": 5})
        assert summary_of(run.summary)["a"] == {"first": 7, "min": 5, "max": 7}
    with wandb.init(project="p", id="r1", resume="must") as run:
        run.define_metric("*", summary="max")
        run.log({"a": 6, "b": 0})
        assert summary_of(run.summary) == {"a": {"max": 7}, "b": {"max": 1}}


@pytest.mark.parametrize(
    "arguments", [{"name": ""}, {"name": "a*b"}, {"name": "a", "summary": "best"}, {"name": "a", "hidden": 3}, {"name": 3}]
)
def test_definitions_that_cannot_be(arguments):
    """What wandb refuses in a definition is refused."""
    run = wandb.init(project="p")
    with pytest.raises(wandb.Error, match="define_metric"):
        run.define_metric(**arguments)


# Files and messages.


def test_save():
    """Saved files are attachments, below the folder that the caller names; changed ones are attached again at the end."""
    Path("out/deep").mkdir(parents=True)
    Path("out/a.txt").write_text("1")
    Path("out/deep/b.txt").write_text("1")
    run = wandb.init(project="p")

    [first] = run.save("out/a.txt")
    assert first == str(run.exp.path / "files/out/a.txt")
    assert run.save("out/deep/*.txt", base_path="out", policy="now") == [str(run.exp.path / "files/deep/b.txt")]
    assert run.save(os.path.abspath("out/a.txt")) == [first]
    assert run.save("nothing*") == []
    assert run.save() is True
    with pytest.raises(ValueError, match="policies"):
        run.save("out/a.txt", policy="sometimes")
    with pytest.raises(ValueError, match="is not below"):
        run.save("out/a.txt", base_path="out/deep")
    Path("out/a.txt").write_text("22")
    os.utime("out/a.txt", (1, 1))
    Path("out/deep/b.txt").write_text("22")
    run.finish()

    files = run.exp.path / "files"
    assert ((files / "out/a.txt").read_text(), (files / "deep/b.txt").read_text()) == ("22", "1")
    assert verify(run.exp.path).verdict == "intact"


def test_dir():
    """What a script writes into the folder of the run is attached when the run ends, and stays where it was."""
    run = wandb.init(project="p")
    Path(run.dir, "sub").mkdir()
    Path(run.dir, "sub", "model.pt").write_text("weights")
    Path(run.dir, "kept.txt").write_text("1")
    assert run.save(os.path.join(run.dir, "kept.txt")) == [str(run.exp.path / "files/kept.txt")]
    run.finish()

    assert (run.exp.path / "files/sub/model.pt").read_text() == Path(run.dir, "sub", "model.pt").read_text() == "weights"
    assert sorted(event.name for event in opened(run).events("file")) == ["kept.txt", "sub/model.pt"]
    assert verify(run.exp.path).verdict == "intact"


def test_restore():
    """A file of the run can be opened again."""
    run = wandb.init(project="p")
    Path("a.txt").write_text("text")
    run.save("a.txt")

    with wandb.restore("a.txt", root="back") as file:
        assert file.read() == "text"
    assert Path("back/a.txt").read_text() == "text"
    with pytest.raises(ValueError, match=r"none\.txt not found"):
        run.restore("none.txt")
    with wandb.init(project="q", reinit="create_new") as other:
        with other.restore("a.txt", run_path=f"lab/p/{run.id}") as file:
            assert (file.name, file.read()) == (os.path.join(other.dir, "a.txt"), "text")
        with pytest.raises(ValueError, match="no run 'none'"):
            other.restore("a.txt", run_path="p/none")
    run.finish()
    with wandb.restore("a.txt", run_path=run.path, root="once") as file:
        assert file.read() == "text"
    with pytest.raises(ValueError, match=r"none\.txt not found in p/"):
        wandb.restore("none.txt", run_path=run.path)


def test_log_code():
    """Source files are attached, those of experiments left out."""
    Path("src").mkdir()
    Path("src/a.py").write_text("1")
    Path("src/b.txt").write_text("1")
    run = wandb.init(project="p")
    run.log_code()
    run.log_code("src", include_fn=lambda path: path.endswith(".txt"), exclude_fn=lambda path, root: path.endswith("a.py"))
    run.finish()

    assert sorted(event.name for event in opened(run).events("file")) == ["code/b.txt", "code/src/a.py"]


def test_alert():
    """An alert is a message of its level, and the same title waits."""
    run = wandb.init(project="p")
    run.alert("low", "the accuracy is low", level=wandb.AlertLevel.WARN)
    run.alert("low", "again")
    run.alert("bad", level="ERROR", wait_duration=0)
    with pytest.raises(ValueError, match="level"):
        run.alert("a", "b", level="LOUD")
    with pytest.raises(TypeError, match="wait_duration"):
        run.alert("a", "b", wait_duration="long")
    run.finish()

    messages = [(event.data["level"], event.data["message"]) for event in opened(run).events("message")]
    assert messages == [("warning", "low: the accuracy is low"), ("error", "bad")]


def test_changes_of_a_run():
    """Name, tags and notes that a script sets afterwards are in the log."""
    run = wandb.init(project="p", tags=["a"])
    run.name, run.notes = "better", "text"
    run.tags += ("b", " ", "")
    run.mark_preempting()
    run.write_logs("line\n")
    run.finish()

    exp = opened(run)
    assert (exp.tags, exp.notes) == (("a", "b"), ("text",))
    assert [event.data for event in exp.events("event", name="wandb/run")][-1] == {"name": "better"}
    assert [event.data["message"] for event in exp.events("message")] == ["the run is being preempted", "line"]


def test_terminal(capsys, monkeypatch):
    """Lines for people go to stderr, once where that is asked for, and not at all where silence is."""
    wandb.termlog("one")
    wandb.termwarn("two\nthree", repeat=False)
    wandb.termwarn("two\nthree", repeat=False)
    wandb.termerror("four", prefix=False)
    monkeypatch.setenv("WANDB_SILENT", "true")
    wandb.termlog("five")
    run = wandb.init(project="p")
    run.finish()

    assert capsys.readouterr() == ("", "wandb: one\nwandb: WARNING two\nwandb: WARNING three\nfour\n")


def test_login_and_setup():
    """There is nobody to log in with: a key is not kept; settings of the session hold for all its runs."""
    assert wandb.login(key="a" * 40) is True
    wandb.setup(wandb.Settings(project="session"))
    wandb.require("core")
    assert "a" * 40 not in repr(wandb.Settings(api_key="a" * 40))

    assert wandb.init().project == "session"
    wandb.teardown()
    assert wandb.init(mode="disabled").project == "dummy"


# Limits.


@pytest.mark.parametrize("name", ["InternalApi", "Graph", "controller", "link_artifact", "link_model", "EvalTable"])
def test_limits_name_the_attribute(name):
    """What is missing says so by its name, with a way to the same end, and `hasattr` is false."""
    assert not hasattr(wandb, name)
    with pytest.raises(wandb.UsageError, match=rf"wandb\.{name} is not in mlv\.compat\.wandb: .+"):
        getattr(wandb, name)


def test_limits_of_runs_and_arguments():
    """Calls and arguments that are missing name themselves, too."""
    run = wandb.init(project="p")

    with pytest.raises(AttributeError, match=r"Run\.link_artifact is not in"):
        run.link_artifact("x:latest")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = run.nothing
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = wandb.nothing
    run.finish()
    for arguments in ({"mode": "shared"}, {"fork_from": "a?_step=1"}):
        with pytest.raises(wandb.UsageError, match=next(iter(arguments))):
            wandb.init(**arguments)


def test_every_argument_of_wandb():
    """`init`, the calls of a run and media take the arguments that wandb 0.31 has, in its order."""
    init = [*inspect.signature(wandb.init).parameters]
    assert " ".join(init) == (
        "entity project dir id name notes tags config config_exclude_keys config_include_keys allow_val_change group job_type "
        "mode force reinit resume resume_from fork_from save_code tensorboard sync_tensorboard monitor_gym settings anonymous"
    )
    define_metric = [*inspect.signature(wandb.Run.define_metric).parameters]
    assert " ".join(define_metric) == "self name step_metric step_sync hidden summary overwrite"
    assert " ".join(inspect.signature(wandb.Run.watch).parameters) == "self models criterion log log_freq idx log_graph"


# Under its own name.


@pytest.fixture
def _installed() -> Iterator[None]:
    """Have `import wandb` give the drop-in, and nothing of it afterwards; the real one stays out of the way."""
    with installed():
        yield


@pytest.mark.usefixtures("_installed")
def test_install():
    """`import wandb` gives this module, submodules are the same objects, and no distribution is pretended."""
    distributions = packages_distributions()

    assert import_module("wandb") is wandb
    assert find_spec("wandb") is not None
    assert import_module("wandb.errors").UsageError is wandb.UsageError
    assert import_module("wandb.sdk.lib.config_util").ConfigError is import_module("mlv.compat.wandb.errors").ConfigError
    assert import_module("wandb.wandb_run").Run is wandb.Run is import_module("wandb.sdk.wandb_run").Run
    assert wandb.sdk.lib.runid.generate_id()
    assert wandb.util.generate_id(4)
    assert wandb.data_types.Image is wandb.Image
    assert import_module("mlv.compat.wandb.errors").__spec__.name == "mlv.compat.wandb.errors"
    assert packages_distributions() == distributions
    with pytest.raises(ModuleNotFoundError, match=r"wandb\.proto is not in mlv\.compat\.wandb"):
        import_module("wandb.proto")
    wandb.install()


def test_install_refuses_to_come_late(monkeypatch):
    """Where the real wandb is imported already, half of a process would use it: that is refused."""
    monkeypatch.setitem(sys.modules, "wandb", type(sys)("wandb"))

    with pytest.raises(wandb.UsageError, match="imported already"):
        wandb.install()


def test_nothing_is_written_elsewhere(tmp_path):
    """A run leaves its experiment, and nothing beside it."""
    with wandb.init(project="p", name="n", resume="auto") as run:
        run.log({"a": 1})

    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]
    assert sorted(path.name for path in (tmp_path / "runs/p").iterdir()) == [".wandb-resume.json", "n"]
    assert json.loads((tmp_path / "runs/p/.wandb-resume.json").read_text()) == {"run_id": run.id}
