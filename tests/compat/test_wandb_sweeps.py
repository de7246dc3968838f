"""`wandb.sweep` and `wandb.agent`: local sweeps, whose points and claims are plain files beside the experiments."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from random import Random
from textwrap import dedent
from typing import Any

import pytest
from wandb_folder import own_folder

import mlv
import mlv.compat.wandb as wandb
from mlv.audit.verify import verify
from mlv.compat.wandb.__main__ import main
from mlv.compat.wandb.sweeps.command import command_of
from mlv.compat.wandb.sweeps.folder import SweepFolder
from mlv.compat.wandb.sweeps.hyperband import bands_of
from mlv.compat.wandb.sweeps.parameters import config_at, grid, parameters_of
from mlv.compat.wandb.sweeps.search import Search

GRID = {"method": "grid", "parameters": {"lr": {"values": [1, 2]}, "deep": {"parameters": {"b": {"values": ["x", "y"]}}}}}
CONFIGS = [{"lr": lr, "deep": {"b": b}} for lr in (1, 2) for b in ("x", "y")]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with own_folder(tmp_path, monkeypatch):
        yield
        Path("wait").unlink(missing_ok=True)  # what programs of a test that failed wait for


def points(sweep_id: str) -> list[dict[str, Any]]:
    """The ends of a sweep's points, by number."""
    folder = Path("runs/p/.wandb-sweeps", sweep_id, "points")
    ends = sorted(folder.glob("*.end.json"), key=lambda path: int(path.name.partition(".")[0]))
    return [json.loads(path.read_text()) for path in ends]


def configs(sweep_id: str) -> list[dict[str, Any]]:
    return [run.config for run in wandb.Api().sweep(f"p/{sweep_id}").runs if run.state == "finished"]


def until(is_so: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, "waited for a minute"
        time.sleep(0.02)


# Parameters.


@pytest.mark.parametrize(
    ("parameter", "is_right"),
    [
        ({"value": "x"}, lambda value: value == "x"),
        ({"values": [1, "a", None]}, lambda value: value in (1, "a", None)),
        ({"values": [1, 2], "probabilities": [0, 1]}, lambda value: value == 2),
        ({"min": 1, "max": 3}, lambda value: value in (1, 2, 3) and isinstance(value, int)),
        ({"min": 1.0, "max": 3}, lambda value: 1 <= value <= 3),
        ({"distribution": "uniform", "min": -1, "max": 1}, lambda value: -1 <= value <= 1),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25}, lambda value: value in (0, 0.25, 0.5, 0.75, 1)),
        ({"distribution": "q_uniform", "min": 0, "max": 9}, lambda value: isinstance(value, int) and 0 <= value <= 9),
        ({"distribution": "log_uniform", "min": -2, "max": 1}, lambda value: math.exp(-2) <= value <= math.exp(1)),
        ({"distribution": "inv_log_uniform", "min": -2, "max": 1}, lambda value: math.exp(-1) <= value <= math.exp(2)),
        ({"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1}, lambda value: 0.99e-4 <= value <= 0.101),
        ({"distribution": "inv_log_uniform_values", "min": 1e-4, "max": 1e-1}, lambda value: 0.99e-4 <= value <= 0.101),
        (
            {"distribution": "q_log_uniform_values", "min": 8, "max": 64, "q": 8},
            lambda value: value % 8 == 0 and 8 <= value <= 64,
        ),
        ({"distribution": "normal", "mu": 5, "sigma": 0.1}, lambda value: 4 < value < 6),
        ({"mu": 5, "sigma": 0.1}, lambda value: 4 < value < 6),
        ({"distribution": "q_normal", "mu": 5, "sigma": 1, "q": 2}, lambda value: value % 2 == 0),
        ({"distribution": "log_normal", "mu": 0, "sigma": 0.1}, lambda value: 0.5 < value < 2),
        ({"distribution": "beta", "a": 2, "b": 5}, lambda value: 0 <= value <= 1),
    ],
)
def test_parameters(parameter, is_right):
    """Each kind of parameter gives the values that wandb's schema promises; two halves of a range come equally often."""
    chosen, random = parameters_of({"a": parameter}), Random(1)
    positions = [{"a": chosen[0].draw(random)} for _ in range(200)]
    values = [config_at(chosen, position)["a"] for position in positions]

    assert all(is_right(value) for value in values)
    json.dumps(values)


def test_logarithms_are_even():
    """Of a logarithmic range each decade comes equally often."""
    chosen, random = parameters_of({"a": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1}}), Random(1)
    values = [config_at(chosen, {"a": chosen[0].draw(random)})["a"] for _ in range(2000)]

    assert all(400 < count < 600 for count in Counter(math.floor(math.log10(value)) for value in values).values())


