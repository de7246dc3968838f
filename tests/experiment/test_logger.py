"""What each method of a Logger leaves in the log."""

from __future__ import annotations

import logging
import math
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from logs import of_type, read

import mlv
from mlv import Event, Exp, Logger, RejectedWarning

# What a writer process adds is tested elsewhere.
pytestmark = pytest.mark.usefixtures("inline")


def logged(exp: Exp, *types: str) -> list[Event]:
    """What stands in the log, without the beginning of the run."""
    return [event for event in exp.events(types or None) if event.type != "run_started"]


def last(exp: Exp) -> Event:
    return logged(exp)[-1]


class TestMetrics:
    def test_a_line(self, exp, log):
        """`log({...}, step=3)` is one line of type `metrics`."""
        log({"loss": 0.3, "acc": 1}, step=3)

        event = last(exp)
        assert (event.type, event.name, event.step, event.data, event.at) == ("metrics", "", 3, {"loss": 0.3, "acc": 1}, {})
        assert (event.run, event.seq) == (exp.runs[-1].id, 2)

    @pytest.mark.parametrize("method", ["__call__", "metrics"])
    def test_one_event_by_two_names(self, exp, log, method):
        """`log(...)` is `log.metrics(...)`."""
        getattr(log, method)({"loss": 0.3}, step=1)

        assert (last(exp).type, last(exp).data, last(exp).step) == ("metrics", {"loss": 0.3}, 1)

    def test_metric(self, exp, log):
        """`log.metric(name, value)` is `log({name: value})`."""
        log.metric("loss", 0.3, step=3)

        assert (last(exp).type, last(exp).name, last(exp).data, last(exp).step) == ("metrics", "", {"loss": 0.3}, 3)

    def test_nested(self, exp, log):
        """Nested mappings join with a slash: they are the same series as flat names."""
        log({"train": {"loss": 1, "acc": {"top1": 2}}, "lr": 3})

        assert last(exp).data == {"train/loss": 1, "train/acc/top1": 2, "lr": 3}

    def test_not_finite(self, exp, log):
        """NaN and infinities are kept, and the line is JSON all the same."""
        log({"a": math.nan, "b": math.inf, "c": -math.inf, "d": 1.0})

        a, b, c, d = last(exp).data.values()
        assert math.isnan(a)
        assert (b, c, d) == (math.inf, -math.inf, 1.0)
        assert read(exp.path)[-1]["data"] == {"a": None, "b": None, "c": None, "d": 1.0}

    def test_none_text_and_lists(self, exp, log):
        """What is no number is stored as it is."""
        log({"a": None, "b": "text", "c": [1, 2], "d": True})

        assert last(exp).data == {"a": None, "b": "text", "c": [1, 2], "d": True}

    def test_numpy(self, exp, log):
        """A numpy scalar is a number."""
        np = pytest.importorskip("numpy")

        log({"a": np.float32(0.5), "b": np.int64(3), "c": np.array([0.25]), "d": np.float64("nan")})

        assert {**last(exp).data, "d": None} == {"a": 0.5, "b": 3, "c": 0.25, "d": None}
        assert math.isnan(last(exp).data["d"])

    def test_torch(self, exp, log):
        """A torch scalar is a number, also one with a gradient."""
        torch = pytest.importorskip("torch")

        log({"a": torch.tensor(0.5, requires_grad=True), "b": torch.tensor([3])})

        assert last(exp).data == {"a": 0.5, "b": 3}

    @pytest.mark.parametrize("step", [0, -5, 2**63 - 1, 0.5, 1e300])
    def test_steps(self, exp, log, step):
        """A step is any finite number within 64 bits."""
        log({"a": 1}, step=step)
        log.sub("slow")({"a": [1]}, step=step)

        assert [event.step for event in logged(exp)] == [step, step]

    def test_large(self, exp, log):
        """An event of some megabytes is stored whole, between its neighbours."""
        log({"before": 1})
        log("large", {"text": "x" * 3_000_000})
        log({"after": 1})

        assert [len(str(event.data)) > 1_000_000 for event in logged(exp)] == [False, True, False]


