"""What may strike in the middle of a call goes through it, whatever it is; nothing else leaves it, and the log stays whole."""

from __future__ import annotations

import gc
import inspect
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections import ChainMap, UserDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import mlv
from mlv import Exp, Logger

PACKAGE = str(Path(mlv.__file__).parent)


class Struck(Exception):
    """What a signal handler raises, as that of torchelastic does."""


class Value:
    """A scalar as those of torch: reading it runs code of Python."""

    shape = ()
    readings = 0

    def __init__(self, read: Callable[[], Any] = lambda: 0.5) -> None:
        self.read = read

    def item(self) -> Any:
        self.readings += 1
        return self.read()

    def __float__(self) -> float:
        warnings.warn("read by another way", UserWarning, stacklevel=2)
        return 0.5


CALLS: dict[str, Callable[[Logger, Any], object]] = {
    "metrics": lambda log, value: log({"loss": value}, step=3),
    "metrics beside numbers": lambda log, value: log({"a": 1.0, "loss": value}),
    "metrics of a filter": lambda log, value: Logger(log._session, log.stream, filter="loss")({"loss": value}),
    "metrics with coordinates": lambda log, value: log.at(epoch=1)({"loss": value}),
    "nested metrics": lambda log, value: log({"train": {"loss": value}}),
    "metrics by name": lambda log, value: log.metrics({"loss": value}),
    "one metric": lambda log, value: log.metric("loss", value),
    "a list": lambda log, value: log({"loss": [value]}),
    "a step": lambda log, value: log({"loss": 1.0}, step=value),
    "an event": lambda log, value: log("x", {"loss": value}),
    "a value": lambda log, value: log.value("x", value),
    "a name and a value": lambda log, value: log("x", value),
    "a message": lambda log, value: log.info("x", value=value),
    "a span": lambda log, value: log.span("x", loss=value).end(),
    "a table": lambda log, value: log.table("x", {"a": [value]}),
}


@pytest.fixture
def quiet() -> Iterator[None]:
    """Warnings about what is rejected are not the subject here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mlv.MlvWarning)
        yield


@contextmanager
def handled(number: int, handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    """A signal handler for a while."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def raising(kind: type[BaseException]) -> Callable[[], Any]:
    """What raises as it is read."""

    def read() -> Any:
        raise kind("struck")

    return read


def signalled() -> Any:
    """What a signal strikes as it is read."""
    os.kill(os.getpid(), signal.SIGUSR2)
    for _ in range(100):
        time.sleep(0.001)
    return 0.5


def swallowing() -> Any:
    """What a signal strikes as it is read, and which makes another exception of it."""
    try:
        return signalled()
    except BaseException as error:
        raise ValueError("cannot be read") from error


def swallowing_quietly() -> Any:
    """So does this, without naming its cause."""
    try:
        return signalled()
    except BaseException:
        raise ValueError("cannot be read")  # noqa: B904


def assert_whole(exp: Exp, log: Logger) -> None:
    """The log takes events as before, and numbers them without a gap."""
    log({"after": 1.0})
    log("after", {"list": [1]})
    events = list(exp.events())
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.type for event in events[-2:]] == ["metrics", "event"]


