"""Ranks of one launch meet in one experiment: processes started by hand, in any order, that share nothing but a folder."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until
from logs import of_type, read

from mlv import Exp, InvalidArgument
from mlv.experiment.opening import ranks
from mlv.experiment.opening.ranks import LaunchRank, launch_rank_of
from mlv.store.owners import Owner
from mlv.transport import recovery
from mlv.transport import spool as spools

HERE = Owner("machine", "boot", "pidns", 3, "1")
LAUNCHERS = {
    "by hand": lambda rank: {"RANK": rank, "WORLD_SIZE": 3, "MLV_LAUNCH": "one"},
    "torch": lambda rank: {"RANK": rank, "WORLD_SIZE": 3, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 29500},
    "slurm": lambda rank: {"SLURM_PROCID": rank, "SLURM_NTASKS": 3, "SLURM_JOB_ID": 7, "SLURM_STEP_ID": 0},
    "openmpi": lambda rank: {"OMPI_COMM_WORLD_RANK": rank, "OMPI_COMM_WORLD_SIZE": 3, "PMIX_NAMESPACE": "prterun-1"},
    "pmi": lambda rank: {"PMI_RANK": rank, "PMI_SIZE": 3, "SLURM_JOB_ID": 7, "SLURM_STEP_ID": 0},
}
VARIABLES = {name for launcher in LAUNCHERS.values() for name in launcher(0)} | {"SLURM_RESTART_COUNT", "TORCHELASTIC_RUN_ID"}
JOIN = """
    import json, os, sys
    import mlv

    exp = mlv.Exp("runs", "exp", {"lr": 0.1}, capture=(), **json.loads(sys.argv[1]))
    exp.log({"loss": exp.rank}, step=1)
    exp.close()
    print(json.dumps({"path": str(exp.path), "id": exp.id, "rank": exp.rank, "is_main": exp.is_main}))
"""

OPEN = """
    import json, mlv

    exp = mlv.Exp.open("runs/exp")
    exp.log({"a": 1})
    exp.log({"a": 2})
    print(json.dumps(exp.rank))
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever launched the tests, what they start is launched by them."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLV_RANKS_TIMEOUT_S", "40")