class TestNamedEvents:
    def test_an_event(self, exp, log):
        """`log("checkpointed", {...})` is an event of that name, no metric."""
        log("checkpointed", {"mb": 3}, step=7)

        assert (last(exp).type, last(exp).name, last(exp).data, last(exp).step) == ("event", "checkpointed", {"mb": 3}, 7)

    def test_without_data(self, exp, log):
        """An event may say no more than its name."""
        log("began")

        assert (last(exp).name, last(exp).data) == ("began", {})

    @pytest.mark.parametrize("number", [0.5, 3, -1, math.inf])
    def test_a_plain_number(self, exp, log, number):
        """W16: `log("loss", 0.5, step=3)` is a metric, as everybody means it."""
        log.sub("train")("loss", number, step=3)

        event = last(exp)
        assert (event.type, event.name, event.data, event.step) == ("metrics", "train", {"loss": number}, 3)

    def test_a_plain_number_of_a_library(self, exp, log):
        """W16: so is a scalar of numpy, masked or not; an array with more numbers is none."""
        np = pytest.importorskip("numpy")
        for value in (np.float32(0.5), np.array([0.5]), np.ma.masked, np.ones(2), np.timedelta64(1, "s")):
            log("loss", value)

        assert [event.type for event in logged(exp)] == ["metrics", "metrics", "metrics", "event", "event"]
        assert [event.data for event in logged(exp)] == [{"loss": 0.5}, {"loss": 0.5}, {"loss": None}, [1.0, 1.0], 1.0]

    @pytest.mark.parametrize("data", ["text", [1, "a"], False, {}])
    def test_any_data(self, exp, log, data):
        """The data of an event may be of any kind."""
        log("x", data)

        assert last(exp).data == data

    @pytest.mark.parametrize(
        ("value", "type", "name", "data"),
        [
            (0.5, "metrics", "", {"x": 0.5}),
            (True, "metrics", "", {"x": True}),
            ("hello", "text", "x", {"text": "hello"}),
            ({"a": 1}, "event", "x", {"a": 1}),
            (("a", 1), "event", "x", {"value": ["a", 1]}),
            (None, "event", "x", {"value": None}),
        ],
    )
    def test_value(self, exp, log, value, type, name, data):
        """`log.value` chooses the type by the value."""
        log.value("x", value, step=3)

        assert (last(exp).type, last(exp).name, last(exp).data, last(exp).step) == (type, name, data, 3)

    def test_value_of_numpy(self, exp, log):
        """A numpy scalar is a metric, one axis of numbers a distribution."""
        np = pytest.importorskip("numpy")

        log.value("x", np.float32(1))
        log.value("y", np.arange(3))

        metric, distribution = logged(exp)
        assert (metric.type, metric.data) == ("metrics", {"x": 1.0})
        assert (distribution.type, distribution.data["count"], distribution.data["mean"]) == ("histogram", 3, 1.0)

    def test_describe(self, exp, log):
        """`describe` says what a metric is, under its full name; what is not said is left out."""
        log.sub("train").describe("loss", unit="nat", format=".4f", mode="min", description="Cross entropy.")
        log.describe("acc", mode="max")

        first, second = logged(exp)
        assert (first.type, first.name) == ("metadata", "train/loss")
        assert first.data == {"unit": "nat", "format": ".4f", "mode": "min", "description": "Cross entropy."}
        assert (second.name, second.data) == ("acc", {"mode": "max"})