class TestGoesThrough:
    """W2: Ctrl-C, sys.exit() and what signal handlers raise are not about the value."""

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
    @pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
    def test_no_exception(self, either_log, call, kind, quiet):
        """What is no `Exception` goes through each call."""
        with pytest.raises(kind):
            call(either_log, Value(raising(kind)))

        assert_whole(Exp.open(either_log._session.folder), either_log)

    @pytest.mark.parametrize("read", [signalled, swallowing, swallowing_quietly], ids=["plain", "as a cause", "as a context"])
    @pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
    @pytest.mark.usefixtures("inline")
    def test_signal_handlers(self, exp, log, call, read, quiet):
        """So does an exception of a signal handler, of whatever type, and also where it became the cause of another one."""

        def handler(number: int, frame: FrameType | None) -> None:
            raise Struck(number)

        with handled(signal.SIGUSR2, handler), pytest.raises(Struck):
            call(log, Value(read))

        assert_whole(exp, log)

    @pytest.mark.parametrize("form", ["method", "arguments", "lambda", "defaults"])
    @pytest.mark.usefixtures("inline")
    def test_forms_of_handlers(self, exp, log, form, quiet):
        """A handler may be a method, a lambda, or take any arguments."""

        class Handlers:
            def method(self, signum: int, frame: Any) -> None:
                raise Struck

        def arguments(*args: Any) -> None:
            raise Struck

        def named(a: Any = None, b: Any = None, *, c: Any = None) -> None:
            raise Struck

        forms: dict[str, Any] = {
            "method": Handlers().method, "arguments": arguments, "lambda": lambda s, f: raising(Struck)(), "defaults": named,
        }  # fmt: skip
        with handled(signal.SIGUSR2, forms[form]), pytest.raises(Struck):
            log({"loss": Value(signalled)})

        assert_whole(exp, log)

    @pytest.mark.usefixtures("inline")
    @pytest.mark.parametrize("count", range(1, 4))
    def test_files(self, exp, monkeypatch, count):
        """So does an alarm while a file is published, though its TimeoutError is what a disk may raise as well."""
        fsync, calls = os.fsync, []

        def interrupted(fd: int) -> None:
            fsync(fd)
            calls.append(fd)
            if len(calls) == count:
                os.kill(os.getpid(), signal.SIGUSR2)

        def alarm(number: int, frame: FrameType | None) -> None:
            raise TimeoutError("alarm")

        def publish() -> None:
            for name in ("a.bin", "b.bin"):
                with exp.file(name, "wb") as file:
                    file.write(b"1")

        monkeypatch.setattr(os, "fsync", interrupted)
        with handled(signal.SIGUSR2, alarm), pytest.raises(TimeoutError, match="alarm"):
            publish()

    def test_own_exceptions_stay(self, exp, log, quiet):
        """An exception of the value's own is about the value, also while another one is handled."""
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            for call in CALLS.values():
                call(log, Value(raising(ZeroDivisionError)))

        assert_whole(exp, log)

    @pytest.mark.parametrize("ends", ["KeyboardInterrupt", "SystemExit"])
    def test_processes(self, tmp_path, ends):
        """W2: Ctrl-C while a value is read ends the script, and its run says so; so does `sys.exit` in a handler."""
        script = """
import os, signal, sys, threading, time, mlv
class Loss:
    shape = ()
    def item(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        return 0.5
signal.signal(signal.SIGINT, signal.default_int_handler if sys.argv[2] == "KeyboardInterrupt" else lambda *_: sys.exit(3))
exp = mlv.Exp(sys.argv[1], "run", capture=(), system=False)
exp.log({"loss": 1.0}, step=0)
exp.log({"loss": Loss()}, step=1)
print("trained to the end")
"""
        run = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path), ends], capture_output=True, text=True, check=False, timeout=60
        )

        assert run.returncode == (3 if ends == "SystemExit" else -signal.SIGINT)
        assert "trained" not in run.stdout
        exp = Exp.open(tmp_path / "run")
        assert exp.status != "ok" or ends == "SystemExit"
        assert [event.step for event in exp.events("metrics")] == [0]


