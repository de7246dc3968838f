"""Reading from the end gives what reading from the beginning gives."""

from __future__ import annotations

import threading
from datetime import datetime, timezone

import pytest
from logs import line, write

from mlv.query import tail as tail_
from mlv.query.tail import Status, Tail, latest_metrics
from mlv.store.streams import lines_from_end, read_lines, whole_end


def seqs(found) -> list[int]:
    return [each.event.seq for each in found]


@pytest.mark.parametrize("least", [1, 2, 7, 64])
@pytest.mark.parametrize("content", [b"", b"\n", b"half", b"a\n", b"a\nhalf", b"a\n\nbc\n" + b"x" * 100 + b"\n", b"\n\n\n"])
def test_lines_from_end(tmp_path, least, content):
    """The whole lines come with their offsets, the last one first, however long they are; a half one does not."""
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)

    whole = [(start, text) for start, text in read_lines(path) if text.endswith(b"\n")]

    assert list(lines_from_end(path, least_bytes=least)) == whole[::-1]
    assert whole_end(path, least) == sum(len(text) for _, text in whole)


def test_last_events_of_all_streams(tmp_path):
    """The last events are the last of all streams together, in order of time."""
    write(tmp_path, *(line("r1", n, second=n) for n in (1, 3, 5, 7)))
    write(tmp_path, *(line("r1", n, second=n) for n in (2, 4, 6)), stream="val")

    assert seqs(Tail(tmp_path).last(3)) == [5, 6, 7]
    assert seqs(Tail(tmp_path).last(99)) == [1, 2, 3, 4, 5, 6, 7]
    assert seqs(Tail(tmp_path, stream="val").last(2)) == [4, 6]


def test_last_events_that_are_wanted(tmp_path):
    """The number counts the events that are wanted, by type and by name."""
    write(
        tmp_path,
        line("r1", 1, "note", data={"text": "a"}),
        line("r1", 2, "metrics", name="train", data={"loss": 1}),
        line("r1", 3, "event", name="train", data={}),
        line("r1", 4, "seal", data={}),
    )

    assert seqs(Tail(tmp_path, types=["note"]).last(1)) == [1]
    assert seqs(Tail(tmp_path, without=["seal"]).last(1)) == [3]
    assert seqs(Tail(tmp_path, name="train/loss").last(5)) == [2]
    assert seqs(Tail(tmp_path, name="*").last(5)) == [2, 3]


def test_bad_lines_are_passed_over(tmp_path):
    """A line that is no event costs no other one."""
    write(tmp_path, line("r1", 1), b"rubbish\n", line("r1", 2), b'{"run":"r1","se')

    assert seqs(Tail(tmp_path).last(5)) == [1, 2]


def test_the_line_itself_is_given(tmp_path):
    """Each event comes with the bytes of its line."""
    write(tmp_path, first := line("r1", 1), second := line("r1", 2))

    assert [found.line for found in Tail(tmp_path).last(2)] == [first, second]


@pytest.mark.parametrize("shown", [0, 1, 10])
def test_following_begins_where_the_last_events_ended(tmp_path, shown):
    """What was there is not given again, what comes is given once, also in a stream that is new and in pieces."""
    path = write(tmp_path, line("r1", 1), line("r1", 2))
    tail = Tail(tmp_path)
    tail.last(shown)
    third = line("r1", 3)
    news = tail.follow(lambda: True)
    with open(path, "ab") as file:
        file.write(third[:20])
    assert list(news) == []

    with open(path, "ab") as file:
        file.write(third[20:])
    write(tmp_path, line("r1", 4), stream="val")

    assert seqs(tail.follow(lambda: True)) == [3, 4]


def test_following_goes_on_until_it_is_over(tmp_path):
    """Following waits for what comes while it is not over."""
    path = write(tmp_path, line("r1", 1))
    tail, over = Tail(tmp_path), threading.Event()
    found = []

    def add() -> None:
        with open(path, "ab") as file:
            file.write(line("r1", 2))
        over.set()

    timer = threading.Timer(0.2, add)
    timer.start()
    found = seqs(tail.follow(over.is_set))
    timer.join()

    assert found == [1, 2]


def test_latest_metrics(tmp_path):
    """Each metric has the value that was logged last, by time, whatever its stream; names are full names.

    Within a run the number decides: its clock may have been set back.
    """
    write(
        tmp_path,
        line("r1", 1, "metrics", second=1, name="train", step=1, data={"loss": 1, "acc": 0.5}),
        line("r1", 2, "metrics", second=2, name="train", step=2, data={"loss": None}, nonfinite={"/loss": "inf"}),
        line("r1", 3, "event", second=9, name="train", data={"acc": 7}),
    )
    write(
        tmp_path,
        line("r2", 1, "metrics", second=0.5, data={"train/acc": 0.1, "q": 3}),
        line("r1", 0, "metrics", second=0.9, data={"set back": 1}),
        line("r1", 4, "metrics", second=0.7, data={"set back": 2}),
        stream="val",
    )

    found = latest_metrics(tmp_path)

    assert {name: (each.value, each.step) for name, each in found.items()} == {
        "train/loss": (float("inf"), 2),
        "train/acc": (0.5, 1),
        "q": (3, None),
        "set back": (2, None),
    }
    assert isinstance(found["q"].time, datetime)


def test_latest_metrics_near_the_end(tmp_path):
    """Within so many bytes of the end, only what stands there is looked at."""
    write(tmp_path, line("r1", 1, "metrics", data={"early": 1}), last := line("r1", 2, "metrics", data={"late": 2}))

    assert list(latest_metrics(tmp_path, len(last))) == ["late"]


def test_status_reads_what_is_new(tmp_path, monkeypatch):
    """A status that is asked for again and again follows the log, of which each line is read once."""
    now = datetime.now(timezone.utc).isoformat()
    path = write(tmp_path, line("r1", 1, "run_started", data={}), line("r1", 2, "metrics", data={"loss": 1}))
    status = Status(tmp_path, now)
    assert status() in ("running", "lost")
    monkeypatch.setattr(tail_, "read_state", None)
    path.write_bytes(path.read_bytes() + line("r1", 3, "run_ended", second=1, data={"status": "failed"}))
    assert status() == "failed"
    write(
        tmp_path, line("r2", 1, "run_started", second=2, data={}), line("r2", 2, "run_ended", second=3, data={}), stream="other"
    )

    assert status() == "ok"


def test_asking_for_the_status_does_not_wait(tmp_path):
    """Events that keep coming do not hold up the answer."""
    path = write(tmp_path, line("r1", 1, "run_started", data={}))
    tail = Tail(tmp_path)
    tail.last(0)
    path.write_bytes(path.read_bytes() + line("r1", 2))

    assert seqs(tail.news()) == [2]
    assert seqs(tail.news()) == []
