"""`mlv ui` beside the pages of TensorBoard, Trackio, MLflow and Aim: the same runs, written by the API of each.

A page is measured by what its server answers to its own page. `MLV_BENCH_PYTHON_TRACKIO` and its like name the Python that
has the other tool, since few of them can be installed beside one another; without it, it is the Python of the benchmarks.
"""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import Any
from urllib.error import URLError

import psutil

from benchmarks import ui
from benchmarks.figures import Figure, absent
from benchmarks.measuring import check_count, folder

_PATIENCE_S = 300
_POINTS_OF_SHORT = 100
_SPIKE = 10
"""Greater values are spikes."""
_SERIES = """
import math, os, sys
place, count, long, points = sys.argv[1], *map(int, sys.argv[2:5])
def series(number, size, spikes):
    at = {(number * 37 + size * share // 10) % size for share in (1, 5, 8)} if spikes else ()
    return [50.0 if step in at else math.sin(step / 500) for step in range(size)]
runs = [(f"short_{n}", n, series(n, SHORT, False)) for n in range(count)]
runs += [(f"long_{n}", n, series(n, points, True)) for n in range(long)]
""".replace("SHORT", str(_POINTS_OF_SHORT))
_AIM_TREE = """
import json, struct, sys
from aim.storage.treeutils import decode_tree
def pairs(data):
    words, at = [], 0
    while at < len(data):
        (size,) = struct.unpack_from("I", data, at)
        words.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return zip(words[::2], words[1::2])
tree = decode_tree(pairs(sys.stdin.buffer.read()))
runs = {name: run for name, run in tree.items() if not name.startswith("progress_")}
blobs = [trace["values"]["blob"] for run in runs.values() for trace in run.get("traces", ()) if "values" in trace]
print(json.dumps({"runs": len(runs), "values": [value for blob in blobs for (value,) in struct.iter_unpack("d", blob)]}))
"""


_MLFLOW_CURVE = "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval"


class _Page:
    """The server of a page, and questions to it."""

    def __init__(self, base: str, process: psutil.Process, python: str) -> None:
        self.base, self._process, self._python = base, process, python

    def ask(self, path: str, body: Any = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=_PATIENCE_S) as answer:
            content: bytes = answer.read()
        return content

    def json(self, path: str, body: Any = None) -> Any:
        return json.loads(self.ask(path, body))

    def decoded(self, script: str, content: bytes) -> Any:
        """Return an answer in a form of its tool's own, which a script in the tool's Python reads."""
        return json.loads(subprocess.run([self._python, "-c", script], input=content, capture_output=True, check=True).stdout)

    def memory_mb(self) -> float:
        """Memory of all processes of the server; pages that they share count once."""
        every = [self._process, *self._process.children(recursive=True)]
        return sum(float(getattr(one.memory_full_info(), "pss", one.memory_info().rss)) for one in every) / 2**20


@dataclass(frozen=True)
class _Tool:
    """A page: how its runs are written and its server is started, and what it answers about them."""

    name: str
    package: str
    long: int
    """Runs with a long curve: fewer where it takes minutes to write them."""
    write: str
    command: Callable[[str, str, int], list[str]]
    """The command, by the Python, the folder and a port."""
    runs: Callable[[_Page], int]
    """How many runs the answers list that its page asks for."""
    has_numbers: bool
    """Whether these answers have the params and the last values, too, and not only the names."""
    curve: Callable[[_Page, int], bytes]
    """The answer with the curve of a long run."""
    values: Callable[[_Page, bytes], list[float]]
    """The values that are in this answer."""

    @property
    def python(self) -> str:
        return os.environ.get(f"MLV_BENCH_PYTHON_{self.package.upper()}", sys.executable)


