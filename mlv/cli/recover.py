"""`mlv recover`: finishing what killed processes left at and below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlv import words
from mlv.cli.screen import Screen, print_json, styled
from mlv.encoding import BadLine, event_from_line
from mlv.events import RunEnded, Seal
from mlv.query.latest import whole_end
from mlv.store import claims, layout
from mlv.store.streams import read_lines
from mlv.transport import recovery, spool, writer


@dataclass
class Finished:
    """What was done for one experiment."""

    path: Path
    is_done: bool = True
    """Whether nothing waits any more."""
    events: dict[str, int] = field(default_factory=dict)
    """Number of events that were brought in, by file."""
    verdicts: dict[str, str] = field(default_factory=dict)
    """Status that was given to each run that could not say so itself."""
    seals: int = 0
    error: str | None = None


def run(root: Path, timeout_s: float, as_json: bool) -> bool:
    """Finish what can be finished, and say what was done; whether nothing waits any more."""
    screen = None if as_json else Screen()
    every = []
    for done in recovered(root, timeout_s):
        every.append(done)
        if screen is None:
            print_json(to_data(done))
        else:
            screen.show(styled(sentence(done), "" if done.is_done else "bold red"), wrap=screen.is_terminal)
    if not every and screen is not None:
        screen.show(styled(f"nothing to finish at or below {words.printable(str(root))}"))
    return all(done.is_done for done in every)


def recovered(root: Path, timeout_s: float) -> Iterator[Finished]:
    """Finish one experiment after the other; those that a living writer looks after are left to it."""
    top = os.path.realpath(root)
    waiting: dict[Path, list[Path]] = {}
    for folder, place in recovery.spools_below(root):
        if any(map(writer.is_unattended, spool.rings_in(place))):
            waiting.setdefault(root / os.path.relpath(os.path.realpath(folder), top), []).append(place)
    for folder in dict.fromkeys([root, *layout.walk(root)]):  # the root itself may hold logs without an experiment
        if claims.stale(folder):
            waiting.setdefault(folder, [])
    for folder, places in waiting.items():
        yield finish(folder, places, timeout_s)


def finish(folder: Path, places: list[Path], timeout_s: float) -> Finished:
    """Bring what waits in the spools into the streams, then give verdicts and seals to what is over."""
    done = Finished(folder)
    try:
        before = {stream: whole_end(folder / layout.stream_file(stream)) for stream in layout.streams_in(folder)}
        drained = [recovery.drain_spool(folder, place, timeout_s) for place in places]
        done.is_done = recovery.settle_stale(folder, places) and all(drained)
        for stream in layout.streams_in(folder):
            _count_news(done, folder, stream, before.get(stream, 0))
    except OSError as error:
        done.is_done, done.error = False, error.strerror or str(error)
    return done


def _count_news(done: Finished, folder: Path, stream: str, offset: int) -> None:
    file = layout.stream_file(stream)
    for _, line in read_lines(folder / file, offset):
        try:
            event = event_from_line(line, stream)
        except BadLine:
            continue
        if event.type == Seal.TYPE:
            done.seals += 1
        elif event.type == RunEnded.TYPE and event.subject != event.run:
            done.verdicts[event.subject] = str(event.data.get("status"))
        else:
            done.events[file] = done.events.get(file, 0) + 1


def sentence(done: Finished) -> str:
    """What was done, for people."""
    brought = [f"{words.counted(count, 'event')} into {file}" for file, count in done.events.items()]
    parts = [
        f"brought {', '.join(brought)}" if brought else "",
        f"wrote {words.counted(done.seals, 'seal')}" if done.seals else "",
        *(f"ended run {run} as {status}" for run, status in done.verdicts.items()),
    ]
    said = ", ".join(filter(None, parts))
    if not done.is_done:
        reason = f": {done.error}" if done.error else ""
        unfinished = f"not finished{reason}. Make room, or the folder writable, and run it again"
        said = f"{said}; {unfinished}" if said else unfinished
    return words.printable(f"{done.path}: {said or 'nothing was missing'}")


def to_data(done: Finished) -> dict[str, Any]:
    """What was done, as a mapping for JSON."""
    return {
        "path": done.path, "done": done.is_done, "events": done.events, "verdicts": done.verdicts, "seals": done.seals,
        "error": done.error,
    }  # fmt: skip