def test_grids():
    """A grid has each config once, nested as the parameters are; the last one varies fastest."""
    assert list(grid(parameters_of(GRID["parameters"]))) == CONFIGS
    assert list(grid(parameters_of({"a": {"min": 1, "max": 3}, "b": {"value": 0}}))) == [{"a": a, "b": 0} for a in (1, 2, 3)]
    assert list(grid(parameters_of({"a": {"values": [1, 1, 2]}}))) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"method": "hill"}, "method='hill'"),
        ({"parameters": {}}, "parameters is {}"),
        ({"parameters": {"a": 3}}, "parameters.a is 3"),
        ({"parameters": {"a": {"values": []}}}, "parameters.a has values="),
        ({"parameters": {"a": {"parameters": {"b": {}}}}}, r"parameters\.a\.b is \{\}"),
        ({"parameters": {"a": {"min": 1}}}, "parameters.a is"),
        ({"parameters": {"a": {"min": 2, "max": 1}}}, "min=2 above max=1"),
        ({"parameters": {"a": {"min": "x", "max": 1}}}, "min='x'"),
        ({"parameters": {"a": {"distribution": "cauchy"}}}, "distribution='cauchy'"),
        ({"parameters": {"a": {"distribution": "log_uniform_values", "min": 0, "max": 1}}}, "above 0"),
        ({"parameters": {"a": {"values": [1], "probabilities": [1, 2]}}}, "probabilities="),
        ({"parameters": {"a": {"min": 0.0, "max": 1.0}}, "method": "grid"}, "no grid can be made of"),
        ({"method": "bayes"}, "needs metric"),
        ({"metric": {"name": "loss", "goal": "best"}}, "metric.goal='best'"),
        ({"run_cap": 0}, "run_cap=0"),
        ({"early_terminate": {"type": "median"}}, "early_terminate="),
        ({"early_terminate": {"type": "hyperband"}}, "min_iter"),
        ({"surprise": 1}, "'surprise'"),
        ({"parameters": {"a": {"min": 0, "max": 10**12}}, "method": "grid"}, "no grid can be made of"),
        ({"parameters": {"a": {"min": 0, "max": 10**400}}}, "max=1000"),
        ({"parameters": {"a": {"distribution": "log_uniform", "min": 0, "max": 1e300}}}, "beyond what a number can be"),
        ({"parameters": {"a": {"values": [object()]}}}, "no form in JSON"),
        ({"early_terminate": {"type": "hyperband", "max_iter": math.inf}}, "max_iter=inf"),
        ({"early_terminate": {"type": "hyperband", "min_iter": math.nan}}, "min_iter=nan"),
        ({"command": 5}, "command=5"),
        ({"program": ["t.py"]}, "program="),
        ({"parameters": {"net": {"parameters": {"api_key": {"values": ["s3cretKey9x"]}}}}}, r"parameters\.net\.api_key"),
        ({"command": ["t.py", "--password", "s3cretKey9x"]}, r"command\[2\]"),
    ],
)
def test_configs_that_cannot_be(changes, text):
    """What a sweep cannot serve is refused when it begins, with its name and value, and no folder is made."""
    with pytest.raises(wandb.UsageError, match=text):
        wandb.sweep({"method": "random", "parameters": {"a": {"value": 1}}, **changes}, project="p")
    assert not Path("runs").exists()


