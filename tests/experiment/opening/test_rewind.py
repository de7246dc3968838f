"""Going back to a step: nothing is removed, and what is read is the branch that survived."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import wait_until
from logs import of_type, read

import mlv
from mlv import Exp, InvalidArgument, MetaEdited

pytestmark = pytest.mark.usefixtures("inline")


def steps(exp: Exp, **options: object) -> list[tuple[int, float]]:
    """Step and value of each point of the history."""
    pytest.importorskip("pandas")
    table = exp.history(keys="loss", **options)
    return list(zip(table["step"], table["loss"], strict=True))


@pytest.fixture
def logged(tmp_path: Path) -> Path:
    """An experiment that has come to step 9; its loss is the step."""
    with Exp(tmp_path / "runs", "exp", {"lr": 0.1}, capture=()) as exp:
        exp.log("began")
        for step in range(10):
            exp.log({"loss": step}, step=step)
            exp.log.info("at %d", step, step=step)
    return exp.path


class TestHistory:
    def test_the_surviving_branch(self, logged):
        """What came after the step is superseded, what is logged then goes on from it."""
        with Exp.open(logged, rewind_to=7) as exp:
            exp.log({"loss": 80}, step=8)

        assert steps(exp) == [*((step, step) for step in range(8)), (8, 80)]

    def test_everything(self, logged):
        """`branches="all"` gives also what was superseded, and the log has it all."""
        before = read(logged)
        with Exp.open(logged, rewind_to=7) as exp:
            exp.log({"loss": 80}, step=8)

        assert len(steps(exp, branches="all")) == 10
        assert exp.history(branches="all", wide=False)["value"].tolist() == [*range(8), 9, 80]
        assert len(list(exp.events("metrics"))) == 11
        assert read(logged)[: len(before)] == before

    def test_steps_in_any_order(self, tmp_path):
        """It is the step that decides, not when it was logged."""
        with Exp(tmp_path, "exp", capture=()) as exp:
            for step in (5, 1, 9, 3, 7):
                exp.log({"loss": step}, step=step)
        with Exp.open(exp.path, rewind_to=5) as exp:
            exp.log({"loss": 60}, step=6)
            exp.log({"loss": 20}, step=2)

        assert steps(exp) == [(5, 5), (1, 1), (3, 3), (6, 60), (2, 20)]

    def test_twice(self, logged):
        """A later rewind may go back further, and takes what was logged since the earlier one as well."""
        with Exp.open(logged, rewind_to=7) as exp:
            exp.log({"loss": 80}, step=8)
        with Exp.open(logged, rewind_to=3) as exp:
            exp.log({"loss": 400}, step=4)
        assert steps(exp) == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 400)]

        with Exp.open(logged, rewind_to=4) as exp:
            exp.log({"loss": 5000}, step=5)
        assert steps(exp)[-2:] == [(4, 400), (5, 5000)]

    def test_before_the_first_event(self, logged):
        """`rewind` is of the run of the `Exp` that it is called on, and begins it where it has not begun."""
        with Exp.open(logged) as exp:
            exp.rewind(7)
            exp.log({"loss": 80}, step=8)
            exp.log({"loss": 90}, step=9)
            exp.rewind(8)

        assert steps(exp) == [*((step, step) for step in range(8)), (8, 80)]
        assert [run.status for run in exp.runs] == ["ok", "ok"]

    def test_disabled(self, logged, monkeypatch):
        """Where nothing is stored, nothing is superseded, and no error ends the script."""
        before = read(logged)
        monkeypatch.setenv("MLV_DISABLED", "1")

        with Exp.open(logged, rewind_to=7) as exp:
            exp.rewind(3)

        assert read(logged) == before

    def test_in_one_process(self, logged):
        """A run may go back behind what it logged itself."""
        with Exp.open(logged) as exp:
            exp.log({"loss": 100}, step=10)
            again = Exp.open(logged, rewind_to=8)
            again.log({"loss": 90}, step=9)
            assert steps(exp)[-2:] == [(8, 8), (9, 90)]

        assert len(exp.runs) == 2

    def test_before_everything(self, logged):
        """Back before the first step nothing with a step survives."""
        with Exp.open(logged, rewind_to=-1) as exp:
            exp.log({"loss": 1}, step=0)

        assert steps(exp) == [(0, 1)]

    @pytest.mark.usefixtures("ring")
    def test_what_killed_processes_left(self, python, tmp_path):
        """What a killed run had logged is superseded too, also where it was not in the log yet."""
        python(
            """
            import os, mlv
            exp = mlv.Exp("runs", "exp", capture=())
            for step in range(1000):
                exp.log({"loss": step}, step=step)
            os._exit(9)
            """
        )
        with Exp.open(tmp_path / "runs" / "exp", rewind_to=2) as exp:
            exp.log({"loss": 30}, step=3)

        assert steps(exp) == [(0, 0), (1, 1), (2, 2), (3, 30)]


class TestOtherReaders:
    def test_all_show_the_same(self, logged):
        """Summaries, frames, many experiments and SQL show the surviving branch."""
        pytest.importorskip("pandas")
        with Exp.open(logged, rewind_to=3) as exp:
            exp.log({"loss": 40}, step=4)
        found = mlv.find(logged.parent)

        assert (exp.summary()["loss"].last, exp.summary()["loss"].count) == (40, 5)
        assert exp.summary(branches="all")["loss"].count == 11
        assert list(exp.frame("message")["step"]) == [0, 1, 2, 3]
        assert len(exp.frame("message", branches="all")) == 10
        assert list(found.history(keys="loss")["loss"]) == [0, 1, 2, 3, 40]
        assert list(found.frame(stats=["count"])["metrics.loss.count"]) == [5]

    def test_sql(self, logged):
        """The view `metrics` has what survives; the view `events` has all, and says what was superseded."""
        pytest.importorskip("duckdb")
        with Exp.open(logged, rewind_to=3) as exp:
            exp.log({"loss": 40}, step=4)

        assert exp.sql("select sum(value), count(*) from metrics").rows() == [(46.0, 5)]
        assert exp.sql("select count(*) from events where superseded").rows() == [(12,)]
        assert exp.sql("select metrics.loss.count from experiments").rows() == [(5,)]

    def test_without_extras(self, logged):
        """The summary by events is that by columns."""
        from mlv.query.events import Events
        from mlv.query.metrics.summary import fast_summary, summary
        from mlv.query.rewinds import rewinds_of
        from mlv.state import State

        pytest.importorskip("pyarrow")
        with Exp.open(logged, rewind_to=3) as exp:
            exp.log({"loss": 40}, step=4)
        events = Events(logged, "metrics", rewinds=rewinds_of(logged))

        assert summary(events, State()) == fast_summary(logged, State())

    def test_as_of(self, logged):
        """As of a step it is the surviving branch; as of a moment before the rewind nothing is superseded yet."""
        before = Exp.open(logged).as_of(seq=20)
        whole = steps(before)  # type: ignore[arg-type]
        with Exp.open(logged, rewind_to=3) as exp:
            exp.log({"loss": 40}, step=4)
            exp.log({"loss": 50}, step=5)

        assert steps(exp.as_of(step=4)) == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 40)]
        assert steps(exp.as_of(seq=(exp.runs[0].id, 20))) == whole

    def test_the_command_line(self, logged):
        """The latest values are those of the surviving branch."""
        from mlv.query.tail import latest_metrics

        Exp.open(logged, rewind_to=3).close()

        assert latest_metrics(logged)["loss"].step == 3


class TestWhatSurvives:
    def test_without_a_step(self, logged):
        """What was logged without a step, params, tags and notes are never superseded."""
        with Exp.open(logged) as exp:
            exp.log({"free": 1})
            exp.add_params({"late": 1})
            exp.add_note("A note.")
        with Exp.open(logged, rewind_to=0) as exp:
            pass

        assert exp.summary()["free"].last == 1
        assert (exp.params["late"], exp.notes) == (1, ("A note.",))

    def test_checkpoints(self, tmp_path):
        """Superseded checkpoints are neither best nor latest; their files stay until the next save decides without them."""
        with Exp(tmp_path, "exp", capture=()) as exp:
            portfolio = exp.checkpoints(every=4, latest=2, top=2, metric="loss", mode="min")
            for step in range(6):
                portfolio.save(lambda path: path.write_text("w"), step=step, metrics={"loss": -step})
        files = sorted(exp.path.glob("models/*/*"))

        with Exp.open(exp.path, rewind_to=4) as exp:
            assert (exp.latest.step, exp.best.step) == (4, 4)
            assert sorted(exp.path.glob("models/*/*")) == files
            exp.checkpoints().save(lambda path: path.write_text("w"), step=5, metrics={"loss": -4.5})
            assert (exp.latest.step, exp.best.step, exp.best.metrics) == (5, 5, {"loss": -4.5})
        again = Exp.open(exp.path)
        assert (again.latest.metrics, again.best.metrics) == ({"loss": -4.5}, {"loss": -4.5})

    def test_a_live_portfolio(self, tmp_path):
        """A portfolio that the run has open already goes back as well."""
        with Exp(tmp_path, "exp", capture=()) as exp:
            portfolio = exp.checkpoints(latest=3)
            for step in range(3):
                portfolio.save(lambda path: path.write_text("w"), step=step)
            Exp.open(exp.path, rewind_to=1)

            assert portfolio.latest.step == 1


class TestTheEvent:
    def test_on_disk(self, logged):
        """The event names step, runs and numbers, in a stream of its own."""
        with Exp.open(logged, rewind_to=7) as exp:
            pass

        [event] = of_type(read(logged, "rewound"), "rewound")
        assert event["data"] == {"step": 7, "last": {exp.runs[0].id: 23}}
        assert [found.data for found in exp.events("rewound")] == [event["data"]]

    def test_nothing_to_supersede(self, logged):
        """Going back to where one is supersedes nothing, and is said."""
        with Exp.open(logged, rewind_to=9) as exp:
            pass

        assert [event.data for event in exp.events("rewound")] == [{"step": 9, "last": {}}]
        assert len(steps(exp)) == 10

    @pytest.mark.parametrize("step", ["7", True, float("nan"), float("inf"), [1], {}])
    def test_no_step(self, logged, step):
        """What is no step is refused, and nothing is written."""
        before = read(logged)

        with pytest.raises(InvalidArgument, match="is no step: give a number"):
            Exp.open(logged, rewind_to=step)

        assert read(logged) == before
        assert not (logged / "rewound.log.jsonl").exists()

    @pytest.mark.parametrize("step", [10, 9.5, 1e9])
    def test_beyond_everything(self, logged, step):
        """A step that was never reached is refused, with the one that was."""
        with pytest.raises(InvalidArgument, match="has only come to step 9: give that or less"):
            Exp.open(logged, rewind_to=step)

    def test_beyond_what_survives(self, logged):
        """A step that only a superseded branch has reached is beyond everything."""
        Exp.open(logged, rewind_to=3).close()

        with pytest.raises(InvalidArgument, match="has only come to step 3"):
            Exp.open(logged, rewind_to=5)

    def test_nothing_has_a_step(self, tmp_path):
        """Where nothing has a step there is nothing to go back to."""
        Exp(tmp_path, "exp", capture=()).close()

        with pytest.raises(InvalidArgument, match="has a step, there is nothing to go back to"):
            Exp.open(tmp_path / "exp", rewind_to=0)

    def test_an_edited_meta(self, logged):
        """An experiment into which nothing may be written cannot go back."""
        meta = logged / "meta.json"
        meta.chmod(0o644)
        meta.write_text(meta.read_text() + "\n")

        with pytest.warns(mlv.MlvWarning, match="was edited"), pytest.raises(MetaEdited):
            Exp.open(logged, rewind_to=3)

    @pytest.mark.parametrize("branches", ["both", None, 3])
    def test_unknown_branches(self, logged, branches):
        """Branches are `surviving` or `all`."""
        pytest.importorskip("pandas")
        for read_ in (lambda: Exp.open(logged).history(branches=branches), lambda: Exp.open(logged).summary(branches=branches)):
            with pytest.raises(InvalidArgument, match="give 'surviving' or 'all'"):
                read_()

    def test_verify(self, logged):
        """An experiment that went back is intact."""
        from mlv.audit.verify import verify

        exp = Exp.open(logged, rewind_to=3)
        exp.close()
        wait_until(lambda: verify(logged).verdict == "intact")


def test_going_on_at_an_earlier_step_without_a_rewind(tmp_path):
    """R17: tables and pooled values take the later value of a step; SQL, counts and long files have both, as the docs say."""
    pytest.importorskip("duckdb")
    pytest.importorskip("pandas")
    for first, last in ((0, 10), (6, 15)):
        with Exp(tmp_path, "e", capture=(), on_exists="open", outputs=["csv"]) as exp:
            for step in range(first, last):
                exp.log({"loss": first + step / 100}, step=step)
    expected = [step / 100 if step < 6 else 6 + step / 100 for step in range(15)]

    assert exp.history()["loss"].tolist() == exp.history(wide=False)["value"].tolist() == expected
    assert mlv.find(tmp_path).aggregate(over=[])["mean"].tolist() == expected
    assert mlv.find(tmp_path).lines("loss", over=[])[0].middle.tolist() == expected
    assert exp.sql("select count(*) from metrics").rows() == [(19,)]
    assert exp.summary()["loss"].count == 19
    for name, column in (("log.csv", 1), ("log.wide.csv", 0)):
        steps = [line.split(",")[column] for line in (exp.path / "csv" / name).read_text().splitlines()[1:]]
        assert steps == [str(step) for step in (*range(10), *range(6, 15))]
