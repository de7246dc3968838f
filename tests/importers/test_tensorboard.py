"""Event files of TensorBoard come over whole, every plugin of them, and damaged ones as much as there is."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from conftest import run_command

import mlv
from importers import wandb_files
from importers.protobuf_bytes import field
from importers.trees import content, import_all, import_one, points

pytest.importorskip("numpy")
pytest.importorskip("tensorboardX")

import numpy as np
from tensorboardX import SummaryWriter
from tensorboardX.proto.event_pb2 import Event, LogMessage, SessionLog
from tensorboardX.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
from tensorboardX.proto.tensor_pb2 import TensorProto
from tensorboardX.proto.tensor_shape_pb2 import TensorShapeProto

from mlv.importers.importing import look_for
from mlv.importers.reading import Options
from mlv.projections.tfrecords import framed

START = 1_700_000_000.0


def scalar(step: int, tag: str = "loss", value: float | None = None) -> Event:
    number = step / 4 if value is None else value
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=number)])
    return Event(wall_time=START + min(abs(step), 1000) * 0.25, step=step, summary=summary)


def file_of(events: list[Event]) -> bytes:
    first = Event(wall_time=START, file_version="brain.Event:2")
    return framed([event.SerializeToString() for event in (first, *events)])


def write(folder: Path, events: list[Event], name: str = "events.out.tfevents.1700000000.host") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(file_of(events))
    return folder


def tensor(values: object, kind: int, shape: list[int], **fields: object) -> TensorProto:
    dims = [TensorShapeProto.Dim(size=size) for size in shape]
    return TensorProto(dtype=kind, tensor_shape=TensorShapeProto(dim=dims), **fields)


def of_plugin(tag: str, plugin: str, value: TensorProto | None, **more: object) -> Summary.Value:
    data = SummaryMetadata.PluginData(plugin_name=plugin, content=more.pop("content", b""))
    return Summary.Value(tag=tag, tensor=value, metadata=SummaryMetadata(plugin_data=data, **more))


def verdict(path: Path) -> str:
    return str(run_command("verify", path).stdout).split()[0]


def test_all_points(tmp_path):
    """Every point comes over with its step, time and exact value: the same as EventAccumulator reads without a limit."""
    pytest.importorskip("tensorboard", reason="its EventAccumulator is compared with")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    values = [0.1, math.nan, math.inf, -0.0, 1e38]
    events = [scalar(step, tag, values[step % 5]) for step in range(12_000) for tag in ("loss", "val/acc")]
    folder = write(tmp_path / "logs" / "exp", [*events, scalar(-3), scalar(2**40), scalar(2**62)])
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()

    exp, outcome = import_one(tmp_path / "logs", tmp_path / "runs")

    assert (exp.path, outcome.is_whole, exp.status) == (tmp_path / "runs/exp", True, "ended")
    for tag in ("loss", "val/acc"):
        ours = [(e.step, e.time.timestamp(), e.data[tag]) for e in exp.events("metrics") if tag in e.data]
        theirs = [(e.step, e.wall_time, e.value) for e in accumulator.Scalars(tag)]
        assert repr(ours) == repr([(step, round(time, 6), value) for step, time, value in theirs])
    assert verdict(exp.path) == "intact"


def test_any_records(tmp_path):
    """Records of many tags, odd times and odd steps, and those that are all different, come over in their order."""
    tags = [f"tag{number:03}" for number in range(100)]
    events = [scalar(step, tag) for step in range(20) for tag in tags]
    odd = [Event(wall_time=time, step=7, summary=events[0].summary) for time in (-5.0, math.nan, 1e300, 0.0)]
    unlike = [
        Event(
            wall_time=START + step,
            step=step,
            summary=Summary(value=[of_plugin("k", "scalars", tensor(None, 1, [], float_val=[step]))]),
        )
        for step in range(200)
    ]
    folder = write(tmp_path / "exp", [*events, *odd, *unlike, scalar(2**63 - 1)])

    exp, outcome = import_one(folder, tmp_path / "runs")

    told = [(step, data) for step, data in points(exp) if "k" not in data and step not in (7, 2**63 - 1)]
    assert outcome.is_whole
    assert sorted(told, key=repr) == sorted(((s, {t: s / 4}) for s in range(20) if s != 7 for t in tags), key=repr)
    assert [(step, data["k"]) for step, data in points(exp) if "k" in data] == [(step, step) for step in range(200)]
    assert (exp.summary()["tag000"].count, exp.summary()["loss"].count) == (24, 1)


@pytest.mark.parametrize("follows", [True, False])
def test_while_it_is_written(tmp_path, follows):
    """Imported at any length of its file, also followed, an experiment comes over whole in the end."""
    whole = file_of([scalar(step) for step in range(100)])
    path = tmp_path / "exp" / "events.out.tfevents.1.host"
    write(tmp_path / "exp", [], path.name)
    for number, cut in enumerate([41, 90, *random.Random(2).sample(range(100, len(whole)), 4)]):
        path.write_bytes(whole[:cut])
        import_all(tmp_path / "exp", tmp_path / str(number), follows=follows)
        path.write_bytes(whole)

        exp, outcome = import_one(tmp_path / "exp", tmp_path / str(number), follows=follows)

        assert (outcome.left, outcome.imported.differences) == ({}, []), cut
        assert points(exp) == [(step, {"loss": step / 4}) for step in range(100)]


@pytest.mark.parametrize("seed", range(8))
def test_a_flipped_bit(tmp_path, seed):
    """A flipped bit costs the record that it is in, and is reported."""
    whole = bytearray(file_of([scalar(step) for step in range(3000)]))
    position = random.Random(seed).randrange(60, len(whole))
    whole[position] ^= 1 << seed
    write(tmp_path / "exp", [])
    (tmp_path / "exp/events.out.tfevents.1700000000.host").write_bytes(whole)

    exp, outcome = import_one(tmp_path / "exp", tmp_path / "runs")

    assert dict(outcome.left) == {"damaged records of event files": 1}
    told = points(exp)
    assert len(told) == 2999
    assert all(data == {"loss": step / 4} for step, data in told)


def test_tensorboardx(tmp_path):
    """What tensorboardX's writer wrote comes over: scalars, curves, images, histograms, texts, hyperparameters, embeddings."""
    writer = SummaryWriter(str(tmp_path / "logs"))
    for step in range(3):
        writer.add_scalar("loss", step, step)
        writer.add_scalars("acc", {"train": step, "val": -step}, step)
    writer.add_image("img", np.zeros((3, 4, 5), "uint8"), 1)
    writer.add_histogram("h", np.arange(100.0) / 10, 1, bins=[0, 5, 10])
    writer.add_histogram("same", np.ones(10), 1)
    writer.add_text("note", "**hi**", 2)
    writer.add_pr_curve("pr", np.array([0, 1, 1, 0]), np.array([0.1, 0.8, 0.6, 0.4]), 1, num_thresholds=5)
    writer.add_hparams({"lr": 0.1, "bs": 32, "opt": "adam", "flag": True}, {"hp/acc": 0.5})
    writer.add_mesh("mesh", np.zeros((1, 3, 3), "float32"), global_step=1)
    writer.add_custom_scalars({"A": {"loss": ["Multiline", ["loss"]]}})
    writer.add_embedding(np.zeros((3, 4)), metadata=["a", "b", "c"], global_step=1)
    writer.close()

    exp, outcome = import_one(tmp_path / "logs", tmp_path / "runs")

    assert outcome.is_whole
    assert {name: each.count for name, each in exp.summary().items()} == {"loss": 3, "acc/train": 3, "acc/val": 3, "hp/acc": 1}
    assert exp.params == {"lr": 0.1, "bs": 32, "opt": "adam", "flag": True}
    [image] = exp.events("image")
    assert (image.name, image.step, image.data["width"], image.data["height"]) == ("img", 1, 5, 4)
    assert (exp.path / image.data["file"]["path"]).read_bytes()[:4] == b"\x89PNG"
    histogram, same = exp.events("histogram")
    assert (histogram.data["counts"], histogram.data["edges"], histogram.data["count"]) == ([50, 50], [0, 5, 9.9], 100)
    assert (same.data["counts"], same.data["mean"]) == ([10], 1)
    [text] = exp.events("text")
    assert (text.name, text.data) == ("note", {"text": "**hi**", "format": "markdown"})
    [curve] = exp.events("pr_curve")
    assert (curve.data["tp"], curve.data["positives"], curve.data["thresholds"][1]) == ([2, 2, 2, 1, 0], 2, 0.25)
    assert [(event.name, event.data["plugin"]) for event in exp.events("array")] == [("mesh_1", "mesh")]
    assert next(iter(exp.events("event"))).data["plugin"] == "custom_scalars"
    assert len((exp.path / "files/projector/00001/default/tensors.tsv").read_text().splitlines()) == 3
    assert [len(run.children) for run in exp.runs] == [4]
    assert verdict(exp.path) == "intact"


