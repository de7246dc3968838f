"""What can be wrong below a folder while its page is shown: each costs only itself, and is said in a sentence."""

from __future__ import annotations

import shutil
import threading
from time import monotonic

import pytest

import mlv
from mlv.errors import MlvError
from mlv.web import index
from mlv.web.index import Index
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
    servers = [Index(runs), Index(runs)]
    for server in servers:
        server.refresh()
    first, second = (server.news("", 0) for server in servers)

    assert first["columns"] == second["columns"]
    assert servers[1].news(first["cursor"], 0)["reset"] is True


def test_hanging_disk_in_the_list(client, runs, monkeypatch):
    """While the disk of a folder hangs, the list is answered all the same, and names the folder."""
    whole(client)
    goes_on, real = threading.Event(), index._stream_stamps

    def stamps(folder):
        if folder.name == "digits_1":
            goes_on.wait(60)
        return list(real(folder))

    monkeypatch.setattr(index, "_stream_stamps", stamps)
    monkeypatch.setattr(index, "_PATIENCE_S", 0.2)

    def waiting():
        return client.get("api/index").json()["waiting"]

    wait_until(lambda: waiting() is not None)
    folder = waiting()["folder"]
    goes_on.set()

    assert folder == str(runs / "digits_1")
    wait_until(lambda: waiting() is None)


def test_hanging_disk_of_one_experiment():
    """A reading that hangs is given up with a sentence, its next question is answered at once, and others go on."""
    patience, goes_on = Patience(0.1), threading.Event()

    with pytest.raises(Waiting, match="the disk of /slow does not answer"):
        patience.answer("/slow", lambda: goes_on.wait(60))
    begin, count = monotonic(), threading.active_count()
    with pytest.raises(Waiting):
        patience.answer("/slow", lambda: 1)
    assert threading.active_count() == count
    assert patience.answer("/fast", lambda: 2) == 2
    goes_on.set()
    wait_until(lambda: answered(patience))
    assert monotonic() >= begin


def answered(patience: Patience) -> bool:
    """Return whether the folder that hung answers again."""
    try:
        return patience.answer("/slow", lambda: 3) == 3
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