def test_variables_in_place_of_credentials():
    """A command may name variables of the environment for what must not lie in a file."""
    words = ["python", "${program}", "--api-key=${envvar:KEY}", "--password", "${envvar:KEY}"]
    wandb.sweep({"method": "random", "parameters": {"a": {"value": 1}}, "program": "t.py", "command": words}, project="p")


@pytest.mark.usefixtures("inline")
def test_a_grid_that_nobody_can_count_up():
    """Billions of configs cost neither time nor memory before they are tried."""
    parameters = {name: {"values": [*range(10), 0]} for name in "abcdefghijkl"}
    sweep_id = wandb.sweep({"method": "grid", "parameters": parameters}, project="p")

    assert wandb.Api().sweep(f"p/{sweep_id}").expected_run_count == 10**12


# Agents with functions.


@pytest.mark.usefixtures("inline")
def test_a_grid():
    """Each point is tried once: its run finds the config, which the script's own values do not change, and the sweep."""
    sweep_id = wandb.sweep({**GRID, "metric": {"name": "loss", "goal": "minimize"}}, project="p", entity="lab")
    ids = []

    def train() -> None:
        run = wandb.init(project="another", config={"lr": 9, "own": 1})
        ids.append((run.sweep_id, run.config.own, run.sweep_url))
        run.log({"loss": run.config.lr})
        run.log({"loss": run.config.lr + 1})

    assert wandb.Api().sweep(f"lab/p/{sweep_id}").state == "PENDING"
    wandb.agent(f"lab/p/{sweep_id}", function=train)

    sweep = wandb.Api().sweep(f"p/{sweep_id}")
    assert [{key: config[key] for key in ("lr", "deep")} for config in configs(sweep_id)] == CONFIGS
    assert ids == [(sweep_id, 1, sweep.url)] * 4
    assert [(point["state"], point["value"]) for point in points(sweep_id)] == [("finished", 1)] * 2 + [("finished", 2)] * 2
    assert (sweep.state, sweep.expected_run_count, sweep.entity, len(sweep.runs)) == ("FINISHED", 4, "lab", 4)
    assert sweep.best_run().config["lr"] == 1
    assert sweep.runs[0].sweep.id == sweep_id
    assert not [name for name in os.environ if name.startswith("WANDB_SWEEP")]
    assert wandb.run is None
    wandb.agent(sweep_id, function=train, project="p")
    assert len(ids) == 4


@pytest.mark.usefixtures("inline")
def test_random_points():
    """`count` is what an agent tries, `run_cap` what all of them do; the points follow from sweep and number."""
    sweep_id = wandb.sweep({"method": "random", "parameters": {"a": {"min": 0.0, "max": 1.0}}, "run_cap": 5}, project="p")
    for _ in range(2):
        wandb.agent(sweep_id, function=lambda: wandb.init().finish(), count=3)

    values = [config["a"] for config in configs(sweep_id)]
    assert len({*values}) == 5
    assert values == [Random(f"{sweep_id}/{number}").random() for number in range(5)]


@pytest.mark.usefixtures("inline")
def test_failures(capsys, monkeypatch):
    """A failing run is reported and the next one begins; three in the first minute end the agent, and are not tried again."""
    sweep_id = wandb.sweep({"method": "grid", "parameters": {"a": {"values": [*range(5)]}}}, project="p")
    tried = []

    def train() -> None:
        tried.append(wandb.init().config.a)
        raise ValueError("of the script")

    wandb.agent(sweep_id, function=train)
    assert tried == [0, 1, 2]
    assert "ValueError: of the script" in capsys.readouterr().err
    monkeypatch.setenv("WANDB_AGENT_DISABLE_FLAPPING", "true")
    wandb.agent(sweep_id, function=train, max_consecutive_failed_runs=1)
    wandb.agent(sweep_id, function=train)

    assert tried == [0, 1, 2, 3, 4]
    assert [run.state for run in wandb.Api().sweep(f"p/{sweep_id}").runs] == ["failed"] * 5


