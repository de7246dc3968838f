"""Every engine reads the same tables."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from importlib.util import find_spec

import pytest

pytest.importorskip("deltalake")
pytest.importorskip("pyarrow")

from lakes import append, make, metrics

from mlv import lake

EXPECTED = [("x", 30, 3.0), ("y/z", 10, 20.0)]
"""Name, number and greatest value of each metric."""
GROUPS = "select name, count(*) as n, max(value) as top from metrics group by name order by name"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A lake of three experiments, in two plans."""
    root = tmp_path_factory.mktemp("readers")
    for number in range(1, 4):
        folder = make(root / "runs" / f"e{number}")
        append(folder, *(metrics("r1", seq, seq, x=float(number)) for seq in range(1, 11)))
        if number == 2:
            lake.build(root / "runs", root / "lake")
            append(folder, *(metrics("r1", seq, 2 * seq, **{"y/z": float(seq)}) for seq in range(11, 21)))
    lake.build(root / "runs", root / "lake")
    return str(root / "lake")


def test_duckdb(url):
    """DuckDB, by the views of `mlv.lake.open`."""
    pytest.importorskip("duckdb")
    with lake.open(url).duckdb() as connection:
        assert connection.execute(GROUPS).fetchall() == EXPECTED
        assert connection.execute("select count(distinct exp_name), min(month) from metrics").fetchall() == [(3, "2026-11")]
        named = connection.execute("select params['path'] from experiments order by 1").fetchall()
        assert named == [('"e1"',), ('"e2"',), ('"e3"',)]


def test_pyarrow(url):
    """pyarrow, by the dataset of `deltalake`."""
    table = lake.open(url).arrow("metrics").group_by("name").aggregate([("value", "count"), ("value", "max")])
    assert sorted(zip(*(column.to_pylist() for column in table.columns), strict=True)) == EXPECTED


def test_polars(url):
    """Polars, by the address of the table."""
    polars = pytest.importorskip("polars")
    frame = polars.scan_delta(lake.open(url).uri("metrics"))
    groups = frame.group_by("name").agg(polars.len().alias("n"), polars.max("value").alias("top")).sort("name").collect()
    assert groups.rows() == EXPECTED


@pytest.mark.filterwarnings("ignore")
def test_dask(url):
    """Dask, over the files."""
    frames = pytest.importorskip("dask.dataframe")
    frame = frames.read_parquet(lake.open(url).files("metrics"), columns=["name", "value"])
    groups = frame.groupby("name")["value"].agg(["count", "max"]).compute()
    assert sorted(groups.itertuples(name=None)) == EXPECTED


def test_spark(url):
    """The Spark API, as pysail serves it, also with the view as `mlv lake info --sql` prints it."""
    pytest.importorskip("pysail")
    if find_spec("pyspark") is None:  # imported here, its client alone would end the tests: it looks for a Spark of its own
        pytest.skip("pyspark-client is not installed")
    program = f"""
        import os, sys
        from pysail.spark import SparkConnectServer
        from pyspark.sql.connect.session import SparkSession
        from mlv import lake
        server = SparkConnectServer()
        server.start(background=True)
        session = SparkSession.builder.remote(f"sc://localhost:{{server.listening_address[1]}}").getOrCreate()
        opened = lake.open({url!r})
        for table in ("metrics", "rewinds", "experiments"):
            session.read.format("delta").load(opened.uri(table)).createOrReplaceTempView(table)
        view = opened.sql("metrics")
        query = {GROUPS!r}
        print([tuple(row) for row in session.sql(query).collect()])
        print([tuple(row) for row in session.sql(query.replace("from metrics", f"from ({{view}})")).collect()])
        sys.stdout.flush()
        os._exit(0)  # the threads of the server would go on
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True, text=True, timeout=110, env={**os.environ, "PYTHONWARNINGS": "ignore", "SPARK_HOME": "none"},
    )  # fmt: skip
    assert done.stdout.splitlines() == [str(EXPECTED)] * 2, done.stderr
