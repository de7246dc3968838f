"""The page's queries in SQL: rows, limits, and sentences where a query is wrong."""

from __future__ import annotations

from functools import partial

import pytest

from mlv.web import queries

pytest.importorskip("duckdb", reason="queries need mlvlogger[sql]")


def ask(client, text: str, **more: object):
    """Ask a query."""
    return client.get("api/sql", params={"q": text, **more})


def test_rows_have_types(client):
    """Numbers, moments, texts and lists come as JSON holds them, each column with its type."""
    answer = ask(client, "select name, params.lr, created, tags, true as t from experiments order by params.lr").json()

    assert [(column["name"], column["type"]) for column in answer["columns"]] == [
        ("name", "text"), ("lr", "number"), ("created", "time"), ("tags", "other"), ("t", "truth"),
    ]  # fmt: skip
    assert [row[1] for row in answer["rows"]] == [0.1, 0.2]
    assert isinstance(answer["rows"][0][2], float)
    assert answer["rows"][0][3:] == [["paper"], True]
    assert answer["more"] is False


def test_odd_values_are_sent(client):
    """NaN, decimals, spans, bytes and huge integers have a form in JSON."""
    text = "select 'nan'::double, 1.5::decimal(9, 2), interval 90 seconds, 'x'::blob, 2::hugeint ** 0 + (2::hugeint << 80)"
    [row] = ask(client, text).json()["rows"]

    assert row[:4] == ["NaN", 1.5, "90 s", "b'x'"]


def test_rows_are_limited(client):
    """A query with many rows gives the first ones, and says that there are more."""
    answer = ask(client, "select * from range(1000000000)", limit=5).json()

    assert (len(answer["rows"]), answer["more"]) == (5, True)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("select params.lx from experiments", "params.lr"),
        ("selec 1", "syntax error"),
        ("delete from experiments", "only reading"),
        ("select * from read_csv('/etc/passwd')", "no files"),
        ("copy (select 1) to '/tmp/x'", "only reading"),
        ("set memory_limit = '4GB'", "only reading"),
        ("select 1; select 2", "2 statements"),
        ("", "q= is missing"),
    ],
)
def test_wrong_query_is_a_sentence(client, text, advice):
    """A query that is wrong, that changes something, or that reads files is answered with what to do."""
    answer = ask(client, text)

    assert answer.status_code == 400
    assert advice in answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("api/sql", {"q": "select sum(a.range * b.range) from range(1000000) a, range(1000000) b"}),
        ("api/select", {"where": "(select sum(a.range * b.range) from range(1000000) a, range(1000000) b) > 0"}),
    ],
)
def test_endless_query_is_ended(client, path, query):
    """A query that takes too long is interrupted, and the next one is answered."""
    answer = client.get(path, params=query)

    assert answer.status_code == 400
    assert "took longer than 2 s" in answer.json()["error"]
    assert ask(client, "select 1").json()["rows"] == [[1]]


def test_select_sees_what_is_new(client, runs):
    """The view that is kept between two filters is made anew when an experiment comes."""
    import mlv

    before = client.get("api/select", params={"where": "params.lr > 0"}).json()["ids"]
    with mlv.Exp(runs, "more", {"lr": 9}, capture=()) as exp:
        exp.log({"loss": 1.0})
    client.get("api/index")
    after = client.get("api/select", params={"where": "params.lr > 0"}).json()["ids"]

    assert set(after) - set(before) == {exp.id}


def test_query_writes_no_file(client, tmp_path, monkeypatch):
    """A query that needs more memory than it may have is ended, and does not go on in a file of the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(queries.engine, "Limits", partial(queries.engine.Limits, memory="20MB"))
    before = sorted(path.name for path in tmp_path.iterdir())

    answer = ask(client, "select count(*) from (select distinct hash(a) from range(10000000) t(a))")

    assert answer.status_code == 400
    assert answer.json()["error"].endswith("and was ended: choose less")
    assert sorted(path.name for path in tmp_path.iterdir()) == before
