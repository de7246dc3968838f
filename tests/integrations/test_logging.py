"""Records of Python's `logging` become messages, whatever is in them."""

from __future__ import annotations

import logging
import logging.config
import logging.handlers
import os
import queue
import threading
import warnings
from pathlib import Path

import pytest

import mlv
from mlv.integrations.logging import Handler


@pytest.fixture
def exp(tmp_path, monkeypatch):
    """An experiment, written inline."""
    monkeypatch.setenv("MLV_INLINE", "1")
    with mlv.Exp(tmp_path, "exp", capture=()) as made:
        yield made


@pytest.fixture
def logger(exp):
    """A logger of the standard library whose records reach the experiment, and nothing else."""
    found = logging.Logger("train.data")
    found.addHandler(Handler(exp.log))
    return found


def messages(exp):
    return list(exp.events("message"))


def only(exp):
    [event] = messages(exp)
    return event


def extra_of(event):
    """What was given as `extra`."""
    return {key: value for key, value in event.data["extra"].items() if key not in ("logger", "path", "line")}


@pytest.mark.parametrize(
    ("number", "level", "named"),
    [
        (logging.DEBUG, "debug", {}),
        (logging.INFO, "info", {}),
        (logging.WARNING, "warning", {}),
        (logging.ERROR, "error", {}),
        (logging.CRITICAL, "error", {"level_name": "CRITICAL"}),
        (7, "debug", {"level_name": "Level 7"}),  # not 5, which uvicorn names
        (25, "info", {"level_name": "Level 25"}),
    ],
)
def test_levels(exp, logger, number, level, named):
    """Each level is that of a Logger; the name of any other one is kept."""
    logger.log(number, "loaded %d of %s", 3, "x")

    assert (only(exp).data["level"], only(exp).data["message"]) == (level, "loaded 3 of x")
    assert extra_of(only(exp)) == named


def test_origin(exp, logger):
    """A message knows the logger, and the line of code."""
    logger.info("here")

    data = only(exp).data["extra"]
    assert data["logger"] == "train.data"
    assert Path(data["path"]) == Path(__file__)
    assert "logger.info" in Path(__file__).read_text().splitlines()[data["line"] - 1]


def test_level_of_the_handler(exp):
    """Records below the level are left out; a level may be given by its name."""
    logger = logging.Logger("x")
    logger.addHandler(Handler(exp.log, level="WARNING"))
    logger.info("no")
    logger.warning("yes")

    assert [event.data["message"] for event in messages(exp)] == ["yes"]


def test_names_coordinates_streams(exp):
    """The messages go where the Logger points."""
    logger = logging.Logger("x")
    logger.addHandler(Handler(exp.logger("messages").sub("setup").at(epoch=3)))
    logger.info("here")

    assert (only(exp).stream, only(exp).name, dict(only(exp).at)) == ("messages", "setup", {"epoch": 3})


def test_exceptions(exp, logger):
    """An exception is kept with its type, message and traceback."""
    try:
        raise ValueError("wrong shape")
    except ValueError:
        logger.exception("failed")

    data = only(exp).data
    assert (data["exception"]["type"], data["exception"]["message"]) == ("ValueError", "wrong shape")
    assert "wrong shape" in data["exception"]["traceback"]
    assert "exc_info" not in data["extra"]


def test_stack(exp, logger):
    """A stack that was asked for is kept."""
    logger.info("here", stack_info=True)
    assert "test_stack" in only(exp).data["extra"]["stack"]


def test_extra(exp, logger):
    """A record's own fields are kept, also where they have the name of one of ours."""
    logger.info("x", extra={"user": "a", "sizes": (1, 2.5), "deep": {"path": Path("b")}, "logger": "mine", "level": 3})

    extra = only(exp).data["extra"]
    assert {key: extra[key] for key in ("user", "sizes", "deep", "logger", "level")} == {
        "user": "a", "sizes": [1, 2.5], "deep": {"path": "b"}, "logger": "mine", "level": 3,
    }  # fmt: skip


@pytest.mark.parametrize(("step", "found", "kept"), [(3, 3, {}), (0.5, 0.5, {}), ("third", None, {"step_": "third"})])
def test_step(exp, logger, step, found, kept):
    """A step that is a number is the line's own."""
    logger.info("x", extra={"step": step})
    assert (only(exp).step, extra_of(only(exp))) == (found, kept)


