"""Every view as of a moment: what had been logged by then, and nothing else."""

from __future__ import annotations

import math
import time

import pytest

import mlv
from tests.web.test_curves import asked
from tests.web.test_index import whole


@pytest.fixture
def history(runs) -> tuple[str, float, str]:
    """An experiment that went on after a moment; its ID, the moment, and the ID of one that was made later."""
    exp = mlv.Exp(runs, "long", {"lr": 0.5}, capture=())
    for step in range(4):
        exp.log({"loss": 10.0 - step}, step=step)
        exp.log.text("said", "early", step=step)
    exp.flush()
    time.sleep(0.02)  # moments of events are told apart by milliseconds
    moment = time.time()
    time.sleep(0.02)
    for step in range(4, 8):
        exp.log({"loss": 100.0, "new": 1.0}, step=step)
        exp.log.text("said", "late", step=step)
    exp.add_tags("finished")
    exp.close()
    with mlv.Exp(runs, "later", capture=()) as later:
        later.log({"loss": 0.0})
    return exp.id, moment, later.id


def test_list_as_of_a_moment(client, history):
    """Experiments made later are not there, and the others are as they were."""
    _, moment, _ = history

    rows, _, _ = whole(client, asof=moment)

    assert sorted(rows) == ["digits", "digits_1", "long"]
    assert rows["long"]["metrics"]["loss"]["last"] == 7.0
    assert "new" not in rows["long"]["metrics"]
    assert (rows["long"]["status"], rows["long"]["tags"]) == ("running", [])
    assert rows["digits"]["status"] == "ok"


def test_curves_as_of_a_moment(client, history):
    """A curve ends where it ended, over each axis, and the present one stays whole."""
    identity, moment, later = history

    for axis in ("step", "elapsed", "metrics.loss"):
        past, [curve] = asked(client, [identity, later], m="loss", x=axis, asof=moment)
        present, _ = asked(client, [identity], m="loss", x=axis)
        assert (past["curves"][0]["points"], present["curves"][0]["points"]) == (4, 8)
        assert max(value for value in curve["max"] if not math.isnan(value)) == 10.0


def test_filter_as_of_a_moment(client, history):
    """A predicate sees the numbers of the moment."""
    identity, moment, _ = history
    where = "metrics.loss.max > 50"

    assert client.get("api/select", params={"where": where, "asof": moment}).json()["ids"] == []
    assert client.get("api/select", params={"where": where}).json()["ids"] == [identity]


def test_experiment_as_of_a_moment(client, history):
    """Overview, events and media of an experiment are those of the moment."""
    identity, moment, later = history
    query = {"asof": moment}

    overview = client.get(f"api/exp/{identity}", params=query).json()
    events = client.get(f"api/exp/{identity}/events", params={**query, "type": "metrics"}).json()["events"]
    media = client.get(f"api/exp/{identity}/media", params={**query, "name": "said"}).json()["items"]

    assert (overview["status"], overview["runs"][0]["status"], overview["tags"]) == ("running", "running", [])
    assert overview["media"] == [{"type": "text", "name": "said", "count": 4}]
    assert [event["step"] for event in events] == [3, 2, 1, 0]
    assert len(media) == 4
    assert client.get(f"api/exp/{later}", params=query).status_code == 404
    assert client.get("api/metrics", params={**query, "ids": identity}).json()["metrics"][0]["points"] == 4


@pytest.mark.parametrize("text", ["2100-01-01T00:00:00Z", "2100-01-01"])
def test_moment_to_come_is_the_present(client, history, text):
    """A moment in the future shows what there is."""
    assert "later" in whole(client, asof=text)[0]


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "nan", "1e99"])
def test_wrong_moment_is_a_sentence(client, text):
    """A moment that is none is refused with an example."""
    answer = client.get("api/index", params={"asof": text})

    assert answer.status_code == 400
    assert "2026-11-21T03:03:00Z" in answer.json()["error"]
