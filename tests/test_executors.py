"""Tasks on executors: the same results in the same order on each, whatever becomes of the workers."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context

import psutil
import pytest
import work
from conftest import EXECUTORS, wait_until

from mlv.errors import InvalidArgument, MlvWarning, TaskNotDone, UnknownMetric
from mlv.executors import TRIES, executor_of, run_tasks
from mlv.remote_tasks import answer_elsewhere


def is_alive(path):
    """Whether the process runs that a file is named after."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(int(path.name)).status() != psutil.STATUS_ZOMBIE
    return False


@contextmanager
def scheduler(path):
    """A Dask scheduler without workers, and its address."""
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    command += ["--scheduler-file", str(path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: path.exists() and path.read_bytes().endswith(b"}"))
            yield process, json.loads(path.read_bytes())["address"]
        finally:
            process.kill()


def results(on, function, tasks):
    with executor_of(on) as executor:
        return list(run_tasks(executor, function, tasks))


@pytest.mark.parametrize("on", EXECUTORS, indirect=True)
class TestEverywhere:
    """The promises that every executor keeps."""

    def test_order(self, on):
        """Results come in the order of the tasks, also where later tasks end sooner."""
        assert results(on, work.delayed, range(5)) == [0, 1, 2, 3, 4]
        assert results(on, work.delayed, []) == []

    def test_exception(self, on):
        """The exception of a task is raised as it is; the results before it have come."""
        before = []
        with executor_of(on) as executor, pytest.raises(UnknownMetric, match="nobody logged it") as caught:
            before.extend(run_tasks(executor, work.fail_at_two, range(4)))
        with executor_of(on) as executor:
            answers = run_tasks(executor, work.fail_at_two, range(4))

            assert [next(answers), next(answers)] == [0, 1]
        assert caught.value.name == "loss"

    def test_warnings(self, on):
        """Warnings of tasks are shown here, in the order of the tasks; those of other processes at the line that has called."""
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("always", MlvWarning)
            results(on, work.warn_each, range(3))

        own = [warning for warning in shown if issubclass(warning.category, MlvWarning)]
        assert [str(warning.message) for warning in own] == ["of 0", "of 1", "of 2"]
        assert {warning.filename for warning in own} == {work.__file__ if on is None else __file__}


@pytest.mark.parametrize("on", ["number", "dask"], indirect=True)
class TestDeath:
    """Workers that are killed."""

    def test_killed(self, on, tmp_path):
        """A killed worker costs a retry: each result is there, and once."""
        assert results(on, work.dying_once, [(str(tmp_path), n) for n in range(8)]) == list(range(8))
        tries = {path.name for path in tmp_path.iterdir() if path.name[0] in "25"}
        assert tries >= {"2-0", "2-1", "5-0", "5-1"}
        # Dask runs a task once more if the worker that still holds its result is killed.
        assert isinstance(on, str) or tries == {"2-0", "2-1", "5-0", "5-1"}

    def test_killed_from_outside(self, on, tmp_path):
        """A worker that somebody kills in the middle of a task is replaced."""
        with executor_of(on) as executor:
            victim = next(run_tasks(executor, work.pid, [1]))
            os.kill(victim, signal.SIGKILL)

            assert list(run_tasks(executor, work.square, range(6))) == [0, 1, 4, 9, 16, 25]
            assert victim not in set(run_tasks(executor, work.pid, range(6)))

    def test_always(self, on, tmp_path):
        """A task that every worker dies of is given up with its name."""
        with pytest.raises(TaskNotDone, match=f"the task {tmp_path} ") as caught:
            results(on, work.dying, [str(tmp_path)])

        assert caught.value.task == str(tmp_path)
        assert TRIES <= len(list(tmp_path.iterdir())) <= TRIES + 1


def test_broken_pool(tmp_path):
    """A pool of the caller's own is not replaced: a killed worker ends it, and the error says so."""
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))

    with pool, pytest.raises(TaskNotDone, match=r"is not taken by the executor \(BrokenProcessPool"):
        results(pool, work.dying, [str(tmp_path)])


def test_own_executor_stays_open():
    """An executor of the caller's own is not shut down."""
    with ThreadPoolExecutor(1) as threads:
        assert results(threads, work.square, [3]) == [9]
        assert threads.submit(work.square, 4).result() == 16


def test_shut_down_executor():
    """An executor that takes nothing any more is named as the reason."""
    threads = ThreadPoolExecutor(1)
    threads.shutdown()

    with pytest.raises(TaskNotDone, match=r"the task 3 is not taken by the executor .*shutdown"):
        results(threads, work.square, [3])


@pytest.mark.parametrize(
    ("on", "text"),
    [
        (0, "on=0: give a number of processes, 1 or more"),
        (10**6, "on=1000000: give a number of processes, 1 or more and at most 1024; None is this process"),
        (-2, "on=-2: give a number of processes, 1 or more"),
        ("processes:0", "on=0: give a number of processes, 1 or more"),
        ("processes:-1", "on='processes:-1' is no number of processes: give a number of processes, 'processes:4'"),
        ("processes:four", "on='processes:four' is no number of processes"),
        ("4", "on='4' is text; for processes it is 'processes:4'"),
        ("", "on='' names no executor"),
        ("all", "on='all' names no executor"),
        ("ray://head:10001", "on='ray://head:10001' has the unknown scheme 'ray'"),
        ("dask://head", "on='dask://head' is no address of a scheduler"),
        ("dask:head:8786", "on='dask:head:8786' is no address of a scheduler"),
        (True, "on=True is of type bool, and names no executor"),
        (2.0, "on=2.0 is of type float, and names no executor"),
        (ThreadPoolExecutor, "is of type type, a class, and names no executor"),
    ],
    ids=str,
)
def test_bad_values(on, text):
    """What names no executor is refused, with what would."""
    with pytest.raises(InvalidArgument, match=text), executor_of(on):
        pass


