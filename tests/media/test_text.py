"""Texts are in their line, or in a file where they are large."""

from __future__ import annotations

import pytest

from media.places import Folder
from mlv.media import text
from mlv.media.jobs import Unusable


@pytest.mark.parametrize("value", ["", "plain", "é" * (text.INLINE_BYTES // 2)], ids=len)
def test_a_small_text(value):
    """Up to 64 KiB of UTF-8, the text is the event's data, and no worker is needed."""
    prepared = text.prepare(value)

    assert (prepared.type, prepared.do, prepared.options) == ("text", None, {"text": value})


def test_markdown():
    """Markdown is told apart from plain text."""
    assert text.prepare("# A", markdown=True).options == {"text": "# A", "format": "markdown"}


@pytest.mark.parametrize(("markdown", "suffix", "more"), [(False, ".txt", {}), (True, ".md", {"format": "markdown"})])
def test_a_large_text(tmp_path, markdown, suffix, more):
    """Beyond that it is a file of UTF-8, and its beginning stays in the event."""
    value = "é\r\n" * text.INLINE_BYTES
    folder = Folder(tmp_path)

    data = folder.data(text.prepare(value, markdown=markdown))

    path = folder.at(data["file"])
    assert path.suffix == suffix
    assert path.read_bytes() == value.encode()
    assert data == {"file": data["file"], **more, "characters": len(value), "beginning": value[:200]}


def test_a_large_text_without_utf8(tmp_path):
    """A lone surrogate stands escaped in the file: any reader can read it."""
    folder = Folder(tmp_path)

    data = folder.data(text.prepare("\ud800" + "x" * text.INLINE_BYTES))

    assert folder.at(data["file"]).read_text("utf-8").startswith("\\ud800xxx")


@pytest.mark.parametrize("value", [3, None, b"bytes", ["a"]], ids=repr)
def test_what_is_no_text(value):
    """Nothing is made a text silently."""
    with pytest.raises(Unusable, match=r"give str\(value\)"):
        text.prepare(value)