def test_torch(tmp_path):
    """What torch's writer wrote comes over, the folders of its curves included."""
    pytest.importorskip("torch", reason="torch writes the files")
    from torch.utils.tensorboard import SummaryWriter as OfTorch

    writer = OfTorch(str(tmp_path / "logs"))
    for step in range(3):
        writer.add_scalar("loss/train", step, step)
        writer.add_scalar("new", step, step, new_style=True)
        writer.add_scalars("a/b", {"x": step, "y": -step}, step)
    writer.add_hparams({"lr": 0.1}, {"hp": 0.5})
    writer.close()

    exp, outcome = import_one(tmp_path / "logs", tmp_path / "runs")

    assert outcome.is_whole
    assert {name: each.count for name, each in exp.summary().items()} == {
        "loss/train": 3, "new": 3, "a/b/x": 3, "a/b/y": 3, "hp": 1,
    }  # fmt: skip
    assert exp.params == {"lr": 0.1}


def test_values_as_tensors(tmp_path):
    """What TensorFlow 2 and Keras write, tensors of plugins, comes over: the plugin is named in the first value of a tag."""
    png = b"\x89PNG\r\n\x1a\n"
    strings = {"string_val": [b"5", b"4", png, png]}
    bins = np.array([[0, 1, 3], [1, 2, 4]], "f8")
    first = [
        of_plugin(
            "epoch_loss", "scalars", tensor(0.5, 1, [], tensor_content=np.float32(0.5).tobytes()), summary_description="Loss"
        ),
        of_plugin("img", "images", tensor(None, 7, [4], **strings)),
        of_plugin("h", "histograms", tensor(bins, 2, [2, 3], tensor_content=bins.tobytes())),
        of_plugin("half", "odd", tensor(None, 19, [2], half_val=[0x3C00])),
        of_plugin("bf", "odd", tensor(None, 14, [2], half_val=[0x3F80, 0x4000])),
        of_plugin("words", "text", tensor(None, 7, [1, 2], string_val=[b"a", b"b"])),
        of_plugin("wav", "audio", tensor(None, 7, [1, 2], string_val=[b"RIFF....", b"label"])),
    ]
    then = [Summary.Value(tag="epoch_loss", tensor=tensor(0.25, 1, [], float_val=[0.25]))]
    events = [
        Event(wall_time=START, step=0, summary=Summary(value=first)),
        Event(wall_time=START + 1, step=1, summary=Summary(value=then)),
        Event(wall_time=START + 2, graph_def=b"\x0a\x00"),
        Event(wall_time=START + 3, log_message=LogMessage(level=40, message="bad")),
    ]

    exp, outcome = import_one(write(tmp_path / "train", events), tmp_path / "runs")

    assert outcome.is_whole
    assert points(exp) == [(0, {"epoch_loss": 0.5}), (1, {"epoch_loss": 0.25})]
    assert [dict(event.data) for event in exp.events("metadata")] == [{"description": "Loss"}]
    [image] = exp.events("image")
    assert (len(image.data["files"]), image.data["sizes"]) == (2, [[5, 4], [5, 4]])
    [histogram] = exp.events("histogram")
    assert histogram.data == {"counts": [3, 4], "edges": [0, 1, 2], "count": 7}
    assert {e.name: np.load(exp.path / e.data["file"]["path"]).tolist() for e in exp.events("array")} == {
        "half": [1.0, 1.0],
        "bf": [1.0, 2.0],
    }
    assert [event.data["rows"] for event in exp.events("table")] == [[["a", "b"]]]
    assert [event.data["caption"] for event in exp.events("audio")] == ["label"]
    assert (exp.path / "files/graph.pb").read_bytes() == b"\x0a\x00"
    assert [event.data["level"] for event in exp.events("message")] == ["error"]


