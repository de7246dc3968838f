"""`mlv.compat.wandb.Api`: runs, rows, files and artifacts of projects, read back from their experiments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from wandb_folder import installed, own_folder

import mlv
import mlv.compat.wandb as wandb
from mlv.audit.verify import verify

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with own_folder(tmp_path, monkeypatch):
        yield


def logged(run_id: str, loss: float, **options: Any) -> Any:
    """Log three rows, of which the last has this loss."""
    with wandb.init(project="p", id=run_id, **options) as run:
        for step in range(3):
            run.log({"loss": loss + 2 - step, "val": {"acc": 0.1 * step}})
    return run


def names(filters: Any = None, order: str = "+created_at") -> list[str]:
    return [run.id for run in wandb.Api().runs("p", filters, order)]


@pytest.fixture
def _runs() -> None:
    logged("a", 3.0, config={"lr": 0.1, "net": {"depth": 2}}, tags=["x"], group="g")
    logged("b", 1.0, config={"lr": 0.2, "net": {"depth": 3}}, tags=["x", "y"], name="named", notes="text", job_type="eval")
    logged("c", 2.0, config={"lr": 0.3, "flag": True}, entity="lab")
    with wandb.init(project="p", id="d") as run:
        run.log({"loss": float("nan")})
        run.finish(exit_code=1)


FILTERS: list[tuple[Any, str]] = [
    (None, "abcd"),
    ({}, "abcd"),
    ({"config.lr": 0.1}, "a"),
    ({"config.lr.value": 0.1}, "a"),
    ({"config.net.depth": 3}, "b"),
    ({"config.lr": {"$gt": 0.1, "$lte": 0.3}}, "bc"),
    ({"config.lr": {"$gt": "0"}}, ""),
    ({"config.lr": None}, "d"),
    ({"config.lr": {"$exists": False}}, "d"),
    ({"config.lr": {"$ne": 0.1}}, "bcd"),
    ({"config.flag": True}, "c"),
    ({"config.flag": 1}, ""),
    ({"config.lr": {"$in": [0.1, 0.3]}}, "ac"),
    ({"config.lr": {"$nin": [0.1, 0.3]}}, "bd"),
    ({"summary_metrics.loss": {"$lt": 2.5}}, "bc"),
    ({"summary_metrics.val.acc": {"$gte": 0.2}}, "abc"),
    ({"state": "finished"}, "abc"),
    ({"state": {"$ne": "finished"}}, "d"),
    ({"tags": "y"}, "b"),
    ({"tags": {"$in": ["x", "z"]}}, "ab"),
    ({"tags": {"$all": ["x", "y"]}}, "b"),
    ({"name": "b"}, "b"),
    ({"display_name": "named"}, "b"),
    ({"display_name": {"$regex": "^NAM", "$options": "i"}}, "b"),
    ({"display_name": re.compile("med$")}, "b"),
    ({"display_name": {"$not": {"$regex": "named"}}}, "acd"),
    ({"group": "g"}, "a"),
    ({"jobType": "eval"}, "b"),
    ({"created_at": {"$gt": "2020-01-01"}}, "abcd"),
    ({"created_at": {"$lt": "2020-01-01"}}, ""),
    ({"$or": [{"config.lr": 0.1}, {"tags": "y"}]}, "ab"),
    ({"$and": [{"tags": "x"}, {"$nor": [{"tags": "y"}]}]}, "a"),
    ({"$not": {"tags": "x"}}, "cd"),
    ({"tags": "x", "config.lr": 0.2}, "b"),
]


@pytest.mark.usefixtures("_runs")
def test_filters():
    """Filters are those of MongoDB, over config, summary and the facts about a run."""
    assert [(filters, got) for filters, expected in FILTERS if (got := names(filters)) != list(expected)] == []


@pytest.mark.usefixtures("_runs")
def test_order():
    """An order is a field, with the greatest first behind a minus; runs without a value are the last."""
    assert names(order="-created_at") == list("dcba")
    assert names(order="summary_metrics.loss") == list("bcad")
    assert names(order="-config.lr") == list("cbad")
    runs = wandb.Api().runs("p", order="-created_at", per_page=2)
    assert (len(runs), runs[0].id, [run.id for run in runs[1:3]]) == (4, "d", ["c", "b"])


@pytest.mark.parametrize(
    "filters",
    [
        {"nothing": 1},
        {"config.lr": {"$near": 1}},
        {"$xor": []},
        {"$or": {}},
        {"tags": {"$in": "x"}},
        {"name": {"$regex": "("}},
        {"name": {"$regex": b"a"}},
        {"$and": [1]},
        {"$not": 5},
        ["name"],
        {1: 2},
    ],
)
def test_filters_that_cannot_be_read(filters):
    """A filter that is none names what is wrong."""
    logged("a", 1.0, config={"lr": 1}, tags=["x"])
    with pytest.raises(wandb.UsageError, match=r"^filters: "):
        names(filters)


def test_a_run():
    """A run has what was logged: facts, config, summary, rows."""
    with wandb.init(
        project="p", id="r1", name="first", config={"lr": 0.1, "net": {"a": [1]}}, tags=["t"], group="g", entity="lab",
        notes="n",
    ) as run:  # fmt: skip
        run.define_metric("best", summary="max")
        for value in (1, 5, 3):
            run.log({"best": value})
        run.config.update({"lr": 0.2}, allow_val_change=True)
        run.summary.update({"note": "text", "list": [1, 2]})
        run.name = "renamed"
    read = wandb.Api().run("lab/p/r1")

    assert (read.id, read.name, read.project, read.entity, read.path) == ("r1", "renamed", "p", "lab", ["lab", "p", "r1"])
    assert (read.state, read.tags, read.group, read.notes, read.sweep) == ("finished", ["t"], "g", "n", None)
    assert read.url == run.url
    assert read.created_at == run.exp.meta["created"]
    assert read.config == {"lr": 0.2, "net": {"a": [1]}}
    assert {key: value for key, value in read.summary.items() if not key.startswith("_")} == {
        "best": {"max": 5}, "note": "text", "list": [1, 2],
    }  # fmt: skip
    assert (read.summary["_step"], read.lastHistoryStep, read.summary._json_dict == dict(read.summary)) == (2, 2, True)
    assert (wandb.Api({"project": "p"}).run("r1").exp.id, wandb.Api().run("p/runs/r1").exp.id) == (read.exp.id,) * 2


def test_rows():
    """Lines of a step are a row, and what a rewind superseded is left out; keys choose rows that have all of them."""
    with wandb.init(project="p", id="r1") as run:
        run.log({"a": 1}, step=0)
        run.log({"b": 2}, step=0)
        for step in (1, 2, 3):
            run.log({"a": step + 1}, step=step)
    with wandb.init(project="p", resume_from="r1?_step=2") as run:
        run.log({"a": 30})
    read = wandb.Api().run("p/r1")

    rows = list(read.scan_history())
    assert [(row["_step"], row.get("a"), row.get("b")) for row in rows] == [
        (0, 1, 2),
        (1, 2, None),
        (2, 3, None),
        (3, 30, None),
    ]
    assert all(row["_runtime"] >= 0 and row["_timestamp"] > 1e9 for row in rows)
    assert list(read.scan_history(keys=["a", "b"])) == [{"a": 1, "b": 2}]
    assert list(read.scan_history(keys=["a"], min_step=1, max_step=3)) == [{"a": 2}, {"a": 3}]
    assert read.history(keys=["a"], pandas=False) == [{"_step": step, "a": a} for step, a in enumerate((1, 2, 3, 30))]
    assert [row["a"] for row in read.history(samples=2, pandas=False)] == [1, 30]
    assert wandb.Api().runs("p").histories(keys=["b"]) == [{"run_id": "r1", "_step": 0, "b": 2}]
    with pytest.raises(wandb.UsageError, match="stream"):
        read.history(stream="system")
    pandas = pytest.importorskip("pandas")
    pandas.testing.assert_frame_equal(read.history(keys=["a"]), pandas.DataFrame({"_step": range(4), "a": [1, 2, 3, 30]}))


def test_rows_without_a_step():
    """A line without a step is a row by itself, also where a step has the number of its position."""
    with mlv.Exp("runs/p", "plain") as exp:
        for step in (1, 2, 3):
            exp.log({"loss": step}, step=step)
        exp.log({"test": 9})
        exp.log({"late": 1}, step=3)

    rows = [{key: value for key, value in row.items() if key[0] != "_"} for row in wandb.Api().runs("p")[0].scan_history()]
    assert rows == [{"loss": 1}, {"loss": 2}, {"loss": 3, "late": 1}, {"test": 9}]


def test_moments_of_other_zones():
    """A moment of another zone is the same moment."""
    logged("a", 1.0)
    zone = timezone(timedelta(hours=-12))
    now = datetime.now(zone)
    assert names({"created_at": {"$lt": now + timedelta(hours=1)}}) == ["a"]
    assert names({"created_at": {"$gt": now + timedelta(hours=1)}}) == []


def test_names_out_of_events():
    """Names that lead out of their folders, in the events of a run from elsewhere, are none."""
    Path("a.txt").write_text("1")
    with wandb.init(project="p", id="r1") as run:
        run.log_artifact("a.txt", name="data", type="dataset")
        run.exp.log("wandb/log_artifact", {"artifact": "../.wandb-artifacts/data:v0"})
        run.exp.log("wandb/log_artifact", {"artifact": "data:v0", "project": "../runs/p"})
        run.exp.log("wandb/log_artifact", {"other": 1})
        run.exp.log("wandb/run", {"sweep": "../../sweep"})
    Path("runs/p/.wandb-sweeps").mkdir()
    Path("runs/sweep").mkdir()
    Path("runs/sweep/sweep.json").write_text('{"config": {"method": "random", "parameters": {"a": {"value": 1}}}}')
    read = wandb.Api().run("p/r1")

    assert [artifact.name for artifact in read.logged_artifacts()] == ["data:v0"]
    with pytest.raises(wandb.CommError, match="no ID of a sweep"):
        read.sweep  # noqa: B018


def test_files():
    """Files are the attachments; a copy is not written over unless it may be."""
    Path("out").mkdir()
    Path("out/model.txt").write_text("weights")
    with wandb.init(project="p", id="r1") as run:
        run.save("out/model.txt")
        run.log_artifact("out/model.txt")
    read = wandb.Api().run("p/r1")

    assert [(file.name, file.size, file.mimetype) for file in read.files()] == [("out/model.txt", 7, "text/plain")]
    assert [file.name for file in read.files(pattern="out/%")] == [file.name for file in read.files(["out/model.txt"])]
    with read.file("out/model.txt").download("copy") as file:
        assert file.read() == "weights"
    with pytest.raises(wandb.CommError, match="replace=True"):
        read.file("out/model.txt").download("copy")
    for options in ({"replace": True}, {"exist_ok": True}):
        read.file("out/model.txt").download("copy", **options).close()
    with pytest.raises(wandb.CommError, match=r"'none\.txt' is not in"):
        read.file("none.txt").download()
    with pytest.raises(wandb.UsageError, match="is not below the files"):
        read.file("../meta.json")
    for name in ("../files/out/model.txt", str(read.file("out/model.txt").source.absolute())):
        with pytest.raises(wandb.UsageError, match="is not below the files"):
            read.file(name)


def test_artifacts():
    """The versions that a run logged and used, and those of a name, are found."""
    Path("a.txt").write_text("1")
    with wandb.init(project="p", id="r1") as run:
        run.log_artifact("a.txt", name="data", type="dataset", aliases=["best"])
        Path("a.txt").write_text("2")
        run.log_artifact("a.txt", name="data", type="dataset")
    with wandb.init(project="q", id="r2") as run:
        run.use_artifact("p/data:best")
    api = wandb.Api()

    assert [artifact.name for artifact in api.run("p/r1").logged_artifacts()] == ["data:v0", "data:v1"]
    assert [artifact.qualified_name for artifact in api.run("q/r2").used_artifacts()] == ["p/data:v0"]
    assert Path(api.artifact("lab/p/data:latest", type="dataset").file()).read_text() == "2"
    assert [artifact.version for artifact in api.artifact_versions("dataset", "p/data")] == ["v1", "v0"]
    assert [artifact.version for artifact in api.artifacts("dataset", "p/data", tags=["best"])] == ["v0"]
    assert [api.artifact_exists(name) for name in ("p/data:best", "p/data:worst")] == [True, False]
    for call in (lambda: api.artifacts("model", "p/data"), lambda: api.artifact("p/data", type="model")):
        with pytest.raises(wandb.UsageError, match="of type 'dataset'"):
            call()


def test_changes():
    """What a script changes in a run that was logged is stored as a further run of its experiment."""
    Path("a.txt").write_text("1")
    logged("r1", 1.0, config={"lr": 0.1}, tags=["t"])
    run = wandb.Api().run("p/r1")
    run.tags.append("u")
    run.config["lr"] = 0.3
    run.config["new"] = 1
    run.summary["loss"] = 7
    run.notes, run.name = "later", "better"
    with pytest.warns(mlv.MlvWarning, match=r"params\.lr is now"):
        run.update()
    run.summary.update({"more": 2})
    run.upload_file("a.txt")

    read = wandb.Api().run("p/r1")
    assert (read.tags, read.notes, read.name) == (["t", "u"], "later", "better")
    assert read.config == {"lr": 0.3, "new": 1}
    assert (read.summary["loss"], read.summary["more"]) == (7, 2)
    assert [file.name for file in read.files()] == ["a.txt"]
    assert run.load(force=True).config == read.config
    assert verify(read.exp.path).verdict == "intact"


def test_experiments_of_others():
    """Experiments that were not logged through wandb are runs, too."""
    with mlv.Exp("runs/p", "plain", {"lr": 1}) as exp:
        exp.log({"loss": 2}, step=1)
    [run] = wandb.Api().runs("p")

    assert (run.id, run.name, run.config, run.summary["loss"]) == (exp.short_id, "plain", {"lr": 1}, 2)
    assert wandb.Api().run(f"p/{exp.short_id}").exp.id == exp.id


def test_projects():
    """Projects are the folders of experiments."""
    logged("r1", 1.0)
    api = wandb.Api()

    assert [(project.name, project.path) for project in api.projects()] == [("p", ["", "p"])]
    assert api.from_path("p").name == "p"
    assert api.from_path("lab/p/r1").id == "r1"


def test_what_is_not_there():
    """Projects, runs and artifacts that are not there are named, with those that are; what is missing names itself."""
    logged("r1", 1.0)
    api = wandb.Api(api_key="a" * 40)
    with pytest.raises(ValueError, match=r"Could not find project 'lab/q'.*there are: p"):
        api.runs("lab/q")
    with pytest.raises(wandb.CommError, match="no run 'r2'"):
        api.run("p/r2")
    with pytest.raises(wandb.UsageError, match="no artifact 'none'"):
        api.artifacts("model", "p/none")
    with pytest.raises(wandb.CommError, match="no sweep 'none'"):
        api.sweep("p/none")
    for owner, name in ((api, "reports"), (api, "viewer"), (api.run("p/r1"), "delete"), (wandb, "controller")):
        with pytest.raises(AttributeError, match=rf"\.{name} is not in mlv\.compat\.wandb: "):
            getattr(owner, name)


def test_under_its_own_name():
    """`wandb.apis.public` has the classes, and anything else names itself."""
    with installed():
        from wandb.apis.public import Api, Runs

        assert Api is wandb.Api is wandb.apis.PublicApi
        assert Runs.__module__ == "mlv.compat.wandb.apis.listing"
        with pytest.raises(ImportError, match="Reports"):
            from wandb.apis.public import Reports  # noqa: F401
