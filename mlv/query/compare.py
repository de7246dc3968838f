"""What differs between two experiments. Pure: of two digests, by sections."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from mlv.query.digest import Digest
from mlv.query.table import flat


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
    first, second = _sections(a), _sections(b)
    found = {section: differences(first[section], second[section]) for section in first}
    return {section: differing for section, differing in found.items() if differing}


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Difference]:
    """The keys of which the values differ, those of the first mapping first; NaN equals NaN."""
    pairs = {key: Difference(a.get(key, ABSENT), b.get(key, ABSENT)) for key in (*a, *b)}
    return {key: pair for key, pair in pairs.items() if not _are_equal(*pair)}


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