class Odd:
    """Has no JSON form, and a `repr` that may raise."""

    def __init__(self, raises):
        self.raises = raises

    def __repr__(self):
        if self.raises:
            raise RuntimeError
        return "<odd>"


def test_values_without_a_form(exp, logger):
    """What cannot be stored stands as its repr: the message is none the less a message."""
    endless: list = []
    endless.append(endless)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logger.info("x", extra={"odd": Odd(False), "bad": Odd(True), "raw": b"a", "endless": endless, "z": 1j, "f": print})

    extra = extra_of(only(exp))
    assert (extra["odd"], extra["raw"], extra["z"], extra["f"]) == ("<odd>", "b'a'", "1j", "<built-in function print>")
    assert "Odd object at" in extra["bad"]
    assert "[...]" in str(extra["endless"])


def test_numpy(exp, logger):
    """Scalars of numpy are numbers, arrays are shown."""
    numpy = pytest.importorskip("numpy")
    logger.info("x", extra={"a": numpy.float32(0.5), "b": numpy.int64(3), "c": numpy.zeros(2)})
    assert extra_of(only(exp)) == {"a": 0.5, "b": 3, "c": "array([0., 0.])"}


@pytest.mark.parametrize(
    ("message", "args", "said"),
    [
        ("%d files", ("many",), "%d files 'many'"),
        ("%s and %s", ("one",), "%s and %s 'one'"),
        ("%(a)s", ({"a": 1},), "1"),
        ("%(a)s", ({"b": 1},), "%(a)s {'b': 1}"),
        ("100 %", (), "100 %"),
        ("%s", ({},), "{}"),
        (["a", 1], (), "['a', 1]"),
    ],
)
def test_messages(exp, logger, message, args, said):
    """A message is made as `logging` makes it; where the arguments do not fit, both are kept."""
    logger.info(message, *args)
    assert only(exp).data["message"] == said


def test_a_message_that_cannot_be_shown(exp, logger):
    """A `__str__` that raises ends nothing."""
    logger.info(Odd(True))
    logger.info("%s", Odd(True))
    logger.info("after")
    assert [event.data["message"] for event in messages(exp)][-1] == "after"
    assert len(messages(exp)) == 3


def test_it_never_raises(exp, monkeypatch, capsys):
    """What goes wrong within is shown on stderr, where there is one."""

    class Broken(mlv.Logger):
        __slots__ = ()

        def _message(self, *_):
            raise RuntimeError("broken")

    logger = logging.Logger("x")
    logger.addHandler(Handler(Broken(exp.log._session, "log")))
    logger.info("x")
    assert "broken" in capsys.readouterr().err

    class Raising:
        def write(self, text):
            raise RuntimeError

    monkeypatch.setattr("sys.stderr", Raising())
    logger.info("x")


def test_after_close(exp, logger):
    """Records after the end of the run are not stored, which is said, once."""
    exp.close()
    with pytest.warns(mlv.MlvWarning, match="after close"):
        logger.info("x")


@pytest.fixture
def root(exp):
    """The root logger, with the experiment's handler; as it was, afterwards."""
    found, before = logging.getLogger(), list(logging.getLogger().handlers)
    handler = Handler(exp.log)
    found.addHandler(handler)
    yield found
    logging.captureWarnings(False)
    found.handlers[:] = before


