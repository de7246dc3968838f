"""What a list of a hundred thousand experiments costs that comes from a lake: `mlv ls`, and the page of `mlv ui`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, absent, plain
from benchmarks.many import experiments
from benchmarks.measuring import check_count, folder
from benchmarks.ui import served
from mlv.digests import sha256

_WRITTEN = 10
"""Experiments whose logs are there; of the others there are the rows that a builder would have written."""
_METRICS = ("train/loss", "train/acc", "val/loss", "val/acc")
_WHERE = 'params.lr < 0.1 and metrics."val/loss".min < 0.1'


def listing(quick: bool) -> list[Figure]:
    """The list of many experiments, each with seven params and four metrics."""
    if find_spec("deltalake") is None or find_spec("obstore") is None or find_spec("uvicorn") is None:
        return [absent("page of a lake: deltalake, obstore or uvicorn is not installed (mlvlogger[lake,ui])")]
    count = 2000 if quick else 100_000
    with folder() as place:
        root, url = experiments(place / "runs", _WRITTEN), place / "lake"
        _build(root, url, count)
        command = [sys.executable, "-m", "mlv", "ls", str(root), "--lake", str(url)]
        begin, before = time.perf_counter(), os.times()
        check_count(subprocess.run(command, check=True, capture_output=True).stdout.count(b"\n") - 1, count)
        listed_s, after = time.perf_counter() - begin, os.times()
        listed_processor_s = after.children_user + after.children_system - before.children_user - before.children_system
        with served(root, place, "--lake", str(url)) as (server, opened_ms):
            first_ms = opened_ms + _ms(lambda: check_count(len(json.loads(server.ask("api/index"))["columns"]["id"]), 100))
            opened_mb, opened_processor_s = server.memory_mb(), server.processor_s()
            rows, _, everything_ms = server.all_rows()
            check_count(len(rows), count)
            listed_mb, sent_processor_s = server.memory_mb(), server.processor_s() - opened_processor_s
            filters = [_ms(lambda: server.ask("api/select", where=_WHERE)) for _ in range(4)]
            filtered_mb = server.memory_mb()
    what = f"a lake of {count:,} experiments"
    return [
        plain(f"mlv ls --lake: {what}", "s", listed_s, 3),
        plain("the same: processor", "s", listed_processor_s, 6),
        plain(f"mlv ui --lake: {what}, from the command to the first hundred rows", "s", first_ms / 1000, 3),
        plain("the same: processor", "s", opened_processor_s, 6),
        plain("the same: all rows", "s", everything_ms / 1000, 10),
        plain("the same: processor for them", "s", sent_processor_s, 10),
        plain("the same: the first filter in SQL", "s", filters[0] / 1000, 10),
        plain("the same: further filters", "ms", min(filters[1:]), 300),
        plain("the same: memory of the server, with the first rows", "MB", opened_mb, 500),
        plain("the same: with all rows sent", "MB", listed_mb, 700),
        plain("the same: after the filters", "MB", filtered_mb, 1000),
    ]


def _ms(call: Any) -> float:
    begin = time.perf_counter()
    call()
    return (time.perf_counter() - begin) * 1000


def _build(root: Path, url: Path, count: int) -> None:
    """Build a lake of the experiments that are there, and add the rows of as many others as are lacking."""
    from mlv import lake
    from mlv.lake.lake import Lake

    lake.build(root, url)
    numbers = range(_WRITTEN, count)
    ids = [sha256(b"%d" % number).hexdigest() for number in numbers]
    made = [datetime(2026, 11, 1, tzinfo=timezone.utc) + timedelta(seconds=7 * number) for number in numbers]
    months = [f"{moment:%Y-%m}" for moment in made]
    same: dict[str, Any] = {"status": "ok", "kind": "train", "archived": False, "duration_s": 60.0, "total_s": 60.0}
    same |= {"tags": ["paper"], "notes": []}
    columns: dict[str, list[Any]] = {
        "id": ids, "name": [f"e{number:06d}" for number in numbers], "created": made, "started": made, "month": months,
        "path": [f"g{number % 100:02d}/e{number:06d}" for number in numbers],
        "params": [_params(number) for number in numbers],
        "git": [{"commit": f"{number % 977:040x}", "branch": "main", "dirty": number % 3 == 0} for number in numbers],
        "machine": [{"host": f"node{number % 400}", "cpu": "EPYC", "memory_bytes": 2**38} for number in numbers],
        **{name: [value] * len(ids) for name, value in same.items()},
    }  # fmt: skip
    _add(Lake(url), "experiments", columns)
    for position, name in enumerate(_METRICS):
        values = [(number * (position + 3) % 9973) / 9973.7 for number in numbers]
        numeric = dict.fromkeys(("last", "min", "max", "mean", "value"), values)
        fixed = {"name": name, "count": 1000, "nans": 0, "last_step": 999.0, "statistic": "last", "position": position}
        cells = {"exp": ids, "month": months, **numeric, **{key: [value] * len(ids) for key, value in fixed.items()}}
        _add(Lake(url), "summaries", cells)


def _params(number: int) -> list[tuple[str, str]]:
    net = f'{{"depth":{number % 7},"width":{64 * (number % 4)}}}'
    return [
        ("lr", str(10.0 ** -(number % 5))), ("seed", str(number % 10)), ("net", net), ("data", '"cifar10"'),
        ("optimizer", '"adam"'), ("decay", str(number / 1e6)), ("number", str(number)),
    ]  # fmt: skip


def _add(lake: Any, name: str, cells: dict[str, list[Any]]) -> None:
    import pyarrow as pa
    from deltalake import write_deltalake

    from mlv.lake.columns import schemas

    schema, nothing = schemas()[name], [None] * len(cells["month"])
    rows = pa.table([pa.array(cells.get(field.name, nothing), field.type) for field in schema], schema=schema)
    write_deltalake(lake.delta(name), rows, mode="append", target_file_size=1 << 27)
