"""Outputs: kept as the log grows, built again from it, and never in its way."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import orjson
import psutil
import pytest
from conftest import wait_until

import mlv
from mlv import projections
from mlv.audit.verify import verify
from mlv.errors import CannotResume
from mlv.projections.position import read
from mlv.projections.replaying import Replay
from projections.places import SETTINGS, Ending, Failing, Lines, Noisy, Watchful, content, made

TEXTS = [f"log metrics  {i} {{'loss': {i / 3}, 'acc': {i}}}" for i in range(50)]


def lines(exp: mlv.Exp, name: str = "lines") -> list[str]:
    return (exp.path / name / "lines.txt").read_text().splitlines()


def test_output_is_there_when_the_run_has_ended(tmp_path):
    """After `close()` an output holds everything that was logged."""
    exp = made(tmp_path, outputs=[Lines(types=["metrics"], filter="^loss|^acc")])

    assert [line for line in lines(exp) if line.startswith("log")] == TEXTS


def test_output_is_there_after_a_flush(tmp_path):
    """`flush(outputs=True)` returns when the outputs hold what was logged, while the run goes on."""
    with mlv.Exp(tmp_path, "exp", **SETTINGS, outputs=[Lines(types=["metrics"])]) as exp:
        exp.log({"loss": 1.0}, step=1)

        assert exp.flush(outputs=True)
        assert lines(exp) == ["log metrics  1 {'loss': 1.0}"]


def test_output_goes_on_with_the_next_run(tmp_path):
    """A run that opens the experiment again adds to the output, and doubles nothing."""
    made(tmp_path, outputs=[Lines(types=["metrics"])])
    with mlv.Exp.open(tmp_path / "runs" / "exp", outputs=[Lines(types=["metrics"])]) as exp:
        exp.log({"loss": 1.0}, step=50)

    assert len(lines(exp)) == 102
    assert lines(exp)[-1] == "log metrics  50 {'loss': 1.0}"


def test_deleted_output_is_built_again(tmp_path):
    """An output may be deleted at any time: `replay` builds it from the log."""
    exp = made(tmp_path, outputs=[Lines()])
    before = sorted(lines(exp))
    for path in (exp.path / "lines").iterdir():
        path.unlink()
    projections.replay(exp, Lines())

    assert sorted(lines(exp)) == before


def test_output_whose_file_vanishes_is_built_again(tmp_path):
    """Where an output finds its file gone while it runs, it begins again, and goes on."""
    with mlv.Exp(tmp_path, "exp", outputs=[Watchful(types=["metrics"])], **SETTINGS) as exp:
        exp.log({"loss": 1.0})
        assert exp.flush(outputs=True)
        (exp.path / "watchful" / "lines.txt").unlink()
        exp.log({"loss": 2.0})
        assert exp.flush(outputs=True)

    found = (exp.path / "watchful" / "lines.txt").read_text().splitlines()
    assert [line.rpartition(" ")[2] for line in found] == ["1.0}", "2.0}"]


def test_other_options_build_it_again(tmp_path):
    """An output that was made with other options is not gone on with."""
    exp = made(tmp_path, outputs=[Lines(types=["metrics"])])
    projections.replay(exp, Lines(types=["message"]))

    assert lines(exp) == ["log message  None {'level': 'info', 'message': 'half way'}"]


def test_edited_log_builds_it_again(tmp_path):
    """An output is never trusted over the log."""
    exp = made(tmp_path, outputs=[Lines(types=["message"])])
    path = exp.path / "log.jsonl"
    path.write_bytes(path.read_bytes().replace(b"half way", b"half-way"))
    projections.replay(exp, Lines(types=["message"]))

    assert "half-way" in lines(exp)[0]
    assert len(lines(exp)) == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"types": ["message"]}, 1),
        ({"types": ["metrics"], "filter": r"^acc$"}, 50),
        ({"types": ["metrics"], "filter": "nothing"}, 0),
        ({"types": ["metrics"], "verbosity": 0}, 51),
        ({"types": ["metrics"], "verbosity": 1}, 101),
        ({"types": ["metrics"]}, 101),
    ],
    ids=str,
)
def test_choice_of_events(tmp_path, options, expected):
    """Types, verbosity and a filter over full names decide what an output takes; metrics are chosen one by one."""
    exp = made(tmp_path)
    projections.replay(exp, Lines(**options))

    assert len(lines(exp)) == expected
    if options.get("filter") == r"^acc$":
        assert all("loss" not in line for line in lines(exp))


def test_failing_output_costs_the_log_nothing(tmp_path):
    """An output that fails gives one warning and one event; the log is complete and intact."""
    with pytest.warns(mlv.OutputFailed, match="failing.*RuntimeError: above ten.*builds it again") as shown:
        exp = made(tmp_path, outputs=[Failing(types=["metrics"]), Lines(types=["metrics"])])

    assert len(shown) == 1
    assert len(list(exp.events("metrics"))) == 101
    assert len(lines(exp)) == 101
    assert verify(exp.path).verdict == "intact"


def test_failure_is_in_the_log(tmp_path):
    """Which output stopped, and why, is an event of the log: of this run, or of the next one."""
    with pytest.warns(mlv.OutputFailed):
        exp = made(tmp_path, outputs=[Failing()])
    with pytest.warns(mlv.OutputFailed):
        again = mlv.Exp(tmp_path / "runs", "exp", **SETTINGS, outputs=[Failing()], on_exists="open")
    again.close()

    [event] = exp.events("event", name="output_failed")
    assert event.data == {"output": "failing", "reason": "RuntimeError: above ten"}


def test_failed_output_goes_on_from_its_last_commit(tmp_path):
    """What a failed output wrote is taken back, and comes once, when it can."""
    with pytest.warns(mlv.OutputFailed):
        exp = made(tmp_path, outputs=[Failing(types=["metrics"])])
    with pytest.raises(RuntimeError):
        projections.replay(exp, Failing(types=["metrics"]))
    (exp.path / "failing" / "may").touch()
    projections.replay(exp, Failing(types=["metrics"]))

    assert len(lines(exp, "failing")) == 101


def test_folder_of_another_experiment(tmp_path):
    """A folder that holds the output of another experiment is refused, and left as it is."""
    exp = made(tmp_path)
    with mlv.Exp(tmp_path, "other", **SETTINGS) as other:
        other.log({"loss": 1})
    place = projections.replay(exp, Lines(path=tmp_path / "out"))
    before = content(place)

    with pytest.raises(mlv.InvalidArgument, match=f"another experiment .{exp.short_id}.*another folder"):
        projections.replay(other, Lines(path=tmp_path / "out"))
    assert content(place) == before


@pytest.mark.parametrize(
    ("outputs", "error", "text"),
    [
        (["tensorbord"], mlv.InvalidArgument, "no output 'tensorbord': the outputs are console, csv"),
        ("csv", mlv.InvalidArgument, r"give a list, \['csv'\]"),
        ([3], mlv.InvalidArgument, "3 is no output"),
        ([Lines], mlv.InvalidArgument, "is no output"),
        (7, mlv.InvalidArgument, "is no list"),
        (["csv", projections.CSV(filter="x")], mlv.InvalidArgument, "two 'csv' in one place"),
        ([Lines(filter="(")], mlv.InvalidPattern, "no regular expression"),
        ([Lines(path=3)], mlv.InvalidArgument, "path=3"),
        ([Lines(name="files")], mlv.InvalidName, "'files' is that of something else"),
        ([Lines(name="val.log.jsonl")], mlv.InvalidName, "something else"),
    ],
    ids=str,
)
def test_unusable_outputs(tmp_path, outputs, error, text):
    """What is no output is refused before anything is on the disk."""
    with pytest.raises(error, match=text):
        mlv.Exp(tmp_path / "runs", "exp", outputs=outputs)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"filter": "("}, mlv.InvalidPattern, r"filter='\(' is no regular expression"),
        ({"filter": 3}, mlv.InvalidPattern, "give a text"),
        ({"types": ["metric"]}, mlv.InvalidArgument, "'metric' is no type of event; they are .*metrics"),
        ({"verbosity": "high"}, mlv.InvalidArgument, "verbosity='high'"),
        ({"types": 5}, mlv.InvalidArgument, "types=5"),
        ({"path": 5}, mlv.InvalidArgument, "path=5"),
        ({"path": ""}, mlv.InvalidArgument, "path=''"),
    ],
    ids=str,
)
def test_unusable_options(options, error, text):
    """Options that cannot be used are refused where they are given."""
    with pytest.raises(error, match=text):
        projections.CSV(**options)


def test_output_that_cannot_travel(tmp_path):
    """A projection that no other process could read is refused, with what to do."""

    class Local(Lines):
        pass

    with pytest.raises(mlv.InvalidArgument, match="cannot travel to a process of its own"):
        mlv.Exp(tmp_path / "runs", "exp", outputs=[Local()])


def test_projection_that_cannot_travel_is_replayed(tmp_path):
    """In this process any projection may bring itself up to the log, again and again."""

    class Local(Lines):
        pass

    exp = made(tmp_path)
    output = Local(types=["metrics"], lock=threading.Lock())
    for _ in range(2):
        projections.replay(exp, output)
    assert len(lines(exp)) == 101


def test_output_is_used_again(tmp_path):
    """One object may be the output of several experiments, live and replayed."""
    output = projections.CSV(types=["metrics"])
    exp = made(tmp_path / "a")
    projections.replay(exp, output)
    projections.replay(made(tmp_path / "b", outputs=[output]), output)

    assert content(tmp_path / "b/runs/exp/csv").keys() == content(exp.path / "csv").keys() != set()


def test_projection_beside_the_script(python, tmp_path):
    """A projection of a user's own may stand in a module beside the script."""
    (tmp_path / "mine.py").write_text((Path(__file__).parent / "places.py").read_text())
    done = python("""
        import mlv
        from mine import Lines
        with mlv.Exp("runs", "exp", outputs=[Lines(types=["metrics"])], capture=()) as exp:
            exp.log({"loss": 1}, step=1)
    """)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/exp/lines/lines.txt").read_text() == "log metrics  1 {'loss': 1}\n"


