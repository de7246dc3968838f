"""The page of a lake: its list is that of the logs, which are read for experiments that are opened."""

from __future__ import annotations

import json
import math
import shutil
import urllib.request
import warnings
from datetime import datetime, timezone

import pytest

pytest.importorskip("deltalake")
pytest.importorskip("duckdb")
pytest.importorskip("starlette", reason="the page needs mlvlogger[ui]")
pytest.importorskip("httpx", reason="starlette's client needs httpx")

from bucket.laid import lay
from lakes import append, bucket_with_lake, files_of_list, json_rows, make, metrics, requests_of

import mlv
from mlv import lake
from mlv.bucket.store import open_store
from mlv.errors import QueryFailed
from mlv.lake.listing import LakeListing
from mlv.query.digest import Depth
from mlv.query.sql.views import experiments
from mlv.web import lake_columns
from mlv.web.app import application
from mlv.web.limits import LIMITS
from tests.web.test_ui_command import started

TOKEN = "c" * 43
pytest_plugins = ["bucket.stores"]


@pytest.fixture(autouse=True)
def at_once(tmp_path, monkeypatch):
    """Look for another build at each question, and keep caches with the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("MLV_INLINE", "1")  # written by this process, which is quicker
    monkeypatch.setattr(LIMITS, "lake_look_s", 0.0)
    monkeypatch.setattr(LIMITS, "bring_s", 0.0)


def client(root, listing=None, bring=None):
    """A client of the page; its paths begin behind the secret."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of starlette's client about versions of httpx
        from starlette.testclient import TestClient

        return TestClient(application(root, TOKEN, (), listing, bring), base_url=f"http://localhost/{TOKEN}/")


def of_lake(root, url, bring=None):
    """A client of the page of a lake."""
    listing = LakeListing(lake.Lake(url), root)
    return client(listing.folder, listing, bring)


def listed(page, cursor="", **query):
    """All rows of the list since a cursor by their paths, the cursor behind them, and the last answer."""
    rows, gone = {}, []
    while True:
        answer = page.get("api/index", params={"since": cursor, **query}).json()
        cursor, gone = answer["cursor"], [*gone, *answer["gone"]]
        columns = answer["columns"]
        for at in range(answer["n"]):
            row = {name: cells[at] for name, cells in columns.items() if name not in ("params", "metrics")}
            row["params"] = {name: cells[at] for name, cells in columns["params"].items() if cells[at] is not None}
            row["metrics"] = {
                name: numbers
                for name, stats in columns["metrics"].items()
                if any((numbers := {stat: cells[at] for stat, cells in stats.items()})[stat] is not None for stat in stats)
            }
            rows[row["path"]] = row
        if answer["complete"]:
            return rows, cursor, {**answer, "gone": gone}


@pytest.fixture
def tree(tmp_path):
    """Experiments with whatever a list shows: nested params, texts, integers, NaN, an archived one with another below it."""
    root = tmp_path / "runs"
    for number in range(3):
        params = {"lr": 0.1 * number, "net": {"depth": number, "a.b": [1, "x"]}, "net.depth": 7, "big": 2**60, "on": True}
        with mlv.Exp(root / "sub", f"e{number}", params, capture=(), tags=["ünd"], notes="first" * 100) as exp:
            exp.log.describe("acc", mode="max", summary="best")
            for step in range(3):
                exp.log({"acc": step / 2, "count": step, "huge": 2**60 + step, "odd": math.nan if step == number else math.inf})
                exp.log({"word": "w", "mixed": "x" if number else 1.5, "list": [step]})
    with mlv.Exp(root, "bare", capture=()) as exp:
        pass
    mlv.Exp.open(root / "sub" / "e1").archive()
    make(root / "sub" / "e1" / "inner", params={"number": 3})
    lake.build(root, tmp_path / "lake")
    return root


def test_the_list_is_that_of_the_logs(tree, monkeypatch):
    """Each row of the list, whatever was logged, is the row that the logs give; so are the IDs that a filter lets through."""
    ours, theirs = of_lake(tree, tree.parent / "lake"), client(tree)
    rows, _, answer = listed(ours)
    expected, _, _ = listed(theirs)
    ages = [row.pop("age") - other.pop("age") for row, other in zip(rows.values(), map(expected.get, rows), strict=True)]

    assert rows == expected
    assert max(map(abs, ages)) < 5
    assert set(answer["lake"]) == {"url", "as_of", "far", "experiments", "problem"}
    assert (answer["lake"]["far"], answer["lake"]["problem"]) == (False, None)
    assert theirs.get("api/index").json().get("lake") is None
    for where in ("", "params.lr > 0.05", "metrics.acc.max > 0.5 and status = 'ok'", "id in (select exp from metrics)",
                  "id in (select exp from runs where status = 'ok')", "metrics::varchar like '%1.5%'"):  # fmt: skip
        answers = [set(page.get("api/select", params={"where": where}).json()["ids"]) for page in (ours, theirs)]
        assert answers[0] == answers[1], where


