"""The contract of an output: what a projection keeps while a run goes on is what the log gives afterwards, whatever happens."""

from __future__ import annotations

import pickle
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest
from conftest import wait_until
from logs import line, write
from projections.lines import followed

from mlv import Exp, projections
from mlv.projections import replay
from mlv.projections.outputs import checked_outputs, output_class
from mlv.projections.position import read
from mlv.projections.replaying import Replay, is_up_to_date
from mlv.store import layout

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Point = tuple[float, float]


def metric(run: str, seq: int, step: float | None, **data: float) -> bytes:
    """A line of metrics."""
    return line(run, seq, "metrics", seq % 60, data=data, **({} if step is None else {"step": step}))


def rewound(run: str, step: float, last: dict[str, int], seq: int = 1) -> bytes:
    """The line of a rewind."""
    return line(run, seq, "rewound", 10, data={"step": step, "last": last})


def add(folder: Path, *lines: bytes, stream: str = "log") -> None:
    """Append lines to a stream of an experiment."""
    with open(folder / layout.stream_file(stream), "ab") as file:
        file.writelines(lines)


FIRST = [metric("r1", step + 1, step, x=step) for step in range(6)]
SECOND = [metric("r2", step, step, x=-step) for step in (3, 4)]
SURVIVING = [(0, 0), (1, 1), (2, 2), (3, -3), (4, -4)]

ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("log"), st.one_of(st.none(), st.integers(-2, 6))),
        st.tuples(st.just("rewind"), st.integers(-3, 5)),
        st.tuples(st.sampled_from(["look", "commit", "kill"]), st.none()),
    ),
    max_size=20,
)
DAMAGES = (
    *({"streams": {"log": {"offset": offset, "before": "x"}}} for offset in (10**9, -5, "abc", None)),
    *({"resume": resume} for resume in ({}, "text", 3, [])),
    {"exp": 3},
    {"more": 1},
)
"""What a position file may say after somebody else wrote it."""


def leading_out(resume: Any, way: str) -> Any:
    """The state of an output with all names of its files and streams behind a way elsewhere."""
    named = ("commits", "files", "series", "streams")
    return {
        key: {way + name: entry for name, entry in value.items()} if key in named and isinstance(value, dict) else value
        for key, value in resume.items()
    }