def test_children_start_no_outputs(python, tmp_path):
    """The events of a forked child are in the output of the run that started it, once."""
    (tmp_path / "mine.py").write_text((Path(__file__).parent / "places.py").read_text())
    done = python("""
        import os, mlv
        from mine import Lines
        with mlv.Exp("runs", "exp", outputs=[Lines(types=["metrics"])], capture=()) as exp:
            exp.log({"loss": 1}, step=1)
            if os.fork() == 0:
                exp.log({"loss": 2}, step=2)
                exp.close()
                os._exit(0)
            os.wait()
            exp.log({"loss": 3}, step=3)
    """)

    assert done.returncode == 0, done.stderr
    assert sorted((tmp_path / "runs/exp/lines/lines.txt").read_text().splitlines()) == [
        f"log metrics  {i} {{'loss': {i}}}" for i in (1, 2, 3)
    ]


def test_ranks_that_go_on(tmp_path):
    """Only rank 0 starts outputs, and they take what other ranks log after it has ended."""
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent("""
        import os, time, mlv
        exp = mlv.Exp("runs", "exp", outputs=["csv"], ranks="all", capture=())
        if os.environ["RANK"] == "1":
            exp.log({"first": 1})
            exp.flush()
            while not exp.runs[0].ended:
                time.sleep(0.01)
            time.sleep(0.5)
        while not (exp.path / "rank1.log.jsonl").exists():  # else rank 0 may have ended before rank 1 began
            time.sleep(0.01)
        exp.log({"loss": 1})
        exp.close()
    """)
    )
    launch = {**os.environ, "WORLD_SIZE": "2", "MLV_LAUNCH": tmp_path.name}
    ranks = [
        subprocess.Popen(
            [sys.executable, str(script)], cwd=tmp_path, env={**os.environ, **launch, "RANK": rank, "LOCAL_RANK": rank}
        )
        for rank in "01"
    ]

    assert [rank.wait(60) for rank in ranks] == [0, 0]
    exp = mlv.Exp.open(tmp_path / "runs/exp")
    wait_until(lambda: not followers(exp))
    assert "loss" in (exp.path / "csv" / "log.csv").read_text()
    assert "loss" in (exp.path / "csv" / "rank1.csv").read_text()