def test_cannot_be_sent():
    """A function that cannot be sent to a process is refused at once; in this process it is none that has to be."""
    with pytest.raises(InvalidArgument, match=r"<lambda>.* cannot be sent to another process"):
        results(2, lambda number: number, [1])

    assert results(None, lambda number: number, [1]) == [1]


def test_answers_that_cannot_be_sent():
    """Of a result, or an exception, that cannot be sent back, the reason is told."""
    with pytest.raises(TaskNotDone, match="a task failed in its worker: its result cannot be sent: TypeError: cannot pickle"):
        results(1, work.lock, [1])
    with pytest.raises(TaskNotDone, match="a task failed in its worker: OddError: one") as caught:
        results(1, work.odd_error, [1])

    assert "in odd_error" in str(caught.value.__cause__)


def test_other_version():
    """A worker with another mlv runs nothing: its results could differ."""
    answer, _ = pickle.loads(answer_elsewhere("0.0.1", b""))

    assert isinstance(answer.error, TaskNotDone)
    assert "install 0.0.1 there, as here" in str(answer.error)


def test_printing():
    """What a task prints does not come between the answers."""
    assert results(1, work.printed, range(3)) == [0, 1, 2]


def test_one_thread():
    """A task keeps to one thread: every core has a task already."""
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    [(arrow, readers)] = results(1, work.threads, [0])

    assert (arrow, len(readers)) == (1, 1)


def test_few_in_flight():
    """Of many tasks only some are taken before their results are."""
    taken = []
    with executor_of(2) as executor:
        answers = run_tasks(executor, work.square, (taken.append(n) or n for n in range(1000)))
        assert next(answers) == 0

        assert len(taken) <= 5


class TestNobodyIsLeft:
    """Processes end with whoever started them."""

    def test_early_end(self, tmp_path):
        """Leaving the block ends processes in the middle of a task."""
        with pytest.raises(UnknownMetric, match="enough"):
            results(2, work.fail_beside, [(str(tmp_path), 0), (str(tmp_path), 1)])

        assert not any(map(is_alive, tmp_path.iterdir()))

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
    def test_signal(self, number, tmp_path):
        """A signal that ends the script ends its processes: nobody waits for the end of their tasks but after a kill."""
        task = work.announced if number == signal.SIGINT else work.short
        script = f"""
import work
from mlv.executors import executor_of, run_tasks
with executor_of(2) as executor:
    list(run_tasks(executor, work.{task.__name__}, [{str(tmp_path)!r}] * 2))
"""
        environ = {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}
        with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, env=environ, text=True) as process:
            wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)

        assert process.returncode == -number
        assert "KeyboardInterrupt" in errors or number != signal.SIGINT
        wait_until(lambda: not any(map(is_alive, tmp_path.iterdir())))


def test_without_a_guard(python):
    """A script needs no `if __name__ == "__main__"`: its processes do not import it."""
    done = python(
        """
        print("begins")
        from mlv.executors import executor_of, run_tasks
        from mlv.words import counted
        from functools import partial
        with executor_of(2) as executor:
            print(list(run_tasks(executor, partial(counted, noun="run"), [1, 2])))
        """
    )

    assert (done.stdout.splitlines(), done.stderr) == (["begins", "['1 run', '2 runs']"], "")


class TestDask:
    """What only Dask has."""

    def test_nobody_answers(self):
        """A scheduler that is not there is named."""
        dask = pytest.importorskip("dask", reason="dask is not installed")
        pytest.importorskip("distributed", reason="distributed is not installed")
        is_patient = dask.config.set({"distributed.comm.timeouts.connect": "0.5s"})

        with is_patient, pytest.raises(TaskNotDone, match=r"no Dask scheduler answers at dask://127\.0\.0\.1:9"):
            results("dask://127.0.0.1:9", work.square, [1])

    @pytest.mark.parametrize("is_own", [False, True], ids=["address", "own client"])
    def test_gone(self, is_own, tmp_path):
        """A scheduler that ends in the middle is a clear error, and no wait without end."""
        dask = pytest.importorskip("dask", reason="dask is not installed")
        distributed = pytest.importorskip("distributed", reason="distributed is not installed")
        is_patient = dask.config.set({"distributed.comm.timeouts.connect": "1s"})
        with is_patient, scheduler(tmp_path / "address") as (process, address):
            client = distributed.Client(address, set_as_default=False) if is_own else None
            on = client.get_executor() if client is not None else address.replace("tcp://", "dask://")
            with executor_of(on) as executor:
                process.kill()

                with pytest.raises(TaskNotDone, match=r"the Dask scheduler is gone|is not taken by"):
                    list(run_tasks(executor, work.square, [1]))