class TestMessages:
    @pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
    def test_levels(self, exp, log, level):
        """A message has the level that it was logged with, and what stood beside it."""
        getattr(log.sub("data"), level)("read %d files", 3, step=5, path=Path("x"))

        event = last(exp)
        assert (event.type, event.name, event.step) == ("message", "data", 5)
        assert event.data == {"level": level, "message": "read 3 files", "extra": {"path": "x"}}

    @pytest.mark.parametrize(
        ("message", "args"),
        [
            ("plain", ()),
            ("100 %", ()),
            ("%s and %r", ("a", "b")),
            ("%(a)d", ({"a": 1},)),
            ("%s", ({},)),
            ("%s", ((1, 2),)),
            (42, ()),
            (["a"], ()),
            ("%5.2f|%-5s|", (1.234, "x")),
        ],
        ids=repr,
    )
    def test_formatted_as_in_logging(self, exp, log, message, args):
        """A message is formatted as `logging` formats it."""
        log.info(message, *args)

        assert last(exp).data["message"] == logging.LogRecord("", 0, "", 0, message, args, None).getMessage()

    @pytest.mark.parametrize(
        ("message", "args", "parts"),
        [("%d files", ("many",), ["%d files", "many"]), ("%s", (1, 2), ["%s", "1", "2"]), ("none", (3,), ["none", "3"])],
    )
    def test_arguments_that_do_not_fit(self, exp, log, message, args, parts):
        """Arguments that do not fit the message are stored beside it, and nothing is raised."""
        log.info(message, *args)

        assert [part for part in parts if part not in last(exp).data["message"]] == []

    def test_names_of_its_own(self, exp, log):
        """Every word may be the name of a value, also those that `info` uses itself."""
        log.info("x", self=1, message=2, level=3, name=4, data=5, args=6)

        assert last(exp).data["extra"] == {"self": 1, "message": 2, "level": 3, "name": 4, "data": 5, "args": 6}

    def test_exception(self, exp, log):
        """`exception` stores the one that is being handled, with its traceback."""
        try:
            raise ValueError("no")
        except ValueError:
            log.exception("failed at %s", "once", batch=3)

        data = last(exp).data
        assert (data["level"], data["message"], data["extra"]) == ("error", "failed at once", {"batch": 3})
        assert (data["exception"]["type"], data["exception"]["message"]) == ("ValueError", "no")
        assert "in test_exception" in data["exception"]["traceback"]

    def test_causes_are_part_of_a_traceback(self, exp, log):
        """What an exception came from is stored as well."""
        try:
            try:
                raise KeyError("inner")
            except KeyError as error:
                raise ValueError("outer") from error
        except ValueError:
            log.exception("x")

        assert "KeyError: 'inner'" in last(exp).data["exception"]["traceback"]

    def test_exc_info(self, exp, log):
        """`exc_info` is True, an exception, a tuple or nothing, as in `logging`."""
        error = ValueError("no")

        log.info("x", exc_info=error)
        log.info("x", exc_info=(ValueError, error, None))
        log.info("x", exc_info=True)
        log.info("x", exc_info=(None, None, None))
        log.exception("x")

        assert ["exception" in event.data for event in logged(exp)] == [True, True, False, False, False]

    def test_an_exception_that_cannot_be_read(self, exp, log):
        """An exception whose own methods raise is stored as far as it can be."""

        class Mute(Exception):
            def __str__(self) -> str:
                raise RuntimeError

            @property
            def __cause__(self) -> None:  # type: ignore[override]
                raise RuntimeError

        try:
            raise Mute
        except Mute:
            log.exception("x")

        assert last(exp).data["exception"]["type"].endswith("Mute")
        assert "test_an_exception_that_cannot_be_read" in last(exp).data["exception"]["traceback"]