@pytest.mark.parametrize("kind", [Lines, projections.CSV])
def test_relative_path(tmp_path, monkeypatch, kind):
    """A relative path counts from the folder that was the current one when it was given."""
    monkeypatch.chdir(tmp_path)
    with mlv.Exp(tmp_path, "exp", **SETTINGS, outputs=[kind(path="here", types=["metrics"])]) as exp:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        exp.log({"loss": 1})

    assert len(content(tmp_path / "here")) > 0
    assert not any((tmp_path / "elsewhere").iterdir())


def test_process_ends_with_the_run(tmp_path):
    """The process of an output ends soon after the run, though the training process goes on."""
    with mlv.Exp(tmp_path, "exp", **SETTINGS, outputs=[Lines()]) as exp:
        exp.log({"loss": 1})
        exp.flush(outputs=True)
        assert followers(exp)

    wait_until(lambda: not followers(exp))
    assert read(exp.path / "lines" / ".mlv-lines.json").is_open is False


def test_killed_process_is_started_again(tmp_path):
    """An output whose process was killed is complete at the end of the run all the same."""
    with mlv.Exp(tmp_path, "exp", **SETTINGS, outputs=[Lines(types=["metrics"])]) as exp:
        exp.log({"loss": 1}, step=1)
        exp.flush(outputs=True)
        for process in followers(exp):
            process.kill()
        exp.log({"loss": 2}, step=2)

    assert lines(exp) == ["log metrics  1 {'loss': 1}", "log metrics  2 {'loss': 2}"]


