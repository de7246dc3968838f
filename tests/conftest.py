"""What all tests share: a spool of their own, the command line, and helpers that run real processes."""

from __future__ import annotations

import gc
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import IO, Any

import psutil
import pytest

from mlv import notices

Command = Callable[..., "subprocess.CompletedProcess[Any]"]
# The benchmarks lie beside the package, at the root of the repository; an installed mlv goes before the one there.
sys.path.append(str(Path(__file__).parents[1]))

pytest_plugins = ["bucket.stores"]
"""Object stores are at work once for all tests, wherever these are."""
MEMORY = Path("/dev/shm")
ROOM_BYTES = 6 << 30
"""Free memory from which on the temporary files of tests are kept in it: they take 1.5 GB."""

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts us in the background ignores Ctrl-C, and what we start would inherit that: tests that send it to a
    # process would wait for ever. What is handled is not inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    # So does `nohup`.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

with suppress(ImportError):
    from hypothesis import HealthCheck, settings

    # How long an example takes is the machine's affair. Where `CI` is set, hypothesis tries the same examples each time.
    settings.register_profile("mlv", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("mlv")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the list of the modules that are quick."""
    parser.addini("quick_modules", "test modules that `-m quick` chooses", type="linelist", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Keep temporary files in memory, where there is room: an experiment is synced a dozen times, which takes a disk 50 ms."""
    if config.getoption("basetemp") is None and MEMORY.is_dir():
        free_bytes = min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available)
        if free_bytes > ROOM_BYTES:
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no other modules where only those that are quick are run: that takes longer than their tests."""
    is_other = collection_path.name.startswith("test_") and collection_path not in _quick(config)
    return True if config.getoption("markexpr") == "quick" and is_other else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests of the modules that are quick."""
    for item in items:
        if item.path in _quick(config):
            item.add_marker("quick")


def _quick(config: pytest.Config) -> set[Path]:
    return {config.rootpath / module for module in config.getini("quick_modules")}


@pytest.fixture(autouse=True)
def spool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Keep the rings of each test apart from those of the machine, and see that none is left behind."""
    folder = tempfile.mkdtemp(prefix="mlv-test-", dir=MEMORY if MEMORY.is_dir() else None)
    monkeypatch.setenv("MLV_SPOOL", folder)
    yield Path(folder)
    wait_until(lambda: _is_removed(folder))


@pytest.fixture(autouse=True)
def every_warning_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was said once in another test may be said again."""
    monkeypatch.setattr(notices, "lines_warned", set())


@pytest.fixture
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep indexes and mirrors apart from those of the user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def inline(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write without a writer process: the same lines, sooner. A test in such a module that asks for a `ring` has one."""
    if "ring" not in request.fixturenames:
        monkeypatch.setenv("MLV_INLINE", "1")


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write through a ring and a writer process: where processes end, fork or wait for each other."""
    monkeypatch.setenv("MLV_INLINE", "0")


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script in a fresh interpreter, in a folder of its own, with a deadline."""

    def run(source: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        script = tmp_path / f"script_{time.monotonic_ns()}.py"
        script.write_text(textwrap.dedent(source))
        command = [sys.executable, "-W", "error", str(script), *map(str, arguments)]
        settings: dict[str, object] = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 60, **options}
        return subprocess.run(command, **settings)  # type: ignore[call-overload,no-any-return]

    return run


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Run `mlv` with arguments inside this process, in the test's folder."""
    return lambda *arguments, **options: run_command(*arguments, **{"cwd": tmp_path, **options})


@pytest.fixture
def process(tmp_path: Path) -> Command:
    """Run `mlv` with arguments as a process of its own, in the test's folder, with a deadline."""

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[Any]:
        words = [sys.executable, "-m", "mlv", *map(str, arguments)]
        settings: dict[str, object] = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 60, **options}
        return subprocess.run(words, **settings)  # type: ignore[call-overload,no-any-return]

    return run