class TestMoving:
    def test_sub(self, exp, log):
        """A logger one level down puts its name before all others."""
        train = log.sub("train")
        train({"loss": 1})
        train("saved", {})
        train.sub("inner/deep").metric("x", 1)

        assert [(event.type, event.name) for event in logged(exp)] == [
            ("metrics", "train"),
            ("event", "train/saved"),
            ("metrics", "train/inner/deep"),
        ]

    def test_parent_and_root(self, log):
        """One goes up the way that one went down; the root is its own parent."""
        deep = log.sub("a").sub("b")

        assert (deep.name, deep.parent.name, deep.parent.parent.name, deep.root.name) == ("a/b", "a", "", "")
        assert deep.parent == log.sub("a")
        assert log.parent == log.root == log

    def test_at(self, exp, log):
        """Coordinates stand in every line below, and the nearest one counts."""
        here = log.at(epoch=3, fold="a").sub("train").at(epoch=4)
        here({"loss": 1}, step=7)
        here("saved")
        here.info("x")

        assert [event.at for event in logged(exp)] == [{"epoch": 4, "fold": "a"}] * 3
        assert here.coordinates == {"epoch": 4, "fold": "a"}
        assert here.root.coordinates == here.parent.coordinates == here.coordinates

    def test_step_is_a_coordinate(self, exp, log):
        """`at(step=...)` gives the step of every call that has none of its own."""
        here = log.at(step=3, epoch=1)
        here({"loss": 1})
        here({"loss": 1}, step=4)
        here("saved")

        assert [(event.step, event.at) for event in logged(exp)] == [(3, {"epoch": 1}), (4, {"epoch": 1}), (3, {"epoch": 1})]
        assert here.coordinates == {"epoch": 1, "step": 3}

    def test_each(self, exp, log):
        """`each` goes through the values of one coordinate."""
        for epoch, here in log.each(epoch=range(2)):
            for step, inner in here.each(step=[10, 20]):
                inner({"x": epoch})
                assert inner.coordinates == {"epoch": epoch, "step": step}

        assert [(event.at["epoch"], event.step) for event in logged(exp)] == [(0, 10), (0, 20), (1, 10), (1, 20)]

    def test_each_is_lazy(self, log):
        """`each` takes values from a loader one by one, and only when they are needed."""

        def loader() -> Iterable[int]:
            yield 1
            raise AssertionError("taken too early")

        value, here = next(log.each(batch=loader()))

        assert (value, here.coordinates) == (1, {"batch": 1})

    @pytest.mark.parametrize(
        "coordinates",
        [{"epoch": 3}, {"epoch": -(2**63), "fold": 0}, {"epoch": 2**63}, {"_mlv": 3}, {"a b": 3}, {"step": 3}, {}],
    )
    @pytest.mark.parametrize("verbosity", [0, 2])
    def test_numbers_as_any_value(self, exp, coordinates, verbosity):
        """The short way for numbers, such as epochs, gives the logger that the walk over any value gives."""

        class Whole(int):  # for which there is no short way
            pass

        class Real(float):
            pass

        kinds: Any = {int: Whole, float: Real}
        logger = exp.logger(filter="loss").at(step=7, epoch=1, run="a").sub("train").verbose(verbosity)
        short, long = (
            logger.at(**coordinates),
            logger.at(**{name: kinds[type(value)](value) for name, value in coordinates.items()}),
        )
        short({"loss": 1.0, "acc": 1.0})
        long({"loss": 1.0, "acc": 1.0})

        one, other = read(exp.path)[1:] if exp.flush(60) else ({}, {})
        assert {**one, "seq": 0, "time": 0} == {**other, "seq": 0, "time": 0}
        assert [*one["at"]] == [*other["at"]]
        assert short == long

    @pytest.mark.parametrize("value", [2**70, "\ud800", [1, 2], {"a": {"_mlv": 1}}, True, None])
    def test_coordinates_of_any_kind(self, exp, log, value):
        """What was given as a coordinate is what is read."""
        log.at(where=value)({"x": 1})

        assert last(exp).at == {"where": value}
        assert log.at(where=value).coordinates == {"where": value}

    @pytest.mark.parametrize("name", ["_mlv", "_mlv_x", "time", "run", "data", "name", "self"])
    def test_coordinates_of_any_name(self, exp, log, name):
        """A coordinate may be called as one likes."""
        log.sub("x").at(**{name: 3})({"x": 1})

        assert last(exp).at == {name: 3}
        assert (last(exp).run, last(exp).name) == (exp.runs[-1].id, "x")

    def test_moving_writes_nothing(self, exp, log):
        """Only logging leaves lines."""
        log.sub("a").at(b=1).parent.root.each(c=[1])

        assert logged(exp) == []

    def test_a_logger_does_not_change(self, log):
        """A logger can be passed on without fear."""
        before = log.sub("a").at(b=1)
        before.sub("c").at(b=2).parent({})

        assert (before.name, before.coordinates) == ("a", {"b": 1})
        for name in ("name", "_name", "anything"):
            with pytest.raises(AttributeError, match="a Logger does not change"):
                setattr(before, name, "x")
        with pytest.raises(AttributeError):
            del before._name
        with pytest.raises(AttributeError):
            before.__dict__  # noqa: B018
        before.coordinates["b"] = 9
        assert before.coordinates == {"b": 1}

    def test_equality(self, exp, log):
        """Loggers that write the same lines are equal, and can be members of sets."""
        assert log.sub("a").at(b=[1]) == log.at(b=[1]).sub("a")
        assert len({log.sub("a").at(b=[1]), log.at(b=[1]).sub("a"), exp.logger("val"), log.at(step=1), log}) == 4
        assert log != "log"

    def test_repr(self, exp, log):
        """It shows where it writes."""
        assert repr(exp.logger("val").sub("a").at(b=1)) == "<Logger exp/val.log.jsonl 'a' b=1>"

    def test_pickling_keeps_the_place(self, log):
        """A logger that was pickled in its own process is the same logger."""
        here = log.sub("a").at(b=1, step=3)

        assert pickle.loads(pickle.dumps(here)) == here


