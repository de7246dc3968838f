"""Lines of type `metrics` of other writers, or with texts that differ, parsed by pyarrow in one call."""

from __future__ import annotations

import re
from typing import Any

import orjson

from mlv.encoding import DEEPEST, TAG, is_too_deep, loads
from mlv.optional import package
from mlv.query.metrics.schema import EXACT, constant, coordinate, lists, schema

_LONG_INTEGER = re.compile(rb":-?\d{16,}[,}]")
_MOST_KEYS = 60  # the parser takes longer with each column, most of them empty


class NotPlain(ValueError):
    """The lines have to be read one by one."""


def parsed_at_once(block: bytes) -> list[Any]:
    """Parse whole lines into tables, one for each set of keys: 10,000 with texts that differ take 69 ms, one by one 137.

    Raises:
        NotPlain: A line needs a closer look.
    """
    pa = package("pyarrow")
    _refuse_unlike(block)
    table = table_of_lines(block, time=pa.timestamp("us", "UTC"), step=pa.float64())
    if set(table.column_names) - FIELDS:
        raise NotPlain
    return _by_keys(table, block)


FIELDS = frozenset({"run", "seq", "time", "type", "name", "step", "at", "data"})
"""Fields of a plain line of metrics."""


def table_of_lines(block: bytes, *, time: Any, step: Any) -> Any:
    """Parse whole lines of metrics into a table with a row for each and times and steps of these types.

    `data` is a struct with a field for each key of any line; pyarrow infers its types, and those of all other fields.

    Raises:
        NotPlain: A line is no event of type `metrics`, or needs a closer look, or a field has several types.
    """
    pa, pc = package("pyarrow"), package("pyarrow.compute")
    count, table = _count_objects(block), _parsed(block, time, step)
    if table.num_rows != count or "data" not in table.column_names or not pa.types.is_struct(table["data"].type):
        raise NotPlain
    if any(table[name].null_count for name in ("run", "seq", "time", "type", "data")):
        raise NotPlain
    if any(field.name.startswith(TAG) for field in table["data"].type):
        raise NotPlain
    if not pc.all(pc.equal(table["type"], "metrics")).as_py():
        raise NotPlain
    return table.combine_chunks()


def _parsed(block: bytes, time: Any, step: Any) -> Any:
    pa, pj = package("pyarrow"), package("pyarrow.json")
    field_types = pa.schema([
        ("run", pa.string()), ("seq", pa.int64()), ("time", time), ("type", pa.string()), ("name", pa.string()), ("step", step),
    ])  # fmt: skip
    try:
        if not block.isascii():
            block.decode()
        if has_deep_line(block):  # of which pyarrow would crash
            raise NotPlain
        return pj.read_json(
            pa.BufferReader(block),
            read_options=pj.ReadOptions(block_size=len(block) + 1, use_threads=False),
            parse_options=pj.ParseOptions(explicit_schema=field_types),
        )
    except (pa.ArrowException, UnicodeDecodeError):
        raise NotPlain from None


def has_deep_line(block: bytes) -> bool:
    """Return whether a line is nested more deeply than mlv stores.

    Only lines that are long, and have that many brackets, are checked one by one: to check each line takes an eighth of the
    time in which short ones are parsed.
    """
    np = package("numpy")
    signs = np.frombuffer(block, np.uint8)
    ends = np.append(np.flatnonzero(signs == ord("\n")), len(signs))
    begins = np.append(0, ends[:-1] + 1)
    if (ends - begins).max() <= 2 * DEEPEST:  # a bracket is opened and closed
        return False
    brackets = np.flatnonzero(signs | 0x20 == ord("{"))  # `[` differs from `{` in this bit
    counts = np.searchsorted(brackets, ends) - np.searchsorted(brackets, begins)
    are_many = counts > DEEPEST
    return any(is_too_deep(block[begin:end]) for begin, end in zip(begins[are_many], ends[are_many], strict=True))


def _count_objects(block: bytes) -> int:
    """Count lines, each of which begins and ends as an object: halves of damaged ones cannot make up a whole one.

    Raises:
        NotPlain: A line does not.
    """
    np = package("numpy")
    signs = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(signs == ord("\n"))
    if not len(ends) or ends[-1] != len(signs) - 1 or not block.startswith(b"{"):
        raise NotPlain
    if (signs[ends - 1] != ord("}")).any() or (signs[ends[:-1] + 1] != ord("{")).any():
        raise NotPlain
    return len(ends)


