"""A task of a plan: bytes of logs become Parquet files in the folders of tables; any worker may do it, and do it again."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

import orjson

from mlv.bucket.store import open_store
from mlv.digests import sha256
from mlv.errors import BucketError, MlvWarning
from mlv.lake import summaries
from mlv.lake.columns import BOUNDED, KEYED, schemas
from mlv.lake.plans import PlanEntry, Range
from mlv.lake.rows import LineRows, MetricRows, ParsedBlock, RowBlock, parse_together
from mlv.lake.sources import LogSource
from mlv.lake.survey import without_repeats
from mlv.notices import warn
from mlv.optional import package
from mlv.query.metrics.parse import BLOCK_BYTES
from mlv.store import layout
from mlv.store.meta import meta_of

GROUP_ROWS = 1 << 20
"""Rows of a group of a file: readers on object stores make a request for each column of each group."""
_SHORT_BYTES = 1 << 16
_DELTA = ("seq", "time")
"""Columns whose numbers are stored as differences."""


@dataclass(frozen=True)
class Task:
    """What a worker needs to know."""

    source: LogSource
    url: str
    """Of the lake's root."""
    plan: int
    number: int
    entries: tuple[PlanEntry, ...]
    now: datetime
    by_driver: bool = False
    """Whether the rows go to the driver, as they replace others."""


@dataclass(frozen=True)
class NewFile:
    """A file that a task wrote into a table's folder."""

    path: str
    """From the folder of the table."""
    size: int
    rows: int
    month: str
    stats: str
    """JSON, as Delta has it."""


@dataclass
class TaskResult:
    """What a task made."""

    files: dict[str, list[NewFile]] = field(default_factory=dict)
    tables: dict[str, list[bytes]] = field(default_factory=dict)
    """Rows that the driver writes, as streams of Arrow."""
    gone: list[str] = field(default_factory=list)
    """Paths of experiments whose bytes are no longer what was planned: the next plan replaces their rows."""


def run_task(task: Task) -> TaskResult:
    """Make the rows of a task."""
    result = TaskResult()
    rows: summaries.Rows = {}
    entries = sorted(task.entries, key=lambda entry: (entry.month, entry.exp, entry.path))
    for month, of_month in groupby(entries, key=lambda entry: entry.month):
        metrics, lines = MetricRows(), LineRows()
        for batch in _batches(task.source, of_month, result):
            parsed = iter(parse_together([block for _, blocks in batch for block in blocks or ()]))
            for entry, blocks in batch:
                tables = None if blocks is None else _add(entry, blocks, parsed, metrics, lines)
                if entry.is_summarized:
                    _summarize(task, entry, tables, rows)
        for name, table in (("metrics", metrics.table()), *lines.tables()):
            if table.num_rows:
                _put(task, result, name, month, table)
    for name in KEYED:
        if rows.get(name):
            result.tables.setdefault(name, []).append(to_bytes(summaries.table_of(name, rows[name])))
    return result


Read = tuple[PlanEntry, list[RowBlock] | None]
"""An entry and its lines; None where its bytes are not what was planned."""


def _batches(source: LogSource, entries: Iterable[PlanEntry], result: TaskResult) -> Iterator[list[Read]]:
    """Yield entries with their lines, so many together as are parsed in one go."""
    batch: list[Read] = []
    size = 0
    for entry in entries:
        blocks = blocks_of(source, entry)
        if blocks is None:
            result.gone.append(entry.path)
        batch.append((entry, blocks))
        size += entry.size
        if size >= BLOCK_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def blocks_of(source: LogSource, entry: PlanEntry) -> list[RowBlock] | None:
    """Return the lines of an entry that no other copy brought; None where its bytes are not what was planned."""
    blocks = []
    for each in entry.ranges:
        content = _bytes_of(source, entry.path, each)
        if content is None:
            return None
        blocks.append(RowBlock(each.stream, without_repeats(content, each.repeats)))
    return blocks


def _add(
    entry: PlanEntry, blocks: Sequence[RowBlock], parsed: Iterator[ParsedBlock], metrics: MetricRows, lines: LineRows
) -> list[Any]:
    """Add the rows of an entry; return the tables of its metrics."""
    tables: list[Any] = []
    for block in blocks:
        own = next(parsed)
        stream = layout.logical_stream(block.stream)
        for table in own.tables:
            metrics.add(entry.exp, stream, table)
        lines.add(entry.exp, stream, own.unlike)
        tables += own.tables
    return tables