class TestStreamsAndFilters:
    def test_streams(self, exp, log):
        """Each stream has a file of its own; the events of one run are numbered over all of them."""
        val = exp.logger("val")
        log({"a": 1})
        val({"a": 2})
        log({"a": 3})

        assert [(event.stream, event.seq) for event in logged(exp)] == [("log", 2), ("val", 3), ("log", 4)]
        assert [line["data"] for line in read(exp.path, "val")] == [{"a": 2}]
        assert val.stream == "val"

    def test_the_default_stream_by_name(self, exp, log):
        """`exp.logger()` is `exp.log`."""
        assert exp.logger() == exp.logger("log") == log

    def test_filter(self, tmp_path):
        """What a filter keeps out is not in the log, and is counted at the end of the run."""
        with mlv.Exp(tmp_path, "exp", capture=()) as exp:
            log = exp.logger(filter="^train/|saved")
            log.sub("train")({"loss": 1, "acc": 2})
            log({"val/loss": 1, "train/lr": 2, "val/acc": object()})
            log({"val/loss": 1})
            log("saved", {})
            log("removed", {})
            log.info("messages pass")

        assert [(line["type"], line.get("data")) for line in read(exp.path)[1:5]] == [
            ("metrics", {"loss": 1, "acc": 2}),
            ("metrics", {"train/lr": 2}),
            ("event", {}),
            ("message", {"level": "info", "message": "messages pass"}),
        ]
        assert of_type(read(exp.path), "run_ended")[0]["data"]["filtered"] == 4

    def test_filter_and_nan(self, exp):
        """A NaN that passes a filter stays a NaN."""
        exp.logger(filter="a~/b")({"a~/b": math.nan, "c": math.inf})

        assert math.isnan(last(exp).data["a~/b"])
        assert read(exp.path)[-1]["nonfinite"] == {"/a~0~1b": "nan"}

    def test_filters_move_along(self, exp):
        """A logger below one with a filter has it too."""
        exp.logger(filter="keep").sub("a").at(b=1)({"keep": 1, "drop": 2})

        assert last(exp).data == {"keep": 1}

    def test_no_filter_no_count(self, tmp_path):
        """Where nothing was kept out, nothing is said about it."""
        with mlv.Exp(tmp_path, "exp", capture=()) as exp:
            exp.log({"a": 1})

        assert "filtered" not in of_type(read(exp.path), "run_ended")[0]["data"]


def assert_equal_thirds(lines: list[dict[str, Any]], data: Any, step: Any) -> None:
    """See that what was logged by three ways is the same, in the same order of fields."""
    alike = [{**line, "seq": 0, "time": 0} for line in lines]
    count = len(alike) // 3  # the metrics, what cannot be stored of them, or both
    quick, plain, by_name = alike[:count], alike[count:-count], alike[-count:]
    assert quick == plain == by_name, (data, step)
    assert list(map(list, quick)) == list(map(list, plain)), (data, step)


