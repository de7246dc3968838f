"""Lines that differ in nothing but numbers and times: one of them is read, and the others are compared with it.

A script logs the same names again and again, so that the text between the numbers is always the same. A pattern is made of
one line, of which every number is replaced to see where it lands; a line that has the pattern's text, byte for byte, says the
same with other numbers. These are found and converted for a whole block at once.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

from mlv.encoding import BadLine, event_from_line, loads
from mlv.optional import package
from mlv.query.metrics.schema import EXACT, at_text, constant, lists, row, schema

_MARKER = 735149600000
"""What is put in the place of numbers, and counted up: no number like it may stand in the line."""
_MARKERS, _MOST_SLOTS = b"7351496", 100_000
"""How all of them begin, as long as there are no more."""
TIME = b"2001-02-03T04:05:06.000007"
_SLOT = re.compile(
    rb'(?<="time":")\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(?=Z")'
    rb"|(?<=:)-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?=[,}])"
)
Slot = tuple[str, Any]
"""The field and, in `at` and `data`, the key or the place of the value."""


@dataclass(frozen=True)
class Pattern:
    """What lines have in common."""

    gaps: tuple[bytes, ...]
    """The text before each slot, and behind the last one."""
    slots: list[Slot]
    row: tuple[Any, ...]
    """The row of such a line."""
    at: dict[str, Any]


def pattern_of(line: bytes) -> Pattern | None:
    """The pattern of a line of metrics; None if it has something that needs a closer look."""
    are_times = tuple(b":" in text for text in _SLOT.findall(line))
    return _pattern_around(are_times, tuple(_SLOT.split(line))) if line.endswith(b"}\n") else None


@lru_cache(maxsize=256)
def _pattern_around(are_times: tuple[bool, ...], gaps: tuple[bytes, ...]) -> Pattern | None:
    if len(are_times) >= _MOST_SLOTS:
        return None
    texts = [TIME if is_time else b"%d" % (_MARKER + number) for number, is_time in enumerate(are_times)]
    line = b"".join(chain.from_iterable(zip(gaps, texts, strict=False))) + gaps[-1]
    around = b"\n".join(gaps)  # one look for all: each in each would take for ever in a line of many numbers
    if b'"_mlv' in line or TIME in around or _MARKERS in around:
        return None
    try:
        event, fields = event_from_line(line, ""), loads(line)
    except (BadLine, ValueError):
        return None
    if event.type != "metrics" or not isinstance(event.data, dict) or not isinstance(event.at, dict):
        return None
    landed = {value: slot for slot, value in _places(fields)}
    slots = [landed.get(text.decode() + "Z" if text is TIME else int(text)) for text in texts]
    known = [slot for slot in slots if slot is not None]
    if len(known) < len(slots) or not {("seq", None), ("time", None)} <= set(known) or len(event.data) != len(fields["data"]):
        return None
    return Pattern(gaps, known, row(event), event.at)


def _places(fields: dict[str, Any]) -> Iterator[tuple[Slot, Any]]:
    """Where the numbers and the time of a line stand, as far as it is known what they mean there."""
    for name in ("seq", "time", "step"):
        if type(fields.get(name)) in (int, str):
            yield (name, None), fields[name]
    at = fields.get("at")
    yield from ((("at", key), value) for key, value in (at if isinstance(at, dict) else {}).items() if type(value) is int)
    yield from ((("data", place), value) for place, value in enumerate(fields["data"].values()) if type(value) is int)


MARK = b'"type":"metrics"'
_MOST_PATTERNS = 16
"""Of a block: so many kinds of lines are mixed at the most."""
_AT_ATIME = 1 << 20
"""So many bytes are looked at with one call."""
_of_thread = threading.local()


def parse_alike(block: bytes) -> tuple[list[Any], list[tuple[int, bytes]]]:
    """Tables of whole lines that are like others, and offset and bytes of the lines that remain, in their order."""
    np = package("numpy")
    lines = _BlockLines(block)
    left = np.arange(lines.count)
    tables, others = [], []
    for _ in range(_MOST_PATTERNS):
        first = next((place for place, number in enumerate(left) if MARK in lines[number]), len(left))
        others.append(left[:first])
        left = left[first:]
        if not len(left):
            break
        pattern = pattern_of(lines[left[0]])
        table, taken = (None, left[:0]) if pattern is None else _table(lines, pattern, *lines.matching(pattern, left))
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
class Numbers:
    """What lines of several logs hold that differ in nothing but their runs, numbers and times."""

    counts: Any
    """How many lines each block has."""
    name: str
    keys: str
    """As in `schema()`."""
    seq: Any
    step: Any
    """None where they have none."""
    values: Any
    """A column for each of the keys."""


def numbers_of(blocks: Sequence[bytes]) -> Numbers | None:
    """What blocks of whole lines hold, each of one run; None if a line is not like the others, or needs a closer look."""
    np, pa = package("numpy"), package("pyarrow")
    firsts = [block[: block.find(b"\n") + 1] for block in blocks]
    heads = [_HEAD.match(line) for line in firsts]
    pattern = pattern_of(firsts[0])
    if pattern is None or len({None if head is None else len(head[0]) for head in heads}) > 1 or heads[0] is None:
        return None
    if not pattern.gaps[0].startswith(heads[0][0]):
        return None
    rest = pattern.gaps[0][len(heads[0][0]) :]
    lines = _BlockLines(b"".join(blocks))
    counts = np.diff(np.searchsorted(lines.ends, np.cumsum([len(block) for block in blocks]), "right"), prepend=0)
    texts = np.repeat([head[0] + rest for head in heads if head is not None], counts)
    found, begins, ends = lines.matching(pattern, np.arange(lines.count), texts)
    if len(found) < lines.count or lines.may_have_odd_numbers:
        return None
    slots = [slot for slot in pattern.slots if slot[0] not in ("seq", "time")]
    places = [slots.index(("data", key)) for key in range(len(pattern.row[_VALUES])) if ("data", key) in slots]
    if not places or len(places) < len(pattern.row[_VALUES]):
        return None
    try:
        numbers, seq, _ = _converted(lines, pattern, begins, ends)
    except pa.ArrowInvalid:
        return None
    if not (_are_exact(numbers) or _is_exact(numbers).all()):
        return None
    step = numbers[:, slots.index(("step", None))] if ("step", None) in slots else None
    if step is None and pattern.row[_STEP] is not None:
        return None
    return Numbers(counts, pattern.row[_NAME], pattern.row[_KEYS], seq, step, numbers[:, places])


_HEAD = re.compile(rb'\{"run":"[\w-]+"')
_STEP, _NAME, _KEYS, _VALUES = 3, 5, 7, 8
"""Where these stand in a row."""


class _BlockLines:
    """The lines of a block that ends with one, and the places of their commas."""

    def __init__(self, block: bytes) -> None:
        np = package("numpy")
        self.block = block
        self.signs = np.frombuffer(block, np.uint8)
        self.stops = self._stops()
        ends = np.flatnonzero(self.signs[self.stops] == ord("\n"))
        self.ends = self.stops[ends] + 1
        self.starts = np.concatenate([[0], self.ends[:-1]]).astype(np.int32)
        self.first_stop = np.concatenate([[0], ends[:-1] + 1])
        self.stop_counts = np.diff(ends, prepend=-1)
        self.count = len(ends)
        self.may_have_odd_numbers = self._have_pair(b".e", 0) or self._have_pair(b".e", 1)  # 1.e5: a number to Arrow only

    def _stops(self) -> Any:
        """The places of commas and of ends of lines."""
        np = package("numpy")
        stops = []
        if not hasattr(_of_thread, "memory"):  # new memory for each block would cost as much as the search
            _of_thread.memory = np.empty((2, _AT_ATIME), bool)
        for begin in range(0, len(self.signs), _AT_ATIME):
            signs = self.signs[begin : begin + _AT_ATIME]
            one, other = _of_thread.memory[:, : len(signs)]
            np.equal(signs, ord(","), out=one)
            np.equal(signs, ord("\n"), out=other)
            np.logical_or(one, other, out=one)
            stops.append((np.flatnonzero(one) + begin).astype(np.int32))
        return np.concatenate(stops)

    def _have_pair(self, pair: bytes, first: int) -> bool:
        """Whether two signs, the second in either case, stand together at one of every other place."""
        np = package("numpy")
        pairs = self.signs[first : first + (len(self.signs) - first) // 2 * 2].view("<u2")
        pieces = (pairs[begin : begin + _AT_ATIME // 8] for begin in range(0, len(pairs), _AT_ATIME // 8))
        return any((piece | np.uint16(0x2000) == int.from_bytes(pair, "little")).any() for piece in pieces)

    def __getitem__(self, number: int) -> bytes:
        return self.block[self.starts[number] : self.ends[number]]

    def matching(self, pattern: Pattern, lines: Any, heads: Any = None) -> tuple[Any, Any, Any]:
        """Those of some lines that have the pattern's text around their slots, in which numbers may stand; and the slots.

        `heads` are texts, one for each line of all, that stand before the first slots in place of the pattern's.
        """
        lines = lines[self.stop_counts[lines] == _stops(pattern.gaps)]
        begins, ends = self.slots(pattern, lines)
        last = ends[-1] + len(pattern.gaps[-1])
        lines, begins, ends = _chosen((begins < ends).all(axis=0) & (last == self.ends[lines]), lines, begins, ends)
        is_like = self._has_gaps(pattern, lines, ends, heads)
        times = [name == "time" for name, _ in pattern.slots]
        is_like &= (ends - begins == len(TIME))[times].all(axis=0)
        is_number = [not is_time for is_time in times]
        return _chosen(is_like & self._are_begun_as_numbers(begins[is_number], ends[is_number]), lines, begins, ends)

    def slots(self, pattern: Pattern, lines: Any) -> tuple[Any, Any]:
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

    def _has_gaps(self, pattern: Pattern, lines: Any, ends: Any, heads: Any) -> Any:
        """Whether in each line the pattern's text stands around its slots; for all lines at once.

        Texts that are all as they should be are compared as one: for a million lines of three numbers that takes 60 ms, and
        to compare each of them 120.
        """
        np = package("numpy")
        is_like = np.ones(len(lines), bool)
        for number, (places, text) in enumerate(zip([self.starts[lines], *ends], pattern.gaps, strict=True)):
            # At every byte the text of this length that begins there. Zeros at its end would be cut off: JSON has none.
            texts = np.ndarray((len(self.block) - len(text) + 1,), f"S{len(text)}", self.block, 0, (1,))[places]
            is_own = heads is not None and not number
            if texts.tobytes() != (heads[lines].tobytes() if is_own else text * len(lines)):
                is_like &= texts == (heads[lines] if is_own else text)
        return is_like

    def _are_begun_as_numbers(self, begins: Any, ends: Any) -> Any:
        """Whether texts begin and end as numbers of JSON do. What is between, the conversion refuses."""
        np, signs = package("numpy"), self.signs
        zero = np.uint8(ord("0"))
        lead, follow = signs[begins], signs[begins + 1]
        is_negative = lead == ord("-")
        if is_negative.any():
            begins = begins + is_negative
            lead, follow = signs[begins], signs[begins + 1]
        has_leading_zero = (lead == zero) & (follow - zero < 10)
        return ((begins < ends) & (lead - zero < 10) & ~has_leading_zero & (signs[ends - 1] - zero < 10)).all(axis=0)


def _chosen(is_chosen: Any, lines: Any, begins: Any, ends: Any) -> tuple[Any, Any, Any]:
    if is_chosen.all():
        return lines, begins, ends
    return lines[is_chosen], begins[:, is_chosen], ends[:, is_chosen]


_STOP = re.compile(rb"[,\n]")


def _stops(texts: Sequence[bytes]) -> int:
    return sum(text.count(b",") + text.count(b"\n") for text in texts)


def _table(
    lines: _BlockLines, pattern: Pattern, numbers: Any, begins: Any, ends: Any, closely: bool = False
) -> tuple[Any, Any]:
    """The table of lines that match, and their numbers: without those whose values floats do not hold."""
    pa, pc = package("pyarrow"), package("pyarrow.compute")
    if not len(numbers):
        return None, numbers
    closely = closely or lines.may_have_odd_numbers
    names = [name for name, _ in pattern.slots]
    floats = [place for place, name in enumerate(names) if name not in ("seq", "time")]
    if closely and floats:
        texts = lines.texts(begins[floats], ends[floats])
        is_number = pc.match_substring_regex(texts, _NUMBER).fill_null(True).to_numpy(zero_copy_only=False)
        is_number = is_number.reshape(len(numbers), -1).all(axis=1)
        if not is_number.all():
            return _table(lines, pattern, *_chosen(is_number, numbers, begins, ends), closely)
    try:
        found, seq, time = _converted(lines, pattern, begins, ends)
    except pa.ArrowInvalid:
        is_last_try = closely or not floats
        return (None, numbers[:0]) if is_last_try else _table(lines, pattern, numbers, begins, ends, closely=True)
    if not _are_exact(found):
        is_exact = _is_exact(found)
        if not is_exact.all():
            return _table(lines, pattern, *_chosen(is_exact, numbers, begins, ends), closely)
    return _of_columns(pattern, seq, time, found, [pattern.slots[place] for place in floats]), numbers


def _converted(lines: _BlockLines, pattern: Pattern, begins: Any, ends: Any) -> tuple[Any, Any, Any]:
    """Of each line the numbers in its slots but `seq`, that, and the time.

    Raises:
        pyarrow.ArrowInvalid: A text is none.
    """
    pa, pc, np = package("pyarrow"), package("pyarrow.compute"), package("numpy")
    names = [name for name, _ in pattern.slots]
    floats = [place for place, name in enumerate(names) if name not in ("seq", "time")]
    found = _items(pc.cast(lines.texts(begins[floats], ends[floats]), pa.float64()), np.float64)
    seq, time = (
        _items(pc.cast(lines.texts(begins[[place]], ends[[place]]), kind), np.int64)
        for kind, place in ((pa.int64(), names.index("seq")), (pa.timestamp("us"), names.index("time")))
    )
    return found.reshape(len(seq), -1), seq, time


def _is_exact(found: Any) -> Any:
    """Which lines have only numbers that floats hold as they stand there."""
    np = package("numpy")
    return ((np.abs(found) < EXACT) & ((found != 0) | ~np.signbit(found))).all(axis=1)


def _are_exact(found: Any) -> bool:
    """Whether all numbers are small and none is negative, as it is most often, so that floats hold them."""
    return not found.size or bool(found.max() < EXACT and not package("numpy").signbit(found).any())


_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"


def _items(column: Any, kind: Any) -> Any:
    """What texts were converted to."""
    return package("numpy").frombuffer(column.buffers()[1], kind)[: len(column) : 2]


def _of_columns(pattern: Pattern, seq: Any, time: Any, found: Any, slots: list[Slot]) -> Any:
    """A table of `schema()`: what the slots hold, and for the rest what the line of the pattern holds."""
    pa, np = package("pyarrow"), package("numpy")
    kinds = {field.name: field.type for field in schema()}
    known = dict(zip(kinds, pattern.row, strict=True))
    values = np.empty((len(seq), len(known["values"])))
    values[:] = [np.nan if value is None else value for value in known["values"]]
    in_data = [place for place, (name, _) in enumerate(slots) if name == "data"]
    values[:, [slots[place][1] for place in in_data]] = found[:, in_data]
    columns = {name: constant(name, known[name], len(seq)) for name in kinds if name not in ("seq", "time", "values")}
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
