"""The censor of jobs: takes credentials out of the jobs from which a worker makes files and lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from mlv.capture.redaction import Redactor
from mlv.encoding import dumps, shown
from mlv.media.jobs import Job, Unusable
from mlv.protocols import Buffer
from mlv.transport.censor import moved

_TEXT_FILES = (".txt", ".md", ".svg", ".html", ".json", ".csv", ".xml")


def clean_job(job: Job) -> Job:
    """Return a job without credentials in its name, its options and its texts; pictures, sounds and numbers stay.

    Raises:
        Unusable: Its texts cannot be read.
    """
    try:
        return _clean(job)
    except Exception as error:  # a library may refuse in any way: a job that was not searched is not stored
        raise Unusable(f"cannot be searched for credentials: {shown(error)}") from error


def _clean(job: Job) -> Job:
    redactor = Redactor(job.redact, job.keep)
    if redactor.exempts(job.type):
        return job
    options = redactor.data(job.options, job.type)
    clean = job.replace(
        name=redactor.name(job.name, "name"),
        step=redactor.data(job.step, "step"),
        at=redactor.data(job.at, "at"),
        options=options,
        nonfinite=moved(job.nonfinite, job.options, options),
    )
    make = _CLEANERS.get(job.do)
    return make(clean, redactor) if make is not None else clean


def _text(job: Job, redactor: Redactor) -> Job:
    text = redactor.text(bytes(job.buffers[0]).decode("utf-8", "replace"), job.type)
    # A credential that was cut in two at the end of the beginning has no shape there.
    options = {**job.options, "characters": len(text), "beginning": text[: len(job.options["beginning"])]}
    return job.replace(options=options, buffers=[text.encode()])


def _document(job: Job, redactor: Redactor) -> Job:
    pairs = zip(job.options["suffixes"], job.buffers, strict=True)
    return job.replace(buffers=[_of_text(buffer, redactor) if suffix in _TEXT_FILES else buffer for suffix, buffer in pairs])


def _graph(job: Job, redactor: Redactor) -> Job:
    return job.replace(buffers=[_of_text(buffer, redactor) for buffer in job.buffers])


def _of_text(buffer: Buffer, redactor: Redactor) -> Buffer:
    try:
        text = bytes(buffer).decode()
    except UnicodeDecodeError:  # no text
        return buffer
    clean = redactor.text(text, "file")
    return buffer if clean == text else clean.encode()


def _table(job: Job, redactor: Redactor) -> Job:
    names = list(redactor.data(dict.fromkeys(job.options["columns"], 0), job.type))
    options = {**job.options, "columns": names}
    if options["form"] == "arrow":
        return job.replace(options=options, buffers=[_arrow(job.buffers[0], names, redactor)])
    columns = orjson.loads(job.buffers[0])
    clean = redactor.data(columns, job.type)
    nonfinite = moved(orjson.loads(job.buffers[1]), columns, clean)
    return job.replace(options=options, buffers=[dumps(clean), dumps(nonfinite)])


def _arrow(stream: Buffer, names: Sequence[str], redactor: Redactor) -> Buffer:
    import pyarrow

    table = pyarrow.ipc.open_stream(pyarrow.py_buffer(stream)).read_all()
    columns = [_column(column, redactor) for column in table.columns]
    if names == table.column_names and all(new is old for new, old in zip(columns, table.columns, strict=True)):
        return stream
    clean = pyarrow.table(columns, names=list(names))
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, clean.schema) as writer:
        writer.write_table(clean)
    return memoryview(sink.getvalue())


def _column(column: Any, redactor: Redactor) -> Any:
    """Return a column of numbers as it is, another one without credentials in its cells."""
    import pyarrow

    if not _holds_text(column.type):
        return column
    cleaned: dict[str, str] = {}
    cells = column.to_pylist()
    for cell in cells:
        if isinstance(cell, str) and cell not in cleaned:  # most columns of texts repeat a few
            cleaned[cell] = redactor.text(cell, "table")
    clean = [cleaned[cell] if isinstance(cell, str) else _cell(cell, redactor) for cell in cells]
    return column if clean == cells else pyarrow.chunked_array([pyarrow.array(clean, type=column.type)])


def _cell(cell: Any, redactor: Redactor) -> Any:
    if isinstance(cell, bytes):
        text = cell.decode("latin-1")
        return redactor.text(text, "table").encode("latin-1")
    return redactor.tree(cell, "table")


def _holds_text(kind: Any) -> bool:
    """Return whether cells of an Arrow type are texts or bytes, or hold some."""
    import pyarrow

    types = pyarrow.types
    if types.is_dictionary(kind):
        return _holds_text(kind.value_type)
    is_text = types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind)
    return is_text or kind.num_fields > 0 or "string_view" in str(kind) or "binary_view" in str(kind)


_CLEANERS = {"text": _text, "document": _document, "graph": _graph, "table": _table}
"""The cleaner of a job's buffers, by the job's task; tasks that are not listed have no texts in them."""