@pytest.mark.usefixtures("inline")
def test_scripts_that_exit():
    """A function that exits is over, and how says its code; the next point is tried."""
    sweep_id = wandb.sweep({"method": "grid", "parameters": {"a": {"values": [0, 1]}}}, project="p")
    wandb.agent(sweep_id, function=lambda: sys.exit(wandb.init().config.a))

    assert [point["state"] for point in points(sweep_id)] == ["finished", "failed"]
    assert [run.state for run in wandb.Api().sweep(f"p/{sweep_id}").runs] == ["finished", "failed"]


@pytest.mark.usefixtures("inline")
def test_an_interrupted_point_is_tried_again():
    """Ctrl-C ends the agent; the next one tries that point again."""
    sweep_id = wandb.sweep({"method": "grid", "parameters": {"a": {"values": [1, 2]}}}, project="p")

    def interrupted() -> None:
        wandb.init()
        raise KeyboardInterrupt

    wandb.agent(sweep_id, function=interrupted)
    assert wandb.Api().sweep(f"p/{sweep_id}").state == "PENDING"
    wandb.agent(sweep_id, function=lambda: wandb.init().finish())
    assert configs(sweep_id) == [{"a": 1}, {"a": 2}]


@pytest.mark.usefixtures("inline")
def test_hyperband():
    """A run that is worse than the best share at a band ends there, which is no failure; the log says why."""
    config = {
        "method": "grid", "parameters": {"a": {"values": [1, 2, 3, 0]}}, "metric": {"name": "val.loss"},
        "early_terminate": {"type": "hyperband", "min_iter": 2, "eta": 2},
    }  # fmt: skip
    sweep_id = wandb.sweep(config, project="p")
    finished = []

    def train() -> None:
        run = wandb.init()
        for step in range(6):
            run.log({"val": {"loss": run.config.a + 1 / (step + 1)}})
        finished.append(run.config.a)

    wandb.agent(sweep_id, function=train)

    assert finished == [1, 2, 0]  # of 3, two others were better, of which one may be
    assert [point["state"] for point in points(sweep_id)] == ["finished", "finished", "stopped", "finished"]
    stopped = wandb.Api().runs("p", {"config.a": 3})[0]
    assert (stopped.state, stopped.lastHistoryStep) == ("killed", 1)
    [facts] = [event.data for event in stopped.exp.events("event", name="wandb/run") if "stopped" in event.data]
    assert facts["stopped"].startswith("hyperband: at 2 values, 2 of 2 other runs are better than 3.5")


@pytest.mark.usefixtures("inline")
def test_bayes():
    """Optuna proposes points that get better; those of dead and failed runs do not disturb it."""
    pytest.importorskip("optuna", reason="optuna is not installed")
    config = {
        "method": "bayes", "metric": {"name": "loss", "goal": "minimize"}, "run_cap": 25,
        "parameters": {
            "x": {"min": -5.0, "max": 5.0}, "kind": {"values": ["bad", "good"]}, "fixed": {"value": 7},
            "n": {"parameters": {"i": {"min": 1, "max": 4}}},
        },
    }  # fmt: skip
    sweep_id = wandb.sweep(config, project="p")

    def train() -> None:
        run = wandb.init()
        run.log({"loss": (run.config.x - 2) ** 2 + (run.config.kind == "bad") * 5 + run.config.n["i"]})
        if run.config.n["i"] == 3:
            run.log({"loss": math.nan})

    wandb.agent(sweep_id, function=train)
    losses = [end["value"] for end in points(sweep_id)]
    assert len(losses) == 25
    assert min(losses[10:]) < min(losses[:5])
    assert {config["fixed"] for config in configs(sweep_id)} == {7}


@pytest.mark.skipif(find_spec("optuna") is not None, reason="optuna is installed")
def test_bayes_without_optuna():
    """Without Optuna, the agent says what to install; whoever looks at the sweep does without."""
    config = {"method": "bayes", "run_cap": 2, "metric": {"name": "loss"}, "parameters": {"x": {"min": 0.0, "max": 1.0}}}
    sweep_id = wandb.sweep(config, project="p")

    with pytest.raises(mlv.errors.MissingExtra, match="pip install optuna, or use method='random'"):
        wandb.agent(sweep_id, function=lambda: None)
    assert wandb.Api().sweep(f"p/{sweep_id}").state == "PENDING"


