"""What an experiment has, and the refusal of streams and types that it has not and never will."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mlv.errors import InvalidArgument
from mlv.events import TYPES
from mlv.query.unreadable import leaving_out
from mlv.store import layout
from mlv.store.reading import Lines


def refuse_unknown_types(folder: Path, types: Iterable[str]) -> None:
    """Accept types of the format, and those of a later one that the log holds.

    Raises:
        InvalidArgument: A type is neither; names that are close are told.
    """
    for wanted in types:
        if wanted not in TYPES and not any(True for _ in Lines(folder, layout.streams_in(folder), (wanted,))):
            raise InvalidArgument(f"type={wanted!r} is no type of event: {_hint(wanted, TYPES)}", type=wanted)


def refuse_unknown_stream(folders: Iterable[Path], stream: str | None) -> None:
    """Accept the default stream, one that an experiment has, and None.

    Raises:
        InvalidArgument: No experiment has it, or it is no text; names that are close are told.
    """
    if stream is None or stream == layout.DEFAULT_STREAM:
        return
    if not isinstance(stream, str):
        raise InvalidArgument(f"stream={stream!r} is no text: give the name of a stream, such as 'val'", stream=stream)
    there = {layout.DEFAULT_STREAM}
    for folder in folders:
        with leaving_out(folder):
            there.update(map(layout.logical_stream, layout.streams_in(folder)))
        if stream in there:
            return
    raise InvalidArgument(f"stream={stream!r}: nobody logged into such a stream; {_hint(stream, there)}", stream=stream)


def _hint(wanted: str, names: Iterable[str]) -> str:
    close = _close(wanted, sorted(names))
    return f"did you mean {' or '.join(map(repr, close))}?" if close else f"there are {', '.join(sorted(names))}"


def _close(word: str, words: Iterable[str]) -> list[str]:
    from difflib import get_close_matches  # for errors only: `import mlv` does without

    return get_close_matches(word, list(words))
