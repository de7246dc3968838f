"""The outputs of a run: other forms of the log, each kept by a process of its own, and taps that show events as they come."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from time import monotonic, sleep, time_ns
from typing import Any, Protocol

import orjson

from mlv.encoding import Composer, event_from_line, shown
from mlv.errors import InvalidArgument, InvalidName, OutputFailed
from mlv.events import Event
from mlv.interpreter import module_path
from mlv.media.jobs import Job
from mlv.notices import warn, warn_once
from mlv.optional import is_installed
from mlv.projections.registry import OUTPUTS
from mlv.protocols import Buffer, Channel, Cursor
from mlv.store import layout
from mlv.store.owners import Owner
from mlv.store.reading import Lines
from mlv.transport import orders
from mlv.transport.launch import can_launch
from mlv.transport.orders import Order

EVENT = "output_failed"
"""Name of the event that tells of an output that stopped."""
_POLL_S = 0.02
_SOON_S = 0.001  # most often only the last lines are missing
_LOOK_S = 1.0  # to see whether somebody keeps an output tries its lock


class Tap(Protocol):
    """An output in the caller's thread."""

    def show(self, event: Event) -> None:
        """Show an event; its `seq` is 0, as nobody has numbered it yet."""

    def remember(self, event: Event) -> None:
        """Learn from an event of an earlier run of type `metadata`, and show nothing."""


def checked_outputs(outputs: Iterable[Any], *, must_travel: bool = True) -> list[Any]:
    """Return the outputs that are named, or given as objects; where they `must_travel`, each can go to a process of its own.

    Raises:
        InvalidArgument: One is no output that is known; an object lacks what a projection has; or two go to one place.
        InvalidName: One has the name of something else in the experiment.
        MissingExtra: One needs a package that is not installed.
        InvalidPattern: A filter is no regular expression.
    """
    if isinstance(outputs, str):
        raise InvalidArgument(f"outputs={outputs!r} is one text: give a list, [{outputs!r}]", outputs=outputs)
    if not isinstance(outputs, Iterable):
        raise InvalidArgument(f"outputs={shown(outputs)} is no list: give one, such as ['tensorboard']", outputs=outputs)
    objects = [_output(output) for output in outputs]
    for output in objects if must_travel else ():
        if not callable(getattr(output, "show", None)):
            _pickled(output)
    paths = [(output.name, getattr(output, "path", None)) for output in objects if not callable(getattr(output, "show", None))]
    for name, path in paths:
        if paths.count((name, path)) > 1:
            raise InvalidArgument(
                f"outputs: there are two {name!r} in one place: leave one out, or give one of them another path",
                outputs=outputs,
            )
    return objects


def _output(output: Any) -> Any:
    if isinstance(output, str):
        return output_class(output)()
    lacks = [role for role in ("open", "write", "commit", "close") if not callable(getattr(output, role, None))]
    is_tap = callable(getattr(output, "show", None)) and callable(getattr(output, "remember", None))
    if isinstance(output, type) or (lacks and not is_tap):
        raise InvalidArgument(
            f"outputs: {shown(output)} is no output: give a name ({', '.join(OUTPUTS)}), or an object with "
            f"open, write, commit and close, or with show and remember",
            output=output,
        )
    if not lacks:
        name = layout.check_name(getattr(output, "name", None), "name of an output")
        if name in (*layout.KEEPING, layout.META) or layout.stream_of(name) is not None:
            raise InvalidName(
                f"name of an output {name!r} is that of something else in an experiment: choose another", name=name
            )
        from mlv.projections.output import check_options  # `import mlv` does without

        check_options(output)
    return output


def output_class(name: str) -> Any:
    """Return the class of an output by its name.

    Raises:
        InvalidArgument: There is none of that name.
    """
    if name not in OUTPUTS:
        raise InvalidArgument(f"there is no output {name!r}: the outputs are {', '.join(OUTPUTS)}", output=name)
    module, kind = OUTPUTS[name]
    return getattr(import_module(module), kind)