def test_what_is_not_there():
    """A sweep that is not there, and one without program and function, are errors that say so."""
    sweep_id = wandb.sweep({"method": "random", "parameters": {"a": {"value": 1}}}, project="p")
    for unknown in ("none", "p/none", "../.."):
        with pytest.raises(wandb.CommError, match="sweep"):
            wandb.agent(unknown, function=lambda: None)
    with pytest.raises(wandb.UsageError, match="names no program"):
        wandb.agent(sweep_id)
    with pytest.raises(wandb.UsageError, match="prior_runs"):
        wandb.sweep({"method": "random", "parameters": {"a": {"value": 1}}}, prior_runs=["r1"])


@pytest.mark.usefixtures("inline")
def test_a_point_that_ends_while_another_agent_looks():
    """An agent that read a point before it ended, and asks for its lock afterwards, does not try it again."""
    sweep_id = wandb.sweep({"method": "grid", "parameters": {"a": {"values": [0, 1]}}}, project="p")
    folder = SweepFolder(Path("runs/p/.wandb-sweeps", sweep_id))
    search = Search(folder)
    first = folder.claim(search.propose)
    points = folder.points()
    first.release("finished", None)
    folder.points = lambda: points
    second = folder.claim(search.propose)

    assert (first.point.config, second.point.config) == ({"a": 0}, {"a": 1})
    assert [point.tries for point in SweepFolder(folder.path).points()] == [1, 1]
    second.release("finished", None)
    assert sorted(path.name for path in (folder.path / "points").iterdir()) == [
        "0.end.json", "0.json", "0.lock", "1.end.json", "1.json",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "bands"),
    [
        ({"min_iter": 3, "eta": 3}, [3, 9, 27]),
        ({"min_iter": 2}, [2, 6, 18]),
        ({"max_iter": 27, "s": 2, "eta": 3}, [3, 9]),
        ({"max_iter": 4, "s": 5, "eta": 2}, [1, 2]),
        ({"min_iter": 1, "eta": 1e5}, [1, 10**5, 10**10]),
        ({"max_iter": 4, "s": 10**12, "eta": 2.5}, [1]),
    ],
)
def test_bands(setting, bands):
    """Bands are powers of `eta` above `min_iter`, or so many below `max_iter`."""
    assert bands_of({"type": "hyperband", **setting})[0][:3] == bands


@pytest.mark.usefixtures("inline")
def test_a_mark_of_a_try_before():
    """A point whose first try was ended early, and whose agent died then, has the end of its second try."""
    sweep_id = wandb.sweep({"method": "grid", "parameters": {"a": {"value": 0}}}, project="p")
    folder = SweepFolder(Path("runs/p/.wandb-sweeps", sweep_id))
    claim = folder.claim(Search(folder).propose)
    claim.path.with_suffix(".stopped").write_text("hyperband")
    claim.lock.drop()

    wandb.agent(sweep_id, function=lambda: wandb.init().finish())

    assert [end["state"] for end in points(sweep_id)] == ["finished"]


