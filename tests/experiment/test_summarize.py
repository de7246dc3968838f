"""What stands for a metric: a statistic that a description chooses, or a value of `summarize`. Every reader follows."""

from __future__ import annotations

import json
import math

import pytest
from conftest import run_command
from logs import of_type, read

import mlv
from mlv import RejectedWarning
from mlv.cli.ends import row_from_ends

pytestmark = pytest.mark.usefixtures("inline")


def cli(*arguments: object) -> str:
    done = run_command(*arguments)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


@pytest.fixture
def described(tmp_path):
    """An experiment whose best accuracy stands for it, and whose total time is a summary."""
    with mlv.Exp(tmp_path / "runs", "exp", {"seed": 1}, capture=(), system=False) as exp:
        exp.log.describe("acc", summary="max")
        exp.log.describe("grad", summary="none")
        for step, acc in enumerate([0.5, 0.9, 0.7]):
            exp.log({"acc": acc, "grad": 1.0}, step=step)
        exp.summarize({"train": {"time_s": 12.5}, "device": "cpu"})
    return exp


STANDING = {"acc": 0.9, "train/time_s": 12.5, "device": "cpu"}


def test_on_the_command_line(described):
    """`ls`, `show` and `summary` show what stands for each metric; one with `none` has no value, and keeps its numbers."""
    root = described.path.parent

    assert json.loads(cli("ls", "--json", root))["metrics"] == STANDING
    assert "acc=0.9 " in cli("ls", root)
    assert cli("ls", root) == cli("ls", root)
    page = json.loads(cli("show", "--json", described.path))["metrics"]
    assert {name: metric["value"] for name, metric in page.items()} == STANDING
    assert {name: metric["step"] for name, metric in page.items()} == {"acc": 1, "train/time_s": None, "device": None}
    numbers = json.loads(cli("summary", "--json", described.path))
    assert (numbers["acc"]["value"], numbers["acc"]["last"], numbers["grad"]["value"]) == (0.9, 0.7, None)
    assert numbers["grad"]["count"] == 3
    assert cli("summary", described.path).splitlines()[0].split()[:3] == ["metric", "value", "last"]


def test_in_tables(described):
    """`frame`, `where`, SQL, `compare`, `aggregate` and `as_of` take it too."""
    pytest.importorskip("pandas")
    pytest.importorskip("duckdb")
    root = described.path.parent
    with mlv.Exp(root, "plain", {"seed": 2}, capture=(), system=False) as plain:
        plain.log({"acc": 0.8, "grad": 1.0}, step=0)
    found = mlv.find(root)
    frame = found.frame().set_index("name")

    assert frame["metrics.acc"].to_dict() == {"exp": 0.9, "plain": 0.8}
    assert math.isnan(frame["metrics.grad"]["exp"])
    assert frame["metrics.device"]["exp"] == "cpu"
    assert len(mlv.find(root, where='metrics.acc.value > 0.85 and metrics."train/time_s".value < 13')) == 1
    assert len(mlv.find(root, where="metrics.device.value = 'cpu'")) == 1
    rows = found.sql("select name, metrics.acc.value, metrics.acc.last from experiments order by name").rows()
    assert rows == [["exp", 0.9, 0.7], ["plain", 0.8, 0.8]] or rows == [("exp", 0.9, 0.7), ("plain", 0.8, 0.8)]
    assert found.compare("exp", "plain")["metrics"]["acc"] == (0.9, 0.8)
    table = found.aggregate(x=None, stats=["mean", "max"], ci=None).set_index("metric")
    assert table["mean"]["acc"] == pytest.approx(0.85)
    assert (table["max"]["train/time_s"], table["count"]["train/time_s"], table["count"]["grad"]) == (12.5, 1, 1)
    pairs = found.paired({"seed": 1}, {"seed": 1}, metrics="acc")
    assert pairs["mean"].tolist() == [0.0]
    early = described.as_of(step=0).summary()
    assert (early["acc"].value, sorted(early)) == (0.5, ["acc", "grad"])


def test_the_ends_of_a_log_do_not_decide(tmp_path):
    """A description or a summary in the middle of a long log is seen by `ls`, which reads no more than the ends of others."""
    with mlv.Exp(tmp_path, "exp", capture=(), system=False) as exp:
        for step in range(400):
            exp.log({"loss": abs(step - 200) + 0.5}, step=step)
            if step == 200:
                exp.log.describe("loss", summary="min")
                exp.summarize({"halfway": True})

    assert row_from_ends(exp.path) is None
    assert json.loads(cli("ls", "--json", tmp_path))["metrics"] == {"loss": 0.5, "halfway": True}


def test_the_last_one_counts(tmp_path):
    """Of several values for one name the last counts, across runs and names, and against a metric of the same name."""
    with mlv.Exp(tmp_path, "exp", capture=(), system=False) as exp:
        exp.log({"train/loss": 0.5}, step=0)
        exp.log.sub("train").summarize({"loss": 7, "time_s": math.nan})
    with mlv.Exp.open(exp.path, capture=(), system=False) as again:
        again.log({"train/loss": 0.25}, step=1)
        again.summarize({"train/loss": 8})

    loss, time = (exp.summary()[name] for name in ("train/loss", "train/time_s"))
    assert (loss.value, loss.statistic, loss.last) == (8, "summary", 0.25)
    assert math.isnan(time.value)
    assert "intact" in cli("verify", exp.path)


