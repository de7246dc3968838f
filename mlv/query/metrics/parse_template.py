"""Lines that differ only in numbers and times: one of them is parsed, and all others are compared with it.

A script logs the same names again and again, so that the text between the numbers is always the same. A pattern is made from
one line by replacing every number with a marker and parsing the result: the position of each marker tells the field of the
number. A line that has the pattern's text, byte for byte, has the same fields with other numbers. The numbers of all such
lines of a block are located and converted at once.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

from mlv import wire
from mlv.encoding import BadLine, event_from_line, loads
from mlv.optional import package
from mlv.query.metrics.schema import EXACT, at_text, constant, lists, row, schema

_MARKER = 735149600000
"""The first marker; each further one is greater by one. No number like it may stand in the line."""
_MARKERS, _MOST_SLOTS = b"7351496", 100_000
"""The prefix of all markers, and the number of slots up to which they have it."""
TIME = b"2001-02-03T04:05:06.000007"
_SLOT = re.compile(
    rb'(?<="time":")\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(?=Z")'
    rb"|(?<=:)-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?=[,}])"
)
Slot = tuple[str, Any]
"""The field, and the key in `at` or the index of the value in `data`."""


@dataclass(frozen=True)
class Pattern:
    """The common form of some lines."""

    gaps: tuple[bytes, ...]
    """The text before each slot, and behind the last one."""
    slots: list[Slot]
    row: tuple[Any, ...]
    """The row of a line of this form."""
    at: dict[str, Any]


def pattern_of(line: bytes) -> Pattern | None:
    """Return the pattern of a line of metrics; None if the line needs a closer look."""
    are_times = tuple(b":" in text for text in _SLOT.findall(line))
    return _pattern_around(are_times, tuple(_SLOT.split(line))) if line.endswith(b"}\n") else None


@lru_cache(maxsize=256)  # the lines of a script are of a few patterns, block after block
def _pattern_around(are_times: tuple[bool, ...], gaps: tuple[bytes, ...]) -> Pattern | None:
    if len(are_times) >= _MOST_SLOTS:
        return None
    # The pattern is parsed once by the parser of single lines: so the two can never disagree about a field.
    texts = [TIME if is_time else b"%d" % (_MARKER + number) for number, is_time in enumerate(are_times)]
    line = b"".join(chain.from_iterable(zip(gaps, texts, strict=False))) + gaps[-1]
    around = b"\n".join(gaps)  # one search for all: each in each would take for ever in a line of many numbers
    if wire.TAGGED in line or TIME in around or _MARKERS in around:
        return None
    try:
        event, fields = event_from_line(line, ""), loads(line)
    except (BadLine, ValueError):
        return None
    if event.type != "metrics" or not isinstance(event.data, dict) or not isinstance(event.at, dict):
        return None
    landed = {value: slot for slot, value in _number_slots(fields)}
    slots = [landed.get(text.decode() + "Z" if text is TIME else int(text)) for text in texts]
    resolved = [slot for slot in slots if slot is not None]
    if (
        len(resolved) < len(slots)
        or not {("seq", None), ("time", None)} <= set(resolved)
        or len(event.data) != len(fields["data"])
    ):
        return None
    return Pattern(gaps, resolved, row(event), event.at)


def _number_slots(fields: dict[str, Any]) -> Iterator[tuple[Slot, Any]]:
    """Yield slot and value of the numbers and the time of a line, in fields whose meaning is known."""
    for name in ("seq", "time", "step"):
        if type(fields.get(name)) in (int, str):
            yield (name, None), fields[name]
    at = fields.get("at")
    yield from ((("at", key), value) for key, value in (at if isinstance(at, dict) else {}).items() if type(value) is int)
    yield from ((("data", index), value) for index, value in enumerate(fields["data"].values()) if type(value) is int)


_MOST_PATTERNS = 16
"""Most patterns that are tried on one block."""
_AT_ATIME = 1 << 20
"""Bytes that are searched with one call."""
_of_thread = threading.local()


def parse_alike(block: bytes) -> tuple[list[Any], list[tuple[int, bytes]]]:
    """Parse whole lines that are like others into tables; return also offset and bytes of all other lines, in their order.

    10,000 lines take 4 ms, by `parse_json` 41, and one by one 67.
    """
    np = package("numpy")
    lines = _BlockLines(block)
    remaining = np.arange(lines.count)
    tables, unlike = [], []
    for _ in range(_MOST_PATTERNS):
        first = next((index for index, number in enumerate(remaining) if wire.METRICS in lines[number]), len(remaining))
        unlike.append(remaining[:first])
        remaining = remaining[first:]
        if not len(remaining):
            break
        pattern = pattern_of(lines[remaining[0]])
        table, matched = (
            (None, remaining[:0]) if pattern is None else _table(lines, pattern, *lines.matching(pattern, remaining))
        )
        if table is not None:
            tables.append(table)
        is_left = np.ones(lines.count, bool)
        is_left[matched] = False
        if is_left[remaining[0]]:  # it has numbers that need a closer look
            unlike.append(remaining[:1])
            remaining = remaining[1:]
        remaining = remaining[is_left[remaining]]
    unparsed = np.sort(np.concatenate([*unlike, remaining]))
    return tables, [(int(lines.starts[number]), lines[number]) for number in unparsed]


@dataclass(frozen=True)
class Numbers:
    """The numbers of lines of several logs that differ only in their runs, numbers and times."""

    counts: Any
    """Number of lines of each block."""
    name: str
    keys: str
    """JSON of the keys, as in `schema()`."""
    seq: Any
    step: Any
    """None where the lines have no step."""
    values: Any
    """A matrix with a column for each of the keys."""


def numbers_of(blocks: Sequence[bytes]) -> Numbers | None:
    """Parse blocks of whole lines, each of one run; return None if a line is not like all others, or needs a closer look."""
    np, pa = package("numpy"), package("pyarrow")
    firsts = [block[: block.find(b"\n") + 1] for block in blocks]
    heads = [_HEAD.match(line) for line in firsts]
    pattern = pattern_of(firsts[0])
    if pattern is None or len({None if head is None else len(head[0]) for head in heads}) > 1 or heads[0] is None:
        return None
    if not pattern.gaps[0].startswith(heads[0][0]):
        return None
    suffix = pattern.gaps[0][len(heads[0][0]) :]
    lines = _BlockLines(b"".join(blocks))
    counts = np.diff(np.searchsorted(lines.ends, np.cumsum([len(block) for block in blocks]), "right"), prepend=0)
    texts = np.repeat([head[0] + suffix for head in heads if head is not None], counts)
    matched, begins, ends = lines.matching(pattern, np.arange(lines.count), texts)
    if len(matched) < lines.count or lines.may_have_odd_numbers:
        return None
    slots = [slot for slot in pattern.slots if slot[0] not in ("seq", "time")]
    columns = [slots.index(("data", key)) for key in range(len(pattern.row[_VALUES])) if ("data", key) in slots]
    if not columns or len(columns) < len(pattern.row[_VALUES]):
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
    return Numbers(counts, pattern.row[_NAME], pattern.row[_KEYS], seq, step, numbers[:, columns])


_HEAD = re.compile(rb'\{"run":"[\w-]+"')
_STEP, _NAME, _KEYS, _VALUES = 3, 5, 7, 8
"""Indices of these columns in a row."""


class _BlockLines:
    """The lines of a block that ends with a whole line, and the offsets of their commas."""

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
        """Return the offsets of commas and of ends of lines."""
        np = package("numpy")
        stops = []
        if not hasattr(_of_thread, "memory"):  # new memory for each block would cost as much as the search
            _of_thread.memory = np.empty((2, _AT_ATIME), bool)
        for begin in range(0, len(self.signs), _AT_ATIME):
            signs = self.signs[begin : begin + _AT_ATIME]
            is_stop, is_newline = _of_thread.memory[:, : len(signs)]
            np.equal(signs, ord(","), out=is_stop)
            np.equal(signs, ord("\n"), out=is_newline)
            np.logical_or(is_stop, is_newline, out=is_stop)
            stops.append((np.flatnonzero(is_stop) + begin).astype(np.int32))
        return np.concatenate(stops)

    def _have_pair(self, pair: bytes, first: int) -> bool:
        """Return whether two signs, the second in either case, stand at one of the offsets `first`, `first + 2` and so on."""
        np = package("numpy")
        pairs = self.signs[first : first + (len(self.signs) - first) // 2 * 2].view("<u2")
        chunks = (pairs[begin : begin + _AT_ATIME // 8] for begin in range(0, len(pairs), _AT_ATIME // 8))
        return any((chunk | np.uint16(0x2000) == int.from_bytes(pair, "little")).any() for chunk in chunks)

    def __getitem__(self, number: int) -> bytes:
        return self.block[self.starts[number] : self.ends[number]]

    def matching(self, pattern: Pattern, lines: Any, heads: Any = None) -> tuple[Any, Any, Any]:
        """Select the lines that have the pattern's text around slots that look like numbers; return also the slots' bounds.

        `heads` are texts, one for each line of the block, that replace the pattern's text before the first slot.
        """
        # The cheapest test first: most lines of another form have another number of commas.
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
        """Return begin and end of each slot in each line, if it has the pattern: a comma or the line's end follows a slot."""
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
        """Return a zero-copy Arrow string array over the block: even items are slots, odd ones nulls for the bytes between."""
        pa, np = package("pyarrow"), package("numpy")
        offsets = np.empty((begins.shape[1], 2 * begins.shape[0]), np.int32)
        offsets[:, 0::2], offsets[:, 1::2] = begins.T, ends.T
        offsets = np.append(offsets.ravel(), np.int32(len(self.block)))
        is_there = pa.py_buffer(b"\x55" * (len(offsets) // 8 + 1))
        return pa.Array.from_buffers(pa.string(), len(offsets) - 1, [is_there, pa.py_buffer(offsets), pa.py_buffer(self.block)])

    def _has_gaps(self, pattern: Pattern, lines: Any, ends: Any, heads: Any) -> Any:
        """Return for each line whether the pattern's text stands around its slots.

        The texts of all lines are first compared as one: for a million lines of three numbers that takes 60 ms, and to compare
        each of them 120.
        """
        np = package("numpy")
        is_like = np.ones(len(lines), bool)
        for number, (begins, text) in enumerate(zip([self.starts[lines], *ends], pattern.gaps, strict=True)):
            # At every byte the text of this length that begins there. Zeros at its end would be cut off: JSON has none.
            texts = np.ndarray((len(self.block) - len(text) + 1,), f"S{len(text)}", self.block, 0, (1,))[begins]
            is_own = heads is not None and not number
            if texts.tobytes() != (heads[lines].tobytes() if is_own else text * len(lines)):
                is_like &= texts == (heads[lines] if is_own else text)
        return is_like

    def _are_begun_as_numbers(self, begins: Any, ends: Any) -> Any:
        """Return for each line whether its texts begin and end as JSON numbers do; the conversion checks the bytes between."""
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
    """Return the table of matching lines, and their line numbers, without lines whose values floats do not hold."""
    pa, pc = package("pyarrow"), package("pyarrow.compute")
    if not len(numbers):
        return None, numbers
    closely = closely or lines.may_have_odd_numbers
    names = [name for name, _ in pattern.slots]
    floats = [index for index, name in enumerate(names) if name not in ("seq", "time")]
    if closely and floats:
        texts = lines.texts(begins[floats], ends[floats])
        is_number = pc.match_substring_regex(texts, _NUMBER).fill_null(True).to_numpy(zero_copy_only=False)
        is_number = is_number.reshape(len(numbers), -1).all(axis=1)
        if not is_number.all():
            return _table(lines, pattern, *_chosen(is_number, numbers, begins, ends), closely)
    try:
        values, seq, time = _converted(lines, pattern, begins, ends)
    except pa.ArrowInvalid:
        is_last_try = closely or not floats
        return (None, numbers[:0]) if is_last_try else _table(lines, pattern, numbers, begins, ends, closely=True)
    if not _are_exact(values):
        is_exact = _is_exact(values)
        if not is_exact.all():
            return _table(lines, pattern, *_chosen(is_exact, numbers, begins, ends), closely)
    return _table_of_slots(pattern, seq, time, values, [pattern.slots[index] for index in floats]), numbers


def _converted(lines: _BlockLines, pattern: Pattern, begins: Any, ends: Any) -> tuple[Any, Any, Any]:
    """Return (numbers, seq, time): one row per line, the numbers without `seq`.

    Raises:
        pyarrow.ArrowInvalid: A text is no number, or no time.
    """
    pa, pc, np = package("pyarrow"), package("pyarrow.compute"), package("numpy")
    names = [name for name, _ in pattern.slots]
    floats = [index for index, name in enumerate(names) if name not in ("seq", "time")]
    values = _items(pc.cast(lines.texts(begins[floats], ends[floats]), pa.float64()), np.float64)
    seq, time = (
        _items(pc.cast(lines.texts(begins[[index]], ends[[index]]), kind), np.int64)
        for kind, index in ((pa.int64(), names.index("seq")), (pa.timestamp("us"), names.index("time")))
    )
    return values.reshape(len(seq), -1), seq, time


def _is_exact(numbers: Any) -> Any:
    """Return for each line whether floats hold all of its numbers exactly as written."""
    np = package("numpy")
    return ((np.abs(numbers) < EXACT) & ((numbers != 0) | ~np.signbit(numbers))).all(axis=1)


def _are_exact(numbers: Any) -> bool:
    """Return whether all numbers are small and none is negative, as it is most often, so that floats hold them."""
    return not numbers.size or bool(numbers.max() < EXACT and not package("numpy").signbit(numbers).any())


_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"


def _items(column: Any, kind: Any) -> Any:
    """Return the even items of a converted `texts` column."""
    return package("numpy").frombuffer(column.buffers()[1], kind)[: len(column) : 2]


def _table_of_slots(pattern: Pattern, seq: Any, time: Any, numbers: Any, slots: list[Slot]) -> Any:
    """Return a table of `schema()`: the numbers of the slots, and in all other fields the values of the pattern's line."""
    pa, np = package("pyarrow"), package("numpy")
    kinds = {field.name: field.type for field in schema()}
    fields = dict(zip(kinds, pattern.row, strict=True))
    # All values in one piece of memory, as a column of lists has them.
    values = np.empty((len(seq), len(fields["values"])))
    values[:] = [np.nan if value is None else value for value in fields["values"]]
    in_data = [index for index, (name, _) in enumerate(slots) if name == "data"]
    values[:, [slots[index][1] for index in in_data]] = numbers[:, in_data]
    columns = {name: constant(name, fields[name], len(seq)) for name in kinds if name not in ("seq", "time", "values")}
    columns["seq"] = pa.array(np.ascontiguousarray(seq))
    columns["time"] = pa.array(np.ascontiguousarray(time)).view(kinds["time"])
    columns["values"] = lists(values, [value is None for value in fields["values"]])
    if ("step", None) in slots:
        columns["step"] = pa.array(np.ascontiguousarray(numbers[:, slots.index(("step", None))]))
    in_at = {key: numbers[:, index] for index, (name, key) in enumerate(slots) if name == "at"}
    if in_at:
        columns["at"] = _at_words(pattern.at, in_at)
    return pa.Table.from_arrays([columns[name] for name in kinds], schema=schema())


def _at_words(at: dict[str, Any], numbers: dict[str, Any]) -> Any:
    """Return the coordinates of each line as texts; each distinct text is made once."""
    pa, np = package("pyarrow"), package("numpy")
    codes = np.zeros(len(next(iter(numbers.values()))), np.int64)
    for column in numbers.values():
        _, inverse = np.unique(column, return_inverse=True)
        _, codes = np.unique(codes * (inverse.max() + 1) + inverse, return_inverse=True)
    _, firsts = np.unique(codes, return_index=True)
    texts = [at_text({**at, **{key: float(column[first]) for key, column in numbers.items()}}) for first in firsts]
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(texts, pa.string()))
