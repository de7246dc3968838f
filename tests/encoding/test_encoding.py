"""What was logged is what is read."""

from __future__ import annotations

import array
import collections
import dataclasses
import enum
import json
import math
import sys
import uuid
from argparse import Namespace
from collections import UserDict, deque, namedtuple
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from mlv import encoding
from mlv.encoding import TAIL, BadLine, Composer, Conversion, canonical, dumps, event_from_line, head, restored, tail
from mlv.errors import InvalidStep
from mlv.events import Event
from mlv.foreign import is_of_time

WHOLE = b'{"run":"ra","seq":1,"time":"2026-01-01T00:00:00.000000Z","type":"event","name":"x","data":{}}\n'


def line_of(value: Any, name: str = "x", step: float | None = None, at: dict[str, Any] | None = None) -> bytes:
    """The line that an event with this data is on disk."""
    conversion = Conversion()
    data = dumps(conversion.value(value))
    return Composer("ra").line(
        7, 1_700_000_000_123_456_789, head("event", name), TAIL, 0, tail(step, at or {}, data, conversion.nonfinite)
    )


def read_back(value: Any) -> Any:
    return event_from_line(line_of(value), "log").data


def converted(value: Any) -> tuple[Any, list[tuple[str, str]]]:
    conversion = Conversion()
    return conversion.value(value), conversion.problems


class Colour(enum.Enum):
    RED = "red"
    PAIR = (1, 2)


class Size(enum.IntEnum):
    SMALL = 1


class Mode(str, enum.Enum):
    TRAIN = "train"


Point = namedtuple("Point", "x y")


@dataclasses.dataclass
class Settings:
    lr: float
    inner: Any = None


MOMENT = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=timezone(timedelta(hours=2)))