@pytest.mark.usefixtures("inline")
class TestNothingElse:
    @pytest.mark.parametrize("action", ["error", "default", "ignore"])
    def test_filters_of_warnings(self, exp, log, action):
        """W7: whatever becomes of warnings, a value is read once by `item()`, and none comes from lines of mlv."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter(action)  # type: ignore[arg-type]
            value = Value()
            log({"loss": value})

        assert value.readings == 1
        assert caught == []
        assert [event.data for event in exp.events("metrics")] == [{"loss": 0.5}]

    @pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
    def test_a_value_that_warns(self, exp, log, call):
        """W7: the value's own warning does not fail it where a filter makes an error of it."""

        def read() -> float:
            warnings.warn("deprecated", DeprecationWarning, stacklevel=2)
            return 0.5

        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)
            call(log, Value(read))
            call(log, Value(read))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call(log, Value(read))

        assert [event.type for event in exp.events("rejected")] == []
        assert {one.category for one in caught} == {DeprecationWarning}

    @pytest.mark.parametrize("first", [0.5, 0.5 + 0j, float("nan"), "text", None, [1]], ids=repr)
    def test_read_once(self, exp, log, first):
        """W7: whatever it gives, a value is read once."""
        value = Value(lambda: first)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", mlv.MlvWarning)
            log({"loss": value, "other": 1.0})

        assert value.readings == 1

    def test_torch(self, exp, log):
        """W7: a tensor with a gradient is a number, without a warning."""
        torch = pytest.importorskip("torch")
        weight = torch.nn.Parameter(torch.ones(2))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            log({"loss": (weight**2).sum()}, step=0)

        assert [event.data for event in exp.events("metrics")] == [{"loss": 2.0}]

    def test_a_wrong_call(self, log):
        """A call with arguments that it does not have is an error of the script's."""
        with pytest.raises(TypeError):
            log.image("x", valeu=3)
        with pytest.raises(TypeError):
            log.metrics()

    @pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
    def test_no_memory(self, exp, log, call, quiet):
        """Nor do errors that come from below: they are said, and training goes on."""
        put = log._session.channel.put

        def fails(*_: Any) -> None:
            raise MemoryError("no memory")

        log._session.channel.put = fails
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                call(log, 0.5)
        finally:
            log._session.channel.put = put

        assert_whole(exp, log)


CONTAINERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "itself": lambda data: data,
    "nested": lambda data: {"in": data},
    "UserDict": lambda data: _user_dict(data),
    "ChainMap": lambda data: ChainMap({}, data),
}


def _user_dict(data: dict[str, Any]) -> Any:
    found: Any = UserDict()
    found.data = data
    return found


@contextmanager
def changed_meanwhile(data: dict[str, Any], items: Any, value: Callable[[], Any]) -> Iterator[None]:
    """A mapping and a list into which another thread puts values, and takes them out again."""
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            data[f"more{number % 50}"] = value()
            data.pop(f"more{(number + 25) % 50}", None)
            items.append(value())
            if len(items) > 40:
                items.pop()

    thread = threading.Thread(target=change)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)


@pytest.mark.usefixtures("inline")
class TestChangedMeanwhile:
    """W1: what another thread changes is logged as it was at one moment."""

    @pytest.mark.parametrize("container", CONTAINERS.values(), ids=list(CONTAINERS))
    def test_metrics(self, exp, log, container):
        """Each call leaves a line that has all that was always there."""
        data: dict[str, Any] = {f"layer{number}": Value() for number in range(30)}
        with changed_meanwhile(data, [], Value):
            for step in range(100):
                log(container(data), step=step)

        events = list(exp.events(["metrics", "rejected"]))
        assert [(event.type, event.step) for event in events] == [("metrics", step) for step in range(100)]
        assert all(sum("layer" in name for name in event.data) == 30 for event in events)

    @pytest.mark.parametrize("kind", [list, deque])
    def test_elsewhere(self, exp, log, kind):
        """So are the data of events, messages and spans, tables and params."""
        data: dict[str, Any] = {f"layer{number}": Value() for number in range(10)}
        items = kind(Value() for _ in range(20))
        with changed_meanwhile(data, items, Value):
            for _ in range(30):
                log({"list": items})
                log("x", {"in": {"data": data, "items": items, "keys": data.keys(), "items of it": data.items()}})
                log.info("x", data=data, items=items)
                log.span("x", data=data).end()
                log.at(data=data)
                log.table("x", [data])
                exp.add_params({"number": 1, "same": {"a": [1]}})
                mlv.experiment.opening.params.plain_params({"data": data, "items": items})

        assert [event.data["reason"] for event in exp.events("rejected")] == []

    def test_what_changes_itself(self, exp, log):
        """A value that takes others away as it is read takes none out of the line."""
        data: dict[str, Any] = {}
        data.update(a=1.0, b=Value(lambda: data.clear() or 0.5), c=2.0)
        log(data)

        assert [event.data for event in exp.events("metrics")] == [{"a": 1.0, "b": 0.5, "c": 2.0}]

    def test_keys_that_come_and_go(self, exp, log):
        """W1: a key that is away at one look is read at the next one, and left out where it stays away."""

        class Changing(UserDict):
            def __getitem__(self, key: str) -> Any:
                if key == "away" or self.data[key] is None:
                    self.data.pop("away", None)
                    self.data[key] = 0.5
                    raise KeyError(key)
                return self.data[key]

            def __iter__(self) -> Iterator[str]:
                return iter([key for key in self.data if key != "away" or self.data[key] is None])

        log(Changing(stays=1.0, back=None, away=None))

        assert [(event.type, event.data) for event in exp.events(["metrics", "rejected"])] == [
            ("metrics", {"stays": 1.0, "back": 0.5})
        ]


