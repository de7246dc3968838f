"""The lines that the page gives for a view make the same table or chart where they are run."""

from __future__ import annotations

import io
import shlex
import shutil
import time
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mlv
from mlv.cli.app import app
from mlv.web.code import code

pytest.importorskip("duckdb", reason="filters need mlvlogger[sql]")
pytest.importorskip("matplotlib", reason="charts need mlvlogger[plot]")


@pytest.fixture
def ids(runs: Path) -> list[str]:
    """The IDs of the two experiments, the lower rate first."""
    exps = sorted(mlv.find(runs), key=lambda exp: exp.params["lr"])
    return [exp.id for exp in exps]


def run_python(text: str) -> dict:
    """Run lines; return the names that they set, and what they print as `printed`."""
    names: dict = {}
    with redirect_stdout(io.StringIO()) as out:
        exec(text, names)
    return {**names, "printed": out.getvalue()}


def run_shell(text: str) -> str:
    """Run lines of the command; return what they print."""
    output = ""
    for line in text.splitlines():
        words = shlex.split(line)
        assert words[0] == "mlv"
        result = CliRunner().invoke(app, words[1:], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        output += result.output
    return output


def test_table(runs, ids):
    """The table of a filter, sorted, with chosen columns."""
    made = code(runs, {
        "where": "params.lr < 0.15", "sort": "-metrics.loss.max", "cols": "name,params.model.depth,metrics.loss.max",
    })  # fmt: skip

    assert list(run_python(made.python)["table"]["id"]) == ids[:1]
    assert mlv.find(runs).sql(made.sql).rows() == [("digits", 3, 1.0)]
    assert "metrics.loss.max" in run_shell(made.shell)


def test_charts_of_the_picked(runs, ids):
    """The chart of picked experiments, smoothed and logarithmic."""
    made = code(runs, {"pick": f"{ids[1][:12]}.0,{ids[0][:12]}.3", "m": "lo*,acc", "smooth": "0.5", "y": "log", "zoom": "0,2"})
    chart = made.sql.split(";")[1]

    assert {row[1] for row in mlv.find(runs).sql(chart).rows()} == set(ids)
    assert {exp.id for exp in run_python(made.python)["exps"]} == set(ids)
    assert "lo*" in run_shell(made.shell)


def test_charts_in_families(runs):
    """Bands over a param have it in all lines that can."""
    made = code(runs, {"over": "lr", "m": "loss", "where": "params.lr > 0"})

    assert 'over=["lr"]' in made.python
    assert "--over=lr" in made.shell
    run_python(made.python)
    assert len(mlv.find(runs).sql(made.sql.split(";")[1]).rows()) == 6


def test_ranges(runs, ids):
    """Ranges on the axes of parallel coordinates are part of the filter, of numbers and of words."""
    made = code(runs, {"where": "params.lr > 0", "brush": "params.lr:0.15:0.25,name:a:e,metrics.loss:0.1:0.9", "cols": "id"})

    assert list(run_python(made.python)["table"]["id"]) == ids[1:]
    assert mlv.find(runs).sql(made.sql).rows() == [(ids[1],)]
    assert "params.lr between 0.15 and 0.25" in made.shell
    run_shell(made.shell)


@pytest.mark.parametrize("panel", ["compare", "parallel", "scatter", "media", "sql"])
def test_other_panels(runs, ids, panel):
    """Each panel has lines that run."""
    picks = ",".join(f"{identity[:12]}.{slot}" for slot, identity in enumerate(ids))
    made = code(runs, {"panel": panel, "pick": picks, "axes": "params.lr,metrics.loss", "sql": "select 'it''s' as word"})

    run_python(made.python)
    if made.sql is not None:
        mlv.find(runs).sql(made.sql)
    if made.shell is not None:
        assert run_shell(made.shell)


@pytest.mark.parametrize("tab", ["overview", "charts", "media", "console", "events", "files", "system"])
@pytest.mark.parametrize("asof", ["", "now"])
def test_one_experiment(runs, ids, tab, asof):
    """Each view of an experiment has lines that run, in Python as of a moment as well."""
    if tab == "console":
        with mlv.Exp(runs, "printing", capture=(), console=True) as exp:
            print("said")
        ids = [exp.id]
    moment = str(time.time()) if asof else ""
    made = code(runs, {"exp": ids[0], "tab": tab, "m": "loss", "asof": moment, "type": "run_started"})

    names = run_python(made.python)
    assert names["exp"].id == ids[0]
    mlv.find(runs).sql(made.sql)
    run_shell(made.shell)


def test_hostile_words_stay_words(runs, ids):
    """Quotes, semicolons and line breaks of an address are text in each language, never code."""
    evil = "a'b\"; import os; $(touch x) `y` \\"
    for query in ({"m": evil, "pick": f"{evil}.0"}, {"exp": evil, "tab": "events", "type": evil}, {"cols": f"params.{evil}"}):
        made = code(runs, query)
        compile(made.python, "lines", "exec")
        assert all(word not in ("import", "$(touch") for line in (made.shell or "").splitlines() for word in shlex.split(line))


def test_picked_without_a_metric(runs, ids):
    """Where no metric is named, the lines draw all metrics of the picked experiments, and of no others."""
    made = code(runs, {"pick": f"{ids[0][:12]}.0"})

    names = run_python(made.python.replace("exps.plot(", "figure = exps.plot("))
    assert [exp.id for exp in names["exps"]] == [ids[0]]
    assert {row[1] for row in mlv.find(runs).sql(made.sql.partition(";")[2]).rows()} == {ids[0]}
    assert ids[0][:12] in made.shell


def test_metric_is_its_value(runs):
    """A column of a metric is the number that its statistic chooses, as in the list and in `mlv ls`."""
    with mlv.Exp(runs, "best", {"lr": 9}, capture=()) as exp:
        exp.log.describe("score", summary="max")
        for step, score in enumerate([1.0, 5.0, 2.0]):
            exp.log({"score": score}, step=step)
    made = code(runs, {"where": "params.lr = 9", "cols": "name,metrics.score,metrics.score.last"})

    assert mlv.find(runs).sql(made.sql).rows() == [("best", 5.0, 2.0)]


VIEWS = {
    "table": {"where": "params.lr < 0.15", "sort": "-metrics.loss.max", "cols": "name,metrics.loss.max"},
    "all": {"m": "loss", "over": "lr"},
    "picked": {"pick": "FIRST.0,SECOND.1", "m": "lo*"},
    "compare": {"panel": "compare", "pick": "FIRST.0,SECOND.1"},
    "sql": {"panel": "sql", "sql": "select name from experiments"},
    "overview": {"exp": "FIRST"},
    "events": {"exp": "FIRST", "tab": "events", "type": "metrics"},
    "curves": {"exp": "FIRST", "tab": "charts", "m": "loss"},
}


@pytest.fixture(scope="module", params=["bucket", "bucket with a lake", "folder with a lake"])
def source(request, made_runs, tmp_path_factory):
    """A root away from the page, and where its list is read from."""
    pytest.importorskip("obstore", reason="needs the extra 'bucket'")
    from mlv.bucket.push import Push
    from mlv.bucket.store import open_store

    folder = tmp_path_factory.mktemp("away")
    runs = Path(shutil.copytree(made_runs, folder / "runs"))
    pushing = Push(runs, open_store(f"file://{folder}/bucket/runs"))
    assert all(shipped.is_well for shipped in pushing.run(pushing.experiments()))
    root = runs if request.param.startswith("folder") else f"file://{folder}/bucket/runs"
    if not request.param.endswith("lake"):
        return root, {}
    pytest.importorskip("deltalake", reason="needs the extra 'lake'")
    from mlv import lake

    url = f"file://{folder}/lake"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        lake.build(root, url)
    return root, {"lake": url}


@pytest.mark.parametrize("view", VIEWS)
def test_lines_of_a_bucket_and_of_a_lake(source, view):
    """They run as they are printed, and the commands that can read the lake do."""
    root, options = source
    first, second = (exp.id[:12] for exp in mlv.find(root))
    query = {name: text.replace("FIRST", first).replace("SECOND", second) for name, text in VIEWS[view].items()}
    made = code(root, query, **options)

    run_python(made.python)
    assert run_shell(made.shell)
    for line in made.shell.splitlines():
        assert ("--lake=" in line) == (bool(options) and line.startswith(("mlv ls ", "mlv sql ")))
    if made.sql is not None:
        assert all(mlv.find(root, **options).sql(text).rows() for text in made.sql.split(";"))
