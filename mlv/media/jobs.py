"""A job: an event that the training process hands over with raw bytes, and whose data a worker completes."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol

import orjson

from mlv import encoding
from mlv.encoding import Conversion, Reference, dumps, shown
from mlv.events import Rejected
from mlv.frozen import FrozenDict, FrozenRecord
from mlv.media.kinds import ENCODERS
from mlv.protocols import Buffer

"""First bytes of the text of a job that could not be done."""
_LATER = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE)
"""Errors of a disk that may take the file later."""
_LENGTH = struct.Struct("<Q")


class Target(Protocol):
    """The destination of the files of one media event."""

    def file(self, suffix: str, content: Buffer | Callable[[str], object], label: str = "") -> Reference:
        """Publish one file of the event, whole and fsynced, and give the reference to it.

        Args:
            suffix: Such as `.png`; it decides the media type.
            content: The bytes, or a function that writes them to the path that it is given (which has the suffix).
            label: Tells several files of one event apart: a number, or the name of a mask.
        """


class Prepared(FrozenRecord):
    """A value as the training process prepares it: small and checked, or raw bytes for a worker.

    Where `do` is None, `options` is the event's data as it stands.
    """

    type: str
    """Type of the event."""
    do: str | None
    """Key of `kinds.ENCODERS`."""
    options: Mapping[str, Any]
    """For the encoder; anything that has a JSON form."""
    buffers: Sequence[Buffer] = ()
    """Contiguous bytes, not copied: they are written before the call returns."""


class NoPlace(OSError):
    """The experiment's folder is gone or refuses files: that may change later, unlike a value."""


class Unusable(ValueError):
    """A value that cannot be logged as the requested type; the text gives the reason, and what can be logged."""


class Job(FrozenRecord):
    """A `Prepared` value with the other fields of its line, as stored in a spool file."""

    type: str
    name: str
    do: str
    options: Any
    step: Any = None
    at: Mapping[str, Any] = FrozenDict()
    nonfinite: Mapping[str, str] = FrozenDict()
    """JSON pointers into the options, as in a line."""
    buffers: Sequence[Buffer] = ()
    verbosity: int = 0
    redact: Sequence[str] = ()
    """Regular expressions of the user's own for credentials."""
    keep: Sequence[str] = ()
    """Regular expressions over names whose values are no credentials."""

    def pack(self) -> list[Buffer]:
        """Return the bytes of the spool file: length of the header, header, buffers."""
        buffers = [memoryview(buffer).cast("B") for buffer in self.buffers]
        header = dumps({
            "type": self.type, "name": encoding.text_only(self.name), "do": self.do, "options": self.options, "step": self.step,
            "at": self.at, "nonfinite": self.nonfinite, "verbosity": self.verbosity,
            "sizes": [len(buffer) for buffer in buffers], "redact": list(self.redact), "keep": list(self.keep),
        })  # fmt: skip
        return [_LENGTH.pack(len(header)), header, *(buffer for buffer in buffers if len(buffer))]

    @classmethod
    def unpack(cls, content: Buffer) -> Job:
        """Read the bytes back; the buffers are views of them.

        Raises:
            ValueError: They are no job, or not all of one.
        """
        view = memoryview(content)
        try:
            start = _LENGTH.size + _LENGTH.unpack_from(view)[0]
            fields = orjson.loads(view[_LENGTH.size : start])
            buffers = []
            for size in fields.pop("sizes"):
                buffers.append(view[start : start + size])
                start += size
            if start != len(view):
                raise ValueError(f"has {len(view)} bytes instead of {start}")
            return cls(**fields, buffers=buffers)
        except (struct.error, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"is no job: {error!r}") from None


def perform(job: Job, target: Target) -> bytes:
    """Do a job, and return the line's text from its type on; that of a `rejected` event if the value cannot be encoded.

    Raises:
        OSError: The disk refuses; the job can be done again.
    """
    options = encoding.restored(job.options, job.nonfinite)
    conversion = Conversion()
    try:
        data = conversion.value(import_module(ENCODERS[job.do]).encode(options, job.buffers, target))
    except Exception as error:  # an encoder meets any bytes that a user has
        if isinstance(error, NoPlace) or (isinstance(error, OSError) and error.errno in _LATER):
            raise
        reason = str(error) if isinstance(error, Unusable) else f"cannot be encoded: {shown(error)}"
        return rejected(job, reason)
    return _line_payload(job, job.type, data, conversion.nonfinite)


def rejected(job: Job, reason: str) -> bytes:
    """Return the line's text from its type on for a job that could not be done."""
    conversion = Conversion()
    data = conversion.value(Rejected(job.type, reason, encoding.restored(job.options, job.nonfinite)).to_data())
    return _line_payload(job, Rejected.TYPE, data, conversion.nonfinite)


def rejection(line: bytes) -> str:
    """Return kind and name of a rejected event, and the reason, from its line or from the text from its type on."""
    event = orjson.loads(line if line.startswith(b"{") else b"{" + line)
    data = event["data"]
    named = f"{data['type']} {event['name']!r}" if "name" in event else data["type"]
    return f"{named}: {data['reason']}"


def rejected_text(run: str, first: str, count: int = 1) -> str:
    """Return the warning, given once, that jobs could not be done; `first` is the `rejection` of one."""
    more = f" (and {count - 1} more in run {run}: its events of type 'rejected' say why)" if count > 1 else ""
    return f"an event is stored as rejected, not as {first}{more}"


def _line_payload(job: Job, type: str, data: Any, nonfinite: Mapping[str, str]) -> bytes:
    """Return a line's text from its type on."""
    return encoding.head(type, job.name, job.verbosity) + encoding.tail(job.step, job.at, dumps(data), nonfinite)
