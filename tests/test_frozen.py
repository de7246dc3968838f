"""Records that cannot be changed are to their users what frozen dataclasses are."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Mapping
from typing import ClassVar

import pytest

from mlv.frozen import FrozenDict, FrozenRecord


class Point(FrozenRecord):
    """A record with a field that has a default, and a class variable that is none."""

    UNIT: ClassVar[str] = "m"
    x: float
    y: float = 0.0
    labels: Mapping[str, str] = FrozenDict()


class Named(Point):
    """A record with the fields of another and one more."""

    name: str = ""


@dataclasses.dataclass(frozen=True)
class Plain:
    """What `Point` would be as a dataclass."""

    x: float
    y: float = 0.0
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)


def test_fields():
    """Annotated names are the fields, in their order, those of the base first; class variables are none."""
    assert tuple(field.name for field in dataclasses.fields(Plain)) == Point.FIELDS
    assert (*Point.FIELDS, "name") == Named.FIELDS


@pytest.mark.parametrize(
    ("args", "values"), [((1.0,), {}), ((1.0, 2.0), {}), ((), {"x": 1.0}), ((1.0,), {"labels": {"a": "b"}, "y": 3.0})]
)
def test_values(args, values):
    """Arguments are taken by place and by name, and what is not given has its default."""
    record, plain = Point(*args, **values), Plain(*args, **values)

    assert record.to_dict() == dataclasses.asdict(plain)
    assert repr(record).partition("(")[2] == repr(plain).partition("(")[2]


@pytest.mark.parametrize(
    ("args", "values"), [((), {}), ((), {"y": 1.0}), ((1.0, 2.0, {}, 4.0), {}), ((1.0,), {"x": 1.0}), ((1.0,), {"z": 1.0})]
)
def test_arguments_that_do_not_fit(args, values):
    """What is missing, too much, given twice or unknown is refused, as by a dataclass."""
    for kind in (Point, Plain):
        with pytest.raises(TypeError):
            kind(*args, **values)


def test_nothing_changes():
    """No field is set or deleted, nor any other attribute."""
    record = Point(1.0)

    for name in ("x", "y", "z"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, name, 2.0)
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(record, name)
    assert record == Point(1.0)


def test_equal():
    """Records of one class are equal where all fields are, given or not, and so are their hashes; those of others never."""
    assert Point(1.0) == Point(1.0, 0.0) != Point(1.0, 2.0)
    assert Point(1.0) != Named(1.0)
    assert Point(1.0) != Plain(1.0)
    assert len({Point(1.0, 2.0, labels=()), Point(1.0, 2.0, labels=())}) == 1


def test_replace():
    """A record with other values of some fields is another one; the first stays as it was."""
    record = Named(1.0, name="a")

    assert record.replace(y=2.0) == Named(1.0, 2.0, name="a")
    assert record == Named(1.0, name="a")
    with pytest.raises(TypeError):
        record.replace(z=2.0)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda record: pickle.loads(pickle.dumps(record))])
def test_copies(again):
    """Copies, and what was pickled, are equal and as frozen."""
    record = again(Named(1.0, labels={"a": "b"}))

    assert record == Named(1.0, labels={"a": "b"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.x = 2.0
