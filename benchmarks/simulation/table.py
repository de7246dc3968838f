"""A million experiments as rows of a Delta table, really built, and how long questions to it take."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.measuring import folder, timed_ms

QUESTIONS = {
    "two params and a metric": "select exp from experiments where params['lr']::double < 0.05 and loss < 0.1",
    "the newest 20": "select exp, created from experiments order by created desc limit 20",
    "group by two params": "select params['lr'], params['layers'], avg(loss) from experiments group by all",
    "by its ID": "select * from experiments where exp = '{exp}'",
    "how many of each status": "select status, count(*) from experiments group by all",
}
_BATCH = 100_000


def build(count: int) -> dict[str, Any]:
    """Write the table, ask it, and say what both took."""
    import duckdb
    from deltalake import DeltaTable, write_deltalake

    with folder() as scratch:
        path = scratch / "experiments"
        spent_ms = 0.0
        for first in range(0, count, _BATCH):
            rows = _rows(first, min(_BATCH, count - first))
            spent_ms += timed_ms(lambda: write_deltalake(path, rows, mode="append"))  # noqa: B023
        table = DeltaTable(path)
        compact_ms = timed_ms(table.optimize.compact)
        files = table.file_uris()
        size = sum(Path(file).stat().st_size for file in files)
        connection = duckdb.connect()
        connection.execute(
            "create view experiments as select * from read_parquet(?)".replace("?", json.dumps(files).replace('"', "'"))
        )
        exp = _exp(count // 2)
        asked = {}
        for question, sql in QUESTIONS.items():
            text = sql.format(exp=exp)
            asked[question] = min(timed_ms(lambda: connection.execute(text).fetchall()) for _ in range(3)) / 1000  # noqa: B023
        answers = connection.execute("select count(*), count(distinct exp) from experiments").fetchone()
        if answers != (count, count):
            raise RuntimeError(f"{answers} rows and experiments are in the table, {count} were written")
        connection.close()
    return {
        "rows": count,
        "write_s": spent_ms / 1000,
        "compact_s": compact_ms / 1000,
        "bytes": size,
        "files": len(files),
        "queries_s": asked,
    }


def _exp(number: int) -> str:
    return f"{Random(number).getrandbits(256):064x}"


def _rows(first: int, count: int) -> Any:
    import pyarrow as pa

    random = Random(first)
    text = pa.map_(pa.string(), pa.string())
    params = [
        [
            ("lr", repr(10 ** random.uniform(-4, 0))),
            ("layers", str(random.randrange(2, 26))),
            ("seed", str(number % 10)),
            ("data", '"digits"'),
        ]
        for number in range(count)
    ]
    return pa.table(
        {
            "exp": [_exp(first + number) for number in range(count)],
            "path": [f"team{number % 40}/sweep{number // 1000}/run_{first + number}" for number in range(count)],
            "params": pa.array(params, text),
            "status": [("ok", "ok", "ok", "ok", "killed", "failed")[random.randrange(6)] for _ in range(count)],
            "host": [f"node{random.randrange(500):03d}" for _ in range(count)],
            "commit": [f"{random.randrange(400):040x}" for _ in range(count)],
            "created": pa.array(
                [1_780_000_000_000_000 + (first + number) * 6_300_000 for number in range(count)], pa.timestamp("us", "UTC")
            ),
            "loss": [random.expovariate(2.0) for _ in range(count)],
        }
    )