class Ranks:
    """Starts ranks of a script, and waits for them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._processes = folder, dict[int, subprocess.Popen[str]]()

    def start(self, script: str, rank: int, variables: Mapping[str, Any], **options: Any) -> None:
        path = self.folder / f"script{rank}.py"
        path.write_text(textwrap.dedent(script))
        environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
        command = [sys.executable, "-W", "error", str(path), json.dumps(options)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self._processes[rank] = subprocess.Popen(command, cwd=self.folder, env=environment, **pipes)  # type: ignore[call-overload]

    def finish(self, rank: int) -> tuple[dict[str, Any], str]:
        """What a rank printed, and what it said on stderr."""
        said, errors = self._processes[rank].communicate(timeout=60)
        return json.loads(said) if said else {}, errors


@pytest.fixture
def together(tmp_path: Path) -> Ranks:
    return Ranks(tmp_path)


class TestMeeting:
    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
    @pytest.mark.parametrize("launcher", LAUNCHERS)
    def test_one_experiment(self, together, launcher, order):
        """Every rank gets the experiment that rank 0 makes, whichever begins first."""
        for rank in order:
            together.start(JOIN, rank, LAUNCHERS[launcher](rank))
        found = {rank: together.finish(rank) for rank in order}

        assert {said["id"] for said, _ in found.values()} == {Exp.open(together.folder / "runs" / "exp").id}
        assert [(found[rank][0]["rank"], found[rank][0]["is_main"]) for rank in range(3)] == [(0, True), (1, False), (2, False)]
        assert ["mlv: " in errors for _, errors in (found[0], found[1], found[2])] == [True, False, False]

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    def test_an_older_experiment_has_the_name(self, together, order):
        """Where the name is taken all ranks get the same suffix."""
        Exp(together.folder / "runs", "exp", capture=()).close()
        for rank in order:
            together.start(JOIN, rank, LAUNCHERS["slurm"](rank))

        assert {Path(together.finish(rank)[0]["path"]).name for rank in order} == {"exp_1"}

    @pytest.mark.parametrize("launcher", LAUNCHERS)
    def test_long_after(self, together, launcher):
        """A rank that begins when rank 0 has ended already gets its experiment as well."""
        together.start(JOIN, 0, LAUNCHERS[launcher](0))
        made, _ = together.finish(0)
        together.start(JOIN, 1, LAUNCHERS[launcher](1))

        assert together.finish(1)[0]["id"] == made["id"]

    def test_a_launch_with_the_same_key(self, together):
        """A port that is used again does not lead a rank to the experiment of an earlier launch."""
        for rank in (0, 1):
            together.start(JOIN, rank, LAUNCHERS["torch"](rank))
        earlier = {together.finish(rank)[0]["id"] for rank in (0, 1)}
        together.start(JOIN, 1, LAUNCHERS["torch"](1))
        time.sleep(0.5)  # the rank that waits begins first
        together.start(JOIN, 0, LAUNCHERS["torch"](0))
        later = {together.finish(rank)[0]["id"] for rank in (0, 1)}

        assert len(earlier) == len(later) == 1
        assert earlier != later

    def test_a_requeued_job(self, together):
        """A job that SLURM starts again under its number is another launch."""
        for rank in (0, 1):
            together.start(JOIN, rank, LAUNCHERS["slurm"](rank))
        earlier = {together.finish(rank)[0]["id"] for rank in (0, 1)}
        again = {"SLURM_RESTART_COUNT": 1}
        together.start(JOIN, 1, {**LAUNCHERS["slurm"](1), **again})
        time.sleep(0.5)
        together.start(JOIN, 0, {**LAUNCHERS["slurm"](0), **again})
        later = {together.finish(rank)[0]["id"] for rank in (0, 1)}

        assert len(earlier) == len(later) == 1
        assert earlier != later

    def test_several_of_one_name(self, together):
        """The n-th experiment of a name that a rank asks for is the n-th that rank 0 made."""
        script = """
            import json, mlv

            print(json.dumps([mlv.Exp("runs", "exp", {"n": n}, capture=()).path.name for n in range(3)]))
        """
        for rank in (1, 0):
            together.start(script, rank, LAUNCHERS["by hand"](rank))

        assert [together.finish(rank)[0] for rank in (0, 1)] == [["exp", "exp_1", "exp_2"]] * 2

    def test_without_a_name(self, together):
        """The name that rank 0 takes from the time is that of all."""
        script = 'import json, mlv\nprint(json.dumps(mlv.Exp("runs", capture=()).path.name))'
        for rank in (0, 1):
            together.start(script, rank, LAUNCHERS["by hand"](rank))

        assert together.finish(0)[0] == together.finish(1)[0]

    def test_it_leaves_one_small_file(self, together):
        """What the ranks meet by is one file, which is no part of any experiment."""
        for rank in (0, 1):
            together.start(JOIN, rank, LAUNCHERS["slurm"](rank))
            together.finish(rank)

        [path] = (together.folder / "runs" / ".mlv" / "launches").iterdir()
        assert json.loads(path.read_bytes())["folder"] == "exp"

    def test_another_host(self, together, tmp_path, monkeypatch):
        """A rank that cannot judge rank 0's process, nor sees its memory, meets it all the same."""
        monkeypatch.setenv("MLV_SPOOL", str(tmp_path))
        together.start(JOIN, 0, LAUNCHERS["slurm"](0))
        made, _ = together.finish(0)
        [path] = (tmp_path / "runs" / ".mlv" / "launches").iterdir()
        word = json.loads(path.read_bytes())
        path.write_text(json.dumps({**word, "process": {**word["process"], "machine": "elsewhere"}}))
        together.start(JOIN, 1, LAUNCHERS["slurm"](1))

        assert together.finish(1)[0]["id"] == made["id"]