class Outputs:
    """The outputs of one run, from its beginning to its end."""

    def __init__(self, folder: Path, exp_id: str, outputs: Sequence[Any]) -> None:
        self._folder, self._exp_id = folder, exp_id
        self.taps: list[Tap] = [output for output in outputs if callable(getattr(output, "show", None))]
        self.projections = [output for output in outputs if output not in self.taps]
        self._orders: list[tuple[Order, Path | None]] = []
        self._reported: set[tuple[str, str]] = set()

    def order(self, run: str) -> None:
        """Say what the run wants, before anybody can see the run: whoever outlives this process completes it."""
        self._orders = []
        for projection in list(self.projections):
            try:
                order = self._order(projection, run)
            except InvalidArgument as error:  # it was changed since it was asked for
                self.projections.remove(projection)
                self._warn_of_unkept(projection, error)
            else:
                self._orders.append((order, orders.keep(order) if can_launch() else None))

    def begin(self) -> None:
        """Start a process for each projection; one that cannot be started is warned about."""
        for number, projection in enumerate(self.projections):
            self._let_go_on(projection)
            self._start(number)

    def tap(self, channel: Channel) -> Channel:
        """Return the channel, with its events shown; an earlier run may have told how they are to be shown."""
        if not self.taps:
            return channel
        try:
            for event in Lines(self._folder, layout.streams_in(self._folder), ("metadata",)):
                for tap in self.taps:
                    tap.remember(event)
        except Exception as error:
            warn_once(f"how values are to be shown cannot be read from {self._folder}: {shown(error)}", OutputFailed)
        return Tapped(channel, self.taps)

    def failures(self) -> list[dict[str, str]]:
        """Return the outputs that stopped since the last call, as the data of events, and warn about each."""
        failures = []
        for projection in self.projections:
            reason = self._failure(projection)
            if reason and (projection.name, reason) not in self._reported:
                self._reported.add((projection.name, reason))
                failures.append({"output": projection.name, "reason": reason})
                warn(
                    f"the output {projection.name!r} of {self._folder} stopped: {reason}. The log is complete; "
                    f"{self._again(projection)} builds it again",
                    OutputFailed,
                )
        return failures

    def wait(self, timeout_s: float, *, is_last: bool = False) -> bool:
        """Wait until the outputs hold all that is in the log now; False when the time is over or one has stopped.

        With `is_last`, until they are closed as well; those that are late, and did not stop, are warned about.
        """
        if not self.projections:
            return True
        sizes = _sizes(self._folder)
        deadline = monotonic() + timeout_s
        results = [self._waited(number, sizes, is_last, deadline) for number in range(len(self.projections))]
        for number, is_done in enumerate(results):
            if is_last and not is_done and not self._failure(self.projections[number]):
                warn(self._late(number, timeout_s), OutputFailed)
        return all(results)

    def _waited(self, number: int, sizes: dict[str, int], is_last: bool, deadline: float) -> bool:
        projection = self.projections[number]
        next_look, pause_s = monotonic() + _LOOK_S, _SOON_S
        while sizes and layout.is_experiment(self._folder):
            position = self._position(projection)
            has_all = position is not None and position.has_all_of(sizes) and not position.failed
            if has_all and not (is_last and position.is_open):
                return True
            if self._failure(projection) or monotonic() > deadline:
                return False
            if monotonic() > next_look and not self._is_kept(projection):  # it was killed
                self._start(number)
                next_look = deadline
            sleep(pause_s)
            pause_s = min(2 * pause_s, _POLL_S)
        return False  # the experiment was moved, or removed

    def _late(self, number: int, timeout_s: float) -> str:
        projection, (_, path) = self.projections[number], self._orders[number]
        problem = f"the output {projection.name!r} of {self._folder} is not complete"
        if not layout.is_experiment(self._folder):
            return (
                f"{problem}: the experiment was moved or removed during the run; `mlv export` builds the output where it is now"
            )
        if self._is_kept(projection) or (path is not None and orders.is_held(path)):
            return f"{problem} after {timeout_s:g} s: its process goes on with it"
        return (
            f"{problem}: its process has ended without a word. The log is complete; {self._again(projection)} builds it again"
        )

    def _let_go_on(self, projection: Any) -> None:
        """Forget that the output stopped in an earlier run, which has been told: it is tried again."""
        position = self._position(projection)
        if position is not None and position.failed and not self._is_kept(projection):
            from mlv.projections.position import write  # `import mlv` does without
            from mlv.projections.replaying import position_path  # `import mlv` does without

            with suppress(OSError):
                write(position_path(self._folder, projection), position.opened())

    def _is_kept(self, projection: Any) -> bool:
        from mlv.projections.replaying import is_kept  # `import mlv` does without

        return is_kept(self._folder, projection)

    def _position(self, projection: Any) -> Any:
        from mlv.projections.position import read  # `import mlv` does without
        from mlv.projections.replaying import position_path  # `import mlv` does without

        return read(position_path(self._folder, projection))

    def _again(self, projection: Any) -> str:
        """Return the command that builds the output from the log."""
        if projection.name in OUTPUTS and projection == output_class(projection.name)():
            return f"`mlv export {self._folder} --to {projection.name}`"
        return f"mlv.projections.replay({str(self._folder)!r}, {shown(projection)})"

    def _failure(self, projection: Any) -> str:
        """Return the reason why an output stopped; empty while it goes on."""
        position = self._position(projection)
        if position is not None and position.failed:
            return str(position.failed)
        # Before there is a position, or where even that cannot be written.
        return "" if self._is_kept(projection) else orders.complaint(self._folder, projection.name)

    def _order(self, projection: Any, run: str) -> Order:
        return Order(
            projection.name, self._again(projection), str(self._folder.absolute()), self._exp_id, run,
            Owner.current().to_data(), [*module_path()[:-1], *_script_folders()], _pickled(projection),
        )  # fmt: skip

    def _start(self, number: int) -> None:
        """Start the process of an output, unless one is on its way."""
        order, path = self._orders[number]
        try:
            if path is not None and path.exists():
                orders.begin(path)
            else:
                orders.begin_unkept(order)
        except OSError as error:
            self._warn_of_unkept(self.projections[number], error)

    def _warn_of_unkept(self, projection: Any, error: Exception) -> None:
        text = f"the output {projection.name!r} of {self._folder} is not kept: {error}"
        warn(f"{text}. {self._again(projection)} builds it afterwards", OutputFailed)


