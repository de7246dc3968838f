"""Texts: small ones in the line itself, large ones in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlv.encoding import shown
from mlv.media.jobs import Prepared, Target, Unusable
from mlv.protocols import Buffer

INLINE_BYTES = 64 << 10  # a short text is read with the line, without a file to open
_BEGINNING = 200


def prepare(value: Any, *, markdown: bool = False) -> Prepared:
    """Prepare a text for an event of type `text`: in its `text`, or in a file where it has more than 64 KiB of UTF-8.

    Raises:
        Unusable: It is no text.
    """
    if not isinstance(value, str):
        raise Unusable(f"a text is a str, not {shown(value)}: give str(value) if that says it")
    text = str.__str__(value)
    options = {"format": "markdown"} if markdown else {}
    content = text.encode("utf-8", "backslashreplace")  # a lone surrogate has no UTF-8: it stands as \ud800 in the file
    if len(content) <= INLINE_BYTES:
        return Prepared("text", None, {"text": text, **options})
    return Prepared("text", "text", {**options, "characters": len(text), "beginning": text[:_BEGINNING]}, [content])


def encode(options: Mapping[str, Any], buffers: Sequence[Buffer], target: Target) -> dict[str, Any]:
    """Publish the file, `.txt` or `.md`: the event's data."""
    return {"file": target.file(".md" if "format" in options else ".txt", buffers[0]), **options}
