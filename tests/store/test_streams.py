"""A stream holds whole lines: what a crash or a full disk tears is mended, and costs no other line."""

from __future__ import annotations

import errno
import random
from contextlib import suppress

import pytest

from mlv.store import layout
from mlv.store.streams import StreamFile, mend, read_beginnings_from_end, read_digests, read_lines
from store.faults import Faulty, error, failing, short

LINE = b'{"run":"rk3v9x2m1","seq":2,"time":"2026-11-21T03:03:00.123456Z","type":"metrics","data":{"text":"\\u00e9 \xc3\xa9"}}\n'
BEFORE = LINE.replace(b":2,", b":1,")
AFTER = LINE.replace(b":2,", b":3,")


_files: list[StreamFile] = []


def opened(*arguments) -> StreamFile:
    _files.append(StreamFile(*arguments))
    return _files[-1]


@pytest.fixture(autouse=True)
def closed():
    """Close the files of the processes that a test takes for dead."""
    yield
    while _files:
        with suppress(OSError):  # one that a test closed, or whose closing fails
            _files.pop().close()


def content(folder):
    return (folder / "log.jsonl").read_bytes()


def torn(folder):
    """The half lines that were set aside, in the order of their places."""
    found = sorted((folder / ".mlv" / "torn").glob("*"))
    return [path.read_bytes() for path in found]


@pytest.mark.parametrize("kept_bytes", range(1, len(LINE) - 1))
def test_append_after_torn_tail(tmp_path, kept_bytes):
    """A half line left by a crash never costs the record after it, and is kept beside the log."""
    (tmp_path / "log.jsonl").write_bytes(BEFORE + LINE[:kept_bytes])

    opened(tmp_path, "log").append(AFTER)

    assert content(tmp_path) == BEFORE + AFTER
    assert torn(tmp_path) == [LINE[:kept_bytes]]


def test_a_line_that_lacks_only_its_newline(tmp_path):
    """A line that is complete but for its newline gets it."""
    (tmp_path / "log.jsonl").write_bytes(BEFORE + LINE[:-1])

    assert mend(tmp_path, "log") is None

    assert content(tmp_path) == BEFORE + LINE
    assert torn(tmp_path) == []


@pytest.mark.parametrize("whole", [b"", LINE, LINE + AFTER])
def test_nothing_to_mend(tmp_path, whole):
    """A stream of whole lines stays as it is."""
    (tmp_path / "log.jsonl").write_bytes(whole)

    assert mend(tmp_path, "log") is None

    assert content(tmp_path) == whole


@pytest.mark.parametrize("text", [b"[1, 2]", b"3", b'"a"', b"\x00" * 40, b'{"a":NaN}'])
def test_a_tail_that_is_json_but_no_event(tmp_path, text):
    """What is no JSON object is no line, whatever else it is."""
    (tmp_path / "log.jsonl").write_bytes(BEFORE + text)

    mend(tmp_path, "log")

    assert (content(tmp_path), torn(tmp_path)) == (BEFORE, [text])


def test_a_torn_tail_longer_than_memory_should_hold(tmp_path):
    """A half line of many megabytes is set aside in pieces."""
    long = b'{"data":"' + b"x" * 5_000_000
    (tmp_path / "log.jsonl").write_bytes(BEFORE + long)

    mend(tmp_path, "log")

    assert (content(tmp_path), torn(tmp_path)) == (BEFORE, [long])


def test_torn_tails_at_the_same_place(tmp_path):
    """Two crashes at the same byte leave both half lines."""
    for tail in (b'{"a', b'{"bcd'):
        with open(tmp_path / "log.jsonl", "ab") as file:
            file.write(tail)
        mend(tmp_path, "log")

    assert torn(tmp_path) == [b'{"a', b'{"bcd']


def test_mending_a_named_stream(tmp_path):
    """The half line's place says which stream, and where."""
    (tmp_path / "val.log.jsonl").write_bytes(LINE + b'{"a')

    assert mend(tmp_path, "val") == layout.torn_path(tmp_path, "val", len(LINE))


# Disks that refuse.


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_write_that_fails(tmp_path, number, half):
    """A disk that refuses in the middle of an append leaves nothing of it."""
    stream = opened(tmp_path, "log")
    stream.append(BEFORE)
    stream._files = Faulty(failing(0, number, half=half))

    with pytest.raises(OSError, match=r"No space|Input/output|quota"):
        stream.append(LINE)

    assert content(tmp_path) == BEFORE
    stream.append(AFTER)
    assert content(tmp_path) == BEFORE + AFTER