_TENSORBOARD = _Tool(
    "TensorBoard",
    "tensorboard",
    20,
    """
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
for name, number, values in runs:
    writer = EventFileWriter(os.path.join(place, name))
    for step, value in enumerate(values):
        summary = Summary(value=[Summary.Value(tag="loss", simple_value=value)])
        writer.add_event(Event(step=step, wall_time=1.8e9 + step / 10, summary=summary))
    writer.close()
""",
    lambda python, place, port: [
        python, "-m", "tensorboard.main", "--logdir", place, "--host", "127.0.0.1", "--port", str(port)
    ],
    lambda page: len(page.json("/data/runs")),
    False,
    lambda page, number: page.ask(f"/data/plugin/scalars/scalars?run=long_{number}&tag=loss"),
    lambda _, content: [value for _, _, value in json.loads(content)],
)  # fmt: skip
_TRACKIO = _Tool(
    "Trackio",
    "trackio",
    2,
    """
import trackio
for name, number, values in runs:
    run = trackio.init(project="bench", name=name, config={"seed": number}, auto_log_gpu=False, auto_log_cpu=False)
    for step, value in enumerate(values):
        run.log({"loss": value}, step=step)
    run.finish()
""",
    lambda python, place, port: [
        python, "-c", f"import trackio; trackio.show('bench', open_browser=False, block_thread=True, server_port={port})"
    ],
    lambda page: _trackio_runs(page),
    False,
    lambda page, number: page.ask("/api/get_logs_batch", {"project": "bench", "runs": [{"run": f"long_{number}"}]}),
    lambda _, content: [row["loss"] for one in json.loads(content)["data"] for row in one["logs"]],
)  # fmt: skip
_MLFLOW = _Tool(
    "MLflow",
    "mlflow",
    2,
    """
import mlflow
from mlflow.entities import Metric, Param
mlflow.set_tracking_uri(f"sqlite:///{place}/mlflow.db")
client = mlflow.MlflowClient()
experiment = client.create_experiment("bench", artifact_location=f"{place}/artifacts")
for name, number, values in runs:
    run = client.create_run(experiment, run_name=name, tags={"name": name})
    metrics = [Metric("loss", value, 1_800_000_000_000 + step, step) for step, value in enumerate(values)]
    for begin in range(0, len(metrics), 1000):
        params = [] if begin else [Param("seed", str(number))]
        client.log_batch(run.info.run_id, metrics[begin : begin + 1000], params)
    client.set_terminated(run.info.run_id)
""",
    lambda python, place, port: [
        python, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{place}/mlflow.db", "--host", "127.0.0.1",
        "--port", str(port), "--workers", "1",
    ],
    lambda page: len(_mlflow_runs(page)),
    True,
    lambda page, number: page.ask(f"{_MLFLOW_CURVE}?metric_key=loss&max_results=2500&run_ids={_mlflow_id(page, number)}"),
    lambda _, content: [point["value"] for point in json.loads(content)["metrics"]],
)  # fmt: skip
_AIM = _Tool(
    "Aim",
    "aim",
    2,
    """
from aim import Run
for name, number, values in runs:
    run = Run(repo=place, experiment="bench", system_tracking_interval=None, capture_terminal_logs=False)
    run.name, run["seed"] = name, number
    for step, value in enumerate(values):
        run.track(value, name="loss", step=step)
    run.close()
""",
    lambda python, place, port: [
        os.path.join(os.path.dirname(python), "aim"), "up", "--repo", place, "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1", "--yes",
    ],
    lambda page: page.decoded(_AIM_TREE, page.ask("/api/runs/search/run/?report_progress=false"))["runs"],
    True,
    lambda page, number: page.ask(
        f"/api/runs/search/metric/?report_progress=false&p=500&q=run.name%20%3D%3D%20%22long_{number}%22"
    ),
    lambda page, content: page.decoded(_AIM_TREE, content)["values"],
)  # fmt: skip


def _trackio_runs(page: _Page) -> int:
    names = page.json("/api/get_runs_for_project", {"project": "bench"})["data"]
    return min(len(names), len(page.json("/api/get_run_configs", {"project": "bench"})["data"]))


def _mlflow_runs(page: _Page) -> list[Any]:
    body = {"experiment_ids": ["1"], "max_results": 10_000}
    listed: list[Any] = page.json("/ajax-api/2.0/mlflow/runs/search", body).get("runs", [])
    return listed


@cache
def _mlflow_id(page: _Page, number: int) -> str:
    body = {"experiment_ids": ["1"], "max_results": 1, "filter": f"tags.name = 'long_{number}'"}
    [run] = page.json("/ajax-api/2.0/mlflow/runs/search", body)["runs"]
    return str(run["info"]["run_id"])


def tensorboard(quick: bool) -> list[Figure]:
    """TensorBoard at its defaults."""
    return _beside(_TENSORBOARD, quick)


def trackio(quick: bool) -> list[Figure]:
    """Trackio, on this machine."""
    return _beside(_TRACKIO, quick)


def mlflow(quick: bool) -> list[Figure]:
    """MLflow over SQLite, with one worker."""
    return _beside(_MLFLOW, quick)


def aim(quick: bool) -> list[Figure]:
    """Aim, with one worker."""
    return _beside(_AIM, quick)


@dataclass(frozen=True)
class _Measured:
    start_ms: float
    names_ms: float
    listed_ms: float
    """From the command until the names of all runs are there, and until their numbers are."""
    memory_mb: float
    cold_ms: float
    """From the command until a long curve is there to its end."""
    curve_ms: float
    spikes: int