class TestFastPath:
    """The quick way through `log({...})` writes what the plain way writes."""

    class Plain(dict[Any, Any]):
        """A dict that the quick way does not take."""

    def log_thrice(self, log: Logger, data: Any, step: Any) -> None:
        """Log by the quick way, by the plain one, and by name."""
        log(data, step=step)
        log(self.Plain(data), step=step)
        log.metrics(data, step=step)

    def check(self, log: Logger, exp: Exp, data: Any, step: Any) -> None:
        self.log_thrice(log, data, step)
        assert_equal_thirds(self.new_lines(exp), data, step)

    def new_lines(self, exp: Exp) -> list[dict[str, Any]]:
        """The lines since the last look, without the beginning of the run."""
        assert exp.flush(60)  # to read waits for less, which a busy machine may need
        lines = read(exp.path)
        known, self.known = getattr(self, "known", 1), len(lines)
        return lines[known:]

    @pytest.mark.parametrize("place", [{}, {"epoch": 3, "_mlv": [2**70]}, {"step": 7}, {"step": 0.5, "epoch": "a"}], ids=str)
    def test_any_dict(self, either_log, place):
        """Any dict, any step, at any place."""
        pytest.importorskip("hypothesis")
        from hypothesis import given
        from strategies import metrics, steps

        examples = []

        @given(metrics, steps)
        def log_example(data, step):
            self.log_thrice(either_log.sub("a").at(**place), data, step)
            either_log("the next", {})
            examples.append((data, step))

        log_example()
        lines = self.new_lines(Exp.open(either_log._session.folder))  # once: to wait for a writer takes longer than to log
        ends = [number for number, line in enumerate(lines) if line.get("name") == "the next"]
        assert len(ends) == len(examples)
        for start, end, example in zip([0, *(end + 1 for end in ends)], ends, examples, strict=False):
            assert_equal_thirds(lines[start:end], *example)

    @pytest.mark.parametrize(
        "data",
        [
            {"a": 1e308, "b": 1e308},
            {"a": 1e308, "b": -1e308, "c": math.nan},
            {"a": math.inf, "b": -math.inf},
            {"a": 2**64 - 1},
            {"a": 2**64},
            {"a": -0.0},
            {"a": True, "b": 1},
            {"_mlv": 1},
            {"x_mlv": 1},
            {"": 1},
            {"\ud800": 1},
            {"a": "\ud800"},
            {"a": {"b": 1}},
            {1: 2},
            {},
        ],
        ids=repr,
    )
    def test_corners(self, exp, log, data):
        """Where sums overflow, cancel or hide something, too."""
        self.check(log, exp, data, 3)

    def test_scalars_of_libraries(self, exp, log):
        """Scalars of numpy take the quick way, and say the same."""
        np = pytest.importorskip("numpy")
        numbers = [np.float64(0.1), np.float32(0.1), np.int64(-3), np.uint64(2**64 - 1), np.bool_(True), np.float16("nan")]

        for number in [
            *numbers,
            np.float64("inf"),
            np.array(3.5),
            np.array([3.5]),
            np.arange(2),
            np.longdouble(0.5),
            np.str_("x"),
        ]:
            self.check(log, exp, {"a": number, "b": 1}, np.int32(3))


