"""A script of some sixty calls: its experiment is read back, and the real wandb, where it is installed, gives it the same."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from wandb_folder import outcomes

import mlv
from mlv.audit.verify import verify

pytest.importorskip("numpy", reason="numpy is not installed")
pytest.importorskip("PIL", reason="Pillow is not installed")

SCRIPT = """
class Box:
    def __init__(self):
        self.depth, self.width = 3, 4

# 1 to 6: before a run
see("log before", lambda: wandb.log({"a": 1}))
see("config before", lambda: wandb.config.lr)
see("config set before", lambda: setattr(wandb.config, "lr", 1))
see("summary before", lambda: wandb.summary["a"])
see("finish before", lambda: wandb.finish())
see("run before", lambda: wandb.run)

# 7 to 14: the run
run = wandb.init(project="demo", id="abc123", name="first", group="g", job_type="train", tags=["x"], notes="text",
                 config={"lr": 0.1, "net": {"layers": [1, 2]}, "pair": (1, 2)})
see("identity", lambda: [run.id, run.name, run.project, run.group, run.job_type, run.tags, run.notes, run.path])
see("numbers", lambda: [run.step, run.starting_step, run.resumed, run.disabled, run.sweep_id])
see("global", lambda: [wandb.run is run, wandb.config is run.config, wandb.summary is not None])
see("dir", lambda: os.path.isdir(run.dir))
see("second init", lambda: wandb.init(project="other", config={"lr": 9}) is run)
see("id stays", lambda: setattr(run, "id", "other"))
see("tags", lambda: [setattr(run, "tags", run.tags + ("y",)), run.tags])
see("foreign attribute", lambda: run.no_such_attribute)

# 15 to 31: config
config = run.config
see("items", lambda: [config.lr, config["net"], config.pair, "lr" in config, config.keys(), config.get("none", 7)])
see("missing attribute", lambda: config.missing)
see("missing item", lambda: config["missing"])
see("nested attribute", lambda: config.net.layers)
see("equal value", lambda: config.update({"lr": 0.1}))
see("changed attribute", lambda: setattr(config, "lr", 0.2))
see("changed item", lambda: config.__setitem__("lr", 0.2))
see("changed update", lambda: config.update({"lr": 0.2, "not_taken": 1}))
see("allowed change", lambda: [config.update({"lr": 0.2}, allow_val_change=True), config.lr])
see("defaults", lambda: [config.setdefaults({"lr": 5, "late": 1}), config.lr, config.late])
see("namespace", lambda: [config.update(argparse.Namespace(epochs=3)), config.epochs])
see("object", lambda: [config.update(Box()), config.depth, config.width])
see("kinds", lambda: [config.update({"f": json.dumps, "s": {1}, "c": dict, "np": np.float32(2), "arr": np.arange(3),
                                     "--dashed": 1, "d": np.dtype("float32")}),
                      config.f, config.s, config.c, config.np, config.arr, config.dashed, config.d])
see("number as config", lambda: config.update(3))
see("none as config", lambda: config.update(None))
see("media in config", lambda: config.update({"h": wandb.Histogram([1, 2])}))
see("dict", lambda: sorted(dict(config.items())))

# 32 to 45: rows
def rows(*calls):
    steps = []
    for data, options in calls:
        wandb.log(data, **options)
        steps.append(run.step)
    return steps

see("rows", lambda: rows(({"loss": 3.0, "acc": 0.1}, {}), ({"loss": 2.5}, {"commit": False}), ({"acc": 0.2}, {}),
                         ({"loss": 2.0}, {"step": 10}), ({"acc": 0.3}, {"step": 10}), ({"loss": 1.9}, {}),
                         ({"loss": 1.8}, {"step": 20, "commit": True}), ({}, {}), ({"loss": 1.7}, {})))
see("numpy step", lambda: rows(({"loss": 1.6}, {"step": np.int64(30)})))
see("lower step", lambda: rows(({"lower": 1.5}, {"step": 3})))
see("float step", lambda: wandb.log({"a": 1}, step=1.5))
see("text step", lambda: wandb.log({"a": 1}, step="1"))
see("truth value as step", lambda: wandb.log({"a": 1}, step=True))
see("list as data", lambda: wandb.log([1]))
see("number as key", lambda: wandb.log({1: 1}))
see("values", lambda: wandb.log({"text": "t", "flag": True, "none": None, "list": [1, 2], "nested": {"a": 1, "b": {"c": 2}},
                                 "array": np.arange(3), "scalar": np.float64(0.5)}))
see("summary", lambda: [run.summary["loss"], run.summary["acc"], run.summary["text"], run.summary["flag"],
                        run.summary["list"], run.summary["array"], run.summary["scalar"]])