def test_sql_sees_what_it_sees_of_the_logs(tree):
    """The views of SQL are those of the logs, column by column; events, which a lake has in no one order, are refused."""
    ours, theirs = of_lake(tree, tree.parent / "lake"), client(tree)

    for query in ("from experiments order by id", "from runs order by all", "select count(*), count(value) from metrics",
                  "from files", "select exp_name, name, value from metrics order by all"):  # fmt: skip
        answers = [page.get("api/sql", params={"q": query}).json() for page in (ours, theirs)]
        assert answers[0]["rows"] == answers[1]["rows"], query
        assert answers[0]["columns"] == answers[1]["columns"]
    refused = ours.get("api/sql", params={"q": "from events"})
    assert (refused.status_code, refused.json()["kind"]) == (400, QueryFailed.__name__)
    assert ours.get("api/sql", params={"q": "select count(*) from events", "fresh": "1"}).json()["rows"][0][0] > 0


def test_a_view_is_that_of_digests(tree):
    """The view that is made of columns, a fast path, is the one of objects."""
    of_columns = LakeListing(lake.Lake(tree.parent / "lake"), tree).experiments()
    of_objects = experiments(mlv.find(tree, lake=tree.parent / "lake").digests(Depth.METRICS))

    def children(table):
        structs = [table.schema.field(column).type for column in ("params", "metrics", "git")]
        return sorted(str(own.field(at)) for own in structs for at in range(own.num_fields))

    assert children(of_columns) == children(of_objects)
    assert [str(field) for field in of_columns.schema if field.name not in ("params", "metrics")] == [
        str(field) for field in of_objects.schema if field.name not in ("params", "metrics")
    ]
    assert json_rows(of_columns) == json_rows(of_objects)


def test_no_log_is_opened_for_the_list(tree, monkeypatch):
    """List, filters and SQL read the tables alone: they work where the logs are gone, whose experiments then say so."""
    page = of_lake(tree, tree.parent / "lake")
    tree.rename(tree.parent / "away")

    rows, _, _ = listed(page)
    assert len(rows) == 5
    assert len(page.get("api/select", params={"where": "params.lr > 0.05"}).json()["ids"]) == 2
    answer = page.get(f"api/exp/{rows['sub/e0']['id']}")
    assert (answer.status_code, answer.json()["kind"]) == (404, "NotAnExperiment")
    assert "its log is not at" in answer.json()["error"]


def test_one_experiment_is_read_from_its_log(tree):
    """The page of an experiment, its curves and a comparison say what its log says now, with its parent and children."""
    page = of_lake(tree, tree.parent / "lake")
    rows, _, _ = listed(page)
    ids = [rows[path]["id"] for path in ("sub/e0", "sub/e2")]
    with mlv.Exp.open(tree / "sub" / "e0") as exp:
        exp.log({"acc": 9.0})

    assert page.get(f"api/exp/{ids[0][:12]}").json()["metrics"]["acc"]["max"] == 9.0
    sparks = page.get("api/sparks", params={"ids": ",".join(ids), "m": "acc"}).json()["curves"]
    assert [max(filter(None, sparks[each])) for each in ids] == [9.0, 1.0]
    assert page.get("api/compare", params={"ids": ",".join(ids)}).json()["names"] == ["e0", "e2"]
    assert listed(page)[0]["sub/e0"]["metrics"]["acc"]["max"] == 1.0
    assert listed(page, fresh="1")[0]["sub/e0"]["metrics"]["acc"]["max"] == 9.0
    code = page.get("api/code", params={"where": "params.lr > 0"}).json()
    shutil.rmtree(tree / "sub" / "e2")
    assert list(page.get("api/sparks", params={"ids": ",".join(ids), "m": "acc"}).json()["curves"]) == ids[:1]
    assert "lake=" in code["python"]
    assert "--lake=" in code["shell"]
    assert "fresh=True" in page.get("api/code", params={"fresh": "1"}).json()["python"]


