"""The columns of the tables of a lake.

They are those of `mlv export`, without the name of the experiment, which may be renamed, and with the partition `month`, in
which it was made.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from mlv.optional import package

MONTH = "month"
APPENDED = ("metrics", "events", "files", "rewinds")
"""Tables that get rows for new lines."""
KEYED = ("experiments", "runs", "summaries")
"""Tables whose rows of an experiment are replaced when it has new lines."""
TABLES = (*APPENDED, *KEYED)
KEYS = {"experiments": "id", **dict.fromkeys((*APPENDED, "runs", "summaries"), "exp")}
"""The column of each table that names the experiment."""
BOUNDED = ("exp", "id", "name", "time")
"""Columns whose least and greatest values a table knows of each file: readers pass over files by them."""
GIT = ("commit", "branch", "dirty", "message", "date")
MACHINE = ("host", "user", "platform", "os", "arch", "cpu", "memory_bytes")


@lru_cache(maxsize=1)
def schemas() -> dict[str, Any]:
    """Return the Arrow schema of each table, the partition last."""
    pa = package("pyarrow", "lake")
    text, number, whole = pa.string(), pa.float64(), pa.int64()
    moment, texts = pa.timestamp("us", "UTC"), pa.list_(pa.string())
    line = [("exp", text), ("stream", text), ("run", text), ("seq", whole), ("time", moment)]
    kinds = {"dirty": pa.bool_(), "memory_bytes": whole}
    columns: dict[str, list[tuple[str, Any]]] = {
        "metrics": [
            *line, ("step", number), ("step_text", text), ("name", text), ("value", number), ("text", text), ("at", text),
        ],
        "events": [
            *line, ("type", text), ("name", text), ("step", number), ("step_text", text), ("at", text), ("data", text),
            ("nonfinite", text),
        ],
        "files": [
            *line, ("type", text), ("name", text), ("step", number), ("place", text), ("path", text), ("size", whole),
            ("sha256", text), ("media_type", text),
        ],
        "rewinds": [
            ("exp", text), ("run", text), ("seq", whole), ("time", moment), ("step", number), ("step_text", text),
            ("rewound_run", text), ("rewound_seq", whole),
        ],
        "experiments": [
            ("id", text), ("name", text), ("made_as", text), ("kind", text), ("status", text), ("path", text),
            ("created", moment), ("started", moment), ("duration_s", number), ("total_s", number), ("tags", texts),
            ("notes", texts), ("parent", text), ("archived", pa.bool_()), ("params", pa.map_(text, text)),
            ("git", pa.struct([(name, kinds.get(name, text)) for name in GIT])),
            ("machine", pa.struct([(name, kinds.get(name, text)) for name in MACHINE])),
        ],
        "runs": [
            ("exp", text), ("run", text), ("status", text), ("started", moment), ("ended", moment), ("duration_s", number),
            ("paused", pa.bool_()), ("parent_run", text), ("exception", text), ("message", text), ("host", text),
            ("params", pa.map_(text, text)),
        ],
        "summaries": [
            ("exp", text), ("name", text), ("last", number), ("min", number), ("max", number), ("best", number),
            ("mean", number), ("count", whole), ("nans", whole), ("last_step", number), ("best_step", number),
            ("value", number), ("statistic", text), ("text", text), ("position", whole), ("exact", text),
            ("description", text),
        ],
    }  # fmt: skip
    return {name: pa.schema([*own, (MONTH, text)]) for name, own in columns.items()}
