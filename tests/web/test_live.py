"""A running experiment reaches the page as it logs."""

from __future__ import annotations

import json
import signal
import threading
import urllib.error
import urllib.request

import pytest

import mlv
from mlv.web import live
from mlv.web.limits import LIMITS
from mlv.web.live import Follower
from tests.conftest import wait_until
from tests.web.test_ui_command import address_of, started

pytest.importorskip("uvicorn", reason="the page needs mlvlogger[ui]")


def messages(stream):
    """Yield name, data and cursor of each server-sent event."""
    fields: dict[str, str] = {}
    for line in stream:
        name, _, text = line.decode().rstrip("\n").partition(": ")
        if name:
            fields[name] = text
        elif fields:
            if "event" in fields:
                yield fields["event"], json.loads(fields["data"]), fields["id"]
            fields = {"id": fields["id"]}  # it stays until another one comes


def test_points_arrive_and_connection_resumes(runs):
    """New points and new experiments are sent; after a lost connection nothing is missing, and Ctrl-C ends an open stream."""
    exp = mlv.Exp(runs, "running", capture=())
    with started(runs, "--no-open", "--port", 0) as process, exp:
        url = address_of(process)
        with urllib.request.urlopen(f"{url}api/live?watch={exp.id}", timeout=60) as stream:
            arriving = messages(stream)
            assert next(arriving)[0] == "hello"
            exp.log({"loss": 0.5}, step=3)
            _, data, cursor = next(message for message in arriving if message[0] == "points")
        exp.log({"loss": float("nan")}, step=4)
        exp.flush()
        request = urllib.request.Request(f"{url}api/live?watch={exp.id}", headers={"Last-Event-ID": cursor})
        with urllib.request.urlopen(request, timeout=60) as stream:
            arriving = messages(stream)
            _, resumed, _ = next(message for message in arriving if message[0] == "points")
            with mlv.Exp(runs, "another", capture=()):
                assert next(message for message in arriving if message[0] == "index")
            process.send_signal(signal.SIGINT)
            code = process.wait(30)

    assert (data["id"], data["m"], data["x"], data["y"]) == (exp.id, "loss", [3], [0.5])
    assert (resumed["x"], resumed["y"]) == ([4], ["NaN"])
    assert code == 130


def test_tabs_and_their_limit(runs):
    """Eight pages are connected at once; the ninth is refused with a sentence, and let in when one has gone."""
    with started(runs, "--no-open", "--port", 0) as process:
        url = address_of(process)
        streams = [urllib.request.urlopen(f"{url}api/live", timeout=60) for _ in range(8)]
        assert [next(messages(stream))[0] for stream in streams] == ["hello"] * 8
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{url}api/live", timeout=60)
        body = json.loads(refused.value.read())
        refused.value.close()
        for stream in streams:
            stream.close()

        def is_let_in() -> bool:
            try:
                urllib.request.urlopen(f"{url}api/live", timeout=60).close()
            except urllib.error.HTTPError as error:
                error.close()
                return False
            return True

        wait_until(is_let_in)

    assert (refused.value.code, body["error"]) == (503, "Too many pages are connected: close some.")


LINE = b'{"run":"r1","seq":1,"time":"2026-11-30T06:00:00.000000Z","type":"metrics","step":9,"data":{"loss":2.0}}\n'


def follow(runs, name="digits"):
    """Follow one experiment without a server."""
    return Follower({"1": runs / name})


def test_half_a_line_waits(runs):
    """A line that is being written is sent when it is whole."""
    follower, log = follow(runs), runs / "digits" / "log.jsonl"
    with open(log, "ab") as file:
        file.write(LINE[:40])
        file.flush()
        before = follower.news()
        file.write(LINE[40:])
    [(name, data)] = follower.news()

    assert before == []
    assert (name, data["x"], data["y"]) == ("points", [9], [2.0])
    assert follower.news() == []