# Agents with programs, and several of them.


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (None, ["/usr/bin/env", sys.executable, "t.py", "--lr=0.1", "--flag=True", "--off=False", "--o={'b': 1}"]),
        (["${program}", "${args_no_hyphens}"], ["t.py", "lr=0.1", "flag=True", "off=False", "o={'b': 1}"]),
        (["${args_no_boolean_flags}", "x"], ["--lr=0.1", "--flag", "--o={'b': 1}", "x"]),
        (["${args_no_equals}"], ["--lr", "0.1", "--flag", "True", "--off", "False", "--o", "{'b': 1}"]),
        (["${args_json}"], ['{"lr": 0.1, "flag": true, "off": false, "o": {"b": 1}}']),
        (["${args_append_hydra}"], ["+lr=0.1", "+flag=True", "+off=False", "+o={'b': 1}"]),
        (["${args_override_hydra}"], ["++lr=0.1", "++flag=True", "++off=False", "++o={'b': 1}"]),
        (["a-${envvar:OWN}-b", 3], ["a-value-b", "3"]),
    ],
)
def test_commands(command, expected, monkeypatch):
    """The macros of a command stand for what they stand for in wandb, whose own function says so where it is installed."""
    monkeypatch.setenv("OWN", "value")
    config = {"lr": 0.1, "flag": True, "off": False, "o": {"b": 1}}

    assert command_of({"program": "t.py", "command": command}, config, Path("args.json")) == expected
    if find_spec("wandb") is not None:
        source = dedent("""
            import json, sys
            from wandb.sdk.launch.sweeps.utils import create_sweep_command_args
            args = {key: {"value": value} for key, value in json.loads(sys.argv[1]).items()}
            print(json.dumps(create_sweep_command_args({"args": args})))
            """)
        command_line = [sys.executable, "-c", source, json.dumps(config)]
        theirs = subprocess.run(command_line, capture_output=True, text=True, check=True)
        macros = json.loads(theirs.stdout)
        for word in command or ["${args}"]:
            name = str(word)[2:-1]
            if name in macros:
                assert command_of({"command": [word]}, config, Path("args.json")) == macros[name]


def test_commands_that_cannot_be():
    """A file of arguments is written where it is named, and not by a check; an unknown macro is an error."""
    path = Path("args.json")
    assert (command_of({"command": ["${args_json_file}"]}, {}, None), path.exists()) == ([], False)
    assert command_of({"command": ["${args_json_file}"]}, {"a": 1}, path) == [str(path.absolute())]
    assert json.loads(path.read_text()) == {"a": 1}
    for command, text in (
        (["${nothing}"], r"macro \$\{nothing\}"),
        ("python t.py", "give a list"),
        (["${program}"], "no program"),
    ):
        with pytest.raises(wandb.UsageError, match=text):
            command_of({"command": command}, {}, path)


PROGRAM = """
import argparse, os, sys, time
import wandb

parser = argparse.ArgumentParser()
parser.add_argument("--a", type=int)
args = parser.parse_args()
with wandb.init(config=args) as run:
    run.log({"loss": run.config.a})
    with open("tried.txt", "a") as file:
        file.write(f"{args.a} {os.getpid()}\\n")
    while args.a == 1 and os.path.exists("wait"):
        time.sleep(0.02)
if args.a == 2:
    sys.exit(3)
"""


def begun_agent(sweep_id: str) -> subprocess.Popen[str]:
    """Begin an agent in a process of its own."""
    source = "import sys, mlv.compat.wandb as wandb; wandb.agent(sys.argv[1], project='p')"
    return subprocess.Popen([sys.executable, "-c", source, sweep_id], stderr=subprocess.PIPE, text=True, start_new_session=True)


def program_sweep(count: int) -> str:
    Path("train.py").write_text(PROGRAM)
    return wandb.sweep({"method": "grid", "program": "train.py", "parameters": {"a": {"values": [*range(count)]}}}, project="p")


def tried() -> list[int]:
    path = Path("tried.txt")
    return sorted(int(line.split()[0]) for line in path.read_text().splitlines()) if path.exists() else []


