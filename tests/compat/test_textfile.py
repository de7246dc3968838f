"""A file that an output appends to: each record once, whatever was interrupted, and whoever else wrote into it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import mlv
from mlv.compat.textfile import TextFile

pytest.importorskip("hypothesis")
from hypothesis import given
from hypothesis import strategies as st

RECORDS = st.lists(st.integers(0, 3).map(lambda n: b"x" * n + b"\n"), max_size=8)


@given(RECORDS, st.data())
def test_interrupted(records, data):
    """Cut off anywhere after a commit, and written again from that commit on, the file has each record once."""
    committed = data.draw(st.integers(0, len(records)), "committed")
    whole = b"".join(b"%d%s" % pair for pair in enumerate(records))
    known = len(b"".join(b"%d%s" % pair for pair in list(enumerate(records))[:committed]))
    kept = data.draw(st.integers(known, len(whole)), "bytes on the disk")
    with TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(whole[:kept])
        file = TextFile(path, known)
        for number, record in list(enumerate(records))[committed:]:
            file.add(b"%d%s" % (number, record))
        size = file.commit()
        file.close()

        assert (path.read_bytes(), size) == (whole, len(whole))


@pytest.mark.parametrize(("there", "joint"), [(b"theirs\n", b""), (b"torn", b"\n"), (b"", b"")])
def test_of_others(tmp_path, there, joint):
    """What others wrote stays, and what is new begins on a line of its own."""
    path = tmp_path / "file"
    path.write_bytes(there)
    file = TextFile(path)
    file.add(b"ours\n")
    file.commit()
    file.close()

    assert path.read_bytes() == there + joint + b"ours\n"


def test_cleared(tmp_path):
    """A file that begins anew is empty from the next commit on, not before."""
    path = tmp_path / "file"
    path.write_bytes(b"old\n")
    file = TextFile(path)
    file.clear()
    file.add(b"new\n")
    assert path.read_bytes() == b"old\n"
    assert file.commit() == 4
    file.close()

    assert path.read_bytes() == b"new\n"


def test_shorter(tmp_path):
    """A file that has lost something is not gone on with."""
    with pytest.raises(mlv.CannotResume, match="has lost what was written"):
        TextFile(tmp_path / "file", 4)
