"""`mlv recover`: finishing what killed processes left at and below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from types import SimpleNamespace
from typing import Any, cast

from mlv import words
from mlv.cli.screen import Screen, print_json, styled
from mlv.encoding import BadLine, event_from_line
from mlv.errors import MlvError
from mlv.events import RunEnded, Seal
from mlv.projections import outputs, replay, replaying
from mlv.projections import position as position_
from mlv.projections.registry import OUTPUTS
from mlv.store import claims, layout
from mlv.store.streams import read_lines, whole_end
from mlv.transport import orders, recovery, spool, writer
from mlv.transport.header import look

_POLL_S = 0.02


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
    outputs: list[str] = field(default_factory=list)
    """Names of the outputs that were completed."""
    problems: list[str] = field(default_factory=list)
    """What is to be said of each output that cannot be completed."""
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
            screen.show(styled(sentence(done), "" if done.is_done else "bold red"))
    if not every and screen is not None:
        screen.show(styled(f"nothing to finish at or below {words.printable(str(root))}"))
    return all(done.is_done for done in every)


def recovered(root: Path, timeout_s: float) -> Iterator[Finished]:
    """Finish one experiment after the other; those that a living writer looks after are left to it."""
    for place in spool.existing():
        writer.tidy(place)
    top = os.path.realpath(root)
    waiting: dict[Path, list[Path]] = {}
    for folder, place in recovery.spools_below(root):
        if any(map(writer.is_unattended, spool.rings_in(place))) or orders.left_orders([place]):
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
        if not done.is_done:
            headers = [look(ring) for place in places for ring in spool.rings_in(place)]
            done.error = next((header.refusal for header in headers if header is not None and header.refusal), None)
        for stream in layout.streams_in(folder):
            _count_news(done, folder, stream, before.get(stream, 0))
        for path in (path for place in places for path in orders.orders_in(place)):
            _complete(done, folder, path, timeout_s)
        _complete_begun(done, folder)
    except OSError as error:
        done.is_done, done.error = False, error.strerror or str(error)
    return done


def _complete(done: Finished, folder: Path, path: Path, timeout_s: float) -> None:
    """Have an output completed, and wait for it; an order that cannot be carried out is told of, and removed."""
    order = orders.read(path)
    if order is None or not order.is_left:
        return
    reason, deadline = "", monotonic() + timeout_s
    try:
        orders.begin(path, folder)
    except OSError as error:
        reason = str(error)
    while not reason and path.exists() and orders.is_held(path):
        if monotonic() > deadline:
            done.problems.append(f"{order.output} is being completed by a process that goes on with it")
            return
        sleep(_POLL_S)
    if not path.exists():
        done.outputs.append(order.output)
        return
    reason = reason or orders.complaint(folder, order.output) or "its process has ended without a word"
    done.is_done = False
    done.problems.append(f"{order.output} cannot be completed: {reason}. {order.again} builds it")
    with suppress(OSError):
        path.unlink()
    writer.tidy(path.parent)


def _complete_begun(done: Finished, folder: Path) -> None:
    """Complete the outputs that a machine left which died: their orders are gone with it, but each was begun in its folder."""
    for path in sorted(folder.glob("*/.mlv-*.json")):
        name = path.parent.name
        position = position_.read(path) if path.name == layout.position_name(name) and not path.parent.is_symlink() else None
        if position is None or not position.is_open or name in done.outputs:
            continue
        if not replaying.is_kept(folder, cast(Any, SimpleNamespace(name=name))):
            reason = _built_again(folder, name, position.made_by)
            done.outputs += [] if reason else [name]
            done.problems += [f"{name} cannot be completed: {reason}"] if reason else []
            done.is_done = done.is_done and not reason


def _built_again(folder: Path, name: str, made_by: str) -> str:
    """Bring an output up to the log, if it is one of mlv's without options; else why not."""
    try:
        if name in OUTPUTS and made_by == replaying.made_by(folder, outputs.output_class(name)()):
            replay(folder, name)
            return ""
    except (MlvError, OSError) as error:
        return f"{error}. `mlv export {folder} --to {name}` builds it"
    return f"it was made by {made_by}. mlv.projections.replay({str(folder)!r}, output) builds it"


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
        f"completed {', '.join(sorted(set(done.outputs)))}" if done.outputs else "",
        *dict.fromkeys(done.problems),
    ]
    said = ", ".join(filter(None, parts))
    if not done.is_done and (done.error or not done.problems):
        reason = f": {done.error}" if done.error else ""
        unfinished = f"not finished{reason}. Make room, or the folder writable, and run it again"
        said = f"{said}; {unfinished}" if said else unfinished
    return words.printable(f"{done.path}: {said or 'nothing was missing'}")


def to_data(done: Finished) -> dict[str, Any]:
    """What was done, as a mapping for JSON."""
    return {
        "path": done.path, "done": done.is_done, "events": done.events, "verdicts": done.verdicts, "seals": done.seals,
        "outputs": done.outputs, "problems": done.problems, "error": done.error,
    }  # fmt: skip
