"""What can be wrong below a folder while its page is shown: each costs only itself, and is said in a sentence."""

from __future__ import annotations

import base64
import errno
import json
import os
import shutil
import threading
from time import monotonic

import pytest

import mlv
from mlv.errors import MlvError
from mlv.web import lines, rows
from mlv.web.index import PageIndex
from mlv.web.limits import LIMITS
from mlv.web.patience import Patience, Waiting
from tests.conftest import wait_until
from tests.web.test_index import whole


@pytest.fixture
def ids(client) -> dict[str, str]:
    """The IDs of the experiments by their paths."""
    return {path: row["id"] for path, row in whole(client)[0].items()}


@pytest.mark.parametrize("end", ["", "/events", "/media?name=x", "/line?run=a&seq=1", "/file?path=files/x"])
def test_folder_is_deleted_while_it_is_shown(client, runs, ids, end):
    """An experiment whose folder is gone is answered with a sentence, and the list tells that it is gone."""
    _, cursor, _ = whole(client)
    shutil.rmtree(runs / "digits")

    answer = client.get(f"api/exp/{ids['digits']}{end}")
    rows, _, gone = whole(client, cursor)

    assert answer.status_code == 404
    assert "there is no experiment" in answer.json()["error"] or "no event" in answer.json()["error"]
    assert (rows, gone) == ({}, [ids["digits"]])
    assert client.get(f"api/exp/{ids['digits_1']}").status_code == 200


def test_deleted_folder_in_curves(client, runs, ids):
    """Curves of an experiment that is gone are refused with a sentence, and the server goes on."""
    shutil.rmtree(runs / "digits")

    assert client.get("api/curves", params={"ids": ids["digits"], "m": "loss"}).status_code == 404
    assert client.get("api/curves", params={"ids": ids["digits_1"], "m": "loss"}).status_code == 200


@pytest.mark.parametrize("damage", [b"\x00\xff garbage", b'{"run":"r","seq":', b"[" * 100_000, b'{"run":1,"seq":"x"}'])
def test_damaged_log_costs_its_lines(client, runs, ids, damage):
    """A log with garbage in it, or cut in the middle of a line, shows all of its other lines."""
    log = runs / "digits" / "log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:3], damage, b"\n", *lines[3:], damage]))

    rows, _, _ = whole(client)
    events = client.get(f"api/exp/{ids['digits']}/events", params={"type": "metrics"}).json()["events"]

    assert rows["digits"]["metrics"]["loss"]["count"] == 3
    assert len(events) == 3
    assert client.get(f"api/exp/{ids['digits']}").json()["metrics"]["loss"]["count"] == 3
    assert client.get(f"api/exp/{ids['digits']}/verify").json()["verdict"] != "intact"


def test_very_many_metrics(client, runs):
    """An experiment with 12,000 metrics is listed with some, its page has all, and each can be drawn."""
    names = [f"layer{number // 100}/unit{number}" for number in range(12_000)]
    with mlv.Exp(runs, "wide", capture=()) as exp:
        for step in range(2):
            exp.log(dict.fromkeys(names, float(step)), step=step)

    rows, _, _ = whole(client)
    overview = client.get(f"api/exp/{exp.id}").json()
    curve = client.get("api/curves", params={"ids": exp.id, "m": names[-1]})
    select = client.get("api/select", params={"where": "params.lr > 0"})

    assert len(rows["wide"]["metrics"]) >= 500
    assert len(overview["metrics"]) == 12_000
    assert len(client.get("api/metrics", params={"ids": exp.id}).json()["metrics"]) == 12_000
    assert curve.status_code == 200
    assert len(select.json()["ids"]) == 2


def test_huge_params(client, runs):
    """Of params of many megabytes the list, and the page of the experiment, have the first ones, and say so."""
    params = {"text": "x" * 9_000_000, "list": list(range(100_000)), "lr": 0.5}
    mlv.Exp(runs, "huge", params, capture=()).close()

    answer = client.get("api/index")
    identity = next(exp.id for exp in mlv.find(runs) if exp.name == "huge")
    overview = client.get(f"api/exp/{identity}")

    assert len(answer.content) < 100_000
    assert len(overview.content) < 10_000_000
    assert overview.json()["params_cut"] is True


