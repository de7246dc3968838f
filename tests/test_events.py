"""Events and the records in them are read back as they were, and do not change."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from datetime import datetime, timezone

import pytest

from mlv import events
from mlv.events import Event, Record

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
RECORDS = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Record) and kind is not Record]
EXAMPLES = [
    events.RunStarted("id", "rparent", {"pid": 3}, {"lr": 0.1}, 2),
    events.RunEnded("failed", exception={"type": "ValueError"}, filtered=3),
    events.RunPaused("lunch"),
    events.RunResumed(1.5),
    events.Rewound(3, {"ra": 7}),
    events.Heartbeat("ra"),
    events.System("ra", {"cpu_percent": 12.5}),
    events.Rejected("metrics", "why", {"a": 1}),
    events.Dropped(3, 5, 3, "full", "ra"),
    events.Redacted(
        "me@here", "it leaked", [{"run": "ra", "seq": 3, "sha256": "ff"}], [{"path": "x"}], {"old": "f", "new": "e"}
    ),
    events.Seal("ra", "log", 7, "ab", "cd"),
]


def test_every_record_has_an_example():
    """The examples below are all there is."""
    assert {type(example) for example in EXAMPLES} == set(RECORDS)


@pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: type(record).__name__)
class TestRecords:
    def test_there_and_back(self, record):
        """A record is what its data say."""
        assert type(record).from_data(record.to_data()) == record

    def test_fields_of_tomorrow(self, record):
        """A field that this version does not know is passed over, and a missing one has its default."""
        if isinstance(record, events.System):
            return  # whatever stands beside `of` is a measured value
        assert type(record).from_data({**record.to_data(), "of_tomorrow": 1}) == record
        assert type(record).from_data({}) == type(record)()

    def test_what_is_absent_is_left_out(self, record):
        """No null stands in the log for what there is not."""
        assert None not in type(record)().to_data().values()

    def test_frozen(self, record):
        """What happened does not change."""
        field = record.FIELDS[0]
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, field, 1)

    def test_named(self, record):
        """Its type is one of format 1, and it says in a sentence what it claims."""
        assert record.TYPE in events.CORE_TYPES
        assert (inspect.getdoc(type(record)) or "").endswith(".")


class TestEvent:
    def test_frozen(self):
        """An event does not change."""
        event = Event("ra", 1, NOW, "event")

        with pytest.raises(dataclasses.FrozenInstanceError):
            event.seq = 2  # type: ignore[misc]

    def test_run_and_seq_name_it(self):
        """Events can be members of sets and keys, whatever their data are."""
        event = Event("ra", 1, NOW, "event", data={"a": [1]})

        assert {event, copy.copy(event)} == {event}
        assert pickle.loads(pickle.dumps(event)) == event

    @pytest.mark.parametrize(
        ("data", "subject"), [({"of": "rb"}, "rb"), ({"of": 3}, "ra"), ({}, "ra"), (None, "ra"), ([1], "ra")]
    )
    def test_subject(self, data, subject):
        """An event is about its own run, or the one that a writer names."""
        assert Event("ra", 1, NOW, "heartbeat", data=data).subject == subject

    def test_repr(self):
        """It shows at a glance which event it is."""
        event = Event("ra", 7, NOW, "metrics", "train", 3, data={"loss": 0.5})

        assert repr(event) == "<Event ra:7 metrics 'train' step=3 {'loss': 0.5}>"