def test_a_purge(tmp_path):
    """A writer that went on from an earlier step is a second run, which rewinds: what it purges counts no more."""
    write(tmp_path / "exp", [scalar(step) for step in range(10)], "events.out.tfevents.1.host")
    start = Event(wall_time=START + 9, step=5, session_log=SessionLog(status=SessionLog.START))
    write(tmp_path / "exp", [start, *(scalar(step, value=100) for step in range(5, 8))], "events.out.tfevents.2.host")

    exp, _ = import_one(tmp_path / "exp", tmp_path / "runs")

    assert (len(exp.runs), exp.summary()["loss"].count) == (2, 8)
    assert exp.summary()["loss"].last == 100


def test_folders(tmp_path):
    """Folders of event files are experiments, at the paths that they have; those of one name lie beside each other."""
    for folder in ("a/train", "a/validation", "b"):
        write(tmp_path / "logs" / folder, [scalar(1)])
    (tmp_path / "logs/empty").mkdir()
    (tmp_path / "logs/empty/events.out.tfevents.3.host").write_bytes(b"")

    outcomes = import_all(tmp_path / "logs", tmp_path / "runs")

    assert sorted(str(each.imported.path.relative_to(tmp_path / "runs")) for each in outcomes) == [
        "a/train",
        "a/validation",
        "b",
    ]