see("nested summary", lambda: [run.summary["nested"]["a"], run.summary.nested.b.c])
see("summary set", lambda: [run.summary.update({"best": {"v": 1}}), run.summary["best"]["v"], run.summary.get("none there")])
see("summary attribute", lambda: [setattr(run.summary, "total", 5), run.summary["total"], "total" in run.summary.keys()])
see("summary missing", lambda: run.summary["missing"])

# 46 to 53: definitions
def defined(name, summary, key=None):
    run.define_metric(name, summary=summary)
    for value in (1, 5, 3):
        wandb.log({key or name: value})
    return run.summary.get(key or name)

see("max", lambda: defined("m", "max"))
see("several", lambda: defined("k", "min,mean,first"))
see("none", lambda: defined("q", "none"))
see("last", lambda: defined("z", "last"))
metric = run.define_metric("val/*", step_metric="epoch")
see("axis", lambda: [metric.name, metric.step_metric, metric.step_sync, metric.hidden])
see("axis logged", lambda: wandb.log({"epoch": 2, "val/acc": 0.5}))
see("empty name", lambda: run.define_metric(""))
see("star inside", lambda: run.define_metric("a*b"))
see("unknown summary", lambda: run.define_metric("a", summary="best"))

# 54 to 63: media, files, messages
pixels = np.arange(8 * 10 * 3, dtype=np.uint8).reshape(8, 10, 3)
see("media", lambda: wandb.log({"image": wandb.Image(pixels, caption="c"),
                                "images": [wandb.Image(pixels), wandb.Image(pixels[:4])],
                                "hist": wandb.Histogram(np_histogram=([1, 2], [0, 1, 2])), "html": wandb.Html("<p>hi</p>"),
                                "many": np.arange(100.0)}))
table = wandb.Table(columns=["a", "b"], data=[[1, "x"]])
see("table", lambda: [table.add_data(2, "y"), table.columns, table.data, table.get_column("b")])
see("short row", lambda: table.add_data(1))
see("table logged", lambda: wandb.log({"table": table}))
see("histogram", lambda: [wandb.Histogram([1, 2, 3], num_bins=2).histogram, wandb.Histogram([1, 2, 3], num_bins=2).bins])
see("histogram that is none", lambda: wandb.Histogram(np_histogram=([1], [1])))
see("sound without a rate", lambda: wandb.Audio(np.zeros(10)))
see("video without a format", lambda: wandb.Video(np.zeros((2, 3, 4, 4), dtype=np.uint8)))
see("points", lambda: wandb.Object3D(np.zeros((2, 2))))
open("file.txt", "w").write("content")
see("save", lambda: [os.path.basename(path) for path in run.save("file.txt")])
see("save nothing", lambda: run.save("nothing*"))
see("save policy", lambda: run.save("file.txt", policy="sometimes"))
see("alert", lambda: run.alert("title", "text", level=wandb.AlertLevel.WARN))
see("alert level", lambda: run.alert("a", "b", level="LOUD"))

# 64 to 71: the end, another run, a disabled one
run.finish()
see("finished log", lambda: run.log({"a": 1}))
see("finished config", lambda: run.config.update({"more": 1}))
see("finished definition", lambda: run.define_metric("a"))
see("finished", lambda: [wandb.run, run.config.epochs, run.finish()])
see("log after", lambda: wandb.log({"a": 1}))
with wandb.init(project="demo", id="def456", mode="disabled", config={"a": 1}) as off:
    off.log({"x": 1})
    see("disabled", lambda: [off.disabled, off.step, off.config.a, off.summary["x"], off.url])