def followers(exp: mlv.Exp) -> list[psutil.Process]:
    """Processes that hold the lock of an output of the experiment."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(str(exp.path) in file.path and file.path.endswith(".lock") for file in process.open_files()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_position_tells_how_far(tmp_path):
    """Beside the output stands how far it has come: experiment, offsets, and what it needs to go on."""
    exp = made(tmp_path, outputs=[Lines(types=["message"])])
    found = orjson.loads((exp.path / "lines" / ".mlv-lines.json").read_bytes())

    assert found["exp"] == exp.id
    assert found["streams"]["log"]["offset"] == (exp.path / "log.jsonl").stat().st_size
    assert found["resume"] == (exp.path / "lines" / "lines.txt").stat().st_size


def test_output_of_a_killed_trainer(tmp_path):
    """After SIGKILL of the trainer the output holds what the log holds, without anybody's help."""
    (tmp_path / "mine.py").write_text((Path(__file__).parent / "places.py").read_text())
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent("""
        import os, signal, mlv
        from mine import Lines
        exp = mlv.Exp("runs", "exp", outputs=[Lines(types=["metrics"])], capture=())
        for i in range(1000):
            exp.log({"loss": i}, step=i)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    )
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, timeout=60, capture_output=True)
    exp = mlv.Exp.open(tmp_path / "runs/exp")

    assert done.returncode == -signal.SIGKILL
    assert len(list(exp.events("metrics"))) == 1000
    wait_until(lambda: (exp.path / "lines" / "lines.txt").exists() and len(lines(exp)) == 1000)
    wait_until(lambda: not followers(exp))


def test_log_replaced_under_an_output(tmp_path):
    """An output whose log is replaced while it is kept is built again from the new one."""
    exp = made(tmp_path)
    replay = Replay(exp.path, Lines(types=["message"]))
    replay.begin()
    replay.catch_up()
    replay.commit()
    path, new = exp.path / "log.jsonl", tmp_path / "new"
    new.write_bytes(path.read_bytes().replace(b"half way", b"half a way") * 2)
    new.replace(path)

    with pytest.raises(CannotResume, match="was replaced"):
        replay.catch_up()
    replay.close()
    projections.replay(exp, Lines(types=["message"]))
    assert lines(exp) == ["log message  None {'level': 'info', 'message': 'half a way'}"] * 2


@pytest.mark.parametrize("how", ["hangs", "exits", "dies"])
def test_output_that_does_not_end_well(tmp_path, how, monkeypatch):
    """The end of a run waits for its outputs for a limited time, and says which one is not complete, and why."""
    monkeypatch.setattr("mlv.experiment.active_run.OUTPUTS_TIMEOUT_S", 2.0 if how == "hangs" else 60.0)
    said = {"hangs": "not complete after 2 s: its process goes on", "exits": "stopped: SystemExit: 3", "dies": "without a word"}
    exp = mlv.Exp(tmp_path, "exp", **SETTINGS, outputs=[Ending(how=how)])
    exp.log({"loss": 1})

    with pytest.warns(mlv.OutputFailed, match=said[how]) as shown:
        exp.close()
    assert len(shown) == 1
    for process in followers(exp):
        process.kill()


def test_moved_experiment(tmp_path):
    """Where the experiment was moved during the run nothing is waited for or begun at its old place, and that is said."""
    exp = mlv.Exp(tmp_path, "exp", **SETTINGS, outputs=["csv"])
    exp.log({"loss": 1})
    exp.flush(outputs=True)
    exp.path.rename(tmp_path / "moved")
    exp.log({"loss": 2})

    assert not exp.flush(outputs=True)
    with pytest.warns(mlv.OutputFailed, match="was moved or removed"):
        exp.close()
    assert not (tmp_path / "exp" / "csv").exists()


def test_output_that_prints_a_traceback(tmp_path):
    """What a library writes to stderr, even a traceback, is no failure of an output that goes on."""
    with mlv.Exp(tmp_path, "exp", **SETTINGS, outputs=[Noisy(types=["metrics"])]) as exp:
        exp.log({"loss": 1}, step=1)
        assert exp.flush(outputs=True)
    assert lines(exp, "noisy") == ["log metrics  1 {'loss': 1}"]


def test_output_that_failed_before_is_waited_for(tmp_path):
    """A failure of an earlier run says nothing about this one."""
    with pytest.warns(mlv.OutputFailed):
        exp = made(tmp_path, outputs=[Failing(types=["metrics"])])
    (exp.path / "failing" / "may").touch()
    again = mlv.Exp.open(exp.path, outputs=[Failing(types=["metrics"])])
    with pytest.warns(mlv.OutputFailed, match="above ten"):
        again.log({"loss": 1.0}, step=50)

    assert again.flush(outputs=True)
    assert len(lines(exp, "failing")) == 102
    again.close()


def test_where_there_are_no_locks(tmp_path, monkeypatch):
    """Where nobody can tell whether an output is kept, it is not started a second time: two would write at once."""
    monkeypatch.setattr("fcntl.flock", no_locks)
    monkeypatch.setattr("mlv.experiment.active_run.OUTPUTS_TIMEOUT_S", 2.0)
    exp = mlv.Exp(tmp_path, "exp", **SETTINGS, outputs=[Ending(how="hangs")])
    exp.log({"loss": 1})
    with pytest.warns(mlv.OutputFailed, match="its process goes on"):
        exp.close()

    others = [process for process in followers(exp) if process.pid != os.getpid()]
    assert len(others) < 2
    for process in others:
        process.kill()


def no_locks(fd: int, how: int) -> None:
    raise OSError(errno.ENOLCK, "No locks available")
