"""What differs between experiments. Pure: of digests, by sections."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mlv.query.digest import Digest
from mlv.query.many.table import flat


class Absent:
    """Stands where an experiment lacks what the other has; a None is a value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "absent"

    def __bool__(self) -> bool:
        return False


ABSENT = Absent()


class Difference(NamedTuple):
    """One thing as it is in the first experiment, and in the second."""

    a: Any
    b: Any


def compare(a: Digest, b: Digest) -> dict[str, dict[str, Difference]]:
    """What differs, by section (`params git packages machine metrics`) and name; metrics by their last values."""
    found = compare_many([a, b])
    return {section: {name: Difference(*values) for name, values in rows.items()} for section, rows in found.items()}


def compare_many(digests: Sequence[Digest]) -> dict[str, dict[str, tuple[Any, ...]]]:
    """What is not the same in all: for each section and name the values, one of each experiment."""
    every = [_sections(digest) for digest in digests]
    found = {section: differences([sections[section] for sections in every]) for section in every[0]}
    return {section: differing for section, differing in found.items() if differing}


def differences(mappings: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """The keys of which the values differ, those of the first mapping first; NaN equals NaN."""
    rows = {key: tuple(one.get(key, ABSENT) for one in mappings) for mapping in mappings for key in mapping}
    return {key: row for key, row in rows.items() if not all(_are_equal(row[0], value) for value in row[1:])}


def _sections(digest: Digest) -> dict[str, dict[str, Any]]:
    packages = digest.captured("env").get("packages")
    return {
        "params": dict(flat(digest.params)),
        "git": dict(flat(digest.captured("git"))),
        "packages": dict(packages) if isinstance(packages, Mapping) else {},
        "machine": dict(flat(digest.captured("machine"))),
        "metrics": {name: summary.last for name, summary in digest.metrics.items()},
    }


def _are_equal(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b):
        return True
    # True is no 1: what differs in type may mean something else to the script.
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)