@pytest.mark.parametrize("status", ["ok", "failed"])
def test_on_an_experiment_at_rest(tmp_path, status):
    """After `close()`, and opened to be read, a summary begins no run and changes no status; it is on the disk at once."""
    exp = mlv.Exp(tmp_path, "exp", capture=(), system=False)
    exp.log({"acc": 0.5})
    exp.close(status)
    lines = read(exp.path)

    exp.summarize({"acc": 0.75})
    mlv.Exp.open(exp.path).summarize({"time_s": 3})

    assert (exp.status, len(exp.runs), read(exp.path)) == (status, 1, lines)
    assert [each["data"] for each in of_type(read(exp.path, "annotations"), "summary")] == [{"acc": 0.75}, {"time_s": 3}]
    assert {name: each.value for name, each in exp.summary().items()} == {"acc": 0.75, "time_s": 3}
    assert "intact" in cli("verify", exp.path)


def test_bad_values(tmp_path):
    """A value that is no number, text or truth value costs itself only, at rest as well."""
    exp = mlv.Exp(tmp_path, "exp", capture=(), system=False)
    exp.log({"acc": 0.5})
    with pytest.warns(RejectedWarning, match="list is no number"):
        exp.summarize({"list": [1, math.nan], "n": 1, "inf": math.inf, "big": 2**70})
    exp.close()
    with pytest.warns(RejectedWarning, match="none is no number"):
        exp.summarize({"none": None})
    with pytest.warns(RejectedWarning, match="a mapping of names"):
        exp.summarize(3)

    values = {name: each.value for name, each in exp.summary().items()}
    assert values == {"acc": 0.5, "n": 1, "inf": math.inf, "big": 2**70}
    [rejected] = of_type(read(exp.path, "summary"), "rejected")
    assert (rejected["data"]["rest"], rejected["nonfinite"]) == ({"list": [1, None]}, {"/rest/list/1": "nan"})
    assert len(of_type(read(exp.path, "annotations"), "rejected")) == 2
    assert "intact" in cli("verify", exp.path)


@pytest.mark.parametrize("wrong", [{"summary": "median"}, {"summary": 1}, {"x": ""}, {"x": 3}])
def test_bad_descriptions(tmp_path, wrong):
    """A statistic or an x axis that is none is rejected, with the reason."""
    with mlv.Exp(tmp_path, "exp", capture=(), system=False) as exp, pytest.warns(RejectedWarning, match=next(iter(wrong))):
        exp.log.describe("loss", **wrong)

    [rejected] = of_type(read(exp.path), "rejected")
    assert rejected["data"]["rest"] == {"name": "loss", **wrong}


def test_credentials(tmp_path):
    """A summary is redacted like any event, under whatever name, in a run and beside it."""
    secret = "ghp_" + "a1B2" * 9
    with mlv.Exp(tmp_path, "exp", capture=(), system=False) as exp:
        exp.log({"acc": 0.5})
        exp.summarize({"status": secret})
    exp.summarize({"of": secret, "password": "hunter2"})

    content = b"".join(path.read_bytes() for path in exp.path.glob("*.jsonl"))
    assert (secret.encode() in content, b"hunter2" in content) == (False, False)
    assert exp.summary()["status"].value == "<redacted>"


def test_of_ranks_only_the_main_one(tmp_path, monkeypatch):
    """A rank above 0 records nothing, also where all ranks log."""
    exp = mlv.Exp(tmp_path, "exp", capture=(), system=False)
    exp.log({"acc": 0.5})
    exp.close()
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for ranks in ("all", "main"):
        with mlv.Exp.open(exp.path, ranks=ranks, capture=(), system=False) as other:
            other.summarize({"time_s": 1})

    assert list(exp.summary()) == ["acc"]


def test_where_nothing_is_stored(tmp_path, monkeypatch):
    """Under `MLV_DISABLED` a summary is accepted, before a run and in it."""
    monkeypatch.setenv("MLV_DISABLED", "1")
    with mlv.Exp(tmp_path, "exp", capture=(), system=False) as exp:
        exp.summarize({"early": 1})
        exp.log({"acc": 0.5})
        exp.summarize({"late": 2})
        exp.log.describe("acc", summary="max")

    assert not list(tmp_path.iterdir())


def test_in_a_file_of_its_own(tmp_path):
    """A log without an experiment has it in its only file."""
    with mlv.log_to(tmp_path / "train.log.jsonl") as log:
        log.describe("acc", summary="max")
        log({"acc": 0.9})
        log({"acc": 0.7})
        log.summarize({"time_s": 3})

    numbers = json.loads(cli("summary", "--json", tmp_path / "train.log.jsonl"))
    assert {name: each["value"] for name, each in numbers.items()} == {"acc": 0.9, "time_s": 3}
    assert [path.name for path in tmp_path.glob("*.jsonl")] == ["train.log.jsonl"]
