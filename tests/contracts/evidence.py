"""What tests of writing look at afterwards: the lines in the files, and whether numbers and seals agree with them.

Written against the format, not against mlv's own readers, which may share a mistake with its writers.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any


def stream_of(path: Path) -> str:
    """`val` for `val.log.jsonl`, `log` for `log.jsonl`, `val` for `val@rk3v9x2m.log.jsonl` too."""
    return path.name.removesuffix("log.jsonl").rstrip(".").partition("@")[0] or "log"


def files(folder: Path) -> list[Path]:
    """The files of all streams."""
    return sorted(folder.glob("*log.jsonl"))


def raw_lines(path: Path) -> list[bytes]:
    """The lines of a file, each of which must be whole; one that is being written at this moment soon is."""
    deadline = time.monotonic() + 2
    while (content := path.read_bytes()) and not content.endswith(b"\n"):
        assert time.monotonic() < deadline, f"{path} ends with half a line: {content[-200:]!r}"
        time.sleep(0.01)
    return content.splitlines(keepends=True)


def lines(folder: Path, stream: str = "log", run: str | None = None) -> list[dict[str, Any]]:
    """The events of a stream, in file order, of one run if one is given."""
    found = [json.loads(line) for path in files(folder) if stream_of(path) == stream for line in raw_lines(path)]
    return [event for event in found if run is None or event["run"] == run]


def events(folder: Path, run: str | None = None) -> list[dict[str, Any]]:
    """The events of all streams, sorted by run and number."""
    streams = sorted({stream_of(path) for path in files(folder)})
    return sorted((event for stream in streams for event in lines(folder, stream, run)), key=lambda e: (e["run"], e["seq"]))


def payloads(folder: Path, run: str, key: str = "i", stream: str | None = None) -> list[Any]:
    """What stands under a key of the data of a run's events, in the order of their numbers."""
    found = events(folder, run) if stream is None else lines(folder, stream, run)
    return [event["data"][key] for event in found if isinstance(event.get("data"), dict) and key in event["data"]]


def arrays(folder: Path, run: str) -> list[int]:
    """Steps of the arrays of a run, in the order of their numbers; each has its file, with the content that its line says."""
    found = [event for event in events(folder, run) if event["type"] == "array"]
    for event in found:
        reference = event["data"]["file"]
        content = (folder / reference["path"]).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (reference["sha256"], reference["size"]), event
    stored = {event["data"]["file"]["path"] for event in found}
    there = {path.relative_to(folder).as_posix() for path in folder.glob("files/**/*.npy")}
    assert len(stored) == len(found)
    assert there == stored
    return [event["step"] for event in found]


def assert_complete(folder: Path, but_runs: tuple[str, ...] = ()) -> None:
    """Numbers have neither gaps nor doubles, lines are in their order, and a seal proves every line of every run."""
    for path in files(folder):
        assert_in_order(path)
        assert_sealed(path, but_runs)
    numbers: dict[str, list[int]] = {}
    for event in events(folder):
        numbers.setdefault(event["run"], []).append(event["seq"])
    for event in events(folder):
        if event["type"] == "dropped":
            data = event["data"]
            numbers.setdefault(data.get("of", event["run"]), []).extend(range(data["first"], data["last"] + 1))
    for run, found in numbers.items():
        assert sorted(found) == list(range(1, len(found) + 1)), f"{run}: {sorted(found)[:50]}"


def assert_in_order(path: Path) -> None:
    """Within a file, the numbers of each run ascend, apart from lines that a worker completed."""
    last: dict[str, int] = {}
    for line in raw_lines(path):
        event = json.loads(line)
        if event["type"] in ("array", "rejected"):
            continue
        assert event["seq"] > last.get(event["run"], 0), f"{path}: {event['run']} {event['seq']}"
        last[event["run"]] = event["seq"]


def assert_sealed(path: Path, but_runs: tuple[str, ...] = ()) -> None:
    """Every line of every run is covered by a seal that agrees with it, up to a writer's seal over its own lines."""
    chains: dict[str, tuple[int, Any, str | None]] = {}
    for line in raw_lines(path):
        event = json.loads(line)
        run = event["run"]
        if event["type"] == "seal":
            data = event["data"]
            count, digest, previous = chains.pop(data["of"])
            assert (data["lines"], data.get("previous")) == (count, previous), f"{path}: {line!r}, found {count} lines"
            assert data["sha256"] == digest.hexdigest(), f"{path}: {line!r}"
            chains[data["of"]] = (0, hashlib.sha256(bytes.fromhex(data["sha256"])), data["sha256"])
            if data["of"] == run:
                continue
        count, digest, previous = chains.get(run) or (0, hashlib.sha256(), None)
        digest.update(hashlib.sha256(line).digest())
        chains[run] = (count + 1, digest, previous)
    open_runs = {run: count for run, (count, _, _) in chains.items() if count and run not in but_runs}
    assert not open_runs, f"{path}: no seal covers {open_runs}"
