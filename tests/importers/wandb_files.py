"""Offline runs of W&B, written by hand: frames, records, and a run with a bit of everything."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from struct import pack
from typing import Any
from zlib import crc32

from importers.protobuf_bytes import field

START = 1_700_000_000
_BLOCK = 32 * 1024
_INFO = field(200, field(1, "stream"))


def framed(records: Iterable[bytes], version: int = 0) -> bytes:
    """A `.wandb` file."""
    file = bytearray(b":W&B\xe1\xbe" + bytes([version]))
    for record in records:
        is_first = True
        while True:
            room = _BLOCK - len(file) % _BLOCK
            if room < 7:
                file += bytes(room)
                continue
            piece, record = record[: room - 7], record[room - 7 :]
            kind = (1 if not record else 2) if is_first else (4 if not record else 3)
            file += pack("<IHB", crc32(bytes([kind]) + piece), len(piece), kind) + piece
            is_first = False
            if not record:
                break
    return bytes(file)


def timestamp(seconds: float) -> bytes:
    whole = int(seconds)
    return field(1, whole) + field(2, round((seconds - whole) * 1e9))


def items(values: dict[str, Any], number: int = 1, nested: bool = True) -> bytes:
    return b"".join(
        field(number, field(2 if nested else 1, key) + field(16, value if isinstance(value, str) else json.dumps(value)))
        for key, value in values.items()
    )


def run(
    id: str = "abc", second: float = 0, config: dict[str, Any] | None = None, tags: Iterable[str] = (), **more: str
) -> bytes:
    numbers = {"project": 3, "name": 8, "notes": 9, "group": 6}
    texts = b"".join(field(numbers[name], value) for name, value in more.items())
    named = b"".join(field(10, tag) for tag in tags)
    body = field(1, id) + field(4, items(config or {}, nested=False)) + texts + named + field(17, timestamp(START + second))
    return field(17, body) + _INFO


def row(step: int, second: float, **values: Any) -> bytes:
    return field(2, items({**values, "_step": step, "_timestamp": START + second}) + field(2, field(1, step)))


def summary(is_marked: bool = True, **values: Any) -> bytes:
    return field(3, items(values, nested=False)) + (_INFO if is_marked else b"")


def printed(second: float, text: str, to: int = 1) -> bytes:
    return field(13, field(1, to) + field(2, timestamp(START + second)) + field(3, text))


def exited(code: int = 0) -> bytes:
    return field(18, field(1, code))


def metric(name: str, glob: str = "", x: str = "", goal: int = 0, **flags: int) -> bytes:
    numbers = {"min": 1, "max": 2, "mean": 3, "last": 5}
    chosen = b"".join(field(numbers[flag], value) for flag, value in flags.items())
    return field(12, field(1, name) + field(2, glob) + field(4, x) + field(7, chosen) + field(8, goal)) + _INFO


def config(**values: Any) -> bytes:
    return field(5, items(values, nested=False)) + _INFO


WHOLE = [
    field(21, field(1, field(1, "0.31.0"))),
    run(project="proj", name="first", notes="A note.", config={"_wandb": {}, "lr": 0.1}, tags=["a"]),
    field(26, field(2, "CPython 3.11.7") + field(6, "/train.py") + field(5, "--lr") + field(12, "host")),
    metric("loss", min=1, goal=1),
    metric("", "val/*", x="epoch", max=1),
    field(7, field(2, timestamp(START + 1)) + items({"gpu.0.gpu": 50.0, "proc.memory.rssMB": 2.0}, 3, nested=False)),
    summary(False, loss=0.5, _step=1),
    *(row(step, step, loss=1 / (1 + step), acc=step) for step in range(6)),
    printed(6, "epoch 1\rep"),
    row(6, 6, **{"val/loss": 0.5, "epoch": 1}),
    printed(6.5, "och 2\n"),
    config(lr=0.2, extra="x"),
    summary(True, best=7),
    row(7, 7, loss="NaN", acc="Infinity", text='"odd"'),
    field(10, field(1, "Alarm") + field(2, "hot") + field(3, "WARN")),
    exited(),
]


def write(folder: Path, content: bytes, name: str = "run-abc.wandb") -> Path:
    """A run's folder, with a file below `files/`."""
    (folder / "files").mkdir(parents=True, exist_ok=True)
    (folder / "files/settings.yaml").write_text("a: 1\n")
    (folder / name).write_bytes(content)
    return folder