def test_files_of_mlv(tmp_path, monkeypatch):
    """An output that mlv itself wrote is no source: the experiment is there already."""
    monkeypatch.setenv("MLV_INLINE", "1")
    with mlv.Exp(tmp_path / "runs", "exp", {}, capture=(), system=False) as exp:
        exp.log({"loss": 1.0}, step=1)
    assert run_command("export", exp.path, "--to", "tensorboard").returncode == 0

    [outcome] = import_all(exp.path / "tensorboard", tmp_path / "again")

    assert f"an output that mlv itself wrote of experiment {exp.id[:8]}" in outcome.error
    assert content(tmp_path / "again") == {}


def test_a_mixed_folder(tmp_path):
    """A folder with runs of several tools is imported whole, each by its own format."""
    write(tmp_path / "logs/tb", [scalar(1)])
    wandb_files.write(tmp_path / "logs/wandb/run-1-abc", wandb_files.framed(wandb_files.WHOLE))

    outcomes = import_all(tmp_path / "logs", tmp_path / "runs")

    assert sorted((each.unit.format, each.imported.path.name) for each in outcomes) == [
        ("tensorboard", "tb"),
        ("wandb", "first"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        field(5, 7),
        field(5, field(1, 3)),
        field(5, field(1, field(1, "i") + field(4, field(4, 3)))),
        field(4, 0),
        field(8, field(1, 1)) + field(7, 3),
        field(5, field(1, field(1, "t") + field(8, field(1, 2) + field(2, field(2, field(1, 1 << 27))) + field(6, bytes(8))))),
    ],
    ids=["summary", "value", "image", "graph", "session", "size"],
)
def test_a_record_of_other_types(tmp_path, content):
    """A whole record whose fields are none of TensorBoard's costs itself, is counted, and takes no memory that it names."""
    loss = field(1, START) + field(5, scalar(0).summary.SerializeToString())
    payloads = [field(1, START) + field(3, "brain.Event:2"), field(1, START) + content, loss]
    (tmp_path / "tb").mkdir()
    (tmp_path / "tb/events.out.tfevents.1700000000.host").write_bytes(framed(payloads))

    exp, outcome = import_one(tmp_path / "tb", tmp_path / "runs")

    assert (points(exp), outcome.left) == ([(0, {"loss": 0.0})], {"records that cannot be decoded": 1})