def test_a_shorter_copy(tree):
    """An experiment is read where the lake has it, also once the logs have been read, and another copy of it is longer."""
    mlv.Exp(tree, "copied", capture=()).close()
    shutil.copytree(tree / "copied", tree / "other")
    lake.build(tree, tree.parent / "lake")
    page = of_lake(tree, tree.parent / "lake")
    rows, _, _ = listed(page)
    path = next(each for each in ("copied", "other") if each in rows)
    longer = ({"copied", "other"} - {path}).pop()
    with mlv.Exp.open(tree / longer) as exp:
        exp.log({"acc": 9.0})

    assert longer in listed(page, fresh="1")[0]
    assert page.get(f"api/exp/{rows[path]['id']}").json().get("path") == path
    assert page.get(f"api/exp/{rows[path]['id']}", params={"fresh": "1"}).json()["path"] == longer


def test_a_moment(tree):
    """An experiment is shown as of a moment; of a list of that moment a lake says that it has none."""
    page = of_lake(tree, tree.parent / "lake")
    rows, _, _ = listed(page)
    moment = datetime.now(timezone.utc).isoformat()
    with mlv.Exp.open(tree / "sub" / "e0") as exp:
        exp.log({"acc": 9.0})

    past = page.get(f"api/exp/{rows['sub/e0']['id']}", params={"asof": moment}).json()
    assert past["metrics"]["acc"]["max"] == 1.0
    refused = page.get("api/index", params={"asof": moment})
    assert (refused.status_code, "its own moment" in refused.json()["error"]) == (400, True)
    early = page.get(f"api/exp/{rows['sub/e0']['id']}", params={"asof": "2020-01-01"})
    assert "was made after" in early.json()["error"]


def test_another_build(tree, monkeypatch):
    """After another build the list sends the rows that changed, those that are gone, and its new moment, and no others."""
    url = tree.parent / "lake"
    page = of_lake(tree, url)
    _, cursor, before = listed(page)
    append(make(tree / "new", params={}), metrics("r1", 1, 1, x=1.0))
    with mlv.Exp.open(tree / "sub" / "e0") as exp:
        exp.log({"acc": 9.0})
    assert listed(page, cursor)[0] == {}
    lake.build(tree, url)

    changed, cursor, after = listed(page, cursor)
    assert sorted(changed) == ["new", "sub/e0"]
    assert changed["sub/e0"]["metrics"]["acc"]["max"] == 9.0
    assert after["lake"]["as_of"] > before["lake"]["as_of"]
    assert after["reset"] is False
    mlv.Exp.open(tree / "sub" / "e2").archive()
    lake.rebuild(tree, url)
    again, cursor, rebuilt = listed(page, cursor)
    assert again["sub/e2"]["archived"] is True
    assert rebuilt["lake"]["problem"] is None
    shutil.rmtree(tree / "new")
    lake.rebuild(tree, url)
    assert listed(page, cursor)[2]["gone"] == [changed["new"]["id"]]


def test_a_lake_of_nothing(tmp_path):
    """A lake without experiments is an empty list, until another build brings some; a folder in it has its own paths."""
    root, url = tmp_path / "runs", tmp_path / "lake"
    root.mkdir()
    lake.build(root, url)
    page = of_lake(root, url)
    rows, cursor, _ = listed(page)
    assert (rows, page.get("api/sql", params={"q": "select count(*) from experiments"}).json()["rows"]) == ({}, [[0]])
    make(root / "a" / "b")
    lake.build(root, url)

    assert list(listed(page, cursor)[0]) == ["a/b"]
    assert list(listed(of_lake(root / "a", url))[0]) == ["b"]
    assert list(listed(of_lake(root / "a" / "b", url))[0]) == ["."]


def test_a_lake_that_goes_away(tree, monkeypatch):
    """Where the lake cannot be read any more the list stays, and says why; when it is back, it goes on."""
    url = tree.parent / "lake"
    page = of_lake(tree, url)
    _, cursor, _ = listed(page)
    (url / ".mlv").rename(url / "away")
    problem = listed(page, cursor)[2]["lake"]["problem"]
    rows, _, _ = listed(page)

    assert "no build of the lake" in problem
    assert len(rows) == 5
    (url / "away").rename(url / ".mlv")
    assert listed(page, cursor)[2]["lake"]["problem"] is None