def test_a_program(capsys):
    """A program is run for each point, unchanged, with the drop-in in the place of wandb; its exit status is how it ended."""
    pytest.importorskip("yaml", reason="PyYAML is not installed")
    Path("train.py").write_text(PROGRAM)
    Path("sweep.yaml").write_text('{"method": "grid", "program": "train.py", "parameters": {"a": {"values": [0, 1, 2]}}}')
    assert main(["sweep", "sweep.yaml", "-p", "p", "--name", "own"]) == 0
    sweep_id = capsys.readouterr().out.split()[4]
    assert main(["agent", f"p/{sweep_id}"]) == 0
    Path("bytes.yaml").write_bytes(b"\xff\xfe\x00")
    Path("runs/file").touch()
    words = (["agent", "p/none"], ["sweep", "none.yaml"], ["sweep", "bytes.yaml"], ["sweep", "sweep.yaml", "-p", "file"])
    assert [main(each) for each in words] == [1, 1, 1, 1]
    assert [line[:12] for line in capsys.readouterr().err.splitlines()[-2:]] == ["wandb: ERROR"] * 2

    assert wandb.Api().sweep(f"p/{sweep_id}").name == "own"
    assert [point["state"] for point in points(sweep_id)] == ["finished", "finished", "failed"]
    assert tried() == [0, 1, 2]
    assert sorted(run.config["a"] for run in wandb.Api().sweep(f"p/{sweep_id}").runs) == [0, 1, 2]


def test_other_drop_ins(monkeypatch):
    """A program has the drop-ins that its agent has, and that for wandb."""
    monkeypatch.setenv("MLV_RUN_AS", "tensorboard")
    source = "import os; open('as.txt', 'w').write(os.environ['MLV_RUN_AS'])"
    command = ["${interpreter}", "-S", "-c", source]
    sweep_id = wandb.sweep({"method": "grid", "command": command, "parameters": {"a": {"value": 1}}}, project="p")
    wandb.agent(sweep_id, project="p")

    assert Path("as.txt").read_text() == "tensorboard,wandb"


def test_several_agents():
    """Agents in several processes share the points of a sweep, each of which is tried once."""
    sweep_id = program_sweep(5)
    agents = [begun_agent(sweep_id) for _ in range(3)]
    outputs = [agent.communicate(timeout=100)[1] for agent in agents]

    assert [agent.returncode for agent in agents] == [0, 0, 0], outputs
    assert tried() == [0, 1, 2, 3, 4]
    runs = wandb.Api().sweep(f"p/{sweep_id}").runs
    assert sorted(run.config["a"] for run in runs) == [0, 1, 2, 3, 4]
    assert {verify(run.exp.path).verdict for run in runs} == {"intact"}


def test_a_killed_agent():
    """As long as the program of a killed agent goes on, nobody repeats its point; when both are gone, another agent does."""
    Path("wait").touch()
    sweep_id = program_sweep(2)
    first = begun_agent(sweep_id)
    until(lambda: tried() == [0, 1])
    first.kill()
    first.wait()
    first.stderr.close()
    sweep = wandb.Api().sweep(f"p/{sweep_id}")
    assert sweep.state == "RUNNING"
    wandb.agent(sweep_id)
    assert tried() == [0, 1]

    pid = int(Path("tried.txt").read_text().splitlines()[1].split()[1])
    os.kill(pid, signal.SIGKILL)
    until(lambda: sweep.state != "RUNNING")
    Path("wait").unlink()
    wandb.agent(sweep_id)

    assert tried() == [0, 1, 1]
    assert sweep.state == "FINISHED"
    assert sorted((run.config["a"], run.state) for run in sweep.runs) == [(0, "finished"), (1, "crashed"), (1, "finished")]


def test_a_point_that_kills_its_agents():
    """A point is tried three times at most."""
    sweep_id = wandb.sweep({"method": "grid", "parameters": {"a": {"values": [0, 1]}}}, project="p")
    source = dedent("""
        import os, signal, sys
        import mlv.compat.wandb as wandb

        def train():
            with wandb.init() as run, open("tried.txt", "a") as file:
                file.write(f"{run.config.a} {os.getpid()}\\n")
                if run.config.a == 0:
                    file.flush()
                    os.kill(os.getpid(), signal.SIGKILL)

        wandb.agent(sys.argv[1], function=train, project="p")
        """)
    codes = [
        subprocess.run([sys.executable, "-c", source, sweep_id], check=False, capture_output=True).returncode for _ in range(4)
    ]

    assert codes == [-signal.SIGKILL] * 3 + [0]
    assert tried() == [0, 0, 0, 1]
    assert wandb.Api().sweep(f"p/{sweep_id}").state == "FINISHED"