def test_a_write_that_fails_and_cannot_be_taken_back(tmp_path):
    """What is left then is taken back before the next append."""
    stream = opened(tmp_path, "log")
    stream.append(BEFORE)
    stream._files = Faulty(failing(0, half=True, times=2))

    with pytest.raises(OSError, match=r"No space|Input/output|quota"):
        stream.append(LINE)

    assert content(tmp_path) == BEFORE + LINE[:7]
    stream.append(AFTER)
    assert content(tmp_path) == BEFORE + AFTER


def test_short_writes(tmp_path):
    """A system that takes a few bytes at a time gets the rest."""
    opened(tmp_path, "log", Faulty(short)).append(LINE + AFTER)

    assert content(tmp_path) == LINE + AFTER


@pytest.mark.parametrize("seed", range(200))
def test_faults_at_random(tmp_path, seed):
    """Whatever fails and whenever: the lines whose append returned are there, once, in order, and nothing else.

    Now and then the process dies, and another one opens the stream.
    """
    chance = random.Random(seed)

    def fault(call, name):
        if chance.random() < 0.3:
            if name == "write" and chance.random() < 0.5:
                return chance.randrange(1, 40)
            raise error(chance.choice([errno.ENOSPC, errno.EIO]))
        return None

    accepted, stream, files = [], None, Faulty(fault)
    for i in range(40):
        lines = [LINE.replace(b":2,", b":%d," % (10 * i + n)) for n in range(chance.randrange(1, 4))]
        try:
            stream = stream or opened(tmp_path, "log", files)
            if chance.random() < 0.2:
                stream.append_chunks(iter([lines[0][:50], lines[0][50:-1], b"\n"]))
                accepted += lines[:1]
            else:
                stream.append(b"".join(lines))
                accepted += lines
        except OSError:
            pass
        if chance.random() < 0.15:
            stream = None
            accepted = _as_another_process_finds_it(tmp_path, accepted)

    opened(tmp_path, "log")
    final = _as_another_process_finds_it(tmp_path, accepted)
    assert content(tmp_path) == b"".join(final)


def _as_another_process_finds_it(folder, accepted):
    """A process that died in the middle may have brought in whole lines that it had not heard of: those stay."""
    opened(folder, "log")
    found = content(folder).splitlines(keepends=True)
    assert found[: len(accepted)] == accepted
    assert all(line.endswith(b"}}\n") for line in found)
    return found


# Syncing.


def test_sync_what_is_new(tmp_path):
    """Only a stream with something new is synced; one that was just opened is, whoever wrote into it before."""
    (tmp_path / "log.jsonl").write_bytes(BEFORE)
    files = Faulty(lambda call, name: None)
    stream = opened(tmp_path, "log", files)

    stream.sync()
    assert files.calls.count("fsync") == 1
    stream.sync()
    assert files.calls.count("fsync") == 1
    stream.append(LINE)
    stream.sync()
    assert files.calls.count("fsync") == 2


def test_a_sync_that_fails(tmp_path):
    """It is done again the next time."""
    stream = opened(tmp_path, "log", Faulty(lambda call, name: None))
    stream.append(LINE)
    stream._files = Faulty(failing(0, errno.EIO))

    with pytest.raises(OSError, match=r"No space|Input/output|quota"):
        stream.sync()
    stream.sync()

    assert stream._files.calls == ["fsync", "fsync"]


# Reading.

SHAPES = [
    b"",
    b"a\n",
    b"a",
    b"\n\n\n",
    b"a\n\nbc\nd",
    b"x" * 3_000_000 + b"\n" + b"y" * 10 + b"\n" + b"z" * 1_048_576 + b"\n",
    b"".join(b"%d" % i * (i % 50) + b"\n" for i in range(60_000)),
    b"x" * 1_048_575 + b"\n" + b"y" * 1_048_576 + b"\nlast",
]


@pytest.mark.parametrize("text", SHAPES, ids=range(len(SHAPES)))
def test_ways_to_read(tmp_path, text):
    """Whole lines, their digests, and their beginnings from the end on tell of the same lines."""
    import hashlib

    path = tmp_path / "log.jsonl"
    path.write_bytes(text)
    lines = text.splitlines(keepends=True)

    assert [line for _, line in read_lines(path)] == lines
    assert [digest for _, digest in read_digests(path)] == [hashlib.sha256(line).digest() for line in lines]
    assert [line for line, _ in read_digests(path)] == [line[: 1 << 20] for line in lines]
    assert list(read_beginnings_from_end(path)) == [line[:256] for line in reversed(lines)]