def test_media_file_is_gone(client, runs, ids):
    """A file that an event names and that is gone is a 404 with its path."""
    [path] = (runs / "digits" / "files").rglob("*.txt")
    path.unlink()
    name = path.relative_to(runs / "digits").as_posix()

    answer = client.get(f"api/exp/{ids['digits']}/file", params={"path": name})

    assert answer.status_code == 404
    assert name in answer.json()["error"]


def test_two_servers_on_one_folder(runs):
    """Servers on one folder show the same, and neither believes a cursor of the other."""
    servers = [PageIndex(runs), PageIndex(runs)]
    for server in servers:
        server.refresh()
    first, second = (server.news("", 0) for server in servers)

    assert first["columns"] == second["columns"]
    assert servers[1].news(first["cursor"], 0)["reset"] is True


def hang(monkeypatch, *names: str) -> threading.Event:
    """Have the disk of some folders hang until the event is set."""
    goes_on, real = threading.Event(), rows.stream_stamps

    def stamps(folder):
        if os.path.basename(folder) in names:
            goes_on.wait(60)
        return list(real(folder))

    monkeypatch.setattr(rows, "stream_stamps", stamps)
    return goes_on


def test_hanging_disk_in_the_list(client, runs, monkeypatch):
    """While the disk of a folder hangs, the list is answered all the same, and names the folder."""
    whole(client)
    goes_on = hang(monkeypatch, "digits_1")
    monkeypatch.setattr(LIMITS, "naming_s", 0.2)

    def waiting():
        return client.get("api/index").json()["waiting"]

    wait_until(lambda: waiting() is not None)
    folder = waiting()["folder"]
    goes_on.set()

    assert folder == str(runs / "digits_1")
    wait_until(lambda: waiting() is None)


def test_hanging_disk_of_one_experiment():
    """A reading that hangs is given up with a sentence, its next question is answered at once, and others go on."""
    patient, goes_on = Patience(0.1), threading.Event()

    with pytest.raises(Waiting, match="the disk of /slow does not answer"):
        patient.answer("/slow", lambda: goes_on.wait(60))
    begin, threads = monotonic(), {*threading.enumerate()}
    with pytest.raises(Waiting):
        patient.answer("/slow", lambda: 1)
    assert {*threading.enumerate()} <= threads
    assert patient.answer("/fast", lambda: 2) == 2
    goes_on.set()
    wait_until(lambda: answered(patient))
    assert monotonic() >= begin


def answered(patient: Patience) -> bool:
    """Return whether the folder that hung answers again."""
    try:
        return patient.answer("/slow", lambda: 3) == 3
    except MlvError:
        return False


def test_root_is_deleted_while_it_is_shown(client, runs, ids):
    """When the whole folder goes, so do its rows, and when it comes back, they are there again."""
    _, cursor, _ = whole(client)
    runs.rename(runs.parent / "elsewhere")
    _, cursor, gone = whole(client, cursor)
    (runs.parent / "elsewhere").rename(runs)
    rows, _, _ = whole(client, cursor)

    assert sorted(gone) == sorted(ids.values())
    assert sorted(rows) == ["digits", "digits_1"]


def test_hanging_disk_holds_up_nobody_else(client, runs, ids, monkeypatch):
    """Charts, files and the other answers of an experiment whose disk hangs are refused, and name it; others are drawn."""
    whole(client)
    goes_on = hang(monkeypatch, "digits_1")
    monkeypatch.setattr(LIMITS, "answer_s", 0.2)
    both = f"{ids['digits']},{ids['digits_1']}"
    hanging = [
        client.get(path, params={"ids": both, "m": "loss", "path": "files/x"})
        for path in ("api/curves", "api/sparks", "api/csv", "api/compare", f"api/exp/{ids['digits_1']}/file")
    ]
    other = client.get("api/curves", params={"ids": ids["digits"], "m": "loss"})
    goes_on.set()

    assert [answer.status_code for answer in hanging] == [503] * 5
    assert all(str(runs / "digits_1") in answer.json()["error"] for answer in hanging)
    assert other.status_code == 200


