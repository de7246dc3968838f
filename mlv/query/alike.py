"""Lines that differ in nothing but numbers and times: one of them is read, and the others are compared with it.

A script logs the same names again and again, so that the text between the numbers is always the same. A pattern is made of
one line, of which every number is replaced to see where it lands; a line that has the pattern's text, byte for byte, says the
same with other numbers. These are found and converted for a whole block at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from mlv.encoding import BadLine, event_from_line
from mlv.query.packages import package
from mlv.query.rows import EXACT, at_text, constant, lists, row, schema

MARK = b'"type":"metrics"'
_MOST_PATTERNS = 16
"""Of a block: so many kinds of lines are mixed at the most."""
_AT_A_TIME = 64 << 10
"""So few bytes that what is made of them stays in the processor's cache."""
_MARKER = 735149600000
"""What is put in the place of numbers, and counted up: no number like it may stand in the line."""
_TIME = b"2001-02-03T04:05:06.000007"
_SLOT = re.compile(
    rb'(?<="time":")\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(?=Z")'
    rb"|(?<=:)-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?=[,}])"
)
_Slot = tuple[str, Any]
"""The field and, in `at` and `data`, the key or the place of the value."""


def parse_alike(block: bytes) -> tuple[list[Any], list[tuple[int, bytes]]]:
    """Tables of whole lines that are like others, and offset and bytes of the lines that remain, in their order."""
    np = package("numpy")
    lines = _Lines(block)
    left = np.arange(lines.count)
    tables, others = [], []
    for _ in range(_MOST_PATTERNS):
        first = next((place for place, number in enumerate(left) if MARK in lines[number]), len(left))
        others.append(left[:first])
        left = left[first:]
        if not len(left):
            break
        pattern = _pattern(lines[left[0]])
        table, taken = (None, left[:0]) if pattern is None else _table(lines, pattern, lines.matching(pattern, left))
        if table is not None:
            tables.append(table)
        is_left = np.ones(lines.count, bool)
        is_left[taken] = False
        if is_left[left[0]]:  # it has numbers that need a closer look
            others.append(left[:1])
            left = left[1:]
        left = left[is_left[left]]
    rest = np.sort(np.concatenate([*others, left]))
    return tables, [(int(lines.starts[number]), lines[number]) for number in rest]


@dataclass(frozen=True)
class _Pattern:
    """What lines have in common."""

    gaps: list[bytes]
    """The text before each slot, and behind the last one."""
    slots: list[_Slot]
    row: tuple[Any, ...]
    """The row of the line that was read."""
    at: dict[str, Any]


def _pattern(line: bytes) -> _Pattern | None:
    """The pattern of a line of metrics; None if it has something that needs a closer look."""
    marked, texts, gaps, end = b"", [], [], 0
    for number, slot in enumerate(_SLOT.finditer(line)):
        gaps.append(line[end : slot.start()])
        texts.append(_TIME if line[slot.start() : slot.end()].count(b":") else b"%d" % (_MARKER + number))
        marked += gaps[-1] + texts[-1]
        end = slot.end()
    gaps.append(line[end:])
    if not line.endswith(b"}\n") or b'"_mlv' in line or any(text in line for text in texts) or len(gaps[0]) < 8:
        return None
    try:
        event, fields = event_from_line(line, ""), orjson.loads(marked + gaps[-1])
    except (BadLine, ValueError):
        return None
    if event.type != "metrics" or not isinstance(event.data, dict) or not isinstance(event.at, dict):
        return None
    landed = {value: slot for slot, value in _places(fields)}
    slots = [landed.get(text.decode() + "Z" if text is _TIME else int(text)) for text in texts]
    known = [slot for slot in slots if slot is not None]
    if len(known) < len(slots) or ("seq", None) not in slots or len(event.data) != len(fields["data"]):
        return None
    return _Pattern(gaps, known, row(event), event.at)


def _places(fields: dict[str, Any]) -> Iterator[tuple[_Slot, Any]]:
    """Where the numbers and the time of a line stand, as far as it is known what they mean there."""
    for name in ("seq", "time", "step"):
        if type(fields.get(name)) in (int, str):
            yield (name, None), fields[name]
    at = fields.get("at")
    yield from ((("at", key), value) for key, value in (at if isinstance(at, dict) else {}).items() if type(value) is int)
    yield from ((("data", place), value) for place, value in enumerate(fields["data"].values()) if type(value) is int)


