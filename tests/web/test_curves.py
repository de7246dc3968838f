"""Curves as they reach the page: bytes that a script decodes in a few lines."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest

import mlv

np = pytest.importorskip("numpy", reason="curves need numpy")
pytest.importorskip("pyarrow", reason="curves need pyarrow")


def asked(client, rows, **query):
    """Ask for a chart; return its header, and the arrays of each curve and band."""
    response = client.get("api/curves", params={"ids": ",".join(rows), "px": 10, **query})
    assert response.status_code == 200, response.text
    content = response.content
    length = int.from_bytes(content[:4], "little")
    assert (length + 4) % 8 == 0
    header, offset, arrays = json.loads(content[4 : 4 + length]), 4 + length, []
    for entry in (*header["curves"], *header["bands"]):
        own = {}
        for name in entry["arrays"]:
            own[name] = np.frombuffer(content, "<f8", header["n"], offset)
            offset += 8 * header["n"]
        arrays.append(own)
    assert offset == len(content)
    return header, arrays


@pytest.fixture
def ids(client, runs):
    """The IDs of the experiments, in the order of their folders."""
    return [mlv.Exp.open(path).id for path in mlv.find(runs).paths]


def test_curve_is_sent(client, ids):
    """Each curve has its columns, its number of points, its ends, and its NaN as a mark."""
    header, arrays = asked(client, ids, m="acc")

    assert [curve["id"] for curve in header["curves"]] == ids
    first = header["curves"][0]
    assert (first["points"], first["nan"], first["x0"], first["x1"]) == (3, 1, 0, 2)
    assert first["marks"] == [[9, "nan", 1]]
    assert arrays[0]["last"][0] == 0
    assert arrays[0]["max"][5] == 0.5
    assert math.isnan(arrays[0]["last"][9])


def test_new_points_are_sent(client, ids, runs):
    """What was logged since the last question is in the next answer."""
    before, _ = asked(client, ids[:1], m="loss")
    with mlv.Exp.open(runs / "digits") as exp:
        exp.log({"loss": 9.0}, step=3)
    after, arrays = asked(client, ids[:1], m="loss")

    assert (before["curves"][0]["points"], after["curves"][0]["points"]) == (3, 4)
    assert arrays[0]["max"][9] == 9.0


@pytest.mark.parametrize("x", ["step", "time", "elapsed", "active", "metrics.acc"])
def test_axes(client, ids, x):
    """A metric is drawn over steps, times, and another metric."""
    header, arrays = asked(client, ids, m="loss", x=x)

    assert header["x"] == x
    assert np.isfinite(arrays[0]["max"]).any()


def test_coordinate_as_axis(client, runs):
    """A metric is drawn over a coordinate that it was logged with."""
    with mlv.Exp(runs, "epochs", capture=()) as exp:
        for epoch in range(4):
            exp.log.at(epoch=epoch)({"loss": float(epoch)})

    header, arrays = asked(client, [exp.id], m="loss", x="at.epoch", px=4)

    assert (header["from"], header["to"]) == (0, 3)
    assert arrays[0]["max"].tolist() == [0, 1, 2, 3]


def test_zoom_and_smoothing(client, ids):
    """A range gives its points alone; a smoothed line is an array of its own."""
    header, arrays = asked(client, ids[:1], m="loss", **{"from": 0, "to": 1}, smooth=0.5)

    assert header["curves"][0]["points"] == 2
    assert header["curves"][0]["of"] == 3
    assert arrays[0]["smooth"][0] == 1.0
    assert arrays[0]["smooth"][9] == pytest.approx((0.5 * 1.0 + 0.5) / 1.5)


def test_bands_over_seeds(client, runs):
    """Experiments that differ in their seed alone are pooled; one that diverged is counted apart."""
    members = []
    for seed in range(3):
        with mlv.Exp(runs, "seeds", {"lr": 7, "seed": seed}, capture=()) as exp:
            exp.log({"loss": float(seed)}, step=0)
            exp.log({"loss": math.nan if seed == 2 else float(seed)}, step=1)
        members.append(exp.id)

    header, arrays = asked(client, members, m="loss", over="seed", px=2)

    [band] = header["bands"]
    assert (band["members"], band["settings"]) == (members, {"lr": 7})
    assert arrays[-1]["p50"].tolist() == [1.0, 0.5]
    assert arrays[-1]["count"].tolist() == [3, 2]
    assert arrays[-1]["diverged"].tolist() == [0, 1]


def test_metric_with_braces(client, runs):
    """A name that looks like a pattern is a name."""
    with mlv.Exp(runs, "odd", capture=()) as exp:
        exp.log({"a{b}": 1.0, "aXb": 2.0}, step=0)

    header, arrays = asked(client, [exp.id], m="a{b}")

    assert header["curves"][0]["points"] == 1
    assert np.nanmax(arrays[0]["max"]) == 1.0


def test_metrics_of_the_machine(client, ids, runs):
    """What the machine was doing is drawn over the time; it knows no steps."""
    line = '{"run":"rw","seq":%d,"time":"2026-11-30T06:00:%02d.000000Z","type":"system","data":{"of":"r1","cpu_percent":%d}}\n'
    text = "".join(line % (number, number, 10 * number) for number in (1, 2, 3))
    (runs / "digits" / "system.log.jsonl").write_text(text)

    header, arrays = asked(client, ids[:1], m="system:cpu_percent", x="time", px=3)
    wrong = client.get("api/curves", params={"ids": ids[0], "m": "system:cpu_percent"})

    assert header["to"] - header["from"] == 2
    assert arrays[0]["last"].tolist() == [10, 20, 30]
    assert wrong.status_code == 400


def test_metric_that_nobody_logged(client, ids):
    """A metric that an experiment lacks is a curve without points: the chart of the others is drawn."""
    header, _ = asked(client, ids, m="nothing")

    assert [curve["points"] for curve in header["curves"]] == [0, 0]


@pytest.mark.parametrize(
    "query",
    [{}, {"m": "loss", "px": "x"}, {"m": "loss", "px": "0"}, {"m": "loss", "from": "nan"}, {"m": "loss", "smooth": "1"},
     {"m": "loss", "asof": "yesterday"}],
)  # fmt: skip
def test_wrong_questions(client, ids, query):
    """A question that cannot be answered is answered with a sentence."""
    response = client.get("api/curves", params={"ids": ids[0], **query})

    assert response.status_code == 400
    assert response.json()["error"]


def test_memory_has_a_limit(client, ids, runs):
    """Curves beyond the limit are read again, and are the same."""
    from mlv.web.curves import Curves, Question
    from mlv.web.index import PageIndex

    index = PageIndex(runs)
    index.refresh()
    small, large = Curves(most_bytes=1), Curves()

    answers = [[curves.answer(index.rows(), Question("loss")) for curves in (small, large)] for _ in range(2)]

    assert len({answer for pair in answers for answer in pair}) == 1
    assert len(small._points) == 1


def test_names_of_metrics(client, ids):
    """The metrics of chosen experiments are listed with their points."""
    answer = client.get("api/metrics", params={"ids": ",".join(ids)}).json()

    assert {"name": "loss", "points": 6, "ids": 2} in answer["metrics"]


def test_all_points_are_in_csv(client, ids, runs):
    """The download has every value, also NaN, in the order of logging, with its step and its time."""
    with mlv.Exp(runs, "long, =1", capture=()) as exp:
        for step in range(9000):
            exp.log.at(epoch=step // 1000)({"loss": float(step)}, step=step)
    answer = client.get("api/csv", params={"ids": f"{ids[0]},{exp.id}", "m": "loss", "x": "at.epoch"})
    rows = list(csv.reader(io.StringIO(answer.text)))
    broken = list(csv.reader(io.StringIO(client.get("api/csv", params={"ids": ids[0], "m": "acc"}).text)))

    assert answer.headers["content-disposition"] == 'attachment; filename="loss.csv"'
    assert rows[0] == ["experiment", "id", "step", "time", "at.epoch", "value"]
    assert len(rows) == 1 + 3 + 9000
    assert rows[-1][:3] == ["long, =1", exp.id, "8999.0"]
    assert rows[-1][4:] == ["8.0", "8999.0"]
    assert [row[4] for row in broken[1:]] == ["0.0", "0.5", "nan"]


def test_sparks_are_a_few_numbers(client, ids):
    """A cell of the table has the last value of a few columns of each experiment."""
    answer = client.get("api/sparks", params={"ids": ",".join(ids), "m": "loss", "n": 5}).json()

    assert answer["curves"][ids[0]] == [1.0, None, 0.5, None, 0.3333]


def test_coordinates_are_axes(client, runs):
    """Coordinates that were logged last are named among the axes."""
    with mlv.Exp(runs, "epochs", capture=()) as exp:
        exp.log.at(epoch=1)({"loss": 1.0})

    assert "at.epoch" in client.get("api/metrics", params={"ids": exp.id}).json()["axes"]


def test_system_metric_as_csv(client, runs):
    """The points of a metric of the machine are in its CSV too, each with its time."""
    with mlv.Exp(runs, "machine", capture=()) as exp:
        exp.log({"loss": 1.0})
    line = b'{"run":"r1","seq":1,"time":"2026-11-30T06:00:00.250000Z","type":"system","data":{"cpu_percent":12.5}}\n'
    (runs / "machine" / "system.log.jsonl").write_bytes(line)

    answer = client.get("api/csv", params={"ids": exp.id, "m": "system:cpu_percent", "x": "time"})

    assert list(csv.reader(io.StringIO(answer.text)))[1:] == [["machine", exp.id, "", "2026-11-30T06:00:00.250000Z", "12.5"]]


def test_system_metric_of_experiments_without_a_machine(client, runs, ids):
    """An experiment whose machine was not watched has no points of it, and stops neither the curves of others nor their CSV."""
    line = b'{"run":"r1","seq":1,"time":"2026-11-30T06:00:00.250000Z","type":"system","data":{"cpu_percent":12.5}}\n'
    (runs / "digits" / "system.log.jsonl").write_bytes(line)
    header, _ = asked(client, ids, m="system:cpu_percent", x="time", px=3)
    answer = client.get("api/csv", params={"ids": ",".join(ids), "m": "system:cpu_percent", "x": "time"})
    nowhere = client.get(f"api/exp/{ids[1]}/line", params={"m": "system:cpu_percent", "x": "time", "y": "1"})

    assert sorted(curve["points"] for curve in header["curves"]) == [0, 1]
    assert [row[4] for row in csv.reader(io.StringIO(answer.text))] == ["value", "12.5"]
    assert (nowhere.status_code, nowhere.json()["error"]) == (400, "no value of system:cpu_percent lies there")


def test_sparks_need_a_metric(client, ids):
    """A question for no metric is refused with a sentence."""
    assert "m= is missing" in client.get("api/sparks", params={"ids": ids[0]}).json()["error"]
