"""Who may end a run: the object that began it, or the last of those that wrote; nobody else, whatever is closed or dropped."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until

import mlv
from mlv import Exp, MlvWarning


def logged(exp: Exp) -> list[tuple[str, int]]:
    """Run and value of each metric."""
    return [(event.run, event.data["i"]) for event in exp.events("metrics")]


def opened_by_find(exp: Exp) -> Exp:
    [found] = mlv.find(exp.path.parent)
    return Exp.open(found.path)


WAYS: dict[str, Callable[[Exp], Exp]] = {
    "open": lambda exp: Exp.open(exp.path),
    "open a link": lambda exp: Exp.open(_link(exp.path)),
    "on_exists": lambda exp: Exp(exp.path.parent, exp.name, on_exists="open", capture=()),
    "pickle": lambda exp: pickle.loads(pickle.dumps(exp)),
    "deepcopy": copy.deepcopy,
    "find": opened_by_find,
}


def _link(path: Path) -> Path:
    link = path.with_name("link")
    link.symlink_to(path)
    return link


def leave_by_exception(other: Exp) -> None:
    with pytest.raises(ValueError, match="no"), other:
        raise ValueError("no")


def use_twice(other: Exp) -> None:
    with other, other:
        pass


LEAVE: dict[str, Callable[[Exp], object]] = {
    "close": Exp.close,
    "with": lambda other: other.__exit__(None, None, None),
    "exception": leave_by_exception,
    "twice": use_twice,
    "dropped": lambda other: None,
}


@pytest.mark.parametrize(("way", "leave"), [*((way, "close") for way in WAYS), *(("open", leave) for leave in LEAVE)])
@pytest.mark.parametrize("channel", ["ring", "inline"])
def test_another_object(tmp_path, monkeypatch, way, leave, channel):
    """W3: another object of a running experiment may be read, closed or dropped; the run goes on as its maker says."""
    monkeypatch.setenv("MLV_INLINE", "1" if channel == "inline" else "0")
    exp = Exp(tmp_path, "exp", capture=(), system=False)
    exp.log({"i": 0})
    other = WAYS[way](exp)
    assert [value for _, value in logged(other)] == [0]
    LEAVE[leave](other)
    del other
    gc.collect()
    exp.log({"i": 1})
    assert exp.status == "running"
    exp.close()

    assert [value for _, value in logged(exp)] == [0, 1]
    assert [run.status for run in exp.runs] == ["ok"]


def test_sub_exps_and_parent(tmp_path):
    """W3: what `sub_exps` and `parent` give may be closed as well."""
    with Exp(tmp_path, "exp", capture=(), system=False) as exp:
        (tmp_path / "exp" / "model").write_bytes(b"m")
        with mlv.init_sub_exp(tmp_path / "exp" / "model", "squeeze") as sub:
            for other in (*exp.sub_exps, sub.parent):
                other.close()
            sub.log({"i": 1})
            exp.log({"i": 2})

    assert ([value for _, value in logged(sub)], [value for _, value in logged(exp)]) == ([1], [2])
    assert (sub.status, exp.status) == ("ok", "ok")


class TestWriters:
    """An object that wrote as well."""

    def test_the_maker_ends(self, tmp_path):
        """The maker ends the run; who goes on afterwards begins another, and nothing is lost."""
        exp = Exp(tmp_path, "exp", capture=(), system=False)
        other = Exp.open(exp.path, capture=())
        other.log({"i": 0})
        exp.close()
        other.log({"i": 1})
        other.close()

        (first, zero), (second, one) = logged(exp)
        assert (zero, one, first != second) == (0, 1, True)
        assert [run.status for run in exp.runs] == ["ok", "ok"]

    def test_the_last_one_ends(self, tmp_path):
        """When the maker is gone, the last of those that wrote ends the run, as it says."""
        exp = Exp(tmp_path, "exp", capture=(), system=False)
        others = [Exp.open(exp.path), Exp.open(exp.path)]
        for other in others:
            other.log({"i": 0})
        del exp
        others[0].close()
        others[1].log({"i": 1})
        assert others[0].status == "running"
        others[1].close("interrupted")

        assert [run.status for run in others[0].runs] == ["interrupted"]
        assert len(logged(others[0])) == 3

    def test_closed_is_closed(self, tmp_path):
        """A copy that was closed stores nothing more, though the run goes on."""
        with Exp(tmp_path, "exp", capture=(), system=False) as exp:
            other = Exp.open(exp.path)
            other.log({"i": 0})
            other.close()
            with pytest.warns(MlvWarning, match=r"after close\(\)"):
                other.log({"i": 1})
            with pytest.warns(MlvWarning, match=r"after close\(\)"):
                other.add_tags("late")
            exp.log({"i": 2})

        assert [value for _, value in logged(exp)] == [0, 2]
        assert exp.tags == ()

    def test_a_status_that_ends_nothing(self, tmp_path):
        """A status given to a copy that ends nothing is said to be lost."""
        exp = Exp(tmp_path, "exp", capture=(), system=False)
        with pytest.warns(MlvWarning, match=r"close\('failed'\) ends nothing: run r\w+ goes on"):
            Exp.open(exp.path).close("failed")
        exp.close()

        assert exp.status == "ok"

    def test_threads(self, tmp_path):
        """Threads that open, log and close at the same time share the run."""
        exp = Exp(tmp_path, "exp", capture=(), system=False)

        def work(number: int) -> None:
            with Exp.open(exp.path) as other:
                for i in range(20):
                    other.log({"i": number * 20 + i})

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        exp.close()

        assert sorted(value for _, value in logged(exp)) == list(range(160))
        assert [run.status for run in exp.runs] == ["ok"]

    def test_a_reader_keeps_nothing_going(self, tmp_path):
        """A run ends with the last who can write, also while somebody holds an object to read."""
        exp = Exp(tmp_path, "exp", capture=(), system=False)
        exp.log({"i": 0})
        reader = Exp.open(exp.path)
        del exp
        gc.collect()

        wait_until(lambda: reader.status != "running")
        assert reader.status == "ok"
        reader.log({"i": 1})
        reader.close()
        assert len(reader.runs) == 2

    def test_loggers_count(self, tmp_path):
        """A logger of the maker is the maker still."""
        log = Exp(tmp_path, "exp", capture=(), system=False).log
        other = Exp.open(tmp_path / "exp")
        other.log({"i": 0})
        other.close()
        log({"i": 1})
        assert Exp.open(tmp_path / "exp").status == "running"
        del log

        assert [value for _, value in logged(Exp.open(tmp_path / "exp"))] == [0, 1]


FORKS = {
    "nothing": "pass",
    "close": "exp.close(); exp.close('failed')",
    "with": "exp.__exit__(ValueError, ValueError('no'), None)",
    "drop": "del exp",
    "an opened one": "mlv.Exp.open('runs/exp').close('failed')",
    "its own run": "exp.log({'i': 9}); exp.close('failed')",
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(3)"])
@pytest.mark.parametrize("what", FORKS)
def test_a_fork(python, tmp_path, what, end):
    """What a forked child closes, drops or leaves is its own; the parent's run goes on."""
    done = python(
        f"""
        import mlv, os, sys, warnings
        exp = mlv.Exp("runs", "exp", capture=(), system=False)
        exp.log({{"i": 0}})
        pid = os.fork()
        if not pid:
            warnings.simplefilter("ignore")
            {FORKS[what]}
            {end}
        os.waitpid(pid, 0)
        exp.log({{"i": 1}})
        print(exp.status)
        """
    )

    exp = Exp.open(tmp_path / "runs" / "exp")
    assert done.stdout == "running\n", done.stderr
    assert [run.status for run in exp.runs] == ["ok"]
    assert [event.data["i"] for event in exp.events("metrics") if event.run == exp.runs[0].id] == [0, 1]