class Tapped:
    """A channel whose events are shown as well, in the caller's thread, once they are accepted; showing never raises."""

    def __init__(self, channel: Channel, taps: Sequence[Tap]) -> None:
        self._channel, self._taps = channel, taps
        self._cursors: dict[int, Cursor] = {}
        self._composer = Composer(channel.run)
        self.run = channel.run

    def add_cursor(self, index: int, cursor: Cursor) -> None:
        """Do as the channel."""
        self._cursors[index] = cursor
        self._channel.add_cursor(index, cursor)

    def put(self, cursor: int, kind: int, step: int, payload: bytes) -> None:
        """Do as the channel, then show the event."""
        self._channel.put(cursor, kind, step, payload)
        stream, head = self._cursors[cursor]
        self._show(lambda: event_from_line(self._composer.line(0, time_ns(), head, kind, step, payload), stream))

    def hand_over(self, cursor: int, buffers: Sequence[Buffer]) -> None:
        """Do as the channel, then show the event without the files that a worker has yet to make."""
        self._channel.hand_over(cursor, buffers)
        self._show(lambda: self._handed_over(cursor, buffers))

    def _handed_over(self, cursor: int, buffers: Sequence[Buffer]) -> Event:
        job = Job.unpack(b"".join(map(bytes, buffers)))
        line = self._composer.line(0, time_ns(), b"", 0, 0, b'"type":%s}' % orjson.dumps(job.type))
        event = event_from_line(line, self._cursors[cursor][0])
        data = {key: value for key, value in job.options.items() if isinstance(value, (str, int, float))}
        return Event(event.run, 0, event.time, job.type, job.name, job.step, job.at, data, event.stream, {}, job.verbosity)

    def _show(self, event: Callable[[], Event]) -> None:
        try:
            shown_event = event()
            for tap in self._taps:
                tap.show(shown_event)
        except Exception as error:  # a terminal, or a format that the user gave, may raise anything
            warn_once(f"an event cannot be shown: {shown(error)}; the log has it", OutputFailed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)


def _pickled(output: Any) -> bytes:
    """Return an object as bytes that another process can read.

    Raises:
        InvalidArgument: It has no such form, or its class stands in the script itself.
    """
    of_script = getattr(type(getattr(output, "projection", output)), "__module__", "") == "__main__"
    pickler = import_module("cloudpickle") if of_script and is_installed("cloudpickle") else import_module("pickle")
    try:
        if of_script and pickler.__name__ == "pickle":
            raise TypeError("its class is defined in the script: put it into a module beside it, or pip install cloudpickle")
        content: bytes = pickler.dumps(output)
        return content
    except Exception as error:
        raise InvalidArgument(
            f"the output {shown(output)} cannot travel to a process of its own: {error}", output=output
        ) from None


def _script_folders() -> list[str]:
    """Return the folders in which a user's own projection may stand: beside the script, and the current one."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    folders = [os.path.dirname(os.path.abspath(main))] if main else []
    with suppress(OSError):  # it was removed
        folders.append(os.getcwd())
    return list(dict.fromkeys(folders))


def _sizes(folder: Path) -> dict[str, int]:
    sizes = {}
    with suppress(OSError):  # the folder may have been removed
        for file in layout.streams_in(folder):
            with suppress(OSError):
                sizes[file] = os.path.getsize(folder / layout.stream_file(file))
    return sizes