def _refuse_unlike(block: bytes) -> None:
    """Check some of the lines: if they are of other types, or have few keys in common, a table of them is of no use."""
    keys: set[str] = set()
    for position in range(0, len(block), len(block) // 32 + 1):
        begin = block.rfind(b"\n", 0, position) + 1
        try:
            fields = loads(block[begin : block.find(b"\n", begin)])
            keys.update(fields["data"])
        except (ValueError, KeyError, TypeError):
            raise NotPlain from None
        if fields.get("type") != "metrics" or len(keys) > _MOST_KEYS:
            raise NotPlain


def _by_keys(table: Any, block: bytes) -> list[Any]:
    """Split a parsed block into tables: the numbers of lines with the same keys become the rows of one matrix."""
    pa, np = package("pyarrow"), package("numpy")
    data = combined(table["data"])
    names = [field.name for field in data.type]
    children = [_numbers(child, block) for child in data.flatten()]
    if len(names) > _MOST_KEYS:
        raise NotPlain
    common = _common(table)
    has_gaps = any(child.null_count for child in (*children, *_fields(table, "at")))
    if has_gaps and b"null" in block:
        raise NotPlain  # a key that is absent, and one that is null, look the same by now
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
        present = [number for number in range(len(names)) if int(shape) >> number & 1]
        values = np.empty((len(of_shape), len(present)))
        for column, number in enumerate(present):
            numbers = children[number].to_numpy(zero_copy_only=False)
            values[:, column] = numbers if is_all else numbers[of_shape]
        keys = orjson.dumps([names[number] for number in present]).decode()
        rows = common if is_all else [column.take(pa.array(of_shape)) for column in common]
        tables.append(_shaped(rows, keys, values))
    return tables


def _fields(table: Any, name: str) -> list[Any]:
    return list(combined(table[name]).flatten()) if name in table.column_names else []


def combined(column: Any) -> Any:
    """Return the chunks of a column as one array."""
    pa = package("pyarrow")
    chunks = column.chunks
    return chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks) if chunks else pa.array([], column.type)


def _numbers(child: Any, block: bytes) -> Any:
    """Return the numbers of one key as floats.

    Raises:
        NotPlain: There are other values among them, or numbers that floats do not hold.
    """
    pa, pc, np = package("pyarrow"), package("pyarrow.compute"), package("numpy")
    if not (pa.types.is_int64(child.type) or pa.types.is_float64(child.type)):
        raise NotPlain
    numbers = pc.cast(child, pa.float64(), safe=False)
    ends = pc.min_max(numbers).as_py()
    low, high = ends["min"] or 0.0, ends["max"] or 0.0
    if not np.isfinite(low + high) or (numbers.null_count < len(numbers) and pc.any(pc.is_nan(numbers)).as_py()):
        raise NotPlain  # written by others: mlv has another form for them
    if max(-low, high) >= EXACT and _LONG_INTEGER.search(block):
        raise NotPlain
    return numbers


def _common(table: Any) -> list[Any]:
    """Return the columns that precede `keys` in `schema()`."""
    pa, pc = package("pyarrow"), package("pyarrow.compute")
    at = combined(table["at"]) if "at" in table.column_names else None
    step = combined(table["step"])
    bounds = pc.min_max(step).as_py()
    # A float would round them: such lines are read one by one.
    if max(-(bounds["min"] or 0), bounds["max"] or 0) >= EXACT:
        raise NotPlain
    return [
        combined(table["run"]).dictionary_encode(), combined(table["seq"]), combined(table["time"]), step,
        pa.nulls(table.num_rows, pa.string()), pc.fill_null(combined(table["name"]), "").dictionary_encode(),
        (pa.nulls(table.num_rows, pa.string()) if at is None else _at_texts(at)).dictionary_encode(),
    ]  # fmt: skip


def _at_texts(at: Any) -> Any:
    """Return the JSON of coordinates, each different value written once."""
    pa, pc = package("pyarrow"), package("pyarrow.compute")
    if not pa.types.is_struct(at.type) or at.type.num_fields == 0:
        raise NotPlain
    names = (at.type.field(i).name for i in range(at.type.num_fields))
    fields = sorted(zip(names, at.flatten(), strict=True), key=lambda pair: pair[0])
    members = []
    for name, child in fields:
        if name.startswith(TAG) or child.type not in (pa.int64(), pa.float64(), pa.string(), pa.bool_()):
            raise NotPlain
        # Each different coordinate becomes text once; there are few, and a million lines.
        words = child.dictionary_encode()
        values = words.dictionary.to_pylist()
        if any(isinstance(value, (int, float)) and not abs(value) < EXACT for value in values):
            raise NotPlain
        texts = [f",{orjson.dumps(name).decode()}:{orjson.dumps(coordinate(value)).decode()}" for value in values]
        members.append(pc.fill_null(pa.array(texts, pa.string()).take(words.indices), ""))
    joined = pc.binary_join_element_wise("{", *members, "}", "")
    objects = pc.replace_substring(joined, "{,", "{", max_replacements=1)
    return pc.if_else(pc.equal(objects, "{}"), pa.scalar(None, pa.string()), objects)


def _shaped(common: list[Any], keys: str, values: Any) -> Any:
    words = [constant("keys", keys, len(values)), lists(values), constant("texts", None, len(values))]
    return package("pyarrow").Table.from_arrays([*common, *words], schema=schema())
