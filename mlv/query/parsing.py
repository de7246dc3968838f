"""Lines of type `metrics` as Arrow columns: parsed in blocks by pyarrow where all is plain, one by one where it is not."""

from __future__ import annotations

import hashlib
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import orjson

from mlv.encoding import TAG, BadLine, Conversion, event_from_line, restored
from mlv.events import Event
from mlv.query.packages import package
from mlv.store import layout
from mlv.store.reading import looks_whole, type_filter
from mlv.store.streams import Skipped

T = TypeVar("T")
R = TypeVar("R")

EXACT = 2**53
"""Up to here a float holds every integer."""

_BLOCK = 2 << 20
_THREADS = min(4, os.cpu_count() or 1)
_MARK = b'"type":"metrics"'
_ODD = (b"null", b'"' + TAG.encode())
"""What stands in lines that have to be read one by one: a number that JSON lacks, and an object that stands for another."""
_LONG_INTEGER = re.compile(rb":-?\d{16,}[,}]")
_MOST_KEYS = 60
_is_metrics = type_filter(("metrics",))


@dataclass(frozen=True)
class Parsed:
    """What a piece of a stream holds."""

    tables: list[Any]
    """Tables of `schema()`: a row for each line of type `metrics`. Plain lines come before the others."""
    unended: list[Any]
    """That of a last line which lacks nothing but its newline."""
    skipped: list[Skipped]
    start: int
    end: int
    """Offset behind the last whole line."""
    sha256: str
    """Of the bytes from `start` to `end`."""


def schema() -> Any:
    """The columns: `keys` is the JSON list of the names in `data`, `values` and `texts` have an item for each of them.

    A value that is no number is null in `values`, and JSON in `texts`; so is an integer that a float cannot hold, beside the
    nearest float. Where all values are numbers, `texts` is null. A step that is no float is JSON in `step_text`; `at` is the
    JSON of the coordinates with sorted keys, null if there are none.
    """
    pa = package("pyarrow")
    word = pa.dictionary(pa.int32(), pa.string())
    return pa.schema([
        ("run", word), ("seq", pa.int64()), ("time", pa.timestamp("us", "UTC")), ("step", pa.float64()),
        ("step_text", pa.string()), ("name", word), ("at", word), ("keys", word),
        ("values", pa.list_(pa.float64())), ("texts", pa.list_(pa.string())),
    ])  # fmt: skip


def parse(folder: Path, stream: str, offset: int = 0) -> Iterator[Parsed]:
    """Read the lines of type `metrics` of one stream, from an offset on, in pieces; a stream that is gone has none."""

    def parsed(piece: tuple[int, bytes]) -> Parsed:
        start, block = piece
        skipped: list[Skipped] = []
        end = block.rfind(b"\n") + 1
        whole, last = (block, b"") if end == len(block) else (block[:end], block[end:])
        tables = parse_block(whole, start, stream, skipped) if whole else []
        unended = parse_block(last, start + end, stream, skipped) if last else []
        return Parsed(tables, unended, skipped, start, start + end, hashlib.sha256(whole).hexdigest())

    with suppress(FileNotFoundError):
        yield from in_threads(parsed, _blocks(folder / layout.stream_file(stream), offset))


def parse_block(block: bytes, start: int, stream: str, skipped: list[Skipped]) -> list[Any]:
    """The tables of some lines; what is no event is added to `skipped`."""
    begin, end = _middle(block)
    with suppress(_NotPlain):
        tables = _parsed_at_once(block[begin:end]) if begin < end else []
        ends = [*_that_matter(block[:begin], 0), *_that_matter(block[end:], end)]
        rows = [_row(event) for event in _events(ends, start, stream, skipped)]
        return [*tables, _table(rows)] if rows else tables
    plain, others = _sorted_out(block)
    tables = []
    if plain:
        try:
            tables += _parsed_at_once(plain)
        except _NotPlain:
            others = _lines(block)
    rows = [_row(event) for event in _events(others, start, stream, skipped)]
    return [*tables, _table(rows)] if rows else tables


def parse_slowly(block: bytes, start: int, stream: str, skipped: list[Skipped]) -> list[Any]:
    """As `parse_block`, one line after the other: what that must equal."""
    return [_table([_row(event) for event in _events(_lines(block), start, stream, skipped)])]


