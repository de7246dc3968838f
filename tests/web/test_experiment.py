"""The page of one experiment: what it is, its events from the latest back, lines, media, console, and the verdict."""

from __future__ import annotations

import json
import math

import pytest

import mlv


@pytest.fixture
def full(client, runs):
    """The ID of an experiment with media, files, checkpoints, a sub-experiment, an odd name and a failed run."""
    with mlv.Exp(
        runs, "full", {"lr": 0.1, "big": 2**60, "text": "<script>alert(1)</script>"}, capture=(), notes="first"
    ) as exp:
        policy = exp.checkpoints(latest=1)
        for step in range(4):
            exp.log({"loss": 1 / (step + 1), "bad": math.inf}, step=step)
            exp.log.text("said", f"**{step}**", markdown=True, step=step)
            policy.save(lambda path: path.write_bytes(b"x"), metrics={"loss": 1.0}, step=step)
        with exp.file("model.bin", "wb", step=3) as file:
            file.write(b"weights")
        exp.add_note("looks fine")
    return exp.id


def test_overview(client, full, runs):
    """Everything about an experiment but its points is in one answer, in numbers that a script can hold."""
    answer = client.get(f"api/exp/{full[:8]}").json()

    assert (answer["id"], answer["name"], answer["status"], answer["path"]) == (full, "full", "ok", "full")
    assert answer["params"]["big"] == str(2**60)
    assert [note["text"] for note in answer["notes"]] == ["first", "looks fine"]
    assert answer["metrics"]["bad"]["max"] == "Infinity"
    assert {"type": "text", "name": "said", "count": 4} in answer["media"]
    assert [file["path"] for file in answer["files"]] == ["files/model.bin"]
    assert [kept["is_best"] for kept in answer["checkpoints"]] == [False]
    assert isinstance(answer["runs"][0]["started"], float)


def test_parents_and_children(client, runs, full):
    """A sub-experiment names its parent, and its parent it."""
    child = mlv.init_sub_exp(runs / "full" / "files" / "model.bin", "squeeze", params={"rate": 0.5})
    child.close()
    client.get("api/index")

    above = client.get(f"api/exp/{full}").json()
    below = client.get(f"api/exp/{child.id}").json()

    assert [entry["id"] for entry in above["children"]] == [child.id]
    assert (below["parent"]["id"], below["parent"]["name"]) == (full, "full")


def test_all_events_from_the_latest_back(client, full, runs):
    """Page after page gives every event once, the latest first."""
    seen, before = [], ""
    while before is not None:
        answer = client.get(f"api/exp/{full}/events", params={"limit": 3, "before": before}).json()
        assert len(answer["events"]) <= 3
        seen += [(event["run"], event["seq"]) for event in answer["events"]]
        before = answer["before"]
        if len(seen) == 3:
            assert answer["events"][0]["time"] >= answer["events"][-1]["time"]

    logged = list(mlv.Exp.open(runs / "full").events())
    assert len(seen) == len(set(seen)) == len(logged)


def test_events_of_several_streams_out_of_order(client, runs):
    """Lines that stand later than their time, in several streams, are neither passed over nor given twice."""
    with mlv.Exp(runs, "mixed", capture=()) as exp:
        other = exp.logger("other")
        for number in range(7):
            exp.log("a", {"n": number})
            other("b", {"n": number})
    log = runs / "mixed" / "log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(sorted(lines, key=lambda line: hash(line[60:]) % 5)))

    seen, before = [], ""
    while before is not None:
        answer = client.get(f"api/exp/{exp.id}/events", params={"limit": 4, "before": before}).json()
        seen += [(event["run"], event["seq"]) for event in answer["events"]]
        before = answer["before"]

    assert sorted(seen) == sorted((event.run, event.seq) for event in mlv.Exp.open(runs / "mixed").events())