def struck(call: Callable[[], object], error: BaseException, at: int) -> tuple[bool, BaseException | None]:
    """Make a call, and raise an exception at the moment of this number; whether there was one, and what came out.

    The moments are those at which the interpreter lets signals in: where a function of mlv begins, and where C code that it
    called returns. The first one is left out: there nobody is inside of the call yet.
    """
    count = -1

    def profile(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal count
        code = frame.f_code
        is_entry = event == "call" and not code.co_flags & inspect.CO_GENERATOR  # which closes without anybody looking
        if (is_entry or event == "c_return") and code.co_filename.startswith(PACKAGE) and code.co_name != "__del__":
            count += 1
            if count == at:
                sys.setprofile(None)
                raise error

    came: BaseException | None = None
    sys.setprofile(profile)
    try:
        call()
    except BaseException as out:
        came = out
    finally:
        sys.setprofile(None)
    return count >= at, came


def coordinated(log: Logger) -> Callable[[], object]:
    here = log.at(epoch=1)
    return lambda: here({"x": 1.0})


WHOLE_CALLS: dict[str, Callable[[Logger], Callable[[], object]]] = {
    "plain": lambda log: lambda: log({"x": 1.0}, step=1),
    "scalars": lambda log: lambda: log({"x": Value()}, step=1),
    "coordinates": coordinated,
    "text": lambda log: lambda: log({"x": "text", "y": {"z": [1]}}),
    "event": lambda log: lambda: log("x", {"a": [1, {"b": Value()}]}),
    "bad": lambda log: lambda: log({"x": object()}),
    "message": lambda log: lambda: log.warning("at %d", 3),
    "text of media": lambda log: lambda: log.text("x", "words"),
    "histogram": lambda log: lambda: log.histogram("x", [1.0, 2.0]),
    "large": lambda log: lambda: log("x", {"text": "x" * 100_000}),
    "span": lambda log: log.span("x").end,
}


@pytest.fixture
def without_gc() -> Iterator[None]:
    """What earlier tests left behind does not end in the middle of a call, where it would be struck."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_gc")
@pytest.mark.parametrize("call", WHOLE_CALLS.values(), ids=list(WHOLE_CALLS))
class TestAnyMoment:
    """An exception at any moment of a call: what comes out is what must, and what is logged afterwards is whole."""

    # No OSError: that would be a disk which refuses.
    @pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError])
    def test_strikes(self, either_log, call, kind, quiet):
        """An interruption comes out; any other exception does not; each call leaves its events once, or none."""
        exp, log = Exp.open(either_log._session.folder), either_log
        log({"first": 1.0})
        at = 0
        is_struck = True
        while is_struck:
            at += 1
            is_struck, came = struck(call(log), kind("struck"), at)
            if kind is KeyboardInterrupt:
                assert (type(came) is KeyboardInterrupt) == is_struck, at
            else:
                assert came is None, at
            log({"after": 1.0}, step=at)

        assert exp.flush(60)
        events = list(exp.events())
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert [event.step for event in events if event.data and "after" in event.data] == list(range(1, at + 1))
        whole = ["after" not in event.data and event.type != "rejected" for event in events[2:]]
        assert not any(one and other for one, other in pairwise(whole)), "an event is stored twice"