see("id with a slash", lambda: wandb.init(id="a/b"))
see("project with a slash", lambda: wandb.init(project="a/b"))
"""
DIFFERENT = {
    "foreign attribute"  # the base of errors
}
"""Labels of calls after which the two say something else, on purpose."""


def test_the_experiment(tmp_path):
    """All that the script handed over is in its experiment."""
    outcomes(tmp_path / "ours", "ours", SCRIPT)

    exp = mlv.Exp.open(tmp_path / "ours/runs/demo/first")
    assert (exp.status, exp.kind, exp.tags, exp.notes) == ("ok", "train", ("x", "y"), ("text",))
    assert verify(exp.path).verdict == "intact"
    assert {key: exp.params[key] for key in ("lr", "net", "late", "epochs", "depth", "dashed", "d")} == {
        "lr": 0.1, "net": {"layers": [1, 2]}, "late": 1, "epochs": 3, "depth": 3, "dashed": 1, "d": "float32",
    }  # fmt: skip
    assert [event.data for event in exp.events("params_changed")] == [{"lr": 0.2}]
    losses = [(event.step, event.data["loss"]) for event in exp.events("metrics") if "loss" in event.data]
    assert losses == [(0, 3.0), (1, 2.5), (10, 2.0), (10, 1.9), (20, 1.8), (22, 1.7), (30, 1.6)]
    assert [event.step for event in exp.events("metrics") if "lower" in event.data] == [3]
    summary = exp.summary()
    chosen = {
        name: (summary[name].statistic, summary[name].value) for name in ("m", "k", "q", "z", "total", "best/v", "nested/b/c")
    }
    assert chosen == {
        "m": ("max", 5), "k": ("min", 1), "q": ("none", None), "z": ("last", 3), "total": ("summary", 5),
        "best/v": ("summary", 1), "nested/b/c": ("last", 2),
    }  # fmt: skip
    kinds = {event.name: event.type for event in exp.events(["image", "histogram", "table", "file"])}
    assert [kinds[name] for name in ("image", "images", "hist", "many", "table", "file.txt")] == [
        "image", "image", "histogram", "histogram", "table", "file",
    ]  # fmt: skip
    [page] = exp.events("figure", name="html")
    assert (exp.path / page.data["file"]["path"]).read_text() == "<p>hi</p>"
    [table] = exp.events("table")
    assert table.data == {"columns": ["a", "b"], "rows": [[1, "x"], [2, "y"]]}
    [image] = exp.events("image", name="image")
    assert pixels_of(exp.path / image.data["file"]["path"]) == list(range(240))
    assert [event.data["message"] for event in exp.events("message")] == ["title: text"]
    assert not [*exp.events("rejected")]
    assert sorted(path.name for path in (tmp_path / "ours").iterdir()) == ["file.txt", "runs", "script.py", "seen.json"]


def pixels_of(path: Path) -> list[int]:
    from PIL import Image

    with Image.open(path) as image:
        return list(image.tobytes())


@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")
def test_the_same_as_wandb(tmp_path, command):
    """Each call gives what it gives under the real wandb, and what that wrote is, imported, the same experiment."""
    theirs, ours = outcomes(tmp_path / "theirs", "theirs", SCRIPT), outcomes(tmp_path / "ours", "ours", SCRIPT)
    [source] = (tmp_path / "theirs/wandb").glob("offline-run-*-abc123")
    assert command("import", source, "--into", "imported", "--links").returncode == 0  # wandb links the files that it saves

    assert_alike(mlv.Exp.open(tmp_path / "imported/demo/first"), mlv.Exp.open(tmp_path / "ours/runs/demo/first"))
    differing = {label: (theirs[label], ours[label]) for label in theirs if theirs[label] != ours[label]}
    assert differing == {}
    assert len(theirs) > 60


def assert_alike(imported: mlv.Exp, own: mlv.Exp) -> None:
    """Hold the experiment against the imported one, but for the step that wandb dropped and the tags of the importer."""
    assert imported.params == own.params
    assert {*imported.tags} - {"imported", "wandb"} == {*own.tags}
    assert imported.notes == own.notes
    assert {**rows(imported), (3, "lower"): 1.5} == rows(own)
    summaries = [{name: (one.statistic, one.value) for name, one in exp.summary().items()} for exp in (imported, own)]
    summaries[1].pop("lower")
    assert summaries[0] == summaries[1]
    media = ["figure", "histogram", "image", "table"]
    assert [sorted((event.type, event.name, event.step) for event in exp.events(media)) for exp in (imported, own)] == [
        [("figure", "html", 44), ("histogram", "hist", 44), ("histogram", "many", 44), ("image", "image", 44),
         ("image", "images", 44), ("table", "table", 45)],
    ] * 2  # fmt: skip
    for name in ("image", "images"):
        first, second = (next(iter(exp.events("image", name=name))).data for exp in (imported, own))
        paths = [(one["path"], other["path"]) for one, other in zip(files(first), files(second), strict=True)]
        assert [pixels_of(imported.path / one) for one, _ in paths] == [pixels_of(own.path / other) for _, other in paths]
    for name, fields in (("hist", ("counts", "edges")), ("many", ("counts", "edges")), ("table", ("columns", "rows"))):
        one, other = (next(iter(exp.events(media, name=name))).data for exp in (imported, own))
        assert [one[field] for field in fields] == [other[field] for field in fields]


def rows(exp: mlv.Exp) -> dict[tuple[Any, str], Any]:
    """Each metric by step and name; of several values in a row the last counts, as in wandb."""
    return {(event.step, name): value for event in exp.events("metrics") for name, value in event.data.items()}


def files(data: Any) -> list[Any]:
    return data["files"] if "files" in data else [data["file"]]