class _Lines:
    """The lines of a block that ends with one, and the places of their commas."""

    def __init__(self, block: bytes) -> None:
        np = package("numpy")
        self.block = block
        self.signs = np.frombuffer(block, np.uint8)
        self.stops, self.may_have_odd_numbers = self._scanned()
        ends = np.flatnonzero(self.signs[self.stops] == ord("\n"))
        self.ends = self.stops[ends] + 1
        self.starts = np.concatenate([[0], self.ends[:-1]]).astype(np.int32)
        self.first_stop = np.concatenate([[0], ends[:-1] + 1])
        self.stop_counts = np.diff(ends, prepend=-1)
        self.count = len(ends)
        # At every byte the eight that begin there, as one number.
        self.words = np.ndarray((max(0, len(block) - 7),), "<u8", block, 0, (1,))

    def _scanned(self) -> tuple[Any, bool]:
        """The places of commas and of ends of lines, and whether a dot stands before an e: JSON does not know 1.e5, Arrow does."""
        np = package("numpy")
        stops, has_odd = [], False
        for begin in range(0, len(self.signs), _AT_A_TIME):
            signs = self.signs[begin : begin + _AT_A_TIME + 1]
            some = signs[:_AT_A_TIME]
            stops.append(np.flatnonzero((some == ord(",")) | (some == ord("\n"))).astype(np.int32) + np.int32(begin))
            is_e = (signs[1:] == ord("e")) | (signs[1:] == ord("E"))
            has_odd = has_odd or bool(((signs[:-1] == ord(".")) & is_e).any())
        return np.concatenate(stops), has_odd

    def __getitem__(self, number: int) -> bytes:
        return self.block[self.starts[number] : self.ends[number]]

    def matching(self, pattern: _Pattern, lines: Any) -> Any:
        """Those of some lines that have the pattern's text around what stands in its slots, which begins as it should."""
        lines = lines[self.stop_counts[lines] == _stops(pattern.gaps)]
        begins, ends = self.slots(pattern, lines)
        last = ends[-1] + len(pattern.gaps[-1])
        is_like = (begins < ends).all(axis=0) & (last == self.ends[lines])
        lines, begins, ends = lines[is_like], begins[:, is_like], ends[:, is_like]
        is_like = self._is_text(self.ends[lines], pattern.gaps[-1])
        for begin, end, text, (name, _) in zip(begins, ends, pattern.gaps, pattern.slots, strict=False):
            is_like &= self._is_text(begin, text)
            is_like &= (end - begin == len(_TIME)) if name == "time" else self._is_begun_as_number(begin, end)
        return lines[is_like]

    def slots(self, pattern: _Pattern, lines: Any) -> tuple[Any, Any]:
        """Where each slot begins and ends in each line, if the line has the pattern: behind every slot comes a comma, or the end."""
        np, gaps = package("numpy"), pattern.gaps
        gap_begins = np.empty((len(gaps), len(lines)), np.int32)
        gap_begins[0] = self.starts[lines]
        first_stop, passed = self.first_stop[lines], _stops(gaps[:1])
        for number, text in enumerate(gaps[1:], 1):
            gap_begins[number] = self.stops[first_stop + passed] - _STOP.search(text).start()  # type: ignore[union-attr]
            passed += _stops([text])
        lengths = np.array([len(text) for text in gaps], np.int32)
        return (gap_begins + lengths[:, None])[:-1], gap_begins[1:]

    def _is_text(self, end: Any, text: bytes) -> Any:
        """Whether a text stands before some places, where at least eight bytes are."""
        np = package("numpy")
        is_same = np.ones(len(end), bool)
        for stop in range(len(text), 0, -8):
            stop = max(stop, min(8, len(text)))
            wanted = text[max(0, stop - 8) : stop]
            found = self.words[end - (len(text) - stop + 8)] >> np.uint64(64 - 8 * len(wanted))
            is_same &= found == np.uint64(int.from_bytes(wanted, "little"))
        return is_same

    def _is_begun_as_number(self, begin: Any, end: Any) -> Any:
        """Whether texts begin and end as numbers of JSON do. What is between, the conversion refuses."""
        np, signs = package("numpy"), self.signs
        zero = np.uint8(ord("0"))
        first = begin + (signs[begin] == ord("-"))
        lead = signs[first]
        has_leading_zero = (lead == zero) & (signs[first + 1] - zero < 10)
        return (first < end) & (lead - zero < 10) & ~has_leading_zero & (signs[end - 1] - zero < 10)


_STOP = re.compile(rb"[,\n]")


def _stops(texts: list[bytes]) -> int:
    return sum(text.count(b",") + text.count(b"\n") for text in texts)