def test_first_reading_that_hangs_is_not_waited_for(runs, monkeypatch):
    """A question that needs all experiments gives up when one folder takes too long, not at its own much later deadline."""
    goes_on = hang(monkeypatch, "digits", "digits_1")
    monkeypatch.setattr(LIMITS, "stuck_s", 0.2)
    every = PageIndex(runs)
    has_ended = threading.Thread(target=every.wait, args=(None, 3600.0), daemon=True)
    has_ended.start()
    has_ended.join(30)
    gave_up = not has_ended.is_alive()
    goes_on.set()

    assert gave_up


def test_unreadable_log_is_a_sentence(client, runs, ids, monkeypatch):
    """A log that the system refuses to open is answered with its path, and the reason."""
    log = str(runs / "digits" / "log.jsonl")

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied", log)

    monkeypatch.setattr(lines, "whole_end", refuse)  # root may read everything
    answer = client.get(f"api/exp/{ids['digits']}/events")

    assert answer.status_code == 500
    assert answer.json()["error"] == f"{log}: Permission denied"


@pytest.mark.parametrize("data", [b'"text"', b"[1]", b"{}", b"null"])
def test_odd_lines_of_the_console(client, runs, ids, data):
    """A line of the console without a text is an empty line."""
    start = b'{"run":"r1","seq":1,"time":"2026-11-30T06:00:00.000000Z","type":"message","data":'
    (runs / "digits" / "console.log.jsonl").write_bytes(b"%s%s}\n" % (start, data))

    answer = client.get(f"api/exp/{ids['digits']}/console")

    assert answer.status_code == 200
    assert all(line["text"] == "" for line in answer.json()["lines"])


def test_long_line_of_the_console_says_where_it_is(client, runs, ids):
    """A printed line that is too long for the list is named with its place in the log."""
    start = b'{"run":"r1","seq":1,"time":"2026-11-30T06:00:00.000000Z","type":"message","data":{"message":"'
    (runs / "digits" / "console.log.jsonl").write_bytes(b'%s%s"}}\n' % (start, b"x" * 100_000))

    [line] = client.get(f"api/exp/{ids['digits']}/console").json()["lines"]

    assert line["text"] == "(a line of more than 64 KB: console.log.jsonl has it, from byte 0 on)"


def test_root_whose_name_is_no_text(client, runs):
    """A folder whose name is not UTF-8 is shown with an escape."""
    root = runs.parent / os.fsdecode(b"r\xffuns")
    try:
        runs.rename(root)
    except OSError:
        pytest.skip("this file system keeps no such names")
    every = PageIndex(root)
    every.refresh()

    assert every.news("", 0)["root"].endswith("r\\udcffuns")


@pytest.mark.parametrize("offset", [-5, 10**15])
def test_cursor_beyond_a_log(client, ids, offset):
    """A cursor that leads out of a log counts as its end."""
    before = base64.urlsafe_b64encode(json.dumps({"log": offset}).encode()).decode()

    assert client.get(f"api/exp/{ids['digits']}/events", params={"before": before}).status_code == 200


def test_large_lines_are_sent_in_several_answers(client, ids, monkeypatch):
    """An answer collects only so many bytes of lines, and the next one goes on behind them."""
    monkeypatch.setattr(LIMITS, "lines_bytes", 300)
    counts, before = [], ""
    while before is not None:
        answer = client.get(f"api/exp/{ids['digits']}/events", params={"before": before}).json()
        counts.append(len(answer["events"]))
        before = answer["before"]
    monkeypatch.undo()

    assert len(counts) > 2
    assert sum(counts) == len(client.get(f"api/exp/{ids['digits']}/events").json()["events"])
