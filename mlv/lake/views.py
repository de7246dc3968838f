"""The views of a lake in SQL that DuckDB, Spark and Trino read alike."""

from __future__ import annotations

from collections.abc import Callable

SUPERSEDED = """exists (
    select 1 from {rewinds} r
    where r.exp = m.exp and r.rewound_run = m.run and m.seq <= r.rewound_seq
      and coalesce(
        try_cast(m.step_text as decimal(38, 0)) > try_cast(r.step_text as decimal(38, 0)),
        m.step > r.step and m.step <= cast('Infinity' as double)))"""
"""Whether a rewind supersedes a row.

A step that no float holds is compared as the integer that it is. NaN is greater than infinity in SQL, and is not superseded.
"""

_EXP_NAME = "(select max(e.name) from {experiments} e where e.id = m.exp) as exp_name"
_VIEWS = {
    "metrics": "select m.*, " + _EXP_NAME + "\nfrom {metrics} m\nwhere not " + SUPERSEDED,
    "events": "select m.*, " + _EXP_NAME + ",\n  " + SUPERSEDED + " as superseded\nfrom {events} m",
    "files": "select m.*, " + _EXP_NAME + "\nfrom {files} m",
    "runs": "select m.*, " + _EXP_NAME + "\nfrom {runs} m",
    "summaries": "select m.*, " + _EXP_NAME + "\nfrom {summaries} m",
    "experiments": "select m.* from {experiments} m",
    "rewinds": "select m.* from {rewinds} m",
}
VIEWS = tuple(_VIEWS)


def sql_of(view: str, table: Callable[[str], str]) -> str:
    """Return the query of a view over tables, whose names in SQL `table` returns."""
    names = ("metrics", "events", "files", "rewinds", "experiments", "runs", "summaries")
    return _VIEWS[view].format(**{name: table(name) for name in names})