def in_threads(work: Callable[[T], R], pieces: Iterable[T]) -> Iterator[R]:
    """The results in the order of the pieces, of which only a few are in memory at a time."""
    pieces = iter(pieces)
    first = list(islice(pieces, 2))
    if len(first) < 2:  # a short log is read before a thread has begun
        yield from map(work, first)
        return
    from concurrent.futures import Future, ThreadPoolExecutor  # `import mlv` does without

    with ThreadPoolExecutor(_THREADS) as pool:
        waiting: deque[Future[R]] = deque()
        for piece in chain(first, pieces):
            waiting.append(pool.submit(work, piece))
            if len(waiting) > _THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _blocks(path: Path, offset: int) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of pieces that end with whole lines, but for the last one."""
    with open(path, "rb") as file:
        file.seek(offset)
        while block := file.read(_BLOCK):
            if not block.endswith(b"\n"):
                block += file.readline()
            yield offset, block
            if not block.endswith(b"\n"):
                return  # what was appended since belongs to this line
            offset += len(block)


def _lines(block: bytes) -> list[tuple[int, bytes]]:
    found, position = [], 0
    for line in BytesIO(block):
        found.append((position, line))
        position += len(line)
    return found


def _middle(block: bytes) -> tuple[int, int]:
    """Where the lines of metrics begin and end: what tells of a run's beginning and end mostly stands around them."""
    begin, end = 0, len(block)
    while begin < end:
        stop = block.find(b"\n", begin) + 1 or end
        if _MARK in block[begin:stop]:
            break
        begin = stop
    while begin < end:
        first = max(begin, block.rfind(b"\n", begin, end - 1) + 1)
        if _MARK in block[first:end] and block.endswith(b"}\n", first, end):
            break
        end = first
    return begin, end