def test_answers_are_of_a_size(tree, monkeypatch):
    """A list of many cells comes in several answers, and the newest experiments first."""
    page = of_lake(tree, tree.parent / "lake")
    monkeypatch.setattr("mlv.web.lake_index.FIRST_ROWS", 1)
    monkeypatch.setattr(lake_columns, "MOST_CELLS", 200)

    first = page.get("api/index").json()
    rows, _, _ = listed(page)
    assert (first["n"], first["complete"]) == (1, False)
    assert len(rows) == 5
    assert next(iter(rows)) == max(rows, key=lambda path: rows[path]["created"])


def test_the_page_of_a_bucket(tree, monkeypatch):
    """The list of a bucket with a lake mirrors nothing, an experiment that is opened is brought alone, all if asked for."""
    url = f"file://{tree.parent}/bucket"
    store = open_store(url)
    for number in range(3):
        lay(tree / "sub" / f"e{number}", store, f"sub/e{number}")
    lake.build(url, f"{url}/.mlv/lake")
    asked = []
    page = of_lake(url, f"{url}/.mlv/lake", lambda: asked.append(mlv.find(url, fresh=True)))

    rows, _, answer = listed(page)
    assert (answer["root"], answer["lake"]["far"], sorted(rows)) == (url, True, ["sub/e0", "sub/e1", "sub/e2"])
    assert not mirrored(tree)
    assert page.get(f"api/exp/{rows['sub/e1']['id']}").json()["name"] == "e1"
    assert mirrored(tree) == ["e1"]
    with mlv.Exp.open(tree / "sub" / "e1") as exp:
        exp.log({"acc": 9.0})
    lay(tree / "sub" / "e1", store, "sub/e1")
    assert page.get(f"api/exp/{rows['sub/e1']['id']}").json()["metrics"]["acc"]["max"] == 9.0
    ids = ",".join(rows[path]["id"] for path in ("sub/e0", "sub/e1"))
    assert len(page.get("api/sparks", params={"ids": ids, "m": "acc"}).json()["curves"]) == 2
    assert mirrored(tree) == ["e0", "e1"]
    listed(page, fresh="1")
    assert mirrored(tree) == ["e0", "e1", "e2"]
    assert asked
    shutil.rmtree(tree.parent / "bucket" / "sub" / "e0")
    assert rows["sub/e1"]["id"] in page.get("api/sparks", params={"ids": ids, "m": "acc"}).json()["curves"]


def mirrored(tree):
    """The names of the experiments whose logs are in the mirror."""
    return sorted(path.parent.name for path in (tree.parent / "cache").rglob("log.jsonl"))


def served_list(root, *options, **environ):
    """The first answer of the command about its list."""
    with started(root, "--no-open", "--port", 0, *options, **environ) as process:
        # The notice of a lake may hold the address of its store.
        address = next(line.strip() for line in process.stdout if line.startswith("http://"))
        with urllib.request.urlopen(f"{address}api/index") as answer:
            return json.loads(answer.read())


def test_requests_of_the_page(far, tmp_path, monkeypatch):
    """Until all rows are shown the page of a bucket with a lake takes five requests, and those of the files, each once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url, beside = bucket_with_lake(far.bucket().url, tmp_path / "runs", 12)
    counts = []
    for _ in range(2):
        requests_of(far)
        assert served_list(url)["n"] == 12
        counts.append(requests_of(far))

    assert counts[1] <= 5
    assert counts[0] == counts[1] + files_of_list(beside, tmp_path / "cache")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--lake", "{tree}/../nothing"), "there is no lake at"),
        (("--lake", "{tree}/../lake", "--fresh"), "give one of them"),
        (("--lake", "{tree}/../lake", "--export", "{tree}/../site"), "an export reads the logs"),
    ],
)
def test_a_lake_that_cannot_be_shown(tree, words, sentence):
    """A lake that is not there, or that makes no sense with another option, is an error before anything is served."""
    with started(tree, "--no-open", "--port", 0, *(word.format(tree=tree) for word in words)) as process:
        printed = process.stdout.read()
        code = process.wait(60)

    assert code != 0
    assert sentence in " ".join(printed.split())


def test_the_lake_of_the_settings(tree):
    """The lake of `MLV_LAKE` is shown; where it cannot be read, the logs are, with a warning; `--fresh` asks for them."""
    url = tree.parent / "lake"

    assert served_list(tree, MLV_LAKE=str(url))["has_lake"]
    assert not served_list(tree, "--fresh", MLV_LAKE=str(url))["has_lake"]
    (url / ".mlv" / "lake.json").write_text("{}")
    assert not served_list(tree, MLV_LAKE=str(url))["has_lake"]