hypothesis = pytest.importorskip("hypothesis")
from hypothesis import settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:logged into")


class Owners(RuleBasedStateMachine):
    """Objects of one experiment in one process, in any order of opening, logging, annotating, closing and dropping.

    The model: one run at a time, its maker and its writers; what is logged goes into it, and each value is stored once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.objects: dict[int, Exp] = {}
        self.closed: set[int] = set()
        self.writers: set[int] = set()
        self.maker: int | None = None
        self.runs: list[str] = []
        """The status of each, in order; how one is judged that was dropped, other tests say."""
        self.values: list[tuple[int, int]] = []
        """Run and value of all that was logged."""
        self.tags: list[str] = []
        self.count = 0
        self.path = self.root / "exp"
        self.make()

    def make(self) -> None:
        number = self._add(Exp(self.root, "exp", capture=(), system=False))
        self.join(number)

    def _add(self, exp: Exp) -> int:
        self.count += 1
        self.objects[self.count] = exp
        return self.count

    def join(self, number: int) -> None:
        if not self.writers:
            self.runs.append("running")
            self.maker = number
        self.writers.add(number)

    def leave(self, number: int, status: str, is_closed: bool) -> None:
        is_over = self.writers == {number} or (is_closed and self.maker == number)
        self.writers.discard(number)
        self.maker = None if self.maker == number else self.maker
        if is_over:
            self.runs[-1] = status
            self.writers, self.maker = set(), None

    def chosen(self, data: Any) -> int:
        return data.draw(st.sampled_from(sorted(self.objects)))  # type: ignore[no-any-return]

    @rule(way=st.sampled_from(["open", "again", "pickle"]), data=st.data())
    @precondition(lambda self: len(self.objects) < 5)
    def open(self, way: str, data: Any) -> None:
        if way == "pickle" and self.objects:
            self._add(pickle.loads(pickle.dumps(self.objects[self.chosen(data)])))
        elif way == "again":
            self.join(self._add(Exp(self.root, "exp", on_exists="open", capture=(), system=False)))
        else:
            self._add(Exp.open(self.path, capture=(), system=False))

    @rule(data=st.data())
    @precondition(lambda self: self.objects)
    def log(self, data: Any) -> None:
        number, value = self.chosen(data), len(self.values)
        self.objects[number].log({"i": value})
        if number not in self.closed:
            self.join(number)
            self.values.append((len(self.runs) - 1, value))

    @rule(data=st.data())
    @precondition(lambda self: self.objects)
    def tag(self, data: Any) -> None:
        number, tag = self.chosen(data), f"t{len(self.tags)}"
        self.objects[number].add_tags(tag)
        if number not in self.closed:
            self.tags.append(tag)

    @rule(data=st.data(), status=st.sampled_from(["ok", "failed"]))
    @precondition(lambda self: self.objects)
    def leave_block(self, data: Any, status: str) -> None:
        number = self.chosen(data)
        error = ValueError("no") if status == "failed" else None
        self.objects[number].__exit__(type(error) if error else None, error, None)
        if number not in self.closed:
            self.closed.add(number)
            if number in self.writers:
                self.leave(number, status, is_closed=True)

    @rule(data=st.data())
    @precondition(lambda self: self.objects)
    def drop(self, data: Any) -> None:
        number = self.chosen(data)
        del self.objects[number]
        if number in self.writers:
            self.leave(number, "dropped", is_closed=False)

    @invariant()
    def agrees(self) -> None:
        # Through an object of the process, which waits for what was logged in it; it writes nothing.
        exp = Exp.open(self.path)
        runs = exp.runs
        assert len(runs) == len(self.runs)
        for run, status in zip(runs, self.runs, strict=True):
            assert run.status == status or (status == "dropped" and run.status in ("ok", "ended"))
        numbers = {run.id: number for number, run in enumerate(runs)}
        assert [(numbers[event.run], event.data["i"]) for event in exp.events("metrics")] == self.values
        assert list(exp.tags) == self.tags

    def teardown(self) -> None:
        for number in list(self.objects):
            self.objects.pop(number).close()
        shutil.rmtree(self.root, ignore_errors=True)


@pytest.mark.timeout(600)  # a failure is made smaller for up to five minutes
@pytest.mark.usefixtures("inline")
def test_any_order():
    """Any order of opening, logging, tagging, closing and dropping gives the runs, values and tags that the rule says."""
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(Owners, settings=settings(max_examples=20, stateful_step_count=12, deadline=None, database=None))