class TestErrors:
    def test_no_rank_0(self, together):
        """A rank whose rank 0 never comes says what it waited for, and how long."""
        together.start(JOIN, 1, {**LAUNCHERS["slurm"](1), "MLV_RANKS_TIMEOUT_S": 0.2})
        _, errors = together.finish(1)

        assert "mlv.errors.RanksNotMet: rank 1 waited 0.2 s for rank 0 to make experiment 'exp' in" in errors
        assert "sees the same folder there" in errors
        assert "MLV_RANKS_TIMEOUT_S" in errors

    def test_rank_0_fails(self, together):
        """Why rank 0 made no experiment, every rank says at once."""
        Exp(together.folder / "runs", "exp", capture=()).close()
        for rank in (0, 1):
            together.start(JOIN, rank, LAUNCHERS["slurm"](rank), on_exists="error")

        assert "ExperimentExists" in together.finish(0)[1]
        assert "RanksNotMet: rank 0 made no experiment 'exp': ExperimentExists:" in together.finish(1)[1]

    def test_without_a_key(self, together):
        """Where nothing names the launch, a rank above 0 says so, and what would."""
        together.start(JOIN, 1, {"RANK": 1, "WORLD_SIZE": 2})
        _, errors = together.finish(1)

        assert "InvalidArgument: RANK=1" in errors
        assert "MLV_LAUNCH" in errors
        assert "on_exists='open'" in errors

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    def test_a_name_to_open_needs_no_key(self, together, order):
        """With `on_exists="open"` the name is enough."""
        for rank in order:
            together.start(JOIN, rank, {"RANK": rank, "WORLD_SIZE": 2}, on_exists="open")

        assert together.finish(0)[0]["id"] == together.finish(1)[0]["id"]

    @pytest.mark.parametrize("given", ["some", None, 3])
    def test_unknown_ranks(self, tmp_path, given):
        """Who writes is `main`, `all` or `apart`; nothing is made otherwise."""
        with pytest.raises(InvalidArgument, match="give 'main', 'all' or 'apart'"):
            Exp(tmp_path, "exp", ranks=given)

        assert list(tmp_path.iterdir()) == []


TASK = """
    import json, os, sys
    import mlv

    rank = int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or os.environ.get("OMPI_COMM_WORLD_RANK") or 0)
    given = json.loads(sys.argv[1])
    take = lambda name, default: given.get(name, [default] * 3)[rank]
    options = {name: take(name, None) for name in ("kind", "notes", "tags") if name in given}
    exp = mlv.Exp(take("savedir", "runs"), take("name", "exp"), take("params", {}), capture=(), **options)
    exp.log({"loss": rank}, step=1)
    exp.close()
    with mlv.Exp(take("savedir", "runs"), take("name", "exp") + "-later", take("params", {}), capture=()) as later:
        later.log({"loss": rank}, step=1)
    if exp.is_main:
        with mlv.Exp.open(exp.path) as again:
            again.log({"loss": rank}, step=2)
    print(json.dumps({"path": str(exp.path), "later": str(later.path), "is_main": exp.is_main, "params": dict(exp.params)}))
"""