class ProjectionContract:
    """Inherit, and give the class of the output and `points`, which reads back what it wrote."""

    kind: ClassVar[type[Any]]
    needs: ClassVar[tuple[str, ...]] = ()
    """Modules that `points` needs beside those that the output needs."""
    has_whole_steps: ClassVar[bool] = False
    """Whether steps are cut to integers."""
    joins_writers: ClassVar[bool] = False
    """Whether `points` gives what several writers put into a stream together."""

    def points(self, folder: Path, name: str, stream: str = "log") -> list[Point]:
        """Steps and values of a metric, in their order; none where there is no such metric."""
        raise NotImplementedError

    def files(self, folder: Path) -> dict[str, bytes]:
        """What lies in a folder of the output, but for mlv's notes and what was set aside; nothing where times are in it."""
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".") and ".before-" not in str(path)
        }

    @pytest.fixture(autouse=True)
    def _packages(self) -> None:
        for module in (*self.kind.NEEDS, *self.needs):
            pytest.importorskip(module)

    @pytest.fixture
    def exp(self, tmp_path: Path, inline: None) -> Exp:
        """An experiment whose log is written by hand."""
        exp = Exp(tmp_path, "exp", capture=())
        exp.close()
        return exp

    # Asking for it.

    def test_by_name_and_by_object(self, exp):
        """Its name, and an object of its class, which `mlv.projections` has, ask for the same."""
        write(exp.path, *FIRST)
        name = self.kind().name

        assert output_class(name) is self.kind is getattr(projections, self.kind.__name__)
        assert checked_outputs([name]) == [self.kind()]
        assert replay(exp, name) == exp.path / name
        assert is_up_to_date(exp.path, self.kind())

    def test_options_travel(self, tmp_path):
        """Filter, types, verbosity and path are those of the object in the process that keeps the output."""
        output = self.kind(filter="^a$", types=["metrics"], verbosity=0, path=tmp_path / "out")
        with Exp(tmp_path, "exp", outputs=[output], capture=()) as exp:
            exp.log({"a": 1, "b": 2}, step=0)
            exp.log({"a": 3}, step=1, verbosity=1)

        assert pickle.loads(pickle.dumps(output)) == output
        assert followed(exp, output) == tmp_path / "out"
        assert (self.points(tmp_path / "out", "a"), self.points(tmp_path / "out", "b")) == ([(0, 1)], [])
        assert not (exp.path / output.name).exists()

    # While runs go on, and afterwards.

    def test_live_is_replayed(self, tmp_path):
        """What two runs kept, the second of which rewinds, is what the log gives afterwards."""
        name = self.kind().name
        with Exp(tmp_path, "exp", outputs=[name], capture=()) as exp:
            for step in range(10):
                exp.log({"x": step}, step=step)
                exp.logger("val")({"y": step}, step=step)
                if step == 5:
                    exp.flush(outputs=True)
        with Exp.open(tmp_path / "exp", rewind_to=6, outputs=[name]) as exp:
            exp.log({"x": -7}, step=7)
        live, after = followed(exp, name), replay(exp, self.kind(path=tmp_path / "after"))

        for folder in (live, after):
            assert self.points(folder, "x") == [*((step, step) for step in range(7)), (7, -7)]
            assert self.points(folder, "y", "val") == [(step, step) for step in range(7)]
        assert self.files(live) == self.files(after)

    def test_resumed_after_a_commit(self, exp, tmp_path):
        """What a kill left behind the last commit is taken back, and comes once."""
        write(exp.path, *FIRST[:2])
        work = Replay(exp.path, self.kind())
        assert work.begin()
        work.catch_up()
        work.commit()
        add(exp.path, *FIRST[2:4])
        work.catch_up()
        work.close()
        add(exp.path, *FIRST[4:])

        folder = replay(exp, self.kind())

        assert self.points(folder, "x") == [(step, step) for step in range(6)]
        assert self.files(folder) == self.files(replay(exp, self.kind(path=tmp_path / "after")))

    @pytest.mark.usefixtures("inline")
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow])
    @given(acts=ACTS)
    def test_whatever_happens(self, tmp_path_factory, acts):
        """With rewinds, looks, commits and kills in any order, an output has what a plain loop keeps, as has one made later."""
        root = tmp_path_factory.mktemp("runs")
        Exp(root, "exp", capture=()).close()
        folder, live = root / "exp", self.kind(path=root / "live")
        work = Replay(folder, live)
        assert work.begin()
        kept: list[tuple[int | None, int]] = []
        run, seq, last = 1, 0, dict[str, int]()
        for number, (act, step) in enumerate(acts):
            if act == "log":
                seq += 1
                add(folder, metric(f"q{run}", seq, step, a=number))
                kept.append((step, number))
                last[f"q{run}"] = seq
            elif act == "rewind":
                run, seq = run + 1, 1
                add(folder, rewound(f"q{run}", step, dict(last)), stream="rewound")
                kept = [(at, value) for at, value in kept if at is None or at <= step]
            elif act == "kill":
                work.close()
                work = Replay(folder, self.kind(path=root / "live"))
                assert work.begin()
            else:
                work.catch_up()
                if act == "commit":
                    work.commit()
        while work.catch_up():
            pass
        work.commit()
        work.close()

        after = replay(folder, self.kind(path=root / "after"))

        if kept:
            expected = [(at if at is not None else position, value) for position, (at, value) in enumerate(kept)]
            assert self.points(root / "live", "a") == self.points(after, "a") == expected
        assert self.files(root / "live") == self.files(after)

    # Rewinds.

    def test_a_rewind_that_was_there(self, exp):
        """What it superseded is left out."""
        write(exp.path, *FIRST, *SECOND)
        write(exp.path, rewound("r2", 2, {"r1": 6}), stream="rewound")

        assert self.points(replay(exp, self.kind()), "x") == SURVIVING

    @pytest.mark.parametrize("is_before", [True, False], ids=["rewound first", "rewound last"])
    def test_a_rewind_that_comes(self, exp, is_before):
        """A rewind takes back what an output showed already, whichever of the files the output sees growing first."""
        write(exp.path, *FIRST)
        work = Replay(exp.path, self.kind())
        assert work.begin()
        work.catch_up()
        work.commit()

        for act in (True, False):
            if act == is_before:
                write(exp.path, rewound("r2", 2, {"r1": 6}), stream="rewound")
            else:
                add(exp.path, *SECOND)
            while work.catch_up():
                work.commit()
        work.close()

        assert self.points(exp.path / self.kind().name, "x") == SURVIVING

    def test_every_stream(self, exp):
        """What is superseded is so in each stream, also in what a second writer added."""
        for stream in ("log", "val", "val@rb"):
            write(exp.path, *FIRST, *SECOND, stream=stream)
        write(exp.path, rewound("r2", 2, {"r1": 6}), stream="rewound@rb")

        folder = replay(exp, self.kind())

        assert self.points(folder, "x") == SURVIVING
        assert Counter(self.points(folder, "x", "val")) == Counter(SURVIVING * (2 if self.joins_writers else 1))

    def test_what_is_not_covered_stays(self, exp):
        """Runs that are not named, numbers beyond, values without a step and what is not behind the step, in any order."""
        early = [metric("r0", 1, 9, other=1), metric("r1", 1, None, free=0), metric("r1", 2, None, free=1)]
        mixed = [metric("r1", 3, 2.5, x=2.5), metric("r1", 4, 2.75, x=2.75)]
        mixed += [metric("r1", 6, 9, late=1), metric("r1", 5, 9, x=9)]
        write(exp.path, *early, *mixed, metric("r1", 7, None, free=2))
        write(exp.path, rewound("r2", 2.5, {"r1": 5}), stream="rewound")

        folder = replay(exp, self.kind())

        assert self.points(folder, "x") == [(2 if self.has_whole_steps else 2.5, 2.5)]
        assert self.points(folder, "free") == [(0, 0), (1, 1), (2, 2)]
        assert (self.points(folder, "other"), self.points(folder, "late")) == ([(9, 1)], [(9, 1)])

    def test_superseded_values_are_not_counted(self, exp):
        """Positions in a series are those among the values that survive."""
        write(exp.path, metric("r1", 1, 0, a=0), metric("r1", 2, 5, a=1), metric("r2", 1, None, a=2))
        write(exp.path, rewound("r2", 3, {"r1": 2}), stream="rewound")

        assert self.points(replay(exp, self.kind()), "a") == [(0, 0), (1, 2)]

    # What others do to it.

    @pytest.mark.parametrize("removed", ["folder", "files"])
    def test_deleted_during_the_run(self, tmp_path, removed):
        """An output may be deleted while it is kept: it is begun again, and says that it holds what it holds."""
        name = self.kind().name
        with Exp(tmp_path, "exp", outputs=[name], capture=()) as exp:
            exp.log({"loss": 1.5}, step=1)
            assert exp.flush(outputs=True)
            if removed == "folder":
                shutil.rmtree(exp.path / name)
            else:
                for file in self.visible(exp.path / name):
                    file.unlink()
            exp.log({"loss": 2.5}, step=2)
        live, after = exp.path / name, replay(exp, self.kind(path=tmp_path / "after"))
        wait_until(lambda: is_up_to_date(exp.path, self.kind()))

        assert self.points(live, "loss") == self.points(after, "loss") == [(1, 1.5), (2, 2.5)]
        assert self.names(live) == self.names(after)

    @pytest.mark.parametrize("removed", ["folder", "files"])
    def test_deleted_afterwards(self, exp, removed):
        """A deleted output is built again."""
        write(exp.path, *FIRST)
        folder = replay(exp, self.kind())
        before = self.files(folder)
        if removed == "folder":
            shutil.rmtree(folder)
        else:
            for file in self.visible(folder):
                file.unlink()

        assert self.points(replay(exp, self.kind()), "x") == [(step, step) for step in range(6)]
        assert self.files(folder) == before

    @pytest.mark.parametrize("damage", DAMAGES, ids=str)
    def test_damaged_position(self, exp, damage):
        """An output whose position file says what cannot be is built again."""
        write(exp.path, *FIRST)
        output = self.kind()
        path = replay(exp, output) / layout.position_name(output.name)
        path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), **damage}))
        folder = replay(exp, output)

        assert read(path).has_all_of({"log": (exp.path / "log.jsonl").stat().st_size})
        assert is_up_to_date(exp.path, output)
        assert self.points(folder, "x") == [(step, step) for step in range(6)]

    @pytest.mark.parametrize("change", [{}, {"made_by": "other options"}], ids=["goes on", "built again"])
    def test_position_that_leads_out(self, exp, change):
        """Files outside of its folder that a position file names, as one from elsewhere may, stay untouched."""
        write(exp.path, *FIRST)
        output = self.kind()
        folder = replay(exp, output)
        outside = shutil.copytree(folder, exp.path / "outside", ignore=shutil.ignore_patterns(".*"))
        before, path = self.contents(outside), folder / layout.position_name(output.name)
        position = {**orjson.loads(path.read_bytes()), **change}
        path.write_bytes(orjson.dumps({**position, "resume": leading_out(position["resume"], "../outside/")}))
        add(exp.path, metric("r1", 7, 6, x=6))

        assert self.points(replay(exp, output), "x") == [(step, step) for step in range(7)]
        assert self.contents(outside) == before

    def contents(self, folder: Path) -> dict[str, bytes]:
        """The files of an output by their paths."""
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def visible(self, folder: Path) -> list[Path]:
        """The files of an output, but for mlv's own notes."""
        return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]

    def names(self, folder: Path) -> list[str]:
        """Their paths within the folder."""
        return [str(path.relative_to(folder)) for path in self.visible(folder)]