def _bytes_of(source: LogSource, path: str, each: Range) -> bytes | None:
    try:
        block = b"".join(source.blocks(path, (each.stream, each.copy), each.start, each.end))
    except FileNotFoundError:
        return None
    except BucketError:
        raise
    except OSError:  # it could be read when it was planned
        return None
    return block if sha256(block).hexdigest() == each.sha256 else None


def _summarize(task: Task, entry: PlanEntry, tables: list[Any] | None, rows: summaries.Rows) -> None:
    text = task.source.meta(entry.path)
    try:
        meta = meta_of(text or b"")
    except ValueError:
        return
    is_whole = (
        tables is not None
        and all(each.start == 0 and not each.repeats for each in entry.ranges)
        and {(each.stream, each.copy) for each in entry.ranges} == set(task.source.logs(entry.path))
    )
    try:
        with task.source.folder(entry.path) as folder:
            # A short log is read line by line before columns are made of it.
            tables = tables if is_whole and entry.size > _SHORT_BYTES else None
            digest = summaries.digest_of(folder, entry.exp, meta.content, tables)
    except BucketError:
        raise
    except OSError as error:  # removed meanwhile, or forbidden: the others have their rows all the same
        warn(f"{entry.path} cannot be read ({error}), and its status and summaries are left as they are", MlvWarning)
        return
    summaries.add_rows(rows, digest, entry.path, entry.month, task.now)


def _put(task: Task, result: TaskResult, name: str, month: str, table: Any) -> None:
    pa = package("pyarrow")
    if task.by_driver:
        whole = table.append_column("month", pa.repeat(pa.scalar(month), table.num_rows)).cast(schemas()[name])
        result.tables.setdefault(name, []).append(to_bytes(whole))
        return
    content = _parquet(table)
    # From the plan, the task and the content: to do it again makes no other file, and never changes one that is there.
    digest = sha256(content).hexdigest()[:16]
    path = f"month={month}/part-{task.plan:08d}-{task.number:04d}-{digest}.parquet"
    open_store(task.url).create(f"{name}/{path}", content)
    result.files.setdefault(name, []).append(NewFile(path, len(content), table.num_rows, month, _stats(table)))


def _parquet(table: Any) -> bytes:
    """Return a table as a Parquet file."""
    buffer = io.BytesIO()
    coded = [field.name for field in table.schema if field.name not in (*_DELTA, "value")]
    package("pyarrow.parquet").write_table(
        table, buffer, compression="zstd", row_group_size=GROUP_ROWS, use_dictionary=coded,
        column_encoding={name: "DELTA_BINARY_PACKED" for name in _DELTA if name in table.column_names},
        # As plain texts, whatever memory held: readers of Arrow would see codes in some files and texts in others.
        store_schema=False,
    )  # fmt: skip
    return buffer.getvalue()


def _stats(table: Any) -> str:
    pc, pa = package("pyarrow.compute"), package("pyarrow")
    least, greatest, nulls = {}, {}, {}
    for name in BOUNDED:
        if name in table.column_names:
            column = table[name].combine_chunks()
            values = column.dictionary if pa.types.is_dictionary(column.type) else column
            ends = pc.min_max(values.cast(pa.int64()) if pa.types.is_timestamp(values.type) else values).as_py()
            if ends["min"] is None:
                continue
            if name == "time":
                # Delta has milliseconds here: the bounds are rounded away from the values.
                ends = {
                    "min": _moment(ends["min"] // 1000 * 1000), "max": _moment(-(-ends["max"] // 1000) * 1000)
                }  # fmt: skip
            least[name], greatest[name], nulls[name] = ends["min"], ends["max"], column.null_count
    return orjson.dumps({"numRecords": table.num_rows, "minValues": least, "maxValues": greatest, "nullCount": nulls}).decode()


def _moment(microseconds: int) -> str:
    np = package("numpy")
    return f"{np.datetime64(microseconds, 'us').astype('datetime64[ms]')}Z"


def to_bytes(table: Any) -> bytes:
    """Return a table as a compressed stream of Arrow."""
    pa, buffer = package("pyarrow"), io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(buffer, table.schema, options=options) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def tables_from(contents: Sequence[bytes]) -> list[Any]:
    """Return the tables of streams of Arrow."""
    pa = package("pyarrow")
    return [pa.ipc.open_stream(content).read_all() for content in contents]