def _table(lines: _Lines, pattern: _Pattern, numbers: Any, closely: bool = False) -> tuple[Any, Any]:
    """The table of lines that match, and their numbers: without those whose values floats do not hold."""
    pa, pc, np = package("pyarrow"), package("pyarrow.compute"), package("numpy")
    closely = closely or lines.may_have_odd_numbers
    begins, ends = lines.slots(pattern, numbers)
    texts = [_texts(lines, begin, end) for begin, end in zip(begins, ends, strict=True)]
    if closely:
        is_number = np.ones(len(numbers), bool)
        for text, (name, _) in zip(texts, pattern.slots, strict=True):
            if name != "time":
                is_number &= pc.match_substring_regex(text, _NUMBER).fill_null(False).to_numpy(zero_copy_only=False)[::2]
        if not is_number.all():
            return _table(lines, pattern, numbers[is_number], closely)
    if not len(numbers):
        return None, numbers
    try:
        found = {slot: _converted(text, slot[0]) for slot, text in zip(pattern.slots, texts, strict=True)}
    except pa.ArrowInvalid:
        return (None, numbers[:0]) if closely else _table(lines, pattern, numbers, closely=True)
    is_exact = np.ones(len(numbers), bool)
    for (name, _), column in found.items():
        if name not in ("seq", "time"):
            is_exact &= (np.abs(column) < EXACT) & ((column != 0) | ~np.signbit(column))
    if not is_exact.all():
        return _table(lines, pattern, numbers[is_exact], closely)
    return _of_columns(pattern, found, len(numbers)), numbers


_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"


def _texts(lines: _Lines, begin: Any, end: Any) -> Any:
    """The texts in one slot, where they are in the block: every other item, for what is between them is null."""
    pa, np = package("pyarrow"), package("numpy")
    offsets = np.empty(2 * len(begin) + 1, np.int32)
    offsets[0:-1:2], offsets[1::2], offsets[-1] = begin, end, len(lines.block)
    is_there = pa.py_buffer(b"\x55" * (len(begin) // 4 + 1))
    return pa.Array.from_buffers(pa.string(), 2 * len(begin), [is_there, pa.py_buffer(offsets), pa.py_buffer(lines.block)])


def _converted(texts: Any, name: str) -> Any:
    pa, pc, np = package("pyarrow"), package("pyarrow.compute"), package("numpy")
    kind = {"seq": pa.int64(), "time": pa.timestamp("us")}.get(name, pa.float64())
    return np.frombuffer(pc.cast(texts, kind).buffers()[1], np.float64 if kind == pa.float64() else np.int64)[: len(texts) : 2]


def _of_columns(pattern: _Pattern, found: dict[_Slot, Any], count: int) -> Any:
    """A table of `schema()`: what the slots hold, and for the rest what the line of the pattern holds."""
    pa, np = package("pyarrow"), package("numpy")
    fields = schema()
    columns = dict(zip(fields.names, pattern.row, strict=True))
    values = np.empty((count, len(columns["values"])))
    values[:] = [np.nan if value is None else value for value in columns["values"]]
    for (name, key), column in found.items():
        if name == "data":
            values[:, key] = column
        elif name != "at":
            columns[name] = np.ascontiguousarray(column)
    in_at = {key: column for (name, key), column in found.items() if name == "at"}
    columns["at"] = _at_words(pattern.at, in_at) if in_at else columns["at"]
    columns["values"] = lists(values, [value is None for value in columns["values"]])
    for field in fields:
        column = columns[field.name]
        if isinstance(column, np.ndarray):
            columns[field.name] = pa.array(column, pa.int64() if field.name == "time" else field.type).view(field.type)
        elif not isinstance(column, pa.Array):
            columns[field.name] = constant(field.type, column, count)
    return pa.Table.from_arrays(list(columns.values()), schema=fields)


def _at_words(at: dict[str, Any], numbers: dict[str, Any]) -> Any:
    """The coordinates of each line as texts; each different text is made once."""
    pa, np = package("pyarrow"), package("numpy")
    codes = np.zeros(len(next(iter(numbers.values()))), np.int64)
    for column in numbers.values():
        _, inverse = np.unique(column, return_inverse=True)
        _, codes = np.unique(codes * (inverse.max() + 1) + inverse, return_inverse=True)
    _, firsts = np.unique(codes, return_index=True)
    texts = [at_text({**at, **{key: float(column[first]) for key, column in numbers.items()}}) for first in firsts]
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(texts, pa.string()))
