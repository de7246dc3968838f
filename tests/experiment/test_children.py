"""Experiments and loggers in threads, and in children of every kind."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import fork, wait_until

from mlv import Exp, Logger

METHODS = [
    pytest.param(method, id=method)
    for method in ("fork", "spawn", "forkserver")
    if method in multiprocessing.get_all_start_methods()
]
# Python 3.12 warns of forks in processes with threads, which a test runner is: it is right, and this is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")


def in_child(target: Exp | Logger, number: int) -> None:
    log = target.log if isinstance(target, Exp) else target
    for index in range(10):
        log({"child": number, "index": index})


def failing_child(exp: Exp) -> None:
    exp.log({"child": 1})
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - its traceback is not this test's
    raise ValueError("in the child")


def exiting_child(exp: Exp) -> None:
    for index in range(100):
        exp.log({"index": index})
    os._exit(7)


def returning(log: Logger) -> tuple[int, Logger]:
    log({"worker": os.getpid()})
    return os.getpid(), log


def sealed(exp: Exp) -> bool:
    """Whether every run has ended, and every line is sealed."""
    runs = [run for main in exp.runs for run in (main, *main.children)]
    seals = {event.data["of"] for event in exp.events("seal")}
    return all(run.id in seals for run in runs if run.id != exp.runs[-1].id)


class TestChildren:
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("travels", ["exp", "log"])
    def test_multiprocessing(self, exp, log, method, travels):
        """A child has a run of its own, which names its parent's; all its events are there, in order."""
        context = multiprocessing.get_context(method)
        log({"before": 1})
        processes = [context.Process(target=in_child, args=(exp if travels == "exp" else log, number)) for number in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
            assert process.exitcode == 0
        log({"after": 1})

        wait_until(lambda: all(child.status == "ok" for child in exp.runs[-1].children))
        main = exp.runs[-1]
        assert [run.status for run in main.children] == ["ok", "ok"]
        assert all(child.parent_run == main.id for child in main.children)
        assert exp.status == "running"
        for child in main.children:
            mine = [event for event in exp.events("metrics") if event.run == child.id]
            assert [event.data["index"] for event in mine] == list(range(10))
            assert len({event.data["child"] for event in mine}) == 1

    @pytest.mark.parametrize("method", METHODS)
    def test_a_failing_child(self, exp, method):
        """A child that fails says so itself, with its traceback; the parent goes on."""
        process = multiprocessing.get_context(method).Process(target=failing_child, args=(exp,))
        process.start()
        process.join(60)

        wait_until(lambda: exp.runs[-1].children and exp.runs[-1].children[0].status != "running")
        [child] = exp.runs[-1].children
        assert (child.status, exp.status) == ("failed", "running")
        assert child.exception["message"] == "in the child"

    @pytest.mark.parametrize("method", METHODS)
    def test_a_child_that_vanishes(self, exp, method):
        """What a child logged before `os._exit` is there."""
        process = multiprocessing.get_context(method).Process(target=exiting_child, args=(exp,), daemon=True)
        process.start()
        process.join(60)
        assert process.exitcode == 7

        wait_until(lambda: exp.runs[-1].children and exp.runs[-1].children[0].status == "killed")
        assert [event.data["index"] for event in exp.events("metrics")] == list(range(100))

    @pytest.mark.parametrize("method", METHODS)
    def test_a_daemonic_child_that_is_terminated(self, exp, log, method):
        """Workers that are killed while they log, as those of a DataLoader are, lose nothing of what they logged."""
        context = multiprocessing.get_context(method)
        here, there = context.Pipe()
        process = context.Process(target=_log_until_killed, args=(log, there), daemon=True)
        process.start()
        count = here.recv()
        process.kill()
        process.join(60)

        wait_until(lambda: exp.runs[-1].children and exp.runs[-1].children[0].status == "killed")
        found = [event.data["index"] for event in exp.events("metrics")]
        assert found == list(range(len(found)))
        assert len(found) >= count

    def test_a_pool(self, exp, log):
        """Loggers travel into workers and back; at home they are the same logger."""
        with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
            results = list(pool.map(returning, [log.sub("a").at(b=1)] * 4))

        assert all(back == log.sub("a").at(b=1) for _, back in results)
        events = list(exp.events("metrics"))
        assert sorted(event.data["worker"] for event in events) == sorted(pid for pid, _ in results)
        assert {(event.name, event.at["b"]) for event in events} == {("a", 1)}

    def test_children_capture_nothing(self, tmp_path):
        """A child's `run_started` names its parent run, its process and its folder, and nothing of the surroundings."""
        with Exp(tmp_path, "exp", capture=["script"]) as exp:
            process = multiprocessing.get_context("spawn").Process(target=in_child, args=(exp, 1))
            process.start()
            process.join(60)
            wait_until(lambda: exp.runs[-1].children)

        _, child = exp.events("run_started")
        assert set(child.data) == {"exp", "folder", "parent_run", "process"}
        assert child.data["process"]["pid"] == process.pid


def _log_until_killed(log: Logger, pipe: Any) -> None:
    for index in range(10**9):
        log({"index": index})
        if index == 500:
            pipe.send(index)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
class TestFork:
    def test_both_go_on(self, exp, log):
        """After a fork each process has a run of its own, and no event is lost or doubled."""
        log({"who": "before"})
        pid = fork(lambda: [log({"who": "child"}) for _ in range(100)])
        for _ in range(100):
            log({"who": "parent"})
        os.waitpid(pid, 0)

        wait_until(lambda: exp.runs[-1].children and exp.runs[-1].children[0].status == "killed")
        said = [event.data["who"] for event in exp.events("metrics")]
        assert (said.count("before"), said.count("child"), said.count("parent")) == (1, 100, 100)
        for run in (exp.runs[-1], *exp.runs[-1].children):
            seqs = [event.seq for event in exp.events() if event.run == run.id]
            assert seqs == list(range(1, len(seqs) + 1))

    def test_a_child_that_says_nothing(self, exp, log):
        """A child that does not log leaves no trace, and does not end its parent's run."""
        pid = fork(lambda: exp.close("failed"))
        os.waitpid(pid, 0)
        log({"a": 1})

        assert (exp.status, exp.runs[-1].children) == ("running", ())

    def test_a_child_that_ends_well(self, python, tmp_path):
        """A forked child that ends as scripts end closes its own run, not its parent's."""
        python(
            """
            import mlv, os
            exp = mlv.Exp("runs", "exp", capture=())
            exp.log({"who": "before"})
            pid = os.fork()
            exp.log({"who": "child" if pid == 0 else "parent"})
            if pid:
                os.waitpid(pid, 0)
                exp.log({"who": "after"})
            """
        )

        exp = Exp.open(tmp_path / "runs" / "exp")
        assert (exp.status, [child.status for child in exp.runs[-1].children]) == ("ok", ["ok"])
        assert sorted(event.data["who"] for event in exp.events("metrics")) == ["after", "before", "child", "parent"]

    def test_grandchildren(self, exp, log):
        """A child of a child names the child's run."""
        log({"level": 0})

        def descend() -> None:
            log({"level": 1})
            fork(lambda: log({"level": 2}))
            os.wait()

        pid = fork(descend)
        os.waitpid(pid, 0)

        wait_until(lambda: len(list(exp.events("metrics"))) == 3)
        [child] = exp.runs[-1].children
        assert [grandchild.parent_run for grandchild in child.children] == [child.id]

    def test_forks_while_threads_log(self, python, tmp_path):
        """Forks in the middle of other threads' calls harm neither side."""
        done = python(
            """
            import mlv, os, threading, warnings
            warnings.simplefilter("ignore", DeprecationWarning)
            exp = mlv.Exp("runs", "exp", capture=())
            stop = threading.Event()
            counts = [0] * 3

            def work(number):
                while not stop.is_set():
                    exp.log({"thread": number, "count": counts[number]})
                    counts[number] += 1

            threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
            for thread in threads: thread.start()
            for child in range(20):
                pid = os.fork()
                if pid == 0:
                    exp.log({"child": child})
                    os._exit(0)
                os.waitpid(pid, 0)
            stop.set()
            for thread in threads: thread.join()
            print(counts)
            """,
            timeout=100,
        )

        assert done.returncode == 0, done.stderr
        exp = Exp.open(tmp_path / "runs" / "exp")
        wait_until(lambda: all(child.status != "running" for child in exp.runs[0].children))
        data = [event.data for event in exp.events("metrics")]
        assert sorted(found["child"] for found in data if "child" in found) == list(range(20))
        for number, count in enumerate(eval(done.stdout)):
            assert [found["count"] for found in data if found.get("thread") == number] == list(range(count))


class TestThreads:
    def test_many_threads(self, exp, log):
        """Threads that log at once lose nothing, and each one's events are in its order."""
        barrier = threading.Barrier(8)

        def work(number: int) -> None:
            mine = log.sub(f"t{number}")
            barrier.wait()
            for index in range(500):
                mine({"index": index}) if index % 2 else mine("index", {"index": index})

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))

        run = exp.runs[-1].id
        events = [event for event in exp.events() if event.run == run]
        assert [event.seq for event in events] == list(range(1, 8 * 500 + 2))
        for number in range(8):
            mine = [event.data["index"] for event in events if event.name.split("/")[0] == f"t{number}"]
            assert mine == list(range(500))

    def test_closing_while_others_log(self, tmp_path):
        """A thread that logs while another one closes gets no error; what was accepted is there."""
        exp = Exp(tmp_path, "exp", capture=())
        log, errors, started = exp.log, [], threading.Event()

        def work() -> None:
            try:
                for index in range(3000):
                    log({"index": index})
                    started.set()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        started.wait(60)
        exp.close()
        thread.join(60)

        assert errors == []
        found = [event.data["index"] for event in exp.events("metrics")]
        assert found == list(range(len(found)))

    def test_made_in_threads(self, tmp_path):
        """Threads that ask for the same name get experiments of their own."""
        with ThreadPoolExecutor(8) as pool:
            exps = list(pool.map(lambda number: Exp(tmp_path, "exp", {"n": number}, capture=()), range(8)))

        assert len({exp.path for exp in exps}) == 8


