"""`mlv recover`: finish the runs and outputs that killed processes left at and below a folder."""

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
from mlv.transport import orders, recovery, spool, spool_lock
from mlv.transport.header import look

_POLL_S = 0.02


@dataclass
class Finished:
    """The result of recovering one experiment."""

    path: Path
    is_done: bool = True
    """Whether nothing waits any more."""
    events: dict[str, int] = field(default_factory=dict)
    """Number of events that were written to the log, by file."""
    verdicts: dict[str, str] = field(default_factory=dict)
    """Status by run, of the runs that were ended here because their processes died."""
    seals: int = 0
    outputs: list[str] = field(default_factory=list)
    """Names of the outputs that were completed."""
    problems: list[str] = field(default_factory=list)
    """A sentence on each output that cannot be completed."""
    error: str | None = None


def run(root: Path, timeout_s: float, as_json: bool) -> bool:
    """Recover the experiments, print the results, and return whether nothing waits any more."""
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
    """Recover one experiment after the other; those with a live writer are left to it."""
    for path in spool.existing():
        spool_lock.tidy(path)
    top = os.path.realpath(root)
    waiting: dict[Path, list[Path]] = {}
    for folder, path in recovery.spools_below(root):
        if any(map(spool_lock.is_unattended, spool.rings_in(path))) or orders.left_orders([path]):
            waiting.setdefault(root / os.path.relpath(os.path.realpath(folder), top), []).append(path)
    for folder in dict.fromkeys([root, *layout.walk(root)]):  # the root itself may hold logs without an experiment
        if claims.stale(folder):
            waiting.setdefault(folder, [])
    for folder, paths in waiting.items():
        yield finish(folder, paths, timeout_s)


def finish(folder: Path, spools: list[Path], timeout_s: float) -> Finished:
    """Write the events in the spools to the streams, then end and seal the runs whose processes died."""
    done = Finished(folder)
    try:
        # Before the rings are drained: the writer that drains them starts what is left, which may be complete at once.
        left = {path: orders.read(path) for path in orders.left_orders(spools)}
        before = {stream: whole_end(folder / layout.stream_file(stream)) for stream in layout.streams_in(folder)}
        drained = [recovery.drain_spool(folder, spool_path, timeout_s) for spool_path in spools]
        done.is_done = recovery.settle_stale(folder, spools) and all(drained)
        if not done.is_done:
            headers = [look(ring) for spool_path in spools for ring in spool.rings_in(spool_path)]
            done.error = next((header.refusal for header in headers if header is not None and header.refusal), None)
        for stream in layout.streams_in(folder):
            _count_news(done, folder, stream, before.get(stream, 0))
        for path in dict.fromkeys([*left, *(path for spool_path in spools for path in orders.orders_in(spool_path))]):
            _complete(done, folder, path, left.get(path) or orders.read(path), timeout_s)
        _complete_begun(done, folder)
    except OSError as error:
        done.is_done, done.error = False, error.strerror or str(error)
    return done


def _complete(done: Finished, folder: Path, path: Path, order: orders.Order | None, timeout_s: float) -> None:
    """Have an output completed, and wait for it; an order that cannot be carried out becomes a problem, and is removed."""
    if order is None or not order.is_left:
        return
    reason, deadline = "", monotonic() + timeout_s
    try:
        orders.begin(path, folder)
    except OSError as error:
        reason = str(error)
    # Its process keeps the file locked, and removes it when the output is complete.
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
    spool_lock.tidy(path.parent)


def _complete_begun(done: Finished, folder: Path) -> None:
    """Complete outputs of a machine that died: their orders are lost, but each has a position in its folder."""
    for path in sorted(folder.glob("*/.mlv-*.json")):
        name = path.parent.name
        position = position_.read(path) if path.name == layout.position_name(name) and not path.parent.is_symlink() else None
        if position is None or not position.is_open or name in done.outputs:
            continue
        if not replaying.is_kept(folder, cast(Any, SimpleNamespace(name=name))):
            reason = _rebuild(folder, name, position.made_by)
            done.outputs += [] if reason else [name]
            done.problems += [f"{name} cannot be completed: {reason}"] if reason else []
            done.is_done = done.is_done and not reason


def _rebuild(folder: Path, name: str, made_by: str) -> str:
    """Bring an output up to the log, if it is one of mlv's without options; return the reason if not, else an empty text."""
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
    """Return a sentence on the result."""
    brought = [f"{words.counted(count, 'event')} into {file}" for file, count in done.events.items()]
    clauses = [
        f"brought {', '.join(brought)}" if brought else "",
        f"wrote {words.counted(done.seals, 'seal')}" if done.seals else "",
        *(f"ended run {run} as {status}" for run, status in done.verdicts.items()),
        f"completed {', '.join(sorted(set(done.outputs)))}" if done.outputs else "",
        *dict.fromkeys(done.problems),
    ]
    text = ", ".join(filter(None, clauses))
    if not done.is_done and (done.error or not done.problems):
        reason = f": {done.error}" if done.error else ""
        unfinished = f"not finished{reason}. Make room, or the folder writable, and run it again"
        text = f"{text}; {unfinished}" if text else unfinished
    return words.printable(f"{done.path}: {text or 'nothing was missing'}")


def to_data(done: Finished) -> dict[str, Any]:
    """Return the result as a mapping for JSON."""
    return {
        "path": done.path, "done": done.is_done, "events": done.events, "verdicts": done.verdicts, "seals": done.seals,
        "outputs": done.outputs, "problems": done.problems, "error": done.error,
    }  # fmt: skip
