"""The censor of jobs: takes credentials out of what a worker makes files and lines of."""

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
    """A job without credentials in its name, its options and its texts; pictures, sounds and numbers stay as they are.

    Raises:
        Unusable: Its texts cannot be read.
    """
    try:
        return _clean(job)
    except Exception as error:  # whatever a library refuses: what was not looked at is not stored
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
    make = _OF_PARTS.get(job.do)
    return make(clean, redactor) if make is not None else clean


def _text(job: Job, redactor: Redactor) -> Job:
    text = redactor.text(bytes(job.parts[0]).decode("utf-8", "replace"), job.type)
    # A credential that was cut in two at the end of the beginning has no shape there.
    options = {**job.options, "characters": len(text), "beginning": text[: len(job.options["beginning"])]}
    return job.replace(options=options, parts=[text.encode()])


def _document(job: Job, redactor: Redactor) -> Job:
    pairs = zip(job.options["suffixes"], job.parts, strict=True)
    return job.replace(parts=[_of_text(part, redactor) if suffix in _TEXT_FILES else part for suffix, part in pairs])


def _graph(job: Job, redactor: Redactor) -> Job:
    return job.replace(parts=[_of_text(part, redactor) for part in job.parts])


def _of_text(part: Buffer, redactor: Redactor) -> Buffer:
    try:
        text = bytes(part).decode()
    except UnicodeDecodeError:
        return part
    clean = redactor.text(text, "file")
    return part if clean == text else clean.encode()


def _table(job: Job, redactor: Redactor) -> Job:
    names = list(redactor.data(dict.fromkeys(job.options["columns"], 0), job.type))
    options = {**job.options, "columns": names}
    if options["form"] == "arrow":
        return job.replace(options=options, parts=[_arrow(job.parts[0], names, redactor)])
    columns = orjson.loads(job.parts[0])
    clean = redactor.data(columns, job.type)
    nonfinite = moved(orjson.loads(job.parts[1]), columns, clean)
    return job.replace(options=options, parts=[dumps(clean), dumps(nonfinite)])


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
    """A column of numbers as it is, another one without credentials in its cells."""
    import pyarrow

    if not _holds_text(column.type):
        return column
    known: dict[str, str] = {}
    cells = column.to_pylist()
    for cell in cells:
        if isinstance(cell, str) and cell not in known:  # most columns of texts repeat a few
            known[cell] = redactor.text(cell, "table")
    clean = [known[cell] if isinstance(cell, str) else _cell(cell, redactor) for cell in cells]
    return column if clean == cells else pyarrow.chunked_array([pyarrow.array(clean, type=column.type)])


def _cell(cell: Any, redactor: Redactor) -> Any:
    if isinstance(cell, bytes):
        text = cell.decode("latin-1")
        return redactor.text(text, "table").encode("latin-1")
    return redactor.tree(cell, "table")


def _holds_text(kind: Any) -> bool:
    """Whether cells of an Arrow type are texts or bytes, or hold some."""
    import pyarrow

    types = pyarrow.types
    if types.is_dictionary(kind):
        return _holds_text(kind.value_type)
    is_text = types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind)
    return is_text or kind.num_fields > 0 or "string_view" in str(kind) or "binary_view" in str(kind)


_OF_PARTS = {"text": _text, "document": _document, "graph": _graph, "table": _table}
"""By what a job is to do, how its parts are cleaned; those that are not here hold no texts."""