def test_captured_warnings(exp, root):
    """With `captureWarnings`, warnings are messages."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old function", DeprecationWarning, stacklevel=1)

    assert only(exp).data["extra"]["logger"] == "py.warnings"
    assert "DeprecationWarning: old function" in only(exp).data["message"]


def test_warnings_of_its_own(exp, root, monkeypatch):
    """A warning that mlv gives while it keeps a record does not come back to it; others show it."""
    seen = []
    other = logging.Handler()
    other.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]
    root.addHandler(other)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        exp.close()
        root.warning("x")

    assert len(seen) == 2
    assert any("after close" in text for text in seen)


def test_loggers_called_within(exp, logger):
    """A `__repr__` or `__str__` that logs is not followed into itself."""

    class Talking:
        def __str__(self):
            logger.info("talking")
            return "talked"

        __repr__ = __str__

    logger.info("%s", Talking(), extra={"who": Talking()})

    assert only(exp).data["message"] == "talked"
    assert extra_of(only(exp)) == {"who": "talked"}


def test_threads(exp, logger):
    """Threads log at once; while one is within, the others are not passed over."""
    threads = [threading.Thread(target=lambda i=i: [logger.info("%d", i) for _ in range(100)]) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(event.data["message"] for event in messages(exp)) == sorted(str(i) for i in range(8) for _ in range(100))


def test_a_queue(exp):
    """It works at the end of a queue, as well."""
    waiting: queue.Queue = queue.Queue()
    logger = logging.Logger("x")
    logger.addHandler(logging.handlers.QueueHandler(waiting))
    listener = logging.handlers.QueueListener(waiting, Handler(exp.log))
    listener.start()
    try:
        raise ValueError("wrong")
    except ValueError:
        logger.exception("failed", extra={"size": 3})
    listener.stop()

    assert only(exp).data["message"].startswith("failed\nTraceback")
    assert extra_of(only(exp)) == {"size": 3}


def test_basic_config(exp, monkeypatch):
    """`basicConfig` gives it a formatter: the parts stay apart none the less."""
    monkeypatch.setattr(logging, "root", logging.RootLogger(logging.WARNING))
    logging.basicConfig(handlers=[Handler(exp.log)], level="INFO", force=True)
    logging.root.info("plain")

    assert only(exp).data["message"] == "plain"


def test_dict_config(exp):
    """`dictConfig` makes it, with levels and filters of its own."""
    logging.config.dictConfig({
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"named": {"name": "mlv_test.train"}},
        "handlers": {
            "exp": {"class": "mlv.integrations.logging.Handler", "log": exp.log, "level": "INFO", "filters": ["named"]},
        },
        "loggers": {"mlv_test": {"handlers": ["exp"], "level": "DEBUG", "propagate": False}},
    })  # fmt: skip
    logging.getLogger("mlv_test.train").debug("too low")
    logging.getLogger("mlv_test.other").info("another name")
    logging.getLogger("mlv_test.train.loop").info("kept")
    logging.getLogger("mlv_test").handlers.clear()

    assert only(exp).data["message"] == "kept"


@pytest.mark.parametrize("given", [None, "log", 3])
def test_what_is_no_logger(given):
    """What is no Logger is refused at once."""
    with pytest.raises(mlv.InvalidArgument, match=r"give a Logger, such as exp\.log"):
        Handler(given)


def test_an_experiment_is_no_logger(exp):
    """An Exp is none either."""
    with pytest.raises(mlv.InvalidArgument, match="is of type Exp: give a Logger"):
        Handler(exp)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork(python, tmp_path):
    """A child that is forked, even while other threads log, logs as a run of its own; nothing is lost or doubled."""
    done = python("""
        import logging, os, threading, warnings, mlv
        from mlv.integrations.logging import Handler
        warnings.simplefilter("ignore", DeprecationWarning)
        exp = mlv.Exp("runs", "exp", capture=())
        logger = logging.getLogger("x")
        logger.setLevel("INFO")
        logger.addHandler(Handler(exp.log))
        over = threading.Event()
        counts = [0, 0]
        def busy(i):
            while not over.is_set():
                counts[i] += 1
                logger.info("parent")
        threads = [threading.Thread(target=busy, args=(i,)) for i in range(2)]
        for thread in threads: thread.start()
        children = []
        for i in range(10):
            pid = os.fork()
            if pid == 0:
                for j in range(10): logger.info("child %d", i)
                exp.close()
                os._exit(0)
            children.append(pid)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
        over.set()
        for thread in threads: thread.join()
        exp.close()
        print(codes, sum(counts))
    """)
    codes, count = done.stdout.rsplit(" ", 1)
    assert codes == str([0] * 10), done.stderr

    found = [event.data["message"] for event in mlv.Exp.open(tmp_path / "runs" / "exp").events("message")]
    assert found.count("parent") == int(count)
    assert sorted(text for text in found if text != "parent") == sorted(f"child {i}" for i in range(10) for _ in range(10))


def test_disabled(tmp_path, monkeypatch):
    """Under MLV_DISABLED it keeps nothing."""
    monkeypatch.setenv("MLV_DISABLED", "1")
    exp = mlv.Exp(tmp_path, "exp")
    logger = logging.Logger("x")
    logger.addHandler(Handler(exp.log))
    logger.info("x")
    assert list(tmp_path.iterdir()) == []
