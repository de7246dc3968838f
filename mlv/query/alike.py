"""Lines that differ in nothing but numbers and times: one of them is read, and the others are compared with it.

A script logs the same names again and again, so that the text between the numbers is always the same. A pattern is made of
one line, of which every number is replaced to see where it lands; a line that has the pattern's text, byte for byte, says the
same with other numbers. These are found and converted for a whole block at once.
"""

from __future__ import annotations

import re
import threading
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
_AT_A_TIME = 1 << 20
"""So many bytes are looked at with one call."""
_of_thread = threading.local()
_MARKER = 735149600000
"""What is put in the place of numbers, and counted up: no number like it may stand in the line."""
_TIME = b"2001-02-03T04:05:06.000007"
_SLOT = re.compile(
    rb'(?<="time":")\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(?=Z")'
    rb"|(?<=:)-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?=[,}])"
)
_STEP_TEXT, _TEXTS = 4, 9
"""Where these stand in a row."""
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
    if len(known) < len(slots) or not {("seq", None), ("time", None)} <= set(known) or len(event.data) != len(fields["data"]):
        return None
    own = row(event)
    if own[_STEP_TEXT] is not None or (own[_TEXTS] and any(name == "data" and own[_TEXTS][place] for name, place in known)):
        return None  # its own numbers are none that floats hold
    return _Pattern(gaps, known, own, event.at)


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
        """The places of commas and of ends of lines, and whether an e follows on a dot: 1.e5 is a number to Arrow only."""
        np = package("numpy")
        stops, has_odd = [], False
        if not hasattr(_of_thread, "memory"):  # new memory for each block would cost as much as the search
            _of_thread.memory = np.empty((2, _AT_A_TIME + 1), bool)
        for begin in range(0, len(self.signs), _AT_A_TIME):
            signs = self.signs[begin : begin + _AT_A_TIME + 1]
            one, other = _of_thread.memory[:, : len(signs)]
            np.equal(signs, ord("e"), out=one)
            np.equal(signs, ord("E"), out=other)
            np.logical_or(one, other, out=one)
            np.equal(signs, ord("."), out=other)
            np.logical_and(other[:-1], one[1:], out=one[1:])
            has_odd = has_odd or bool(one[1:].any())
            np.equal(signs, ord(","), out=one)
            np.equal(signs, ord("\n"), out=other)
            np.logical_or(one, other, out=one)
            stops.append((np.flatnonzero(one[:_AT_A_TIME]) + begin).astype(np.int32))
        return np.concatenate(stops), has_odd

    def __getitem__(self, number: int) -> bytes:
        return self.block[self.starts[number] : self.ends[number]]

    def matching(self, pattern: _Pattern, lines: Any) -> Any:
        """Those of some lines that have the pattern's text around what stands in its slots, which begins as it should."""
        np = package("numpy")
        lines = lines[self.stop_counts[lines] == _stops(pattern.gaps)]
        begins, ends = self.slots(pattern, lines)
        last = ends[-1] + len(pattern.gaps[-1])
        is_like = (begins < ends).all(axis=0) & (last == self.ends[lines])
        lines, begins, ends = lines[is_like], begins[:, is_like], ends[:, is_like]
        is_like = self._has_gaps(pattern, np.vstack([begins, self.ends[lines]]))
        times = [name == "time" for name, _ in pattern.slots]
        is_like &= (ends - begins == len(_TIME))[times].all(axis=0)
        is_number = [not is_time for is_time in times]
        return lines[is_like & self._are_begun_as_numbers(begins[is_number], ends[is_number])]

    def slots(self, pattern: _Pattern, lines: Any) -> tuple[Any, Any]:
        """Where each slot begins and ends in each line, if it has the pattern: a comma follows on every slot, or the end."""
        np, gaps = package("numpy"), pattern.gaps
        gap_begins = np.empty((len(gaps), len(lines)), np.int32)
        gap_begins[0] = self.starts[lines]
        first_stop, passed = self.first_stop[lines], _stops(gaps[:1])
        for number, text in enumerate(gaps[1:], 1):
            gap_begins[number] = self.stops[first_stop + passed] - _STOP.search(text).start()  # type: ignore[union-attr]
            passed += _stops([text])
        lengths = np.array([len(text) for text in gaps], np.int32)
        return (gap_begins + lengths[:, None])[:-1], gap_begins[1:]

    def texts(self, begins: Any, ends: Any) -> Any:
        """The texts in some slots, line by line, as they stand in the block: every other item, for what is between is null."""
        pa, np = package("pyarrow"), package("numpy")
        offsets = np.empty((begins.shape[1], 2 * begins.shape[0]), np.int32)
        offsets[:, 0::2], offsets[:, 1::2] = begins.T, ends.T
        offsets = np.append(offsets.ravel(), np.int32(len(self.block)))
        is_there = pa.py_buffer(b"\x55" * (len(offsets) // 8 + 1))
        return pa.Array.from_buffers(pa.string(), len(offsets) - 1, [is_there, pa.py_buffer(offsets), pa.py_buffer(self.block)])

    def _has_gaps(self, pattern: _Pattern, ends: Any) -> Any:
        """Whether in each line the pattern's text stands before some places; for all lines, and eight bytes, at once."""
        np = package("numpy")
        rows, before, shifts, wanted = [], [], [], []
        for number, text in enumerate(pattern.gaps):
            for stop in range(len(text), 0, -8):
                stop = max(stop, min(8, len(text)))
                part = text[max(0, stop - 8) : stop]
                rows.append(number)
                before.append(len(text) - stop + 8)
                shifts.append(64 - 8 * len(part))
                wanted.append(int.from_bytes(part, "little"))
        found = self.words[ends[rows] - np.array(before, np.int32)[:, None]]
        found >>= np.array(shifts, np.uint64)[:, None]
        return (found == np.array(wanted, np.uint64)[:, None]).all(axis=0)

    def _are_begun_as_numbers(self, begins: Any, ends: Any) -> Any:
        """Whether texts begin and end as numbers of JSON do. What is between, the conversion refuses."""
        np, signs = package("numpy"), self.signs
        zero = np.uint8(ord("0"))
        first = begins + (signs[begins] == ord("-"))
        lead = signs[first]
        has_leading_zero = (lead == zero) & (signs[first + 1] - zero < 10)
        return ((first < ends) & (lead - zero < 10) & ~has_leading_zero & (signs[ends - 1] - zero < 10)).all(axis=0)


_STOP = re.compile(rb"[,\n]")


def _stops(texts: list[bytes]) -> int:
    return sum(text.count(b",") + text.count(b"\n") for text in texts)


def _table(lines: _Lines, pattern: _Pattern, numbers: Any, closely: bool = False) -> tuple[Any, Any]:
    """The table of lines that match, and their numbers: without those whose values floats do not hold."""
    pa, pc, np = package("pyarrow"), package("pyarrow.compute"), package("numpy")
    if not len(numbers):
        return None, numbers
    closely = closely or lines.may_have_odd_numbers
    begins, ends = lines.slots(pattern, numbers)
    names = [name for name, _ in pattern.slots]
    floats = [place for place, name in enumerate(names) if name not in ("seq", "time")]
    texts = lines.texts(begins[floats], ends[floats])
    if closely and floats:
        is_number = pc.match_substring_regex(texts, _NUMBER).fill_null(True).to_numpy(zero_copy_only=False)
        is_number = is_number.reshape(len(numbers), -1).all(axis=1)
        if not is_number.all():
            return _table(lines, pattern, numbers[is_number], closely)
    try:
        found = _items(pc.cast(texts, pa.float64()), np.float64).reshape(len(numbers), -1)
        seq, time = (
            _items(pc.cast(lines.texts(begins[[place]], ends[[place]]), kind), np.int64)
            for kind, place in ((pa.int64(), names.index("seq")), (pa.timestamp("us"), names.index("time")))
        )
    except pa.ArrowInvalid:
        return (None, numbers[:0]) if closely or not floats else _table(lines, pattern, numbers, closely=True)
    is_exact = ((np.abs(found) < EXACT) & ((found != 0) | ~np.signbit(found))).all(axis=1)
    if not is_exact.all():
        return _table(lines, pattern, numbers[is_exact], closely)
    return _of_columns(pattern, seq, time, found, [pattern.slots[place] for place in floats]), numbers


_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"


def _items(column: Any, kind: Any) -> Any:
    """What texts were converted to."""
    return package("numpy").frombuffer(column.buffers()[1], kind)[: len(column) : 2]


def _of_columns(pattern: _Pattern, seq: Any, time: Any, found: Any, slots: list[_Slot]) -> Any:
    """A table of `schema()`: what the slots hold, and for the rest what the line of the pattern holds."""
    pa, np = package("pyarrow"), package("numpy")
    kinds = {field.name: field.type for field in schema()}
    known = dict(zip(kinds, pattern.row, strict=True))
    values = np.empty((len(seq), len(known["values"])))
    values[:] = [np.nan if value is None else value for value in known["values"]]
    in_data = [place for place, (name, _) in enumerate(slots) if name == "data"]
    values[:, [slots[place][1] for place in in_data]] = found[:, in_data]
    columns = {
        name: constant(kind, known[name], len(seq)) for name, kind in kinds.items() if name not in ("seq", "time", "values")
    }
    columns["seq"] = pa.array(np.ascontiguousarray(seq))
    columns["time"] = pa.array(np.ascontiguousarray(time)).view(kinds["time"])
    columns["values"] = lists(values, [value is None for value in known["values"]])
    if ("step", None) in slots:
        columns["step"] = pa.array(np.ascontiguousarray(found[:, slots.index(("step", None))]))
    in_at = {key: found[:, place] for place, (name, key) in enumerate(slots) if name == "at"}
    if in_at:
        columns["at"] = _at_words(pattern.at, in_at)
    return pa.Table.from_arrays([columns[name] for name in kinds], schema=schema())


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