class TestRejected:
    def test_what_cannot_be_stored(self, exp, log):
        """W14: what cannot be stored is `rejected`: which it was, why, and the readable rest. Other metrics stay such."""
        with pytest.warns(RejectedWarning, match="loss is of type object"):
            log.sub("train")({"loss": object(), "acc": 0.5, "nan": math.nan, "list": [math.inf, len]}, step=3)

        metrics, event = logged(exp)
        assert (metrics.type, metrics.name, metrics.step, metrics.data["acc"]) == ("metrics", "train", 3, 0.5)
        assert list(metrics.data) == ["acc", "nan"]
        assert math.isnan(metrics.data["nan"])
        assert (event.type, event.name, event.step) == ("rejected", "train", 3)
        assert event.data["type"] == "metrics"
        assert "loss is of type object" in event.data["reason"]
        assert "list[1] is of type builtin_function_or_method" in event.data["reason"]
        assert event.data["rest"]["loss"]["type"] == "object"
        assert event.data["rest"]["list"][0] == math.inf

    @pytest.mark.parametrize(
        ("call", "reason"),
        [
            (lambda log: log("", {"a": 1}), "is empty"),
            (lambda log: log(3, {"a": 1}), "a second argument belongs to an event"),
            (lambda log: log({"a": 1}, 3), "a step is given as step=3"),
            (lambda log: log({"": 1}), "empty name"),
            (lambda log: log([1, 2]), "a mapping of names to numbers"),
            (lambda log: log(None), "a mapping of names to numbers"),
            (lambda log: log({"a": 1}, step="three"), "step='three' is of type str"),
            (lambda log: log({"a": 1}, step=math.nan), "step=nan is not a finite number"),
            (lambda log: log("x", {"a": 1}, step=2**63), "not a finite number within 64 bits"),
            (lambda log: log({1: 1, "1": 2}), "twice"),
            (lambda log: log("x", {"in": {1: 1, "1": 2}}), "in.1 stands for two keys"),
            (lambda log: log.metric("", 1), "empty name"),
            (lambda log: log.metric(["a"], 1), "the name of a metric must be text"),
            (lambda log: log.value(None, 1), None),
            (lambda log: log.value(3, "text"), "event name 3 is of type int"),
            (lambda log: log.describe("loss", mode="least"), 'neither "min" nor "max"'),
            (lambda log: log.describe("", unit="s"), "is empty"),
            (lambda log: log.info("x", fn=len), "extra.fn is of type"),
            (lambda log: log.span("").end(), "is empty"),
        ],
    )
    def test_reasons(self, exp, log, call, reason):
        """Every reason says what to do, and nothing is lost in silence."""
        if reason is None:
            call(log)
            assert last(exp).data == {"null": 1}
            return
        with pytest.warns(RejectedWarning):
            call(log)

        assert last(exp).type == "rejected"
        assert reason in last(exp).data["reason"]

    def test_one_warning_per_line_of_code(self, exp, log, recwarn):
        """A line of code that is run a thousand times warns once."""
        for _ in range(3):
            log({"a": object()})
        log({"a": object()})

        assert [warning.category for warning in recwarn] == [RejectedWarning] * 2
        assert {warning.filename for warning in recwarn} == {__file__}
        assert len(logged(exp, "rejected")) == 4

    def test_warnings_as_errors(self, exp, log, capsys):
        """Where warnings are errors, the warning goes to stderr, and training goes on."""
        log({"a": object()})

        assert "RejectedWarning" in capsys.readouterr().err
        assert last(exp).type == "rejected"

    def test_many_reasons(self, exp, log):
        """A long list of reasons is cut."""
        with pytest.warns(RejectedWarning, match="and 15 more"):
            log({str(number): object() for number in range(20)})

    def test_a_value_that_raises(self, exp, log):
        """W14: a value whose own methods raise costs only itself: the others stay in their series."""

        class Broken:
            def item(self) -> float:
                raise RuntimeError("broken")

        with pytest.warns(RejectedWarning):
            log({"bad": Broken(), "good": 1})

        good, bad = logged(exp)
        assert (good.type, good.data) == ("metrics", {"good": 1})
        assert (bad.type, list(bad.data["rest"])) == ("rejected", ["bad"])
        assert bad.data["reason"].startswith("bad ")

    @pytest.mark.parametrize("bad", [math.nan, math.inf, object(), len])
    def test_coordinates(self, log, bad):
        """A coordinate that cannot be one is refused where the loop begins."""
        with pytest.raises(mlv.InvalidArgument, match=r"coordinate epoch .*: give a number or a text"):
            log.at(epoch=bad)

    def test_step_as_coordinate(self, log):
        """A step among the coordinates must be a number too."""
        with pytest.raises(mlv.InvalidStep, match="step='a'"):
            log.at(step="a")

    @pytest.mark.parametrize("given", [{}, {"a": [1], "b": [2]}, {"epoch": 10}])
    def test_each(self, log, given):
        """`each` takes exactly one coordinate, with values to go through."""
        with pytest.raises(mlv.InvalidArgument, match="each"):
            log.each(**given)

    @pytest.mark.parametrize("name", ["", None, 3, b"x"])
    def test_names(self, log, name):
        """A logger's name is a text that is not empty."""
        with pytest.raises(mlv.InvalidName, match="event name"):
            log.sub(name)

    @pytest.mark.parametrize("pattern", ["(", "*", 3, b"x"])
    def test_filters(self, exp, pattern):
        """A filter is a regular expression."""
        with pytest.raises(mlv.InvalidPattern, match="filter="):
            exp.logger(filter=pattern)

    @pytest.mark.parametrize(
        "stream", ["files", "models", "system", "console", "rank0", "LOG", "a@b", "a/b", "", ".", "..", ".x", 3]
    )
    def test_streams(self, exp, stream):
        """A stream's name that is mlv's own, or no name, is refused at once."""
        with pytest.raises(mlv.InvalidName, match="stream"):
            exp.logger(stream)