class TestTasks:
    def run(self, together, launcher, order=(0, 1), variables=(), **given):
        """Start processes that give each its own; what they printed, and said."""
        for rank in order:
            together.start(TASK, rank, {**LAUNCHERS[launcher](rank), **dict(variables)}, **given)
        done = {rank: together.finish(rank) for rank in order}
        assert all(printed for printed, _ in done.values()), done
        return [done[rank] for rank in sorted(order)]

    def are_apart(self, done):
        """Whether each has experiments of its own, with all that it logged and gave."""
        for rank, (printed, _) in enumerate(done):
            exp, later = Exp.open(printed["path"]), Exp.open(printed["later"])
            assert [(event.step, event.data["loss"]) for event in exp.events("metrics")] == [(1, rank), (2, rank)]
            assert [event.data["loss"] for event in later.events("metrics")] == [rank]
            assert dict(exp.params) == printed["params"]
            assert printed["is_main"]
        return len({printed["path"] for printed, _ in done}) == len(done)

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    @pytest.mark.parametrize("launcher", ["slurm", "openmpi"])
    def test_other_params(self, together, launcher, order):
        """W6: independent tasks of one launch get an experiment each, whole, and it is said what they were taken for."""
        done = self.run(together, launcher, order, params=[{"seed": 0}, {"seed": 1}])

        assert self.are_apart(done)
        assert "this process gives params.seed = 1, not 0. So it is taken for a task of its own" in done[1][1]
        assert done[1][1].count("MlvWarning") == 1
        assert "MlvWarning" not in done[0][1]

    @pytest.mark.parametrize(
        "given",
        [
            {"params": [{"lora_rank": 8}, {"lora_rank": 16}]},
            {"params": [{"model": {"rank": 0, "fold": 1}}, {"model": {"rank": 1, "fold": 2}}]},
            {"params": [{"lr": 0.1}, {"lr": 0.1, "dropout": 0.5}]},
            {"kind": ["teacher", "student"]},
            {"name": ["seed0", "seed1"]},
            {"savedir": ["runs/0", "runs/1"]},
        ],
        ids=str,
    )
    def test_other_everything(self, together, given):
        """W6: what makes another experiment makes an independent task: params, kind, name and folder."""
        done = self.run(together, "slurm", **given)

        assert self.are_apart(done)
        assert "taken for a task of its own" in done[1][1]

    def test_of_a_rank(self, together):
        """W6: params that only say which rank it is make no other experiment, nor does one that gives fewer."""
        params = [
            {
                "lr": 0.1,
                "rank": 0,
                "device": "cuda:0",
                "ddp": {"local_rank": 0, "gpu": 0},
                "is_main": True,
                "host": "a",
                "more": 1,
            },
            {"lr": 0.1, "rank": 1, "device": "cuda:1", "ddp": {"local_rank": 1, "gpu": 1}, "is_main": False, "host": "b"},
        ]
        done = self.run(together, "slurm", params=params)

        assert len({printed["path"] for printed, _ in done}) == 1
        assert [errors for _, errors in done[1:]] == [""]

    @pytest.mark.parametrize(
        ("launcher", "variables"),
        [
            ("torch", {}),
            ("by hand", {}),
            ("slurm", {"MLV_RANKS": "together"}),
            ("slurm", {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}),
        ],
    )
    def test_ranks_that_disagree(self, together, launcher, variables):
        """W6: ranks that surely belong together share one experiment, and say what of theirs is not stored."""
        done = self.run(together, launcher, variables=variables, params=[{"seed": 0}, {"seed": 1}])

        assert len({printed["path"] for printed, _ in done}) == 1
        assert "rank 1 gives params.seed = 1, not 0: that is not stored, for 'exp' is the experiment of all ranks" in done[1][1]

    def test_other_tags(self, together):
        """W6: other tags and notes make no other experiment, and it is said that they are not stored."""
        done = self.run(together, "slurm", tags=[["a"], ["a", "b"]], notes=["one", "two"])

        assert len({printed["path"] for printed, _ in done}) == 1
        assert "rank 1 gives tag 'b', notes = 'two': that is not stored" in done[1][1]

    def test_apart(self, together):
        """W6: a setting says that processes are no ranks: each makes its own at once, and nothing is said."""
        done = self.run(together, "torch", variables={"MLV_RANKS": "apart"})

        assert self.are_apart(done)
        assert all("MlvWarning" not in errors for _, errors in done)

    @pytest.mark.parametrize("rank", [0, 1])
    def test_apart_for_one(self, tmp_path, monkeypatch, rank):
        """An experiment may be that of each process alone, whatever the ranks do: nobody waits, or tells others of it."""
        for name, value in LAUNCHERS["torch"](rank).items():
            monkeypatch.setenv(name, str(value))

        with Exp(tmp_path, "a", capture=(), ranks="apart") as exp:
            for step in range(3):
                exp.log({"loss": step}, step=step)
            exp.rewind(1)
        with Exp.open(exp.path, capture=(), ranks="apart", rewind_to=1) as again:
            again.log({"loss": 5}, step=2)

        assert exp.rank == again.rank == 0
        assert [(event.step, event.data["loss"]) for event in again.events("metrics")] == [(0, 0), (1, 1), (2, 2), (2, 5)]
        assert not (tmp_path / ".mlv" / "launches").exists()

    def test_children(self, together):
        """W6: what children of an independent task log into its experiment is stored; ranks launched by it are ranks."""
        script = """
            import json, os, subprocess, sys
            import mlv

            rank = int(os.environ["SLURM_PROCID"])
            exp = mlv.Exp("runs", "exp", {"seed": rank}, capture=())
            child = "import mlv, sys; e = mlv.Exp.open(sys.argv[1]); e.log({'of': 1}); e.close(); print(e.rank)"
            ranks = []
            for more in ({}, {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}):
                command = [sys.executable, "-c", child, str(exp.path)]
                ranks.append(subprocess.run(command, env={**os.environ, **more}, capture_output=True, text=True).stdout)
            exp.close()
            print(json.dumps({"path": str(exp.path), "ranks": [int(text) for text in ranks]}))
        """
        for rank in (0, 1):
            together.start(script, rank, LAUNCHERS["slurm"](rank))
        done = [together.finish(rank) for rank in (0, 1)]

        assert [printed["ranks"] for printed, _ in done] == [[0, 1], [0, 1]]
        paths = [printed["path"] for printed, _ in done]
        assert len(set(paths)) == 2
        assert all([event.data for event in Exp.open(path).events("metrics")] == [{"of": 1}] for path in paths)

    @pytest.mark.parametrize("is_running", [True, False])
    def test_opened(self, together, is_running):
        """W6: a task that opens an experiment in which no other rank logs is told that nothing of its own is stored."""
        exp = Exp(together.folder / "runs", "exp", capture=())
        if not is_running:
            exp.close()
        together.start(OPEN, 1, LAUNCHERS["slurm"](1))
        rank, errors = together.finish(1)
        exp.close()

        assert rank == 1
        assert errors.count("what rank 1 logs into") == (0 if is_running else 1)

    def test_before_the_first_line_of_rank_0(self, tmp_path):
        """Rank 0 counts as logging from its first call on, though its writer has not begun yet: other ranks are not warned."""
        path = Exp(tmp_path, "exp", capture=()).path
        Exp.open(path).close()
        spool = spools.candidates(path, Owner.current())[0]
        wait_until(lambda: not recovery.is_in_use(path))
        spools.prepare(spool)
        with (spool / spools.LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # no writer begins before it is let go
            exp = Exp.open(path, capture=())
            exp.log({"a": 0})
            is_in_use = recovery.is_in_use(path)
            lines = of_type(read(path), "run_started")
        exp.close()

        assert (is_in_use, len(lines)) == (True, 1)
        wait_until(lambda: not recovery.is_in_use(path))

    def test_rank_0_makes_another_one_before(self, together):
        """W6: an experiment that only rank 0 makes before the common one does not part the ranks."""
        script = """
            import json, os, time, mlv

            if os.environ["SLURM_PROCID"] == "0":
                mlv.Exp("runs", "alone", capture=()).close()
                time.sleep(0.3)
            print(json.dumps(str(mlv.Exp("runs", "exp", capture=()).path)))
        """
        for rank in (0, 1):
            together.start(script, rank, {**LAUNCHERS["slurm"](rank), "MLV_RANKS_TIMEOUT_S": 300})

        assert together.finish(0)[0] == together.finish(1)[0]


class TestMain:
    def test_others_do_nothing(self, together):
        """With `ranks="main"` whatever another rank calls works, writes nothing, and starts no process."""
        script = """
            import json, pickle, psutil, mlv

            exp = mlv.Exp("runs", "exp", {"lr": 0.1}, capture=())
            if exp.is_main:
                exp.close()
                before = {}
            before = sorted(map(str, exp.path.rglob("*")))
            if not exp.is_main:
                log = exp.log.sub("a").at(epoch=1)
                log({"b": 1}, step=2)
                log("event", {"c": 1})
                log.array("x", [[0, 1]])
                exp.logger("val")({"d": 1})
                exp.add_params({"new": 1}), exp.add_tags("t"), exp.add_note("n"), exp.pause(), exp.resume()
                with exp.file("f.bin", "w+b") as file:
                    file.write(b"abc"), file.seek(0)
                    assert file.read() == b"abc"
                with exp.file("f.txt", "x") as file:
                    file.write("abc")
                with exp.filepath("g") as path:
                    path.write_text("abc")
                exp.attach(__file__), exp.save_extra("e", [1])
                portfolio = exp.checkpoints(every=1)
                assert portfolio.save(lambda path: 1 / 0, step=1) is None
                assert portfolio.kept == []
                pickle.loads(pickle.dumps(exp)).log({"e": 1}), pickle.loads(pickle.dumps(log))({"e": 1})
                mlv.Exp.open(exp.path).log({"e": 1})
                assert exp.flush() and exp.params == {"lr": 0.1, "new": 1} and exp.status == "ok"
                exp.close(), exp.log({"f": 1})
            after = sorted(map(str, exp.path.rglob("*")))
            print(json.dumps([before == after, exp.is_main or psutil.Process().children() == []]))
        """
        together.start(script, 0, LAUNCHERS["slurm"](0))
        _, errors = together.finish(0)
        together.start(script, 2, LAUNCHERS["slurm"](2))

        assert together.finish(2) == ([True, True], ""), errors
        assert {line["type"] for line in read(together.folder / "runs" / "exp")} == {"run_started", "run_ended", "seal"}

    def test_alone(self, tmp_path):
        """A process that was launched alone is the main one."""
        with Exp(tmp_path, "exp", capture=()) as exp:
            assert (exp.rank, exp.is_main) == (0, True)

        assert not (tmp_path / ".mlv").exists()


class TestAll:
    def test_each_has_its_stream(self, together):
        """With `ranks="all"` each rank logs into a stream of its own, as a run below that of rank 0."""
        for rank in (0, 1, 2):
            together.start(JOIN, rank, LAUNCHERS["slurm"](rank), ranks="all")
        for rank in (0, 1, 2):
            # Where it is, and its digest unless other ranks still log.
            assert together.finish(rank)[1].count("mlv:") in ((1, 2) if rank == 0 else (0,))

        exp = Exp.open(together.folder / "runs" / "exp")
        for stream, rank in (("log", 0), ("rank1", 1), ("rank2", 2)):
            assert [line["data"] for line in of_type(read(exp.path, stream), "metrics")] == [{"loss": rank}]
        wait_until(lambda: exp.status == "ok")
        [main] = exp.runs
        assert {run.parent_run for run in main.children} == {main.id}

    def test_a_rank_decides_no_status(self, together):
        """The status is that of rank 0, also where nothing names the launch."""
        for rank, end in ((0, "ok"), (1, "failed")):
            script = JOIN.replace("exp.close()", f"exp.close({end!r})")
            together.start(script, rank, {"RANK": rank, "WORLD_SIZE": 2}, ranks="all", on_exists="open")
            together.finish(rank)

        exp = Exp.open(together.folder / "runs" / "exp")
        assert (exp.status, sorted(run.status for run in exp.runs)) == ("ok", ["failed", "ok"])


class TestNested:
    def test_sub_experiments(self, together):
        """Ranks meet in a sub-experiment, and in one from arguments, as they do in any other."""
        script = """
            import argparse, json, mlv

            parser = argparse.ArgumentParser()
            mlv.add_arguments_to(parser)
            exp = mlv.exp_from_args(parser.parse_args(["--exp-name", "exp"]))
            subs = [mlv.init_sub_exp("weights.bin", "squeeze", params={"rate": rate}) for rate in (1, 2)]
            print(json.dumps([exp.id, *(sub.id for sub in subs), *(sub.path.name for sub in subs)]))
        """
        (together.folder / "weights.bin").write_bytes(b"weights")
        for rank in (1, 0):
            together.start(script, rank, LAUNCHERS["torch"](rank))
        (first, errors), (other, _) = together.finish(0), together.finish(1)

        assert first == other, errors
        assert first[-2:] == ["subexp_1", "subexp_2"]


class TestPlaces:
    @pytest.mark.parametrize("launcher", LAUNCHERS)
    def test_rank(self, launcher):
        """Each launcher says the rank in variables of its own."""
        environ = {name: str(value) for name, value in LAUNCHERS[launcher](2).items()}

        assert launch_rank_of(environ, HERE).rank == 2

    @pytest.mark.parametrize("environ", [{}, {"RANK": "3"}, {"WORLD_SIZE": "3"}, {"RANK": "0", "WORLD_SIZE": "1"}])
    def test_alone(self, environ):
        """What is no launch of several is none."""
        assert launch_rank_of(environ, HERE) == LaunchRank()

    @pytest.mark.parametrize("text", ["", "-1", "one", "1.5", "²"])
    def test_no_number(self, text):
        """A rank that is no number is refused, with what to do."""
        with pytest.raises(InvalidArgument, match="is no rank: set a number, or unset it"):
            launch_rank_of({"RANK": text, "WORLD_SIZE": "2"}, HERE)

    @pytest.mark.parametrize(
        "other",
        [
            {"MLV_LAUNCH": "x"},
            {"SLURM_JOB_ID": "1"},
            {"SLURM_RESTART_COUNT": "1"},
            {"TORCHELASTIC_RESTART_COUNT": "1"},
            {"TORCHELASTIC_RUN_ID": "mine"},
            {"MASTER_ADDR": "node2"},
            {"MASTER_PORT": "29501"},
        ],
    )
    def test_another_launch(self, other):
        """What differs from launch to launch makes another key."""
        environ = {
            "RANK": "1",
            "WORLD_SIZE": "2",
            "MASTER_ADDR": "node1",
            "MASTER_PORT": "29500",
            "TORCHELASTIC_RUN_ID": "none",
        }

        assert launch_rank_of({**environ, **other}, HERE).key != launch_rank_of(environ, HERE).key

    @pytest.mark.parametrize(
        "other",
        [{"RANK": "2"}, {"LOCAL_RANK": "3"}, {"TORCHELASTIC_RUN_ID": "none"}, {"SLURM_PROCID": "1"}, {"SLURM_STEP_ID": "2"}],
    )
    def test_the_same_launch(self, other):
        """What differs from rank to rank does not, nor from node to node where each has a step of its own."""
        environ = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "node1", "MASTER_PORT": "29500", "SLURM_JOB_ID": "7"}

        assert launch_rank_of({**environ, **other}, HERE).key == launch_rank_of(environ, HERE).key

    def test_loopback(self):
        """An address that every machine has names a launch on one machine only."""
        environ = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
        elsewhere = Owner("another", "boot", "pidns", 3, "1")

        assert launch_rank_of(environ, HERE).key != launch_rank_of(environ, elsewhere).key

    @pytest.mark.parametrize("run_id", ["none", ""])
    def test_the_default_rendezvous_names_nothing(self, run_id):
        """The rendezvous ID that nobody chose is no key."""
        environ = {"RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": run_id}

        assert ranks.launch_rank_of(environ, HERE).key is None
