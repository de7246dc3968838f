"""How fast, and in how much memory, a million scalars of other tools come over."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from zlib import crc32

from benchmarks.figures import Figure, plain
from benchmarks.measuring import check_count, folder, timed_ms

_TAGS = ("loss", "acc", "lr", "grad/norm")
_LEAST_RATE, _LEAST_RATE_OF_OTHERS, _MOST_MB = 200_000, 100_000, 200

_IMPORT = r"""
import json, re, sys, time
from pathlib import Path
from mlv.importers.importing import bring, look_for
from mlv.importers.reading import Options

begun = time.perf_counter()
[outcome] = bring(look_for([Path(sys.argv[1])], None, Options()).units, Path(sys.argv[2]), Options())
spent_s = time.perf_counter() - begun
used_kb = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]  # of this program, not of who started it
print(json.dumps([spent_s, outcome.events["metrics"], int(used_kb) / 1024]))
"""


def importers(quick: bool) -> list[Figure]:
    """Each import runs in a process of its own, whose memory is measured."""
    count = 50_000 if quick else 1_000_000
    with folder() as place:
        return [*_tensorboard(place, count), *_wandb(place, count), *_others(place, count)]


def _imported(source: Path, root: Path, expected: int) -> tuple[float, float]:
    """Import, and return the seconds and the mebibytes that it took."""
    done = subprocess.run([sys.executable, "-c", _IMPORT, source, root], check=True, capture_output=True, text=True)
    spent_s, events, used_mb = json.loads(done.stdout)
    check_count(events, expected)
    return spent_s, used_mb


def _others(place: Path, count: int) -> list[Figure]:
    """Logs of DLLogger, tables of ALLogger, and histories that W&B's server gave out, each of three metrics."""
    figures = []
    for name, write in (("DLLogger", _write_dll), ("ALLogger", _write_tables), ("a history of W&B in Parquet", _write_history)):
        source = place / f"source_{write.__name__}"
        source.mkdir()
        points, events = write(source, count)
        spent_s, used_mb = _imported(source, place / f"of_{write.__name__}", events)
        what = f"import of {points:,} points of {name}"
        figures += [
            Figure(
                what, "points/s", None, points / spent_s, points / spent_s, "points/s", _LEAST_RATE_OF_OTHERS, at_most=False
            ),
            plain("  its memory", "MiB", used_mb, _MOST_MB),
        ]
    return figures


def _write_dll(source: Path, count: int) -> tuple[int, int]:
    rows = count // 3
    with open(source / "log.json", "w") as file:
        for step in range(rows):
            times = {"timestamp": str(1.7e9 + step / 100), "elapsedtime": str(step / 100)}
            data = {"loss": step / 3, "acc": step / 7, "lr": 1e-3 * step}
            file.write(f"DLLL {json.dumps({**times, 'type': 'LOG', 'step': step, 'data': data})}\n")
    return 3 * rows, rows


def _write_tables(source: Path, count: int) -> tuple[int, int]:
    import h5py
    import numpy

    rows = count // 3
    table = numpy.zeros(rows, [("step", "i4"), ("time", "f4"), ("walltime", "f4"), ("value", "f4")])
    table["step"] = table["walltime"] = table["value"] = numpy.arange(rows)
    (source / "events").mkdir()
    with h5py.File(source / "events" / "1700000000_host.h5", "w") as file:
        for name in ("loss", "acc", "lr"):
            file.create_dataset(f"scalar/main/{name}", data=table, maxshape=(None,), chunks=True, compression="gzip")
    return 3 * rows, 3 * rows


def _write_history(source: Path, count: int) -> tuple[int, int]:
    import numpy
    import pyarrow
    from pyarrow import parquet

    rows = count // 3
    steps = numpy.arange(rows)
    columns = {"_step": steps, "_runtime": steps / 100, "_timestamp": 1.7e9 + steps / 100}
    table = pyarrow.table({**columns, "loss": steps / 3, "acc": steps / 7, "lr": steps * 1e-3})
    parquet.write_table(table, source / "0000.parquet")
    return 3 * rows, rows


def _tensorboard(place: Path, count: int) -> list[Figure]:
    """Beside EventAccumulator, which keeps all points when its guidance is 0."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    source = place / "logs" / "exp"
    source.mkdir(parents=True)
    _write_events(source / "events.out.tfevents.1700000000.host", count)
    reference_s = timed_ms(lambda: EventAccumulator(str(source), size_guidance={"scalars": 0}).Reload()) / 1000
    spent_s, used_mb = _imported(source.parent, place / "of_tensorboard", count)
    what = f"import of {count:,} scalars of TensorBoard (reference: EventAccumulator without a limit)"
    rate = Figure(what, "s", reference_s, spent_s, reference_s / spent_s, "x", 5, at_most=False)
    return [rate, plain("  its memory", "MiB", used_mb, _MOST_MB)]


def _write_events(path: Path, count: int) -> None:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    from mlv.projections.tfrecords import framed  # a writer that is not what is measured

    with open(path, "wb") as file:
        for start in range(0, count, 10_000):
            values = [
                Event(
                    wall_time=1.7e9 + number / 100,
                    step=number // len(_TAGS),
                    summary=Summary(value=[Summary.Value(tag=_TAGS[number % len(_TAGS)], simple_value=number / 3)]),
                ).SerializeToString()
                for number in range(start, min(count, start + 10_000))
            ]
            file.write(framed(values))


def _wandb(place: Path, count: int) -> list[Figure]:
    """Rows of three metrics, and beside each the summary that W&B makes of it."""
    rows = count // 3
    source = place / "wandb" / "offline-run-20240101_000000-abc"
    source.mkdir(parents=True)
    (source / "run-abc.wandb").write_bytes(_log(_records(rows)))
    spent_s, used_mb = _imported(source.parent, place / "of_wandb", rows)
    what = f"import of {3 * rows:,} points of an offline run of W&B, three to a row"
    rate = Figure(what, "points/s", None, 3 * rows / spent_s, 3 * rows / spent_s, "points/s", _LEAST_RATE, at_most=False)
    return [rate, plain("  its memory", "MiB", used_mb, _MOST_MB)]


def _records(rows: int) -> Iterable[bytes]:
    yield _field(17, _field(1, b"abc") + _field(3, b"bench") + _field(17, b"\x08" + _varint(1_700_000_000))) + _field(200, b"x")
    for step in range(rows):
        row = {"loss": step / 3, "acc": step / 7, "lr": 1e-3 * step, "_step": step, "_timestamp": 1.7e9 + step / 100}
        items = _items({**row, "_runtime": step / 100})
        yield _field(2, items + _field(2, b"\x08" + _varint(step)))
        yield _field(3, items)
    yield _field(18, b"")


def _items(values: dict[str, float]) -> bytes:
    return b"".join(_field(1, _field(2, name.encode()) + _field(16, repr(value).encode())) for name, value in values.items())


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = b""
    while value >= 0x80:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def _log(records: Iterable[bytes]) -> bytes:
    """Records in the frames of LevelDB, as W&B has them."""
    log, block = bytearray(b":W&B\xe1\xbe\x00"), 32 * 1024
    for record in records:
        is_first, is_last = True, False
        while not is_last:
            room = block - len(log) % block
            if room < 7:
                log += bytes(room)
                continue
            chunk, record = record[: room - 7], record[room - 7 :]
            is_last = not record
            kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}[is_first, is_last]
            log += struct.pack("<IHB", crc32(bytes([kind]) + chunk), len(chunk), kind) + chunk
            is_first = False
    return bytes(log)