class TestPickling:
    def test_at_home(self, exp):
        """An Exp that comes back to its own process is the same run."""
        again = pickle.loads(pickle.dumps(exp))
        again.log({"a": 1})

        assert again == exp
        assert len(exp.runs) == 1
        assert again.params == exp.params

    def test_small(self, exp):
        """What travels is a path and a few names."""
        assert len(pickle.dumps(exp)) < 500 + len(str(exp.path))

    def test_away(self, tmp_path, python):
        """Elsewhere it is a run of its own that names the one it came from."""
        with Exp(tmp_path / "runs", "exp", {"lr": 0.1}, capture=()) as exp:
            (tmp_path / "pickled").write_bytes(pickle.dumps((exp, exp.log.sub("a").at(b=1))))
            done = python(
                """
                import pickle
                with open("pickled", "rb") as file:
                    exp, log = pickle.load(file)
                print(exp["lr"])
                log({"c": 1})
                """
            )

            assert done.stdout == "0.1\n", done.stderr
            assert done.stderr == ""
            [event] = exp.events("metrics")
            assert (event.name, event.at, event.data) == ("a", {"b": 1}, {"c": 1})
            assert [child.id for child in exp.runs[-1].children] == [event.run]

    def test_cloudpickle_and_joblib(self, exp, log):
        """Other picklers carry it as well."""
        joblib = pytest.importorskip("joblib")

        results = joblib.Parallel(2)(joblib.delayed(returning)(log) for _ in range(2))

        wait_until(lambda: len(list(exp.events("metrics"))) == 2)
        assert all(back == log for _, back in results)
        _stop_workers()


def _stop_workers() -> None:
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True)


def test_paths(tmp_path: Path) -> None:
    """An experiment can be reached by several names of its folder; it is one."""
    (tmp_path / "link").symlink_to(tmp_path)
    with Exp(tmp_path / "link", "exp", capture=()) as exp:
        Exp.open(tmp_path / "exp").log({"a": 1})
        exp.log({"a": 2})

        assert len(exp.runs) == 1
