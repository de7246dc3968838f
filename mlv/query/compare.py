"""Differences between experiments, by section; computed from digests alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from mlv.query.digest import Digest
from mlv.query.many.table import flat

K = TypeVar("K")


class Absent:
    """Stands where an experiment lacks a value that the other has; None is a value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "absent"

    def __bool__(self) -> bool:
        return False


ABSENT = Absent()


class Difference(NamedTuple):
    """A value in the first experiment, and in the second."""

    a: Any
    b: Any


def compare(a: Digest, b: Digest) -> dict[str, dict[str, Difference]]:
    """Return the differences by section (`params git packages machine metrics`) and name; metrics by their values."""
    by_section = compare_many([a, b])
    return {section: {name: Difference(*values) for name, values in rows.items()} for section, rows in by_section.items()}


def compare_many(digests: Sequence[Digest]) -> dict[str, dict[str, tuple[Any, ...]]]:
    """Return the values that are not the same in all experiments, by section and name, one of each experiment."""
    every = [sections(digest) for digest in digests]
    by_section = {section: differences([own[section] for own in every]) for section in every[0]}
    return {section: differing for section, differing in by_section.items() if differing}


def differences(mappings: Sequence[Mapping[K, Any]]) -> dict[K, tuple[Any, ...]]:
    """Return the keys of which the values differ, those of the first mapping first; NaN equals NaN."""
    rows = {key: tuple(each.get(key, ABSENT) for each in mappings) for mapping in mappings for key in mapping}
    return {key: row for key, row in rows.items() if not all(_are_equal(row[0], value) for value in row[1:])}


def sections(digest: Digest) -> dict[str, dict[str, Any]]:
    """Return the values that are compared, by section and name."""
    packages = digest.captured("env").get("packages")
    return {
        "params": dict(flat(digest.params)),
        "git": dict(flat(digest.captured("git"))),
        "packages": dict(packages) if isinstance(packages, Mapping) else {},
        "machine": dict(flat(digest.captured("machine"))),
        "metrics": {name: summary.value for name, summary in digest.metrics.items() if summary.has_value},
    }


def _are_equal(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b):
        return True
    # True is no 1: a value of another type may mean something else to the script.
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)
