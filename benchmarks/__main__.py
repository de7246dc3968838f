"""The command line of the benchmarks. It judges nothing: the exit code is 0 unless something crashed."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

import mlv
from benchmarks import (
    attach,
    beside,
    browser,
    calls,
    compat_allogger,
    compat_dllogger,
    compat_helios,
    compat_mle,
    compat_tensorboard,
    compat_wandb,
    crowd,
    frameworks,
    importers,
    lake,
    lake_page,
    many,
    media,
    pages,
    portfolio,
    projections,
    rates,
    reading,
    starting,
    ui,
    writer,
)  # fmt: skip
from benchmarks.figures import Figure, as_markdown, as_text, command_line

ROWS: dict[str, Callable[[bool], list[Figure]]] = {
    "call": calls.call,
    "busy-thread": rates.busy_thread,
    "throughput": rates.throughput,
    "experiments": crowd.experiments,
    "children": crowd.children,
    "loop": calls.loop,
    "stopped-writer": writer.stopped_writer,
    "image": media.image,
    "images": media.images,
    "import": starting.imports,
    "exp": starting.experiments,
    "memory": writer.memory,
    "portfolio": portfolio.saves,
    "attach": attach.attach,
    "history": reading.history,
    "ls": many.listing,
    "aggregate": many.pooling,
    "executors": many.scaling,
    "follow": many.following,
    "projections": projections.projections,
    "importers": importers.importers,
    "lake": lake.lake,
    "lake-page": lake_page.listing,
    "allogger": compat_allogger.values,
    "printing": beside.printing,
    "others": calls.others,
    "dllogger": compat_dllogger.dllogger,
    "helios": compat_helios.helios,
    "mle-logging": compat_mle.saves,
    "summary-writer": compat_tensorboard.summary_writer,
    "wandb": compat_wandb.wandb,
    "page": ui.start,
    "page-list": ui.listing,
    "page-curves": ui.curves,
    "page-idle": ui.idle,
    "page-browser": browser.browsing,
    "page-tensorboard": pages.tensorboard,
    "page-trackio": pages.trackio,
    "page-mlflow": pages.mlflow,
    "page-aim": pages.aim,
    "frameworks": frameworks.frameworks,
}
_ROW_TIMEOUT_S = 1200


def main() -> int:
    options = _options()
    if options.row:
        print(json.dumps([asdict(figure) for figure in ROWS[options.row](options.quick)]))
        return 0
    figures, crashed = [], 0
    for name in options.only or ROWS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            figures += _in_fresh_interpreter(name, options.quick)
        except (subprocess.SubprocessError, ValueError) as error:
            crashed += 1
            print(f"{name} crashed: {error}\n{getattr(error, 'stderr', '') or ''}", file=sys.stderr)
    about = machine()
    print(f"{', '.join(str(value) for value in about.values())}\n")
    print(as_markdown(figures) if options.markdown else as_text(figures))
    if options.json:
        result = {"machine": about, "quick": options.quick, "figures": [figure.to_data() for figure in figures]}
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 1 if crashed else 0


def _options() -> argparse.Namespace:
    about = "What mlv costs, beside W, the same by hand: a dict with the time, orjson.dumps, os.write to an O_APPEND file."
    parser = command_line("python -m benchmarks", about, ROWS)
    parser.add_argument("--row", choices=ROWS, help=argparse.SUPPRESS)
    return parser.parse_args()


def _in_fresh_interpreter(name: str, quick: bool) -> list[Figure]:
    """Measure one row in a process and a spool of its own, so that rows do not disturb each other."""
    command = [sys.executable, "-m", "benchmarks", "--row", name, *(["--quick"] if quick else [])]
    in_memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    path = os.pathsep.join(filter(None, sys.path))  # the current folder, too: scripts that rows start lie elsewhere
    with TemporaryDirectory(prefix="mlv-bench-", dir=in_memory, ignore_cleanup_errors=True) as spool:
        environment = {**os.environ, "MLV_SPOOL": spool, "PYTHONPATH": path}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            output, errors = process.communicate(timeout=_ROW_TIMEOUT_S)
        finally:  # servers that it has started would go on without it
            _kill(process)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output, errors)
    return [Figure(**data) for data in json.loads(output)]


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a process, unless it has ended, with all that it has started."""
    with suppress(psutil.NoSuchProcess):
        own = psutil.Process(process.pid)
        for one in [*own.children(recursive=True), own] if process.poll() is None else ():
            with suppress(psutil.NoSuchProcess):
                one.kill()
    process.wait()


def machine() -> dict[str, Any]:
    return {
        "mlv": f"mlv {mlv.__version__}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": platform.platform(terse=True),
        "cpu": f"{os.cpu_count()} x {_cpu()}",
        "load": f"load {os.getloadavg()[0]:.1f}",
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main())