def test_damage_before_the_first_whole_record(tmp_path):
    """A file whose first records are damaged is recognised by those behind them, however large the first whole one is."""
    folder = write(tmp_path / "tb", [Event(wall_time=START, graph_def=bytes(100_000)), scalar(1)])
    path = next(folder.iterdir())
    damaged = bytearray(path.read_bytes())
    damaged[20] ^= 1
    path.write_bytes(damaged)

    exp, outcome = import_one(folder, tmp_path / "runs")

    assert (points(exp), outcome.left) == ([(1, {"loss": 0.25})], {"damaged records of event files": 1})


def test_a_projector_of_other_folders(tmp_path):
    """Files that an embedding projector names elsewhere than below its folder are reported, and stay out of the tree."""
    (tmp_path / "secret.tsv").write_text("secret")
    folder = write(tmp_path / "tb", [scalar(0)])
    (folder / "tensors.tsv").write_text("1\t2\n")
    names = [f"{tmp_path}/secret.tsv", "../secret.tsv", f"{folder}/tensors.tsv"]
    (folder / "projector_config.pbtxt").write_text("\n".join(f'embeddings {{ tensor_path: "{name}" }}' for name in names))

    exp, outcome = import_one(folder, tmp_path / "runs")

    assert {path.name for path in (exp.path / "files/projector").iterdir()} == {"projector_config.pbtxt", "tensors.tsv"}
    assert outcome.left == {"files of a projector that are gone, or lie elsewhere": 2}


def test_a_tag_that_recurs_in_a_record(tmp_path):
    """A record with several values of one tag comes over with all of them."""
    values = [Summary.Value(tag=tag, simple_value=number) for number, tag in enumerate(["a", "b", "a"])]
    folder = write(tmp_path / "tb", [Event(wall_time=START, step=1, summary=Summary(value=values))])

    assert points(import_one(folder, tmp_path / "runs")[0]) == [(1, {"a": 0.0, "b": 1.0}), (1, {"a": 2.0})]


def test_a_histogram_with_a_doubled_limit(tmp_path):
    """The edges of a histogram ascend, also where its file has a limit twice."""
    histogram = HistogramProto(min=0, max=3, num=4, sum=6, sum_squares=14, bucket_limit=[1, 2, 2, 3], bucket=[1, 1, 1, 1])
    folder = write(tmp_path / "tb", [Event(wall_time=START, summary=Summary(value=[Summary.Value(tag="h", histo=histogram)]))])

    [event] = import_one(folder, tmp_path / "runs")[0].events("histogram")

    edges = event.data["edges"]
    assert (edges[:3], edges == sorted(set(edges))) == ([0, 1, 2], True)


def test_a_histogram_with_values_outside_its_bins(tmp_path):
    """The least and the greatest value are those of the file, also where no bin holds them."""
    histogram = HistogramProto(min=-9, max=9, num=4, sum=2, sum_squares=166, bucket_limit=[1, 2, 3], bucket=[0, 2, 0])
    folder = write(tmp_path / "tb", [Event(wall_time=START, summary=Summary(value=[Summary.Value(tag="h", histo=histogram)]))])

    [event] = import_one(folder, tmp_path / "runs")[0].events("histogram")

    assert (event.data["counts"], event.data["edges"]) == ([2], [1, 2])
    assert (event.data["min"], event.data["max"], event.data["count"]) == (-9, 9, 4)


def test_files_without_a_record(tmp_path):
    """An event file in which no record is whole is named as passed over, unless it is empty."""
    folder = write(tmp_path / "tb", [scalar(0)])
    for name, content_ in (("empty", b""), ("random", bytes(range(256)))):
        (folder / f"events.out.tfevents.1.{name}").write_bytes(content_)

    found = look_for([folder], None, Options())

    assert (len(found.units), [path.name for path in found.unknown]) == (1, ["events.out.tfevents.1.random"])