@pytest.mark.parametrize(
    ("query", "types"),
    [
        ({"type": "note"}, {"note"}),
        ({"name": "loss"}, {"metrics"}),
        ({"q": "LOOKS fine"}, {"note"}),
        ({"q": "nowhere to be seen"}, set()),
    ],
)
def test_events_are_searched(client, full, query, types):
    """Events are chosen by type, by a pattern of names, and by a text in their line."""
    answer = client.get(f"api/exp/{full}/events", params=query).json()

    assert {event["type"] for event in answer["events"]} == types


def test_line_is_that_of_the_log(client, full, runs):
    """A point leads to its line, byte for byte as it stands in the file."""
    answer = client.get(f"api/exp/{full}/line", params={"m": "loss", "step": 2}).json()
    again = client.get(f"api/exp/{full}/line", params={key: answer["event"][key] for key in ("run", "seq")}).json()

    content = (runs / "full" / answer["file"]).read_bytes()
    assert content[answer["offset"] : answer["offset"] + answer["bytes"]].decode() == answer["line"] == again["line"]
    assert json.loads(answer["line"])["data"]["loss"] == 1 / 3
    assert answer["event"]["data"]["bad"] == "Infinity"


@pytest.mark.parametrize("query", [{}, {"run": "r1", "seq": "1"}, {"m": "loss", "step": "x"}, {"m": "loss", "step": "99"}])
def test_missing_line(client, full, query):
    """A line that is not there is answered with a sentence."""
    response = client.get(f"api/exp/{full}/line", params=query)

    assert response.status_code == 400
    assert response.json()["error"]


def test_media_of_a_name(client, full):
    """The media of a name come in the order of logging, with their data; an unknown type is refused."""
    answer = client.get(f"api/exp/{full}/media", params={"name": "said", "type": "text"}).json()
    wrong = client.get(f"api/exp/{full}/media", params={"name": "said", "type": "metrics"})

    assert [(item["step"], item["data"]["text"]) for item in answer["items"]] == [(step, f"**{step}**") for step in range(4)]
    assert wrong.status_code == 400


def test_console(client, runs, python):
    """What a script printed is there, in its order."""
    python(
        f"""
        import mlv
        with mlv.Exp({str(runs)!r}, "printed", capture=(), console=True) as exp:
            print("one"); print("two")
        """
    )
    client.get("api/index")
    exp = mlv.Exp.open(runs / "printed")

    answer = client.get(f"api/exp/{exp.id}/console").json()

    printed = [line["text"] for line in answer["lines"] if line["name"] == "stdout"]
    assert printed == ["one", "two"]


def test_verdict(client, full, runs):
    """The page says whether the experiment is as it was written."""
    intact = client.get(f"api/exp/{full}/verify").json()
    log = runs / "full" / "log.jsonl"
    log.write_bytes(log.read_bytes().replace(b"0.5", b"0.4", 1))
    edited = client.get(f"api/exp/{full}/verify").json()

    assert (intact["verdict"], edited["verdict"]) == ("intact", "edited")


def test_damaged_log_is_shown(client, full, runs):
    """Half a line and a line of garbage hide nothing else."""
    with open(runs / "full" / "log.jsonl", "ab") as file:
        file.write(b'garbage\n{"run":"r1","seq":')

    assert client.get(f"api/exp/{full}").json()["status"] == "ok"
    assert client.get(f"api/exp/{full}/events", params={"type": "note"}).json()["events"]


def test_unknown_experiment(client, full):
    """An ID that nobody has, and one that is too short, are no experiments."""
    for word in ("0" * 64, full[:4], "..", "x"):
        assert client.get(f"api/exp/{word}/verify").status_code == 404


def test_wrong_cursor(client, full):
    """A cursor that no answer gave is refused."""
    assert client.get(f"api/exp/{full}/events", params={"before": "x"}).status_code == 400
    assert client.get(f"api/exp/{full}/events", params={"limit": "0"}).status_code == 400
