"""What it costs to bring a million scalars from a log to TensorBoard's event files, and to HDF5."""

from __future__ import annotations

import logging
import shutil
from datetime import datetime
from pathlib import Path
from statistics import median

import orjson

from benchmarks.figures import Figure
from benchmarks.measuring import check_count, folder, in_turn, timed_ms
from benchmarks.reading import _write
from mlv import Exp, hdf
from mlv.projections import HDF5, TensorBoard, replay

_NAMES = ("loss", "acc", "lr")


def projections(quick: bool) -> list[Figure]:
    """`replay` of a log of metric lines with three values each, into a new folder."""
    lines, repetitions = (7_000, 3) if quick else (333_334, 5)
    with folder() as place:
        exp = Exp(place, "bench", capture=())
        exp.close()
        _write(exp.path / "log.jsonl", 0, lines)
        return [_tensorboard(exp, place, lines, repetitions), _hdf5(exp, place, lines, repetitions)]


def _tensorboard(exp: Exp, place: Path, lines: int, repetitions: int) -> Figure:
    """Beside a loop that gives tensorboardX the same numbers, which are in memory; of a tenth, as each takes so long."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboardX import SummaryWriter

    few = max(1, lines // 10)

    def directly() -> float:
        with SummaryWriter(str(place / "by_hand")) as writer:
            spent = timed_ms(lambda: _feed(writer, few))
            spent += timed_ms(writer.close)
        shutil.rmtree(place / "by_hand")
        return spent * lines / few

    def mlv() -> float:
        shutil.rmtree(place / "output", ignore_errors=True)
        return timed_ms(lambda: replay(exp, TensorBoard(path=place / "output")))

    logging.disable()
    spent = in_turn(directly, mlv, repetitions)
    [path] = (place / "output").glob("*.mlv")
    check_count(sum(1 for _ in RawEventFileLoader(str(path)).Load()), 3 * lines + 1)
    return _figure(f"{3 * lines:,} scalars of a log to TensorBoard (reference: tensorboardX fed from memory)", spent, 0.8)


def _feed(writer: object, count: int) -> None:
    for step in range(count):
        for name in _NAMES:
            writer.add_scalar(name, step / 3, step, 1_800_000_000.0 + step)  # type: ignore[attr-defined]


def _hdf5(exp: Exp, place: Path, lines: int, repetitions: int) -> Figure:
    """Beside the same by hand: orjson to columns, and each column written whole by h5py."""

    def by_hand() -> float:
        return timed_ms(lambda: _written_by_hand(exp.path / "log.jsonl", place / "by_hand.h5"))

    def mlv() -> float:
        shutil.rmtree(place / "output", ignore_errors=True)
        return timed_ms(lambda: replay(exp, HDF5(path=place / "output")))

    spent = in_turn(by_hand, mlv, repetitions)
    check_count(sum(len(hdf.read_from_key(place / "output", name)) for name in _NAMES), 3 * lines)
    what = f"{3 * lines:,} scalars of a log to HDF5 (reference: orjson to columns, each written whole by h5py)"
    return _figure(what, spent, 0.5)


def _written_by_hand(log: Path, path: Path) -> None:
    import h5py

    columns: dict[str, tuple[list[int], list[float], list[float]]] = {}
    with open(log, "rb") as file:
        for line in file:
            event = orjson.loads(line)
            if event["type"] == "metrics":
                time_s = datetime.fromisoformat(event["time"].replace("Z", "+00:00")).timestamp()
                for name, value in event["data"].items():
                    steps, times, values = columns.setdefault(name, ([], [], []))
                    steps.append(event["step"])
                    times.append(time_s)
                    values.append(value)
    with h5py.File(path, "w") as file:
        for name, (steps, times, values) in columns.items():
            group = file.create_group(f"log/{name}")
            group["step"], group["time"], group["value"] = steps, times, values


def _figure(what: str, spent: tuple[list[float], list[float]], bar: float) -> Figure:
    reference, mlv = (median(values) for values in spent)
    return Figure(what, "ms", reference, mlv, mlv / reference, "x", bar)
