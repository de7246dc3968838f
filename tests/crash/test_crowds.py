"""Many processes that log at once: none waits for another, nothing is lost, and each keeps its order."""

from __future__ import annotations

import multiprocessing
import os

import pytest
from contracts.evidence import assert_complete, lines

import mlv
from mlv.audit.verify import verify

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here"),
    # Python 3.12 warns of forks in processes with threads, which a test runner is: it is right, and this is what is tested.
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning"),
]

EXPERIMENTS = 64
CHILDREN = 16
COUNT = 500


def at_once(task, count):
    """Call a function with numbers, each in a forked process; all begin when the last is there."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(count)

    def run(number):
        barrier.wait(60)
        task(number)

    processes = [context.Process(target=run, args=(number,)) for number in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(90)
    assert [process.exitcode for process in processes] == [0] * count


def log_into(exp):
    val = exp.logger("val")
    for i in range(COUNT):
        (val if i % 2 else exp.log)({"i": i}, step=i)


def assert_in_order(exp, runs):
    """In each stream each of the runs has its numbers in their order, and none is missing."""
    for stream, first in (("log", 0), ("val", 1)):
        found = {}
        for event in lines(exp.path, stream):
            if event["type"] == "metrics":
                found.setdefault(event["run"], []).append(event["data"]["i"])
        assert found == {run: list(range(first, COUNT, 2)) for run in runs}


@pytest.mark.timeout(300)
def test_processes_with_an_experiment_each(tmp_path):
    """64 processes that make and fill 64 experiments of one root at once do so side by side."""

    def task(number):
        with mlv.Exp(tmp_path, "exp", capture=()) as exp:  # one name: each finds another suffix
            log_into(exp)

    at_once(task, EXPERIMENTS)

    made = mlv.find(tmp_path)
    assert len(made) == EXPERIMENTS
    for exp in made:
        assert exp.status == "ok"
        assert_in_order(exp, [run.id for run in exp.runs])
        assert_complete(exp.path)


def test_children_of_one_experiment(tmp_path):
    """16 children that log at once into their parent's experiment have a run each, in the same two files."""
    exp = mlv.Exp(tmp_path, "exp", capture=())
    exp.log.info("before")

    def task(number):
        log_into(exp)
        exp.close()

    at_once(task, CHILDREN)
    exp.close()

    [run] = exp.runs
    assert [child.status for child in run.children] == ["ok"] * CHILDREN
    assert_in_order(exp, [child.id for child in run.children])
    assert_complete(exp.path)
    assert verify(exp.path).verdict == "intact"
