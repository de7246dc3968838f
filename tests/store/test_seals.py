"""Seals are chains over the hashes of lines: what a chain takes up after a crash is what it would have been."""

from __future__ import annotations

import hashlib
import json

import pytest

from mlv.store.seals import Chain, chains_of, run_and_seq, sealed_by


def line(run, seq, type="metrics", **data):
    fields = {"run": run, "seq": seq, "time": "2026-01-01T00:00:00.000000Z", "type": type, "data": data}
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def digest(lines, previous=None):
    """As the format says it."""
    begin = bytes.fromhex(previous) if previous else b""
    return hashlib.sha256(begin + b"".join(hashlib.sha256(text).digest() for text in lines)).hexdigest()


def test_a_chain():
    """A chain is the hash over the hashes of its lines, after the seal before it."""
    lines = [line("r1", n, x=n) for n in range(5)]
    chain = Chain()
    chain.add(lines[:2])
    chain.add_digest(hashlib.sha256(lines[2]).digest())
    chain.add(lines[3:])

    assert (chain.hexdigest(), chain.lines) == (digest(lines), 5)

    follows = Chain(chain.hexdigest())
    follows.add(lines[:1])
    assert follows.hexdigest() == digest(lines[:1], digest(lines))


def test_chains_of_a_file(tmp_path):
    """Each run has its chain; a seal begins the next one, and belongs to the chain of the writer that left it."""
    mine, other = [line("r1", n) for n in (1, 2, 3)], [line("r2", n) for n in (1, 2)]
    seal = line("rw", 1, "seal", of="r1", lines=2, sha256=digest(mine[:2]))
    (tmp_path / "log.jsonl").write_bytes(b"".join([mine[0], other[0], mine[1], seal, other[1], mine[2], b"no event\n"]))

    found = {run: (chain.lines, chain.previous, chain.hexdigest()) for run, chain in chains_of(tmp_path / "log.jsonl").items()}

    sealed = digest(mine[:2])
    assert found == {
        "r1": (1, sealed, digest(mine[2:], sealed)),
        "r2": (2, None, digest(other)),
        "rw": (1, None, digest([seal])),
    }


def test_a_seal_that_others_wrote(tmp_path):
    """White space in a line makes no difference."""
    text = line("r1", 1)
    seal = json.dumps(json.loads(line("rw", 1, "seal", of="r1", lines=1, sha256=digest([text])))).encode() + b"\n"
    (tmp_path / "log.jsonl").write_bytes(text + seal)

    assert chains_of(tmp_path / "log.jsonl")["r1"].previous == digest([text])


def test_no_file(tmp_path):
    """A stream without a file has no chains."""
    assert chains_of(tmp_path / "log.jsonl") == {}


def test_a_line_of_many_megabytes(tmp_path):
    """It counts with all of its bytes."""
    long = line("r1", 1, x="y" * 5_000_000)
    (tmp_path / "log.jsonl").write_bytes(long + line("r1", 2))

    assert chains_of(tmp_path / "log.jsonl")["r1"].hexdigest() == digest([long, line("r1", 2)])


@pytest.mark.parametrize(
    "data",
    [
        {"text": '{"type":"seal","data":{"of":"r1","sha256":"00"}}'},
        {"type": "seal", "of": "r1", "sha256": "zz"},
        {"nested": {"type": "seal"}, "of": "r1", "sha256": "00"},
    ],
)
def test_what_a_user_logs_is_no_seal(tmp_path, data):
    """Data that look like a seal are data."""
    text = json.dumps(
        {"run": "r1", "seq": 1, "time": "2026-01-01T00:00:00.000000Z", "type": "event", "data": data}, separators=(",", ":")
    ).encode()
    (tmp_path / "log.jsonl").write_bytes(text + b"\n")

    assert sealed_by(text) is None
    assert chains_of(tmp_path / "log.jsonl")["r1"].hexdigest() == digest([text + b"\n"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"run":"rk3","seq":17,"time":"x"}\n', ("rk3", 17)),
        (b'{ "seq": 17, "run": "rk3" }\n', ("rk3", 17)),
        (b'{"run":"rk3","seq":17}\n', ("rk3", 17)),
        (b'{"run":"rk3","seq":17,"data":{"x":', ("rk3", 17)),
        (b'{"run":"rk3","seq":1', None),
        (b'{"run":"rk3","se', None),
        (b'{"run":"r\\u006b3","seq":2}\n', ("rk3", 2)),
        (b"[]\n", None),
        (b"3\n", None),
        (b"\n", None),
        (b'{"run":"rk3"}\n', None),
    ],
)
def test_whose_line_it_is(text, expected):
    """Run and number are known from the beginning of a line that mlv wrote, and from any other line that holds them."""
    assert run_and_seq(text) == expected
