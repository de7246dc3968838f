"""Two builders of a lake, and a crash after any of their steps."""

from __future__ import annotations

import pytest

from benchmarks.simulation.builders import explore


def test_rows_are_there_exactly_once():
    """Plans, txns and handles together: no row is doubled or missing in any state, and none of them is a dead end."""
    exploration = explore("as specified", rows=2)

    assert exploration.is_exactly_once
    assert exploration.states > 3_000


@pytest.mark.parametrize("variant", ["written by URL", "a marker for a txn"])
def test_each_precaution_is_needed(variant):
    """A txn that is not checked by the handle, and a marker beside the table, let rows in twice."""
    exploration = explore(variant, rows=2)

    assert exploration.doubled is not None
    assert exploration.missing is None
    assert "takes plan 1 up again" in " ".join(exploration.doubled)


def test_conditions_are_needed():
    """On a store that overwrites, rows are doubled and rows are missing: several builders have to be refused there."""
    exploration = explore("a store without conditions", rows=2, tables=1)

    assert exploration.doubled is not None
    assert exploration.missing is not None


def test_one_builder_needs_no_conditions():
    """On a store that overwrites, one builder alone is safe."""
    assert explore("a store without conditions", rows=2, builders=1).is_exactly_once