CALLS = {
    "call": lambda log, a, b, c: log(a),
    "call with data": lambda log, a, b, c: log(a, b, step=c),
    "call with a name": lambda log, a, b, c: log("name", a, step=b),
    "metrics": lambda log, a, b, c: log.metrics(a, step=b),
    "metrics in a dict": lambda log, a, b, c: log({"a": a, "b": b}, step=c),
    "metric": lambda log, a, b, c: log.metric(a, b, step=c),
    "value": lambda log, a, b, c: log.value(a, b, step=c),
    "named value": lambda log, a, b, c: log.value("name", a, step=b),
    "describe": lambda log, a, b, c: log.describe(a, unit=b, mode=c),
    "describe well": lambda log, a, b, c: log.describe("loss", format=a, description=b),
    "info": lambda log, a, b, c: log.info(a, b, step=c),
    "debug": lambda log, a, b, c: log.debug("%s %d", a, b, key=c),
    "error": lambda log, a, b, c: log.error("x", exc_info=a, step=b, key=c),
    "exception": lambda log, a, b, c: log.exception(a, key=b),
    "span": lambda log, a, b, c: log.span(a, step=b, key=c).end(),
    "span end": lambda log, a, b, c: spanned(log, a, b),
}
"""Every method, with any objects at any place."""


class TestNeverRaises:
    """Whatever is logged, training goes on, and each call leaves one line, or two where some metrics cannot be stored."""

    @pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
    def test_fuzz(self, either_log, call, capsys):
        """Any objects at any place of any method."""
        pytest.importorskip("hypothesis")
        from hypothesis import given, settings
        from strategies import anything

        exp = Exp.open(either_log._session.folder)
        count = 0

        @settings(max_examples=40)
        @given(anything, anything, anything)
        def check(a, b, c):
            nonlocal count
            call(either_log, a.make(), b.make(), c.make())
            count += 1

        check()
        assert exp.flush(60)
        assert count <= len(logged(exp)) <= 2 * count

    def test_a_dict_that_changes_meanwhile(self, exp, log):
        """A dict that another thread adds to while it is logged costs nothing."""
        import threading

        data: dict[str, Any] = {"a": [1]}
        stop = threading.Event()

        def add() -> None:
            number = 0
            while not stop.is_set():
                data[str(number % 500)] = number
                data.pop(str((number + 250) % 500), None)
                number += 1

        thread = threading.Thread(target=add)
        thread.start()
        try:
            for _ in range(300):
                log("x", {"data": data})
        finally:
            stop.set()
            thread.join()

        assert len(logged(exp)) == 300

    def test_at_the_end_of_the_stack(self, exp, log):
        """A recursion that runs out of stack within `log` leaves the log as good as before."""

        def deeper() -> None:
            log({"a": 1.0, "b": [1]})
            deeper()

        for _ in range(3):
            with pytest.raises(RecursionError):
                deeper()
        log({"after": 1})

        events = list(exp.events())
        assert events[-1].data == {"after": 1}
        assert [event.seq for event in events] == list(range(1, len(events) + 1))


def spanned(log: Logger, a: Any, b: Any) -> None:
    span = log.span("name")
    span.add(key=a)
    span.end(b if issubclass(type(b), BaseException) else None)
