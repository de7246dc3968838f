"""The rows that lines become: columns of numbers and codes, which many experiments share until a file of them is written."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from mlv import wire
from mlv.encoding import BadLine, event_from_line, loads
from mlv.events import Event, Rewound
from mlv.lake.columns import schemas
from mlv.optional import package
from mlv.query.metrics.long_table import full_names
from mlv.query.metrics.parse import BLOCK_BYTES, parse_block, parse_unlike
from mlv.query.metrics.parse_template import parse_alike
from mlv.query.metrics.schema import EXACT, constant, json_text
from mlv.query.sql.arrow import nearest_float
from mlv.query.sql.views import event_values, file_values, fitted
from mlv.state import fold
from mlv.store.streams import Skipped


class Codes:
    """Texts by number: each is held once."""

    def __init__(self) -> None:
        self._numbers: dict[str | None, int] = {}

    def __call__(self, text: str | None) -> int:
        """Return the number of a text; None has one as well."""
        return self._numbers.setdefault(text, len(self._numbers))

    def of(self, texts: Iterable[str | None]) -> Any:
        """Return the numbers of texts as an array."""
        return package("numpy").array([self(text) for text in texts], "i4")

    def ranks(self) -> Any:
        """Return for each number the rank of its text in their order."""
        np = package("numpy")
        order = sorted(range(len(self._numbers)), key=[text or "" for text in self._numbers].__getitem__)
        ranks: Any = np.empty(len(order), np.int64)
        ranks[order] = np.arange(len(order))
        return ranks

    def column(self, codes: Any) -> Any:
        """Return the texts of numbers as a column, each text in memory once."""
        pa, texts = package("pyarrow"), list(self._numbers)
        mask = None
        if None in self._numbers:
            mask = codes == self._numbers[None]
            texts[self._numbers[None]] = ""
        return pa.DictionaryArray.from_arrays(pa.array(codes, mask=mask), pa.array(texts, pa.string()))


_CODED = ("exp", "stream", "run", "name", "at")
_PLAIN = {"seq": "i8", "time": "i8", "step": "f8", "value": "f8"}


class MetricRows:
    """Values of metrics of some experiments, which come in the order of their IDs."""

    def __init__(self) -> None:
        self._codes = {name: Codes() for name in _CODED}
        self._chunks: dict[str, list[Any]] = {name: [] for name in (*_CODED, *_PLAIN, "no_step", "no_value")}
        self._texts: list[tuple[int, str]] = []
        self._step_texts: list[tuple[int, str]] = []
        self.count = 0

    def add(self, exp: str, stream: str, table: Any) -> None:
        """Add the values of the lines of a table of `mlv.query.metrics.schema`."""
        pa, np = package("pyarrow"), package("numpy")
        for batch in table.to_batches():
            lists = batch["values"]
            widths = np.diff(np.asarray(lists.offsets))
            parents = np.repeat(np.arange(len(widths)), widths)
            values, step = lists.flatten(), batch["step"]
            size = len(values)
            own = {
                "exp": np.broadcast_to(np.int32(self._codes["exp"](exp)), size),
                "stream": np.broadcast_to(np.int32(self._codes["stream"](stream)), size),
                "run": self._recoded("run", batch["run"])[parents],
                "at": self._recoded("at", batch["at"])[parents],
                "name": self._names(batch, widths),
                "seq": batch["seq"].to_numpy()[parents],
                "time": batch["time"].view(pa.int64()).to_numpy()[parents],
                "step": step.to_numpy(zero_copy_only=False)[parents],
                "no_step": np.asarray(step.is_null())[parents] if step.null_count else np.broadcast_to(False, size),
                "value": values.to_numpy(zero_copy_only=False),
                "no_value": np.asarray(values.is_null()) if values.null_count else np.broadcast_to(False, size),
            }
            for name, array in own.items():
                self._chunks[name].append(array)
            self._note_texts(batch, widths, parents)
            self.count += size

    def _note_texts(self, batch: Any, widths: Any, parents: Any) -> None:
        np = package("numpy")
        if batch["texts"].null_count < len(batch):
            starts = self.count + np.cumsum(widths) - widths
            for row in np.flatnonzero(np.asarray(batch["texts"].is_valid())):
                texts = enumerate(batch["texts"][int(row)].as_py(), int(starts[row]))
                self._texts += [(number, text) for number, text in texts if text is not None]
        if batch["step_text"].null_count < len(batch):
            texts = batch["step_text"].to_pylist()
            steps = enumerate((texts[row] for row in parents), self.count)
            self._step_texts += [(number, text) for number, text in steps if text is not None]

    def _recoded(self, name: str, words: Any) -> Any:
        """Return the numbers of words, which have numbers of their own in each table."""
        np = package("numpy")
        codes = self._codes[name].of(words.dictionary.to_pylist() + ([None] if words.null_count else []))
        return codes[np.asarray(words.indices.fill_null(len(codes) - 1) if words.null_count else words.indices)]

    def _names(self, batch: Any, widths: Any) -> Any:
        """Return the number of the full name of each value; each pair of a name and keys is put together once."""
        np = package("numpy")
        prefix, keys = batch["name"], batch["keys"]
        prefixes, all_keys = prefix.dictionary.to_pylist(), keys.dictionary.to_pylist()
        if len(prefixes) == len(all_keys) == 1:
            return np.tile(self._codes["name"].of(full_names(prefixes[0], all_keys[0])), len(widths))
        pairs = np.asarray(prefix.indices).astype(np.int64) * len(all_keys) + np.asarray(keys.indices)
        distinct, inverse = np.unique(pairs, return_inverse=True)
        codes = [
            self._codes["name"].of(full_names(prefixes[pair // len(all_keys)], all_keys[pair % len(all_keys)]))
            for pair in distinct.tolist()
        ]
        flat = np.concatenate(codes)
        firsts = np.cumsum([len(own) for own in codes]) - [len(own) for own in codes]
        within = np.arange(int(widths.sum())) - np.repeat(np.cumsum(widths) - widths, widths)
        return flat[np.repeat(firsts[inverse], widths) + within]

    def table(self) -> Any:
        """Return all rows, sorted by name, experiment and step."""
        pa, np = package("pyarrow"), package("numpy")
        schema = schemas()["metrics"]
        if not self.count:
            return schema.empty_table().drop_columns(["month"])
        arrays = {name: np.concatenate(chunks) for name, chunks in self._chunks.items()}
        order = self._order(arrays)
        arrays = {name: array[order] for name, array in arrays.items()}
        columns = {name: self._codes[name].column(arrays[name]) for name in _CODED}
        columns["seq"] = pa.array(arrays["seq"])
        columns["time"] = pa.array(arrays["time"]).view(pa.timestamp("us", "UTC"))
        for name in ("step", "value"):
            is_null = arrays[f"no_{name}"]
            columns[name] = pa.array(arrays[name], mask=is_null if is_null.any() else None)
        for name, texts in (("text", self._texts), ("step_text", self._step_texts)):
            columns[name] = self._sparse(texts, order)
        names = [name for name in schema.names if name != "month"]
        return pa.table([columns[name] for name in names], names=names)

    def _order(self, arrays: dict[str, Any]) -> Any:
        np = package("numpy")
        names, exps = self._codes["name"].ranks()[arrays["name"]], self._codes["exp"].ranks()[arrays["exp"]]
        # Stable, and of small numbers a radix sort: 3 million rows take 0.1 s, by three keys 1.2.
        order = np.argsort(names.astype(np.uint16) if len(self._codes["name"].ranks()) < 1 << 16 else names, kind="stable")
        step = np.where(arrays["no_step"], -np.inf, arrays["step"])[order]
        is_same = (names[order][1:] == names[order][:-1]) & (exps[order][1:] == exps[order][:-1])
        if (exps[order][1:] < exps[order][:-1])[names[order][1:] == names[order][:-1]].any() or (step[1:] < step[:-1])[
            is_same
        ].any():
            order = np.lexsort((np.where(arrays["no_step"], -np.inf, arrays["step"]), exps, names))
        return order

    def _sparse(self, texts: list[tuple[int, str]], order: Any) -> Any:
        pa, np = package("pyarrow"), package("numpy")
        if not texts:
            return pa.nulls(self.count, pa.string())
        column = np.full(self.count, None, object)
        for row, text in texts:
            column[row] = text
        return pa.array(column[order], pa.string())


class LineRows:
    """Rows of `events`, `files` and `rewinds`."""

    def __init__(self) -> None:
        self._rows: dict[str, list[tuple[Any, ...]]] = {"events": [], "files": [], "rewinds": []}

    def add(self, exp: str, stream: str, lines: Iterable[bytes]) -> None:
        """Add the events in lines; those that are none are passed over."""
        for line in lines:
            try:
                event = event_from_line(line, stream)
                fields = loads(line)
            except (BadLine, ValueError):
                continue
            step_text = _step_text(event.step)
            values = event_values(stream, fields, event.time)
            if event.type != "metrics":
                self._rows["events"].append((exp, *values[:7], step_text, *values[7:]))
            if wire.TO_FILE in line:
                self._rows["files"] += [(exp, *file) for file in file_values(stream, fields, event.time)]
            if event.type == Rewound.TYPE:
                self._rows["rewinds"] += _rewinds(exp, event)

    def tables(self) -> Iterator[tuple[str, Any]]:
        """Yield the name and the rows of each table."""
        pa = package("pyarrow")
        for name, rows in self._rows.items():
            schema = schemas()[name].remove(schemas()[name].get_field_index("month"))
            cells = list(zip(*rows, strict=True)) or [()] * len(schema)
            yield (
                name,
                pa.table(
                    [fitted(list(values), field.type) for values, field in zip(cells, schema, strict=True)], schema=schema
                ),
            )


def _step_text(step: Any) -> str | None:
    """Return the JSON of a step that no float holds exactly."""
    is_float = type(step) is float or (type(step) is int and abs(step) <= EXACT)
    return None if step is None or is_float else json_text(step)


def _rewinds(exp: str, event: Event) -> Iterator[tuple[Any, ...]]:
    for rewind in fold([event]).rewinds:
        for run, seq in rewind.last.items():
            step = nearest_float(rewind.step)
            yield exp, event.run, event.seq, event.time, step, json_text(rewind.step), run, seq


class RowBlock(NamedTuple):
    """Whole lines of one log."""

    stream: str
    content: bytes


class ParsedBlock(NamedTuple):
    """The lines of a block."""

    tables: list[Any]
    """Of its metrics, as `mlv.query.metrics.schema` has them."""
    unlike: list[bytes]
    """All lines of other types, and some that are like no others."""


def parse_together(blocks: Sequence[RowBlock]) -> list[ParsedBlock]:
    """Parse blocks of several experiments.

    The lines of a sweep differ only in their runs and numbers. Under one run they are parsed in one go: 1,000 experiments of
    1,000 lines take 0.6 s, and one by one 1.4.
    """
    runs = [_only_run(block.content) for block in blocks]
    if len(blocks) > 1 and None not in runs and len({len(run or b"") for run in runs}) == 1:
        together = _parsed_at_once(blocks, [run or b"" for run in runs])
        if together is not None:
            return together
    return [_parsed_alone(block) for block in blocks]


def _only_run(content: bytes) -> bytes | None:
    """Return the beginning of each line, which names the run; None where several runs wrote them, or somebody else."""
    who = wire.run_and_seq(content[: content.find(b"\n") + 1])
    if who is None or not who[0].isascii():
        return None
    begin = b'\n{"run":"%s",' % who[0]
    return begin if content.count(begin) + 1 == content.count(b"\n") else None


def _parsed_at_once(blocks: Sequence[RowBlock], begins: Sequence[bytes]) -> list[ParsedBlock] | None:
    """Parse blocks of one run each under the run of the first; None where their lines are not alike."""
    # At the beginning of lines alone: in the data the same text may stand.
    contents = [(b"\n" + block.content).replace(own, begins[0])[1:] for block, own in zip(blocks, begins, strict=True)]
    tables, remaining = parse_alike(b"".join(contents))
    if len(tables) != 1:
        return None
    starts = [0, *accumulate(map(len, contents))]
    unlike: list[list[tuple[int, bytes]]] = [[] for _ in blocks]
    for position, line in remaining:
        number = bisect_right(starts, position) - 1
        offset = position - starts[number]
        unlike[number].append((offset, blocks[number].content[offset : offset + len(line)]))
    parsed, row = [], 0
    for block, begin, own in zip(blocks, begins, unlike, strict=True):
        count = block.content.count(b"\n") - len(own)
        run = constant("run", begin[len(b'\n{"run":"') : -2].decode(), count)
        table = tables[0].slice(row, count)
        row += count
        likes = [table.set_column(0, table.schema.field(0), run)] if count else []
        parsed.append(ParsedBlock([*likes, *parse_unlike(own, 0, block.stream, [])], [line for _, line in own]))
    return parsed


def _parsed_alone(block: RowBlock) -> ParsedBlock:
    tables: list[Any] = []
    unlike: list[tuple[int, bytes]] = []
    for start, end in _cuts(block.content):
        skipped: list[Skipped] = []
        tables += parse_block(block.content[start:end], start, block.stream, skipped, unlike=unlike)
    return ParsedBlock(tables, [line for _, line in unlike])


def _cuts(block: bytes) -> Sequence[tuple[int, int]]:
    """Return the begins and ends of shorter blocks of whole lines."""
    cuts, start = [], 0
    while start < len(block):
        end = len(block) if len(block) - start <= BLOCK_BYTES else block.find(b"\n", start + BLOCK_BYTES) + 1 or len(block)
        cuts.append((start, end))
        start = end
    return cuts