def _that_matter(lines: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of the lines that hold metrics, or are damaged."""
    for position, line in _lines(lines):
        if _is_metrics(line) or not looks_whole(line):
            yield offset + position, line


def _sorted_out(block: bytes) -> tuple[bytes, list[tuple[int, bytes]]]:
    """The lines that are plain in all likelihood, in one piece, and offset and bytes of the others that matter."""
    plain, others = [], []
    for position, line in _lines(block):
        if _MARK in line and line.endswith(b"}\n") and not any(odd in line for odd in _ODD):
            plain.append(line)
        elif _is_metrics(line) or not looks_whole(line):
            others.append((position, line))
    return b"".join(plain), others


def _events(lines: Iterable[tuple[int, bytes]], start: int, stream: str, skipped: list[Skipped]) -> Iterator[Event]:
    for position, line in lines:
        first = start + position
        try:
            event = event_from_line(line, layout.logical_stream(stream))
        except BadLine as error:
            reason = str(error) if line.endswith(b"\n") else "half a line: it is being written, or was cut off"
            skipped.append(Skipped(stream, first, first + len(line), reason))
            continue
        if event.type == "metrics" and isinstance(event.data, dict):
            yield event


def _row(event: Event) -> tuple[Any, ...]:
    step, step_text = _number_and_text(event.step) if event.step is not None else (None, None)
    pairs = [_number_and_text(value) for value in event.data.values()]
    texts = [text for _, text in pairs]
    return (
        event.run, event.seq, event.time, step, step_text, event.name, _at_text(event.at),
        orjson.dumps(list(event.data)).decode(), [number for number, _ in pairs], texts if any(texts) else None,
    )  # fmt: skip


def _number_and_text(value: Any) -> tuple[float | None, str | None]:
    """The nearest float, None for what is no number; its JSON, None where the float says all."""
    if type(value) is float:
        return value, None
    if type(value) is not int:
        return None, json_text(value)
    try:
        number = float(value)
    except OverflowError:
        number = float("inf") if value > 0 else float("-inf")
    return number, None if abs(value) <= EXACT else json_text(value)


def json_text(value: Any) -> str:
    """The JSON of a value as it was logged; `from_json_text` gives the value back."""
    conversion = Conversion()
    form = conversion.value(value)
    tagged = restored(form, conversion.nonfinite, lambda text: {TAG: "float", "value": text}) if conversion.nonfinite else form
    return orjson.dumps(tagged).decode()


def from_json_text(text: str) -> Any:
    """The value that `json_text` was given."""
    return _with_floats(restored(orjson.loads(text), {}))


def _with_floats(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_floats(item) for item in value]
    if isinstance(value, dict) and value.get(TAG) == "float":
        return float(value["value"])
    return {key: _with_floats(item) for key, item in value.items()} if type(value) is dict else value


def _at_text(at: Any) -> str | None:
    if not at:
        return None
    form = Conversion().value({key: _coordinate(value) for key, value in at.items()})
    return orjson.dumps(form, option=orjson.OPT_SORT_KEYS).decode()


def _coordinate(value: Any) -> Any:
    """3.0 as 3, so that equal coordinates have the same text."""
    return int(value) if type(value) is float and value.is_integer() and abs(value) <= EXACT else value


def _table(rows: list[tuple[Any, ...]]) -> Any:
    pa = package("pyarrow")
    columns = list(zip(*rows, strict=True)) or [()] * len(schema())
    arrays = []
    for column, kind in zip(columns, schema(), strict=True):
        is_word = pa.types.is_dictionary(kind.type)
        plain = pa.array(column, kind.type.value_type if is_word else kind.type)
        arrays.append(plain.dictionary_encode() if is_word else plain)
    return pa.Table.from_arrays(arrays, schema=schema())


class _NotPlain(ValueError):
    """Lines that have to be read one by one."""


def _parsed_at_once(block: bytes) -> list[Any]:
    """Tables of whole lines, one for each set of keys.

    Raises:
        _NotPlain: There is something in them that needs a closer look.
    """
    pa, pj = package("pyarrow"), package("pyarrow.json")
    count = _count_objects(block)
    _refuse_unlike(block)
    known = pa.schema([
        ("run", pa.string()), ("seq", pa.int64()), ("time", pa.timestamp("us", "UTC")), ("type", pa.string()),
        ("name", pa.string()), ("step", pa.float64()),
    ])  # fmt: skip
    try:
        if not block.isascii():
            block.decode()
        table = pj.read_json(
            pa.BufferReader(block),
            read_options=pj.ReadOptions(block_size=len(block) + 1, use_threads=False),
            parse_options=pj.ParseOptions(explicit_schema=known),
        )
    except (pa.ArrowException, UnicodeDecodeError):
        raise _NotPlain from None
    if table.num_rows != count or set(table.column_names) - {*known.names, "at", "data"}:
        raise _NotPlain
    return _by_keys(table.combine_chunks(), block)


def _count_objects(block: bytes) -> int:
    """The number of lines, each of which begins and ends as an object: halves of damaged ones cannot make up a whole one.

    Raises:
        _NotPlain: One does not.
    """
    np = package("numpy")
    signs = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(signs == ord("\n"))
    if not len(ends) or ends[-1] != len(signs) - 1 or not block.startswith(b"{"):
        raise _NotPlain
    if (signs[ends - 1] != ord("}")).any() or (signs[ends[:-1] + 1] != ord("{")).any():
        raise _NotPlain
    return len(ends)


def _refuse_unlike(block: bytes) -> None:
    """Look at some of the lines: if they are of other types, or have few keys in common, a table of them is of no use."""
    keys: set[str] = set()
    for position in range(0, len(block), len(block) // 32 + 1):
        begin = block.rfind(b"\n", 0, position) + 1
        try:
            fields = orjson.loads(block[begin : block.find(b"\n", begin)])
            keys.update(fields["data"])
        except (ValueError, KeyError, TypeError):
            raise _NotPlain from None
        if fields.get("type") != "metrics" or len(keys) > _MOST_KEYS:
            raise _NotPlain


def _by_keys(table: Any, block: bytes) -> list[Any]:
    """The tables of a parsed block: the numbers of lines with the same keys lie in rows of one matrix."""
    pa, pc, np = package("pyarrow"), package("pyarrow.compute"), package("numpy")
    if "data" not in table.column_names or not pa.types.is_struct(table["data"].type):
        raise _NotPlain
    data = _one(table["data"])
    names = [data.type.field(i).name for i in range(data.type.num_fields)]
    if any(name.startswith(TAG) for name in names):
        raise _NotPlain
    children = [_numbers(child, block) for child in data.flatten()]
    if data.null_count or any(table[name].null_count for name in ("run", "seq", "time", "type")) or len(names) > _MOST_KEYS:
        raise _NotPlain
    if not pc.all(pc.equal(table["type"], "metrics")).as_py():
        raise _NotPlain
    common = _common(table)
    has_gaps = any(child.null_count for child in (*children, *_fields(table, "at")))
    if has_gaps and b"null" in block:
        raise _NotPlain  # a key that is absent, and one that is null, look the same by now
    shapes = np.zeros(table.num_rows, np.uint64)
    for number, child in enumerate(children):
        if child.null_count:
            shapes |= np.asarray(child.is_valid()).astype(np.uint64) << np.uint64(number)
        else:
            shapes |= np.uint64(1 << number)
    tables = []
    for shape in np.unique(shapes):
        of_shape = np.flatnonzero(shapes == shape)
        is_all = len(of_shape) == len(shapes)
        there = [number for number in range(len(names)) if int(shape) >> number & 1]
        values = np.empty((len(of_shape), len(there)))
        for column, number in enumerate(there):
            numbers = children[number].to_numpy(zero_copy_only=False)
            values[:, column] = numbers if is_all else numbers[of_shape]
        keys = orjson.dumps([names[number] for number in there]).decode()
        rows = common if is_all else [column.take(pa.array(of_shape)) for column in common]
        tables.append(_shaped(rows, keys, values))
    return tables


def _fields(table: Any, name: str) -> list[Any]:
    return list(_one(table[name]).flatten()) if name in table.column_names else []


def _one(column: Any) -> Any:
    """A column in one piece."""
    pa = package("pyarrow")
    chunks = column.chunks
    return chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks) if chunks else pa.array([], column.type)


def _numbers(child: Any, block: bytes) -> Any:
    """The numbers of one key as floats.

    Raises:
        _NotPlain: There are other values among them, or such as floats do not hold.
    """
    pa, pc, np = package("pyarrow"), package("pyarrow.compute"), package("numpy")
    if not (pa.types.is_int64(child.type) or pa.types.is_float64(child.type)):
        raise _NotPlain
    numbers = pc.cast(child, pa.float64(), safe=False)
    ends = pc.min_max(numbers).as_py()
    low, high = ends["min"] or 0.0, ends["max"] or 0.0
    if not np.isfinite(low + high) or (numbers.null_count < len(numbers) and pc.any(pc.is_nan(numbers)).as_py()):
        raise _NotPlain  # written by others: mlv has another form for them
    if max(-low, high) >= EXACT and _LONG_INTEGER.search(block):
        raise _NotPlain
    return numbers


def _common(table: Any) -> list[Any]:
    """The columns before `keys`, as `schema()` has them."""
    pa, pc = package("pyarrow"), package("pyarrow.compute")
    at = _one(table["at"]) if "at" in table.column_names else None
    step = _one(table["step"])
    bounds = pc.min_max(step).as_py()
    if max(-(bounds["min"] or 0), bounds["max"] or 0) >= EXACT:
        raise _NotPlain
    return [
        _one(table["run"]).dictionary_encode(), _one(table["seq"]), _one(table["time"]), step,
        pa.nulls(table.num_rows, pa.string()), pc.fill_null(_one(table["name"]), "").dictionary_encode(),
        (pa.nulls(table.num_rows, pa.string()) if at is None else _at_texts(at)).dictionary_encode(),
    ]  # fmt: skip


def _at_texts(at: Any) -> Any:
    """The JSON of coordinates, each different value written once."""
    pa, pc = package("pyarrow"), package("pyarrow.compute")
    if not pa.types.is_struct(at.type) or at.type.num_fields == 0:
        raise _NotPlain
    names = (at.type.field(i).name for i in range(at.type.num_fields))
    fields = sorted(zip(names, at.flatten(), strict=True), key=lambda pair: pair[0])
    parts = []
    for name, child in fields:
        if name.startswith(TAG) or child.type not in (pa.int64(), pa.float64(), pa.string(), pa.bool_()):
            raise _NotPlain
        words = child.dictionary_encode()
        values = words.dictionary.to_pylist()
        if any(isinstance(value, (int, float)) and not abs(value) < EXACT for value in values):
            raise _NotPlain
        texts = [f",{orjson.dumps(name).decode()}:{orjson.dumps(_coordinate(value)).decode()}" for value in values]
        parts.append(pc.fill_null(pa.array(texts, pa.string()).take(words.indices), ""))
    joined = pc.binary_join_element_wise("{", *parts, "}", "")
    objects = pc.replace_substring(joined, "{,", "{", max_replacements=1)
    return pc.if_else(pc.equal(objects, "{}"), pa.scalar(None, pa.string()), objects)


def _shaped(common: list[Any], keys: str, values: Any) -> Any:
    pa, np = package("pyarrow"), package("numpy")
    count, width = values.shape
    key_column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([keys]))
    offsets = pa.array(np.arange(count + 1, dtype=np.int32) * width)
    lists = pa.ListArray.from_arrays(offsets, pa.array(values.ravel()))
    texts = pa.nulls(count, pa.list_(pa.string()))
    return pa.Table.from_arrays([*common, key_column, lists, texts], schema=schema())