def _beside(tool: _Tool, quick: bool) -> list[Figure]:
    version = _version(tool)
    if not version:
        return [absent(f"{tool.name}: is not installed here")]
    count, long, points = (10, 1, 10_000) if quick else (100, tool.long, 100_000)
    with folder() as place:
        theirs = _measured_theirs(tool, place, count, long, points)
    with folder() as place:
        ours = _measured_ours(place, count, long, points)
    what = f"{tool.name} {version}"
    every = 3 * long

    listed = (lambda one: one.listed_ms) if tool.has_numbers else (lambda one: one.names_ms)
    scope = " with their numbers" if tool.has_numbers else " by their names"

    def row(text: str, unit: str, of: Callable[[_Measured], float]) -> Figure:
        return Figure(f"{what}: {text}", unit, of(theirs), of(ours), of(ours) / of(theirs), "x theirs")

    return [
        row("from the command to the first answer", "ms", lambda one: one.start_ms),
        row(f"from the command until {count + long} runs are listed{scope}", "ms", listed),
        row(f"from the command until a curve of {points:,} points is there", "ms", lambda one: one.cold_ms),
        row("the same curve again", "ms", lambda one: one.curve_ms),
        row("memory of the server then", "MB", lambda one: one.memory_mb),
        Figure(f"{what}: spikes kept, of {every}", "spikes", theirs.spikes, ours.spikes, ours.spikes, "spikes", every, False),
    ]


def _version(tool: _Tool) -> str:
    """Return the version that a tool's Python has; '' where it has none."""
    code = f"from importlib.metadata import version; print(version({tool.package!r}))"
    try:
        return subprocess.run([tool.python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    except (subprocess.CalledProcessError, OSError):
        return ""


def _measured_theirs(tool: _Tool, place: Path, count: int, long: int, points: int) -> _Measured:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment.update(HOME=str(place), TRACKIO_DIR=str(place), HF_HUB_OFFLINE="1")
    arguments = map(str, (place, count, long, points))
    script = [tool.python, "-c", _SERIES + tool.write, *arguments]
    subprocess.run(script, check=True, env=environment, cwd=place, stdout=subprocess.DEVNULL, timeout=_PATIENCE_S * 2)
    with _started(tool, place, environment) as (page, began):  # for the first time, Python compiles what it imports
        _until(lambda: page.ask("/"), began)
    with _started(tool, place, environment) as (page, began):
        start = _until(lambda: page.ask("/"), began)
        listed = _until(lambda: tool.runs(page) == count + long, began)
        cold = _until(lambda: _reaches_end(tool.values(page, tool.curve(page, 0)), points), began)
        curve = median(_ms(lambda: tool.curve(page, 0)) for _ in range(5))
        memory = page.memory_mb()
        spikes = sum(value > _SPIKE for number in range(long) for value in tool.values(page, tool.curve(page, number)))
        return _Measured(start, listed, listed, memory, cold, curve, spikes)


def _reaches_end(values: list[float], points: int) -> bool:
    """Return whether a curve has the last value that was logged, to the digits of a 32-bit float."""
    return bool(values) and abs(values[-1] - math.sin((points - 1) / 500)) < 1e-5


@contextmanager
def _started(tool: _Tool, place: Path, environment: dict[str, str]) -> Iterator[tuple[_Page, float]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    began = time.perf_counter()
    command = tool.command(tool.python, str(place), port)
    with open(place / "server.txt", "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd=place)
    try:
        yield _Page(f"http://127.0.0.1:{port}", psutil.Process(process.pid), tool.python), began
    finally:
        own = psutil.Process(process.pid)
        for one in [*own.children(recursive=True), own]:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()


def _until(holds: Callable[[], object], began: float) -> float:
    """Ask until the answer is true; return the milliseconds since the beginning."""
    while True:
        try:
            if holds():
                return _ms_since(began)
        except (URLError, ConnectionError, json.JSONDecodeError, KeyError):
            pass
        if time.perf_counter() > began + _PATIENCE_S:
            raise TimeoutError(f"the page was not ready within {_PATIENCE_S} s")
        time.sleep(0.02)


def _ms(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return _ms_since(began)


def _ms_since(began: float) -> float:
    return (time.perf_counter() - began) * 1000


def _measured_ours(place: Path, count: int, long: int, points: int) -> _Measured:
    for root in (place / "listed", place / "drawn"):
        for number in range(count):
            ui.write(root / f"short_{number}", number, _POINTS_OF_SHORT, shares=())
        for number in range(long):
            ui.write(root / f"long_{number}", number, points)
    (place / "nothing").mkdir()
    with ui.served(place / "nothing", place):  # for the first time, Python compiles what it imports
        pass
    with ui.served(place / "listed", place) as (server, start):
        rows, names, listed = server.all_rows()
        check_count(len(rows), count + long)
    began = time.perf_counter()
    with ui.served(place / "drawn", place) as (server, _):
        first = server.id_of("long_0")
        server.curves([first])
        cold = _ms_since(began)
        again = median(_ms(partial(server.curves, [first])) for _ in range(5))
        memory = _Page("", server.process, "").memory_mb()
        every = [server.id_of(f"long_{number}") for number in range(long)]
        spikes = 3 * long - ui.missing_spikes(server.curves(every))
    return _Measured(start, start + names, start + listed, memory, cold, again, spikes)