class TestRoundTrip:
    @pytest.mark.parametrize(
        ("value", "read"),
        [
            ((1, 2), [1, 2]),
            ({2: "a", None: "b", True: "c", 0.5: "d", b"k": "e"}, {"2": "a", "null": "b", "true": "c", "0.5": "d", "k": "e"}),
            ({Colour.RED: 1, Size.SMALL: 2, (1, 2): 3}, {"red": 1, "1": 2, "(1, 2)": 3}),
            ({date(2026, 1, 2): 1, MOMENT: 2}, {"2026-01-02": 1, "2026-03-04T03:06:07.000089Z": 2}),
            ([Colour.RED, Colour.PAIR, Size.SMALL, Mode.TRAIN], ["red", [1, 2], 1, "train"]),
            (Point(1, [2]), {"x": 1, "y": [2]}),
            (Settings(0.1, Settings(0.2)), {"lr": 0.1, "inner": {"lr": 0.2, "inner": None}}),
            (Namespace(a=1), {"a": 1}),
            (MappingProxyType({"a": 1}), {"a": 1}),
            (UserDict(a=1), {"a": 1}),
            (collections.UserString("text"), "text"),
            ({3, 1, 2}, [1, 2, 3]),
            (frozenset({"b", "a", 1}), [1, "a", "b"]),
            ({frozenset("ab"), frozenset("c")}, [["a", "b"], ["c"]]),
            ({"b": 1, "a": 2}.keys(), ["b", "a"]),
            ({"b": 2, "a": 1}.values(), [2, 1]),
            ({"b": 2}.items(), [["b", 2]]),
            (deque([1]), [1]),
            (range(3), [0, 1, 2]),
            (array.array("d", [0.5]), [0.5]),
            (bytearray(b"\x00\xff"), b"\x00\xff"),
            (memoryview(b"abcd")[::2], b"ac"),
            (MOMENT, "2026-03-04T03:06:07.000089Z"),
            (date(2026, 1, 2), "2026-01-02"),
            (time(1, 2, 3), "01:02:03"),
            (timedelta(minutes=1, milliseconds=500), 60.5),
            (Path("a/b"), "a/b"),
            (PurePosixPath("/x"), "/x"),
            (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
            (Decimal("0.10"), "0.10"),
            (Fraction(1, 3), "1/3"),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_each_type_has_a_form(self, value, read):
        """What JSON has no type for is stored in the form that `schemas/values.md` names."""
        assert read_back(value) == read
        assert type(read_back(value)) is type(read)

    def test_naive_datetime_is_local_time(self):
        """A naive datetime is taken for local time, as everywhere in `datetime`."""
        naive = datetime(2026, 7, 1, 12)

        assert read_back(naive) == read_back(naive.astimezone())

    @pytest.mark.parametrize("moment", [datetime.min, datetime.max, datetime.min.replace(tzinfo=timezone(timedelta(hours=9)))])
    def test_datetime_at_the_ends_of_time(self, moment):
        """A datetime that UTC cannot express is kept as its own ISO 8601."""
        assert datetime.fromisoformat(read_back(moment).replace("Z", "+00:00")).replace(tzinfo=None) == moment.replace(
            tzinfo=None
        )

    @pytest.mark.parametrize(
        "number",
        [2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**4299, 10**4300, -(10**20_000)],
        ids=int.bit_length,
    )
    def test_integers_of_any_size(self, number):
        """An integer comes back exactly, also beyond 64 bits and beyond the digits that Python prints."""
        assert read_back([number]) == [number]

    def test_integers_do_not_depend_on_the_limit_of_digits(self):
        """A large integer that one process wrote can be read by one that prints fewer digits."""
        usual = sys.get_int_max_str_digits()
        sys.set_int_max_str_digits(0)
        try:
            line = line_of(10**5000)
        finally:
            sys.set_int_max_str_digits(usual)

        assert event_from_line(line, "log").data == 10**5000

    def test_negative_zero(self):
        """The sign of a zero is kept."""
        assert math.copysign(1, read_back(-0.0)) == -1

    def test_metrics_that_are_not_finite_stay_numeric_columns(self):
        """NaN and infinities are null in the line, so that every tool takes the column for numbers."""
        fields = json.loads(line_of({"loss": math.nan, "a/b": [1, -math.inf]}))

        assert fields["data"] == {"loss": None, "a/b": [1, None]}
        assert fields["nonfinite"] == {"/loss": "nan", "/a~1b/1": "-inf"}

    def test_none_beside_nan(self):
        """None stays None where NaN stays NaN."""
        first, second = read_back([None, math.nan])

        assert first is None
        assert math.isnan(second)

    def test_keys_of_the_format_itself(self):
        """A user's own `_mlv` at any depth is never taken for one of the format's tags."""
        value = {"_mlv": "int", "value": "3", "in": [{"_mlv": "bytes", "base64": "AA=="}, {"_mlv_": {"_mlv__": 1}}]}

        assert read_back(value) == value

    def test_lone_surrogates_in_keys_and_names(self):
        """A key or a name that UTF-8 cannot hold is readable text in the log."""
        event = event_from_line(line_of({"\ud800k": 1}, name="n\udfff"), "log")

        assert event.data == {"\\ud800k": 1}
        assert event.name == "n\\udfff"

    def test_lone_surrogates_in_values(self):
        """A text that UTF-8 cannot hold comes back exactly, and is readable in the line."""
        assert read_back(["a\ud800b", "\ud83d\ude00"]) == ["a\ud800b", "\ud83d\ude00"]
        assert "a\\ud800b" in json.loads(line_of("a\ud800b"))["data"]["text"]

    def test_coordinates(self):
        """Coordinates come back as values do."""
        at = Conversion().value({"_mlv": 1, "n": 2**70})

        assert event_from_line(line_of({}, at=at), "log").at == {"_mlv": 1, "n": 2**70}


class TestNumpy:
    np: Any

    @pytest.fixture(autouse=True)
    def _numpy(self):
        type(self).np = pytest.importorskip("numpy")

    def test_scalars(self):
        """A numpy scalar is the Python number that it stands for."""
        np = self.np
        given = [
            np.float32(0.5),
            np.float64(0.1),
            np.int64(3),
            np.uint64(2**64 - 1),
            np.bool_(True),
            np.float16(2),
            np.str_("s"),
        ]

        assert read_back(given) == [0.5, 0.1, 3, 2**64 - 1, True, 2.0, "s"]
        assert [type(item) for item in read_back(given)] == [float, float, int, int, bool, float, str]

    def test_arrays(self):
        """An array is a list; one without an axis is a number."""
        np = self.np

        assert read_back(np.arange(6).reshape(2, 3)) == [[0, 1, 2], [3, 4, 5]]
        assert read_back(np.array(2.5)) == 2.5
        assert read_back(np.array([])) == []
        assert math.isnan(read_back(np.array([np.nan]))[0])

    def test_times(self):
        """A numpy time is a moment, never a bare number of nanoseconds."""
        np = self.np
        moment = np.datetime64("2026-01-01T00:00:00.123456789")

        assert read_back(moment) == read_back(datetime(2026, 1, 1, 0, 0, 0, 123456))
        assert read_back(np.array([moment])) == [read_back(moment)]
        assert read_back(np.datetime64("NaT", "ns")) is None
        assert read_back(np.timedelta64(1500, "ms")) == 1.5

    def test_keys(self):
        """A numpy scalar as a key is the text of the Python one."""
        np = self.np

        assert read_back({np.int64(3): 1, np.float64(0.5): 2, np.bool_(True): 3}) == {"3": 1, "0.5": 2, "true": 3}

    def test_metric_in_an_array(self):
        """Whatever holds exactly one number is that number as a metric."""
        np = self.np
        conversion = Conversion()

        assert conversion.metrics({"a": np.array([[1.5]]), "b": np.array(2), "c": np.arange(2)}) == {
            "a": 1.5,
            "b": 2,
            "c": [0, 1],
        }
        assert conversion.problems == []

    def test_objects_in_an_array(self):
        """What an array holds that has no form is named by its place."""
        assert converted({"a": self.np.array([1, object()], dtype=object)})[1][0][0] == "a[1]"


class TestPandas:
    pd: Any

    @pytest.fixture(autouse=True)
    def _pandas(self):
        type(self).pd = pytest.importorskip("pandas")

    def test_times(self):
        """A Timestamp is written as a datetime, naive or aware, and NaT is nothing."""
        pd = self.pd

        assert read_back(pd.Timestamp("2026-01-01 10:00", tz="UTC")) == "2026-01-01T10:00:00.000000Z"
        assert read_back(pd.Timestamp("2026-01-01 10:00")) == read_back(datetime(2026, 1, 1, 10))
        assert read_back({pd.Timestamp("2026-01-01", tz="UTC"): pd.NaT}) == {"2026-01-01T00:00:00.000000Z": None}
        assert read_back(pd.Timedelta("90s")) == 90.0

    def test_series(self):
        """A Series is a list."""
        assert read_back(self.pd.Series([1, 2])) == [1, 2]


class TestObjectsOfLibraries:
    def test_attrs(self):
        """An object of attrs is a mapping of its fields."""
        attrs = pytest.importorskip("attrs")
        made = attrs.make_class("Made", ["lr", "inner"])

        assert read_back(made(0.1, made(1, None))) == {"lr": 0.1, "inner": {"lr": 1, "inner": None}}

    def test_pydantic(self):
        """A pydantic model is a mapping of its fields."""
        pydantic = pytest.importorskip("pydantic")
        model = pydantic.create_model("Model", lr=(float, 0.1))

        assert read_back([model()]) == [{"lr": 0.1}]

    def test_omegaconf(self):
        """An OmegaConf object is a mapping, its interpolations resolved; what is missing is named."""
        omegaconf = pytest.importorskip("omegaconf")
        conf = omegaconf.OmegaConf.create({"a": 1, "b": "${a}", "c": [1, {"d": 2}]})
        missing = omegaconf.OmegaConf.create({"model": {"depth": "???", "width": 3}})

        assert read_back(conf) == {"a": 1, "b": 1, "c": [1, {"d": 2}]}
        assert [path for path, _ in converted(missing)[1]] == ["model.depth"]

    def test_item_of_its_own(self):
        """Whatever has `.item()` is a number; neither numpy nor torch is needed for that."""

        class Scalar:
            def item(self):
                return 0.25

        assert read_back(Scalar()) == 0.25
        assert Conversion().metrics({"loss": Scalar()}) == {"loss": 0.25}


class TestWhatHasNoForm:
    @pytest.mark.parametrize(
        "value", [object(), int, len, complex(1, 2), Exception("x"), ..., math], ids=lambda value: type(value).__name__
    )
    def test_unstorable(self, value):
        """What has no form becomes a readable note of what it was, and is reported by its path."""
        form, problems = converted({"a": [{"b": value}]})

        assert form["a"][0]["b"]["_mlv"] == "unstorable"
        assert problems[0][0] == "a[0].b"

    def test_a_generator_is_left_alone(self):
        """An iterator has no form, and nothing is taken from it."""
        items = iter([1, 2])

        assert converted(items)[1]
        assert list(items) == [1, 2]

    def test_keys_that_collide(self):
        """Keys that are equal as text are reported, never merged in silence."""
        form, problems = converted({"in": {1: "a", "1": "b"}})

        assert form == {"in": {"1": "a"}}
        assert problems == [("in.1", "stands for two keys that are equal as text")]

    def test_metrics_that_collide(self):
        """The same full name twice is reported."""
        conversion = Conversion()

        conversion.metrics({"a": {"b": 1}, "a/b": 2})

        assert conversion.problems[0][0] == "a/b"

    @pytest.mark.parametrize("walk", ["value", "metrics"])
    def test_what_contains_itself(self, walk):
        """What contains itself ends at once, however often it does."""
        value: dict[str, Any] = {"n": 1}
        value.update({str(number): value for number in range(20)})
        conversion = Conversion()

        form = getattr(conversion, walk)(value)

        assert form["n"] == 1
        assert len(conversion.problems) == 20

    def test_what_stands_twice_is_no_loop(self):
        """The same object at two places is stored at both."""
        shared = {"a": [1]}

        assert read_back([shared, shared]) == [{"a": [1]}, {"a": [1]}]

    @pytest.mark.parametrize("depth", [101, 100_000])
    def test_deep_nesting(self, depth):
        """What is nested too deeply is reported, and does not exhaust the stack."""
        value: list[Any] = []
        for _ in range(depth):
            value = [value]

        form, problems = converted(value)

        assert len(problems) == 1
        assert dumps(form)

    def test_near_the_limit_of_the_stack(self):
        """A walk that runs out of stack is a report, not an exception."""

        def deeper(levels: int) -> Any:
            return deeper(levels - 1) if levels else converted({"a": {"b": [[[object()]]]}})

        for levels in range(sys.getrecursionlimit() - 120, sys.getrecursionlimit() - 60):
            try:
                _, problems = deeper(levels)
            except RecursionError:
                break  # there was no room to begin the walk
            assert problems

    def test_one_bad_item_leaves_the_others(self):
        """An item that raises when it is read costs only itself."""

        class Lazy(UserDict):
            def __getitem__(self, key):
                return super().__getitem__(key) if key != "bad" else 1 / 0

        form, problems = converted({"in": Lazy(good=1, bad=2)})

        assert form == {"in": {"good": 1}}
        assert [path for path, _ in problems] == ["in.bad"]


class TestReading:
    def test_what_is_unknown_is_kept(self):
        """Types and fields of another version are passed on, not dropped."""
        line = WHOLE.replace(b'"event"', b'"of_tomorrow"').replace(b'"data":{}', b'"data":{"a":1},"colour":"red"')

        event = event_from_line(line, "log")

        assert (event.type, event.data, event.extra) == ("of_tomorrow", {"a": 1}, {"colour": "red"})

    def test_an_unknown_tag_is_kept(self):
        """An object of a kind that this version does not know stays as it is."""
        line = line_of({}).replace(b'"data":{}', b'"data":{"_mlv":"of_tomorrow","x":[1]}')

        assert event_from_line(line, "log").data == {"_mlv": "of_tomorrow", "x": [1]}

    @pytest.mark.parametrize(
        ("given", "reason"),
        [
            (b"", "not JSON"),
            (b"\xff\n", "not JSON"),
            (b"[]\n", "not a JSON object"),
            (WHOLE[:40], "not JSON"),
            (WHOLE.replace(b'"run":"ra",', b""), "has no 'run'"),
            (WHOLE.replace(b'"seq":1,', b""), "has no 'seq'"),
            (WHOLE.replace(b'"type":"event",', b""), "has no 'type'"),
            (WHOLE.replace(b'"seq":1', b'"seq":"1"'), "wrong JSON type"),
            (WHOLE.replace(b'"seq":1', b'"seq":true'), "wrong JSON type"),
            (WHOLE.replace(b"2026-01-01", b"yesterday"), "not ISO 8601"),
        ],
    )
    def test_what_is_no_event(self, given, reason):
        """A line that is no event is refused with the reason."""
        with pytest.raises(BadLine, match=reason):
            event_from_line(given, "log")

    @pytest.mark.parametrize(
        "data",
        [
            b'"data":null,"nonfinite":{"":"many"}',
            b'"data":[null],"nonfinite":{"/0":{"a":1}}',
            b'"data":null,"nonfinite":[1]',
            b'"data":{"_mlv":"int","value":"many"}',
            b'"data":{"_mlv":"bytes"}',
            b'"data":{"_mlv":["int"]},"at":3,"step":{"a":1},"name":null',
            b'"data":' + b"[" * 900 + b'{"_mlv":1}' + b"]" * 900,
        ],
    )
    def test_strange_lines_are_events_or_bad_lines(self, data):
        """What another writer got wrong never raises anything but `BadLine`."""
        line = WHOLE.replace(b'"name":"x","data":{}', data)

        try:
            assert isinstance(event_from_line(line, "log"), Event)
        except BadLine:
            pass

    def test_times_of_other_writers(self):
        """An offset other than Z is a time as well, and comes back in UTC."""
        line = WHOLE.replace(b"00:00:00.000000Z", b"02:00:00+02:00")

        assert event_from_line(line, "log").time == datetime(2026, 1, 1, tzinfo=timezone.utc)


class TestLines:
    def test_the_kinds_of_payload_make_one_line(self):
        """A payload stands in the same line whichever way it travelled."""
        composer = Composer("ra")

        with_step = composer.line(1, 5, b'"type":"metrics",', encoding.STEP, 3, b'{"a":1}')
        as_tail = composer.line(1, 5, b'"type":"metrics",', TAIL, 0, encoding.as_tail(encoding.STEP, 3, b'{"a":1}'))
        without = composer.line(1, 5, b'"type":"metrics",', encoding.DATA, 0, b'{"a":1}')

        assert with_step == as_tail
        assert without == composer.line(1, 5, b'"type":"metrics",', TAIL, 0, encoding.as_tail(encoding.DATA, 0, b'{"a":1}'))
        assert with_step.startswith(composer.opening(1, 5))

    @pytest.mark.parametrize("time_ns", [0, 999, 1_000, 999_999_999, 1_000_000_000, 1_700_000_000_123_456_789])
    def test_times_are_whole_microseconds(self, time_ns):
        """A time is cut to microseconds, in UTC, with a Z."""
        line = Composer("ra").line(1, time_ns, head("event", ""), TAIL, 0, b'"data":1}')

        event = event_from_line(line, "log")

        assert event.time == datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=time_ns // 1000)


class TestSteps:
    @pytest.mark.parametrize("step", [None, 0, -1, 2**63 - 1, -(2**63), 0.5, Size.SMALL])
    def test_numbers(self, step):
        """A step is a finite number within 64 bits, or absent."""
        assert encoding.step_number(step) == step

    @pytest.mark.parametrize(
        "step",
        ["3", b"3", True, [3], {}, math.nan, math.inf, 2**63, -(2**63) - 1, 10**5000, object(), 1j],
        ids=lambda step: type(step).__name__,
    )
    def test_anything_else(self, step):
        """Anything else is refused with its value."""
        with pytest.raises(InvalidStep, match=r"step=.*: give (a number|one), or leave it out"):
            encoding.step_number(step)

    def test_scalars_of_libraries(self):
        """A numpy scalar, or an array of one number, is a step."""
        np = pytest.importorskip("numpy")

        assert encoding.step_number(np.int32(3)) == 3
        assert encoding.step_number(np.array([4])) == 4
        assert type(encoding.step_number(np.float64(0.5))) is float


class TestProperties:
    @pytest.fixture(autouse=True)
    def _hypothesis(self):
        pytest.importorskip("hypothesis")

    def test_what_was_logged_is_what_is_read(self):
        """Any nest of JSON values, bytes, large integers and texts comes back exactly, to the sign of a zero."""
        from hypothesis import given
        from strategies import same, values

        @given(values)
        def check(value):
            assert same(read_back(value), value)

        check()

    def test_every_line_is_plain_json(self):
        """Whatever is logged, the line is one line, and JSON for the standard library."""
        from hypothesis import given
        from strategies import anything, texts

        @given(anything, texts)
        def check(recipe, name):
            line = line_of(recipe.make(), name)
            assert line.count(b"\n") == 1
            assert line.endswith(b"}\n")
            json.loads(line, parse_constant=lambda constant: pytest.fail(constant))

        check()

    def test_the_walk_never_raises(self):
        """Whatever the objects do, a walk ends with a form, and reports what had none."""
        from hypothesis import given
        from strategies import anything

        @given(anything)
        def check(recipe):
            form, _ = converted({"value": recipe.make()})
            dumps(form)
            Conversion().metrics({"value": recipe.make()})

        check()

    def test_any_bytes_are_an_event_or_a_bad_line(self):
        """A damaged line never raises anything but `BadLine`."""
        from hypothesis import given
        from hypothesis import strategies as st

        damaged = st.tuples(st.integers(0, len(WHOLE)), st.binary(max_size=8)).map(
            lambda cut: WHOLE[: cut[0]] + cut[1] + WHOLE[cut[0] + 1 :]
        )

        @given(st.one_of(st.binary(max_size=60), damaged))
        def check(line):
            try:
                event_from_line(line, "log")
            except BadLine:
                pass

        check()

    def test_canonical_json_has_one_form(self):
        """Equal values have equal canonical JSON, whatever the order of their keys."""
        from hypothesis import given
        from hypothesis import strategies as st
        from strategies import keys, values

        def turned(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: turned(value[key]) for key in reversed(value)}
            return [turned(item) for item in value] if isinstance(value, list) else value

        def form(value: Any) -> bytes:
            conversion = Conversion()
            plain = conversion.value(value)
            return canonical(plain, conversion.nonfinite)

        @given(st.dictionaries(keys, values, max_size=4))
        def check(value):
            assert form(value) == form(turned(value))

        check()

    def test_canonical_json_tells_values_apart(self):
        """NaN is not None there, nor is a user's key one of the format's."""
        forms = {canonical(*_plain(value)) for value in ({"a": None}, {"a": math.nan}, {"a": math.inf}, {"a": "nan"}, {})}

        assert len(forms) == 5


def _plain(value: Any) -> tuple[Any, dict[str, str]]:
    conversion = Conversion()
    return conversion.value(value), conversion.nonfinite


def test_restoring_is_for_what_was_converted():
    """Restoring a value in its JSON form gives the value back."""
    plain, nonfinite = _plain({"a": [math.inf, 2**70, b"x", {"_mlv": 1}]})

    assert restored(plain, nonfinite) == {"a": [math.inf, 2**70, b"x", {"_mlv": 1}]}


class Quantity:
    """A number with a unit, as those of pint."""

    def __init__(self, magnitude: Any, units: str) -> None:
        self._magnitude, self._units = magnitude, units

    magnitude = property(lambda self: self._magnitude)
    units = property(lambda self: self._units)

    def to(self, units: str) -> Quantity:
        raise NotImplementedError

    def __float__(self) -> float:
        return float(self._magnitude)

    def item(self) -> Any:
        return self._magnitude


def values_of_libraries() -> list[tuple[Any, Any]]:
    """Values, and the form that each has wherever it is logged."""
    np = pytest.importorskip("numpy")
    found = [
        (np.ma.masked, None),
        (np.ma.masked_invalid([np.nan, np.nan]).mean(), None),
        (np.ma.array(0.5, mask=True), None),
        (np.ma.array(0.5), 0.5),
        (np.ma.array([0.5, 1.5], mask=[True, False]), [None, 1.5]),
        (np.ma.masked_all((2, 2)), [[None, None], [None, None]]),
        (np.timedelta64("NaT"), None),
        (np.datetime64("NaT", "ns"), None),
        (np.array([1, "NaT"], "m8[ns]"), [1e-9, None]),
        (np.timedelta64(2, "Y"), "2 years"),
        (np.timedelta64(2, "W"), 1209600.0),
        (np.timedelta64(7, "as"), 7e-18),
        (np.timedelta64(3), 3),
        (np.array(5, "m8[3s]"), 15.0),
        (np.datetime64("2026", "Y"), "2026"),
        (np.datetime64("0000-01-01"), "0000-01-01"),
        (np.zeros(0), []),
        (Quantity(5.0, "meter"), "5.0 meter"),
        (Quantity(np.float32(0.5), "meter"), "0.5 meter"),
        (Quantity(np.array([1.0, 2.0]), "meter"), ["1.0 meter", "2.0 meter"]),
        (Quantity(5.0, "dimensionless"), 5.0),
        (Decimal("1.10"), "1.10"),
        (Fraction(1, 3), "1/3"),
    ]
    pd = sys.modules.get("pandas")
    if pd is not None:
        found += [(pd.NA, None), (pd.NaT, None), (pd.Timedelta(5, "ns"), 5e-9), (pd.array([1, None], dtype="Int64"), [1, None])]
    return found


class TestOneForm:
    """W8: a value has one form, wherever it is logged: what is missing is null, and a unit stays."""

    def test_everywhere(self, tmp_path, monkeypatch):
        """Metrics, events, params, coordinates and tables agree; no warning comes out of it."""
        import mlv

        monkeypatch.setenv("MLV_INLINE", "1")
        pairs = values_of_libraries()
        forms = [form for _, form in pairs]
        params = {str(number): value for number, (value, _) in enumerate(pairs)}
        with mlv.Exp(tmp_path, "exp", params, capture=(), system=False) as exp:
            for value, _ in pairs:
                exp.log({"value": value})
                exp.log("event", {"value": value})
                exp.log.at(value=value)("at")
                exp.log.table("table", [{"value": value}])

        assert list(exp.params.values()) == forms
        assert [event.data["value"] for event in exp.events("metrics")] == forms
        assert [event.data["value"] for event in exp.events("event", "event")] == forms
        assert [event.at["value"] for event in exp.events("event", "at")] == forms
        assert [event.data["rows"][0][0] for event in exp.events("table")] == forms

    def test_steps(self):
        """What is missing, a moment, a span of time and a number with a unit are no steps."""
        for value, form in values_of_libraries():
            if form is None or isinstance(form, (str, list)) or is_of_time(value):
                with pytest.raises(InvalidStep):
                    encoding.step_number(value) if value is not None else None
        assert encoding.step_number(Quantity(5, "")) == 5

    def test_no_host(self):
        """Sets with NaN or objects, objects of one type, and paths have a form without addresses or hashes in it."""
        nan, one = float("nan"), frozenset({1})
        assert converted({nan, 2.0, 1.0})[0] == converted({1.0, nan, 2.0})[0]
        assert "0x" not in str(converted([object(), lambda: 0, {object(): 1}, {one, object()}]))
        assert converted(Path("/a/\udcd0\udcbc"))[0] == "/a/\u043c"
        assert converted(time(1, 2, tzinfo=ZoneInfo("UTC")))[0] in ("01:02:00[UTC]", "01:02:00+00:00")

    def test_long_ranges(self):
        """A range is a list, unless that would fill the memory."""
        assert converted(range(3))[0] == [0, 1, 2]
        assert converted(range(10**12))[0] == "range(0, 1000000000000)"
