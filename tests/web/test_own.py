"""The reader's own things: lines of one file of the reader, which nobody else writes and only the reader reads."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlv.web.own import KINDS, Own
from tests.web.test_index import whole

ORIGIN = {"origin": "http://localhost"}


def say(client, kind: str, name: str, value: object, **headers: str):
    """Send a line as the page does."""
    return client.post("api/own", json={"kind": kind, "name": name, "value": value}, headers={**ORIGIN, **headers})


def lines(runs) -> list[dict]:
    """Return the lines of all files below the root."""
    return [json.loads(line) for path in (runs / ".mlv" / "ui").iterdir() for line in path.read_text().splitlines()]


def test_latest_line_counts(client, runs):
    """What was written last about a name counts, null removes it, and the lines before it stay."""
    say(client, "view", "best", {"where": "params.lr < 0.1"})
    say(client, "star", "abc", True)
    say(client, "star", "abc", None)
    answer = say(client, "view", "best", {"where": "params.lr < 0.2"})

    assert answer.status_code == 200
    assert answer.json()["items"]["view"] == {"best": {"where": "params.lr < 0.2"}}
    assert answer.json()["items"]["star"] == {}
    assert client.get("api/own").json() == answer.json()
    assert len(lines(runs)) == 4
    assert set(answer.json()["items"]) == set(KINDS)


def test_experiments_stay_as_they_are(client, runs):
    """Nothing is written into an experiment, and the file is the reader's alone."""
    before = sorted(path for path in (runs / "digits").rglob("*"))
    say(client, "note", "abc", "looks <b>odd</b>")
    [path] = (runs / ".mlv" / "ui").iterdir()

    assert sorted(path for path in (runs / "digits").rglob("*")) == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(whole(client)[0]) == ["digits", "digits_1"]


def test_each_reader_and_machine_has_a_file(runs):
    """Two people on a shared disk never write one file; a person sees the own lines of all machines."""
    Own(runs, "anna", "laptop").add({"kind": "star", "name": "a", "value": 1})
    Own(runs, "anna", "server").add({"kind": "star", "name": "b", "value": 2})
    Own(runs, "bob", "laptop").add({"kind": "star", "name": "c", "value": 3})

    assert {path.name for path in (runs / ".mlv" / "ui").iterdir()} == {
        "anna-laptop.jsonl", "anna-server.jsonl", "bob-laptop.jsonl",
    }  # fmt: skip
    assert Own(runs, "anna", "laptop").fold()["items"]["star"] == {"a": 1, "b": 2}


def test_where_the_root_cannot_be_written(runs):
    """Where the folder is read-only, or is an experiment, the lines go to the user's own state folder."""
    if os.geteuid() == 0:
        own = Own(runs / "digits")
    else:
        runs.chmod(0o555)
        own = Own(runs)
    own.add({"kind": "star", "name": "a", "value": True})
    runs.chmod(0o755)

    assert own.fold()["items"]["star"] == {"a": True}
    assert os.environ["XDG_STATE_HOME"] in own.fold()["where"]
    assert not (runs / ".mlv").exists()
    assert not (runs / "digits" / ".mlv" / "ui").exists()


def test_torn_and_foreign_lines_are_passed_over(client, runs):
    """A half line of a crash costs no other, and a line that is none is passed over."""
    say(client, "star", "a", True)
    [path] = (runs / ".mlv" / "ui").iterdir()
    path.write_bytes(path.read_bytes() + b'[1]\n{"kind":"evil","name":"x","value":1,"time":"9"}\n{"kind":"st')
    say(client, "star", "b", True)

    assert client.get("api/own").json()["items"]["star"] == {"a": True, "b": True}


def test_link_is_not_followed(client, runs, tmp_path):
    """A link that somebody put in place of the file leads nowhere."""
    (tmp_path / "target").write_text("")
    say(client, "star", "a", True)
    [path] = (runs / ".mlv" / "ui").iterdir()
    path.unlink()
    path.symlink_to(tmp_path / "target")

    assert say(client, "star", "b", True).status_code == 409
    assert (tmp_path / "target").read_text() == ""


def test_two_servers_lose_no_line(runs):
    """Servers of one reader on one folder write side by side."""
    servers = [Own(runs), Own(runs)]
    with ThreadPoolExecutor(4) as pool:
        numbers = range(100)
        list(pool.map(lambda at: servers[at % 2].add({"kind": "star", "name": str(at), "value": at}), numbers))

    assert len(servers[0].fold()["items"]["star"]) == 100


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({**ORIGIN, "sec-fetch-site": "cross-site"}, 403),
        ({**ORIGIN, "content-type": "text/plain"}, 415),
        ({**ORIGIN, "content-type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_foreign_writer_is_refused(client, runs, headers, status):
    """A form or a script of another site writes nothing, even with the secret."""
    content = json.dumps({"kind": "star", "name": "a", "value": True})

    answer = client.post("api/own", content=content, headers={"content-type": "application/json", **headers})

    assert answer.status_code == status
    assert not (runs / ".mlv").exists()


def test_writer_without_origin_is_refused(client, runs):
    """Who does not say where a line comes from writes nothing; neither does one without the secret."""
    body = {"kind": "star", "name": "a", "value": True}

    assert client.post("api/own", json=body).status_code == 403
    assert client.post(f"http://localhost/{'b' * 43}/api/own", json=body, headers=ORIGIN).status_code == 404
    assert not (runs / ".mlv").exists()


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 400), (b"[" * 60000, 400), (b"null", 400), (b'{"kind":"file","name":"a"}', 400), (b'{"kind":"star"}', 400),
        (b'{"kind":"star","name":""}', 400), (b'{"kind":"star","name":3}', 400),
        (b'{"kind":"note","name":"a","value":"' + b"x" * 70000 + b'"}', 413),
    ],
)  # fmt: skip
def test_wrong_line_is_a_sentence(client, runs, content, status):
    """A line that cannot be is refused with what to do, and none is written."""
    answer = client.post("api/own", content=content, headers={**ORIGIN, "content-type": "application/json"})

    assert answer.status_code == status
    assert answer.json()["error"]
    assert not (runs / ".mlv").exists()


def test_value_that_is_nested_too_deeply(client):
    """A value that cannot be written is refused with a sentence."""
    content = b'{"kind":"note","name":"x","value":%s}' % (b"[" * 400 + b"]" * 400)
    answer = client.post("api/own", content=content, headers={**ORIGIN, "content-type": "application/json"})

    assert answer.status_code == 400
    assert "too deeply" in answer.json()["error"]


def test_every_value_that_is_kept_can_be_read_again(client):
    """Whatever its depth, a value is either refused with a sentence, or kept and sent: no line stops later answers."""
    for depth in range(240, 260):
        content = b'{"kind":"note","name":"x","value":%s}' % (b"[" * depth + b"]" * depth)
        answer = client.post("api/own", content=content, headers={**ORIGIN, "content-type": "application/json"})

        assert answer.status_code in (200, 400), depth
        assert client.get("api/own").status_code == 200, depth