def run_command(
    *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None, text: bool = True
) -> subprocess.CompletedProcess[Any]:
    """Run `mlv` inside this process, which saves the start of an interpreter; signals, pipes and terminals need a real one.

    File descriptors are real, so that a process which the command starts writes to the same files.
    """
    from mlv.cli import main  # the tests of most rooms do without

    words = [*map(str, arguments)]
    was_enabled = gc.isenabled()  # `mlv ls` turns it off
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        with pytest.MonkeyPatch.context() as patch, _printing_to(out, errors, patch), warnings.catch_warnings():
            _filter_as_python_does()
            patch.chdir(cwd or Path.cwd())
            patch.setattr(sys, "argv", ["mlv", *words])
            patch.setattr(notices, "lines_warned", set())
            for name in [*os.environ] if env is not None else ():
                patch.delenv(name)
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            try:
                status = main()
            except SystemExit as ending:
                status = ending.code
            finally:
                (gc.enable if was_enabled else gc.disable)()
        printed = [_content(file, text) for file in (out, errors)]
    assert status is None or isinstance(status, int)
    return subprocess.CompletedProcess(["mlv", *words], status or 0, *printed)


@contextmanager
def _printing_to(out: IO[bytes], errors: IO[bytes], patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Send what this process prints, and what its children print, to two files."""
    sys.stdout.flush()
    sys.stderr.flush()
    before = os.dup(1), os.dup(2)
    streams = []
    try:
        for file, number, name, on_error in ((out, 1, "stdout", "strict"), (errors, 2, "stderr", "backslashreplace")):
            os.dup2(file.fileno(), number)
            streams.append(io.TextIOWrapper(os.fdopen(os.dup(number), "wb"), encoding="utf-8", errors=on_error))
            patch.setattr(sys, name, streams[-1])
        yield
    finally:
        for stream in streams:
            stream.close()
        for number, descriptor in enumerate(before, 1):
            os.dup2(descriptor, number)
            os.close(descriptor)


def _filter_as_python_does() -> None:
    """Filter warnings as an interpreter without options does, not as pytest."""
    warnings.resetwarnings()
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", category)


def _content(file: IO[bytes], text: bool) -> str | bytes:
    file.seek(0)
    content = file.read()
    return content.decode().replace("\r\n", "\n") if text else content


def _is_removed(folder: str) -> bool:
    """Remove a folder in which a writer may be busy still, after a run that nobody waited for."""
    shutil.rmtree(folder, ignore_errors=True)
    return not os.path.exists(folder)


def fork(work: Callable[[], object]) -> int:
    """Do something in a forked child, which ends behind it, whatever happens: with status 1 if it raises. Return its pid."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return pid


def everything_from(descriptor: int) -> bytes:
    """Read a terminal or a pipe until nobody has its other end open any more, and close it."""
    chunks = []
    with suppress(OSError):  # which is how the end of a terminal is told
        while chunk := os.read(descriptor, 1 << 16):
            chunks.append(chunk)
    os.close(descriptor)
    return b"".join(chunks)


EXECUTORS = ("here", "number", "address", "threads", "pool", "dask")
"""Kinds of executors; `on` makes one of each, by an indirect parameter."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Start a Dask cluster of two processes on this machine."""
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        # Dask starts a worker again that is killed, but not one that is killed while it starts.
        cluster.adapt(minimum=2, maximum=2, interval="0.5s")
        yield cluster


@pytest.fixture
def on(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Return what names an executor of a kind."""
    if request.param == "dask":
        yield request.getfixturevalue("cluster").scheduler_address.replace("tcp://", "dask://")
    elif request.param == "threads":
        with ThreadPoolExecutor(2) as threads:
            yield threads
    elif request.param == "pool":
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            yield pool
    else:
        yield {"here": None, "number": 2, "address": "processes:2"}[request.param]


class Elsewhere(Executor):
    """A machine on which a folder is not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        """Run a task while the folder is away."""
        away = self._folder.with_name("away")
        self._folder.rename(away)
        future: Future[Any] = Future()
        future.set_result(function(*arguments, **options))
        away.rename(self._folder)
        return future


def wait_until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Return when the condition holds; fail when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s in vain for {condition}"
        time.sleep(0.005)
