"""Ranges of numbers say the same as the numbers themselves."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from mlv.audit.seq_ranges import Seqs, as_text, gaps, is_within, merged

hypothesis = pytest.importorskip("hypothesis", reason="property tests need hypothesis")
st = hypothesis.strategies

parts = st.lists(st.lists(st.integers(1, 30), max_size=30), max_size=4)


def taken(numbers: list[int]) -> Seqs:
    found = Seqs()
    for number in numbers:
        found.add(number)
    return found


def members(ranges: list[tuple[int, int]]) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}


@hypothesis.given(parts)
def test_merged_parts_hold_what_was_taken(parts):
    """Merging says which numbers are there at least once, and which more than once."""
    whole, doubled = merged(taken(part).ranges() for part in parts)

    counts = Counter(number for part in parts for number in part)
    assert members(whole) == set(counts)
    assert members(doubled) == {number for number, count in counts.items() if count > 1}


@hypothesis.given(parts)
def test_merged_ranges_are_apart_and_in_order(parts):
    """Between two merged ranges at least one number is missing."""
    whole, _ = merged(taken(part).ranges() for part in parts)

    assert all(last + 1 < first for (_, last), (first, _) in pairwise(whole))


@hypothesis.given(parts)
def test_gaps_are_the_rest(parts):
    """What is missing and what is there make all numbers from 1 to the last."""
    whole, _ = merged(taken(part).ranges() for part in parts)

    missing = members(gaps(whole))
    assert missing | members(whole) == set(range(1, max(members(whole), default=0) + 1))
    assert not missing & members(whole)


def test_numbers_in_order_take_no_room():
    """A million events that follow one another are one range."""
    assert list(taken(list(range(1, 100_001))).ranges()) == [(1, 100_000)]


def test_the_last_number():
    """The last number is the largest, whatever the order."""
    assert taken([3, 9, 4]).last == 9


@pytest.mark.parametrize(("inner", "expected"), [([(2, 3)], True), ([(1, 1), (8, 9)], True), ([(4, 6)], False), ([], True)])
def test_within(inner, expected):
    """A range is within others if one of them holds all of it."""
    assert is_within(inner, [(1, 4), (6, 9)]) is expected


def test_shown_to_people():
    """Ranges are listed up to a number that can be read."""
    assert as_text([(1, 1), (3, 5)]) == "1, 3 to 5"
    assert as_text([(n, n) for n in range(1, 20, 2)], most=3) == "1, 3, 5 and 7 more"