def test_much_is_asked_for_again(runs):
    """Of thousands of new points the page is told to ask for the curve; so it is when a log was replaced by a shorter one."""
    follower, log = follow(runs), runs / "digits" / "log.jsonl"
    line = '{"run":"r1","seq":%d,"time":"2026-11-30T06:00:00.000000Z","type":"metrics","step":%d,"data":{"loss":2.0}}\n'
    with open(log, "a") as file:
        file.writelines(line % (number, number) for number in range(1, 3000))
    many = follower.news()
    log.write_bytes(log.read_bytes()[:500])
    shorter = follower.news()

    assert many == [("stale", {"id": "1", "m": "loss"})]
    assert shorter == [("stale", {"id": "1"})]


@pytest.mark.parametrize("more", [0, 5])
def test_log_that_is_another_file(runs, more):
    """Of a log that was replaced, as by a redaction, no line is sent as a new one, however long it is; later ones are."""
    follower, log = follow(runs), runs / "digits" / "log.jsonl"
    before = follower.news()
    other = runs / "other.jsonl"
    other.write_bytes(log.read_bytes() + more * LINE)
    other.replace(log)
    replaced = follower.news()
    with open(log, "ab") as file:
        file.write(LINE)

    assert (before, replaced) == ([], [("stale", {"id": "1"})])
    assert [name for name, _ in follower.news()] == ["points"]


def test_line_that_nobody_ends_is_read_once(runs, monkeypatch):
    """Half a line that stays, however long, is no reason to read it again, or to have curves asked for ten times a second."""
    monkeypatch.setattr(LIMITS, "news_bytes", 100)
    follower, log = follow(runs), runs / "digits" / "log.jsonl"
    with open(log, "ab") as file:
        file.write(b"x" * 1000)

    assert [follower.news() for _ in range(3)] == [[("stale", {"id": "1"})], [], []]


def test_hanging_disk_holds_up_no_other_experiment(runs, monkeypatch):
    """While the disk of one experiment hangs the others send their points; once it answers, its curves are asked for again."""
    goes_on, real = threading.Event(), live.streams_of

    def streams(folder):
        if folder.name == "digits":
            goes_on.wait(60)
        return real(folder)

    monkeypatch.setattr(live, "streams_of", streams)
    monkeypatch.setattr(LIMITS, "look_s", 0.2)
    follower = Follower({"1": runs / "digits", "2": runs / "digits_1"})
    news = follower.news()  # the second begins here: the first look never came to it
    with open(runs / "digits_1" / "log.jsonl", "ab") as file:
        file.write(LINE)
    news += follower.news()
    before = [(name, data["id"]) for name, data in news]
    goes_on.set()
    after: list = []
    wait_until(lambda: after.extend(follower.news()) or ("stale", {"id": "1"}) in after)

    assert before[-1] == ("points", "2")
    assert all(identity == "2" for _, identity in before)


def test_cursor_stands_behind_what_was_sent(runs):
    """Of messages that are sent together only the last one has the cursor: a connection that is cut between loses none."""
    exp = mlv.Exp(runs, "running", capture=())
    with (
        started(runs, "--no-open", "--port", 0) as process,
        exp,
        urllib.request.urlopen(f"{address_of(process)}api/live?watch={exp.id}", timeout=60) as stream,
    ):
        arriving = messages(stream)
        sent = [next(arriving)]
        exp.log({"a": 0.5, "b": 0.5}, step=3)
        # Before them, it may be told that the list or the experiment changed.
        while sum(name == "points" for name, _, _ in sent) < 2:
            sent.append(next(arriving))

    (_, _, before), (_, first, between), (_, second, after) = sent[-3:]
    assert [first["m"], second["m"]] == ["a", "b"]
    assert before == between
    assert after != between


def test_deleted_folder_is_silent(runs):
    """An experiment that is deleted while it is shown costs nothing but its own news."""
    import shutil

    follower = follow(runs)
    shutil.rmtree(runs / "digits")

    assert follower.news() == []


def test_wrong_cursor(client):
    """A cursor that was never sent is refused."""
    assert client.get("api/live", params={"cursor": "x"}).status_code == 400
