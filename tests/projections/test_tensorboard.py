"""TensorBoard's own reader finds in the event files what was logged: once, at its step, with its time."""

from __future__ import annotations

import math
import os
import struct
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from logs import line, write

from mlv import Exp, ForeignStep
from mlv.errors import CannotResume
from mlv.projections import TensorBoard, replay
from mlv.projections.batch import LineBatch
from mlv.projections.selecting import selection
from projections.lines import followed, metric_line, pairs

pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import metrics, texts

pytest.importorskip("tensorboardX")
accumulators: Any = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def read(folder: Path):
    """All that TensorBoard's reader finds in one run."""
    found = accumulators.EventAccumulator(str(folder), accumulators.STORE_EVERYTHING_SIZE_GUIDANCE)
    return found.Reload()


def points(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in read(folder).Scalars(tag)]


def texts_of(folder: Path, tag: str) -> list[str]:
    return [point.tensor_proto.string_val[0].decode() for point in read(folder).Tensors(f"{tag}/text_summary")]


def files(folder: Path) -> dict[str, bytes]:
    """Every event file by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*tfevents*"))}


@pytest.fixture
def exp(tmp_path, inline):
    with Exp(tmp_path, "exp", {"lr": 0.1, "net": {"depth": 3}}, capture=()) as exp:
        yield exp


def shown(exp: Exp, **options: object) -> Path:
    """The folder of the output, brought up to what was logged."""
    exp.flush()
    return replay(exp, TensorBoard(**options))


def test_scalars_have_step_time_and_full_name(exp):
    """A metric is a scalar under its full name, at its step, with the time of its event."""
    exp.log.sub("train")({"loss": 0.5, "group": {"a": 1, "b": True}}, step=7)

    found = read(shown(exp))

    [event] = exp.events(type="metrics")
    assert found.Tags()["scalars"] == ["train/loss", "train/group/a", "train/group/b"]
    [point] = found.Scalars("train/loss")
    assert (point.step, point.value, point.wall_time) == (7, 0.5, event.time.timestamp())


@pytest.mark.parametrize(
    ("value", "kept"),
    [(math.nan, math.nan), (math.inf, math.inf), (-math.inf, -math.inf), (1e300, math.inf), (-(10**400), -math.inf),
     (2**53 + 1, float(2**53)), (True, 1.0), (0.1, struct.unpack("<f", struct.pack("<f", 0.1))[0])],
)  # fmt: skip
def test_values_are_floats_of_32_bits(exp, value, kept):
    """What a float of 32 bits cannot hold is the nearest one, or infinite; the values beside it are there."""
    exp.log({"odd": value, "next": 1.0}, step=0)

    folder = shown(exp)

    assert points(folder, "next") == [(0, 1.0)]
    [(_, found)] = points(folder, "odd")
    assert found == kept or (math.isnan(found) and math.isnan(kept))


def test_what_is_no_number_costs_nothing_beside_it(exp):
    """A text among metrics is shown as text; None and lists are left out."""
    exp.log({"a": 1, "text": "fine", "none": None, "list": [1, 2], "b": 2}, step=3)

    folder = shown(exp)

    assert read(folder).Tags()["scalars"] == ["a", "b"]
    assert texts_of(folder, "text") == ["fine"]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [([None, None], [0, 1]), ([5, None, 7], [5, 1, 7]), ([2.9, -0.5], [2, -1]), ([-3, 2**62], [-3, 2**62]),
     ([ForeignStep([4]), ForeignStep((0, 17)), ForeignStep("PARAMETER"), ForeignStep(())], [4, 1, 2, 3])],
)  # fmt: skip
def test_steps(exp, steps, expected):
    """Whole numbers stay, fractions are rounded down, one number in a list is that; all else is the position in the series."""
    for step in steps:
        exp.log({"x": 1}, step=step)

    assert [step for step, _ in points(shown(exp), "x")] == expected


def test_described_axes(exp):
    """A metric stands at the coordinate or metric that its description names; before the first one, at its step."""
    exp.log.describe("val/loss", x="epoch")
    exp.log.describe("eval/acc", x="train/step")
    exp.log.describe("lr", x="step")
    exp.log({"val/loss": 0.5, "eval/acc": 0.1, "lr": 1}, step=10)
    exp.log({"train/step": 500}, step=20)
    exp.log.at(epoch=3)({"val/loss": 0.4, "eval/acc": 0.2, "lr": 1}, step=30)
    exp.log({"eval/acc": 0.3, "train/step": 900.5}, step=40)

    folder = shown(exp)

    found = {tag: [step for step, _ in points(folder, tag)] for tag in ("val/loss", "eval/acc", "lr", "train/step")}
    assert found == {"val/loss": [10, 3], "eval/acc": [10, 500, 900], "lr": [10, 30], "train/step": [20, 40]}


def test_summaries(exp):
    """Values of `summarize` are scalars and texts in a run of their own, apart from the curves of the same name."""
    exp.log({"loss": 0.5}, step=3)
    exp.summarize({"loss": 0.25, "time_s": 12, "device": "cpu"})

    folder = shown(exp)

    assert points(folder, "loss") == [(3, 0.5)]
    assert (points(folder / "summary", "loss"), points(folder / "summary", "time_s")) == ([(0, 0.25)], [(0, 12.0)])
    assert texts_of(folder / "summary", "device") == ["cpu"]
    assert read(shown(exp, filter="^time", path=exp.path.parent / "some") / "summary").Tags()["scalars"] == ["time_s"]


def test_positions_count_over_runs(exp):
    """A series without steps goes on where the previous run left it, also where the output was resumed in between."""
    exp.log({"x": 1})
    exp.close()
    replay(exp, "tensorboard")
    with Exp.open(exp.path) as again:
        again.log({"x": 2})

    assert points(replay(exp, "tensorboard"), "x") == [(0, 1), (1, 2)]


def test_streams_are_runs_of_their_own(exp):
    """TensorBoard shows every stream beside the first as a run of its own."""
    exp.log({"loss": 1}, step=0)
    exp.logger("val")({"loss": 2}, step=0)

    folder = shown(exp)

    assert (points(folder, "loss"), points(folder / "val", "loss")) == ([(0, 1.0)], [(0, 2.0)])


def test_second_writer_has_a_file_beside_the_first(tmp_path, exp):
    """What a second writer added to a stream is in the same run."""
    exp.close()
    for file, value in (("val", 1), ("val@r1", 2)):
        write(exp.path, line("r1", value, "metrics", step=value, data={"x": value}), stream=file)

    assert points(replay(exp, "tensorboard") / "val", "x") == [(1, 1.0), (2, 2.0)]


def test_media(exp):
    """Images, figures, videos, sounds, histograms, curves, tables and texts are on TensorBoard's pages for them."""
    numpy, pyplot = pytest.importorskip("numpy"), pytest.importorskip("matplotlib.figure")
    pytest.importorskip("PIL")
    pytest.importorskip("imageio_ffmpeg")
    pixels = numpy.zeros((2, 3, 16, 16), numpy.uint8)
    exp.log.image("one", pixels[0], step=1)
    exp.log.images("many", pixels, step=2)
    exp.log.figure("figure", pyplot.Figure(), step=3)
    exp.log.video("mp4", numpy.zeros((3, 16, 16, 3), numpy.uint8), step=4)
    exp.log.video("gif", numpy.zeros((3, 16, 16, 3), numpy.uint8), format="gif", step=4)
    exp.log.audio("sound", numpy.zeros(800), rate=8000, step=5)
    exp.log.histogram("weights", [1.0, 2.0, 3.0, math.nan], bins=[0.0, 1.5, 2.5], step=6)
    exp.log.pr_curve("pr", [0, 1, 1, 0], [0.1, 0.8, 0.4, 0.3], step=7, thresholds=5)
    exp.log.table("table", [[1, "a|b"]], columns=["x", "y"], step=8)
    exp.log.text("text", "# title", step=9)
    exp.log.info("hello %s", "you")
    exp.log("saved", {"mb": 3}, step=10)

    folder = shown(exp)

    found = read(folder)
    assert set(found.Tags()["images"]) == {"one", "many/0", "many/1", "figure", "mp4", "gif"}
    assert found.Images("one")[0].encoded_image_string.startswith(b"\x89PNG")
    assert (found.Images("one")[0].step, found.Images("one")[0].width) == (1, 16)
    assert all(found.Images(name)[0].encoded_image_string.startswith(b"GIF89a") for name in ("mp4", "gif"))
    assert (found.Audio("sound")[0].sample_rate, found.Audio("sound")[0].length_frames) == (8000, 800)
    histogram = found.Histograms("weights")[0].histogram_value
    assert (list(histogram.bucket), histogram.num, histogram.sum) == ([0, 1, 1, 1], 3, 6)
    assert [dimension.size for dimension in found.Tensors("pr")[0].tensor_proto.tensor_shape.dim] == [6, 5]
    assert texts_of(folder, "table") == ["|x|y|\n|---|---|\n|1|a\\|b|"]
    assert texts_of(folder, "text") == ["# title"]
    assert texts_of(folder, "messages") == ["**info** hello you"]
    assert texts_of(folder, "saved") == ['```json\n{"mb":3}\n```']


def test_file_that_is_gone_costs_nothing_beside_it(exp):
    """Where a picture is missing, a text says so, and what follows is there."""
    numpy = pytest.importorskip("numpy")
    exp.log.array("array", numpy.arange(6.0))
    exp.log.image("image", numpy.zeros((4, 4, 3), numpy.uint8))
    exp.log({"x": 1}, step=0)
    exp.flush()
    [path] = (exp.path / "files" / "media" / "image").iterdir()
    path.unlink()

    folder = shown(exp, arrays=True)

    assert "cannot be shown" in texts_of(folder, "image")[0]
    assert read(folder).Histograms("array")[0].histogram_value.num == 6
    assert points(folder, "x") == [(0, 1.0)]


def test_graph(exp):
    """The graph of a module has its nodes, joined by name, with their shapes."""
    content = b'{"nodes":[{"name":"input/x","op":"input","inputs":[],"scope":"","shape":[1,3],"dtype":"float32"},' \
              b'{"name":"out","op":"output","inputs":["input/x"],"scope":""}],"modules":[]}'  # fmt: skip
    exp.close()
    (exp.path / "files").mkdir()
    (exp.path / "files" / "graph.json").write_bytes(content)
    data = {"file": {"_mlv": "file", "path": "files/graph.json", "sha256": sha256(content).hexdigest()}}
    write(exp.path, line("r1", 1, "graph", name="net", data=data))

    graph = read(replay(exp, "tensorboard")).Graph()

    assert [(node.name, node.op, list(node.input)) for node in graph.node] == [
        ("input/x", "input", []), ("out", "output", ["input/x"]),
    ]  # fmt: skip


def test_hparams(exp):
    """The page for hyperparameters has the params, added ones too, and how the run ended."""
    plugin = pytest.importorskip("tensorboard.plugins.hparams.plugin_data_pb2").HParamsPluginData.FromString
    exp.add_params({"more": [1, 2], "odd": math.nan, "big": 10**400})
    exp.log({"loss": 1})
    exp.close()

    found = read(replay(exp, "tensorboard")).PluginTagToContent("hparams")

    start, end = (plugin(found[f"_hparams_/{what}"]) for what in ("session_start_info", "session_end_info"))
    values = {name: value.number_value or value.string_value for name, value in start.session_start_info.hparams.items()}
    assert values["lr"] == 0.1
    assert (values["net/depth"], values["more"], values["odd"]) == (3, "[1,2]", "nan")
    assert end.session_end_info.status == 1


def test_names_of_two_kinds(exp):
    """A name that is a metric and an image is shown as both."""
    numpy = pytest.importorskip("numpy")
    exp.log({"x": 1}, step=0)
    exp.log.image("x", numpy.zeros((4, 4, 3), numpy.uint8))

    tags = read(shown(exp)).Tags()

    assert (tags["scalars"], tags["images"]) == (["x"], ["x/image"])


def test_live_is_byte_equal_to_replay(tmp_path):
    """An output that was kept while the run went on, and one made afterwards, are the same files."""
    with Exp(tmp_path, "exp", {"lr": 0.1}, outputs=["tensorboard"], capture=()) as exp:
        for step in range(3000):
            exp.log({"loss": 1 / (step + 1), "acc": step}, step=step)
            exp.logger("val")({"loss": step})
            if step % 1000 == 0:
                exp.flush()
        exp.log.text("text", "hello")
    followed(exp, "tensorboard")

    other = replay(exp, TensorBoard(path=tmp_path / "other"))

    assert files(other) == files(exp.path / "tensorboard")
    assert len(points(other, "loss")) == 3000


@pytest.mark.parametrize("kept", [0, 1, 100, 10_000])
def test_resume_takes_back_what_was_not_committed(exp, tmp_path, kept):
    """What a kill left behind the last commit is cut off; what was written afterwards follows."""
    exp.close()
    axes = [line("r1", 1, "metadata", name="a", data={"x": "n"}), line("r1", 2, "metadata", name="b", data={"x": "epoch"})]
    metrics = ({"a": seq, "b": seq, "text": "t", **({"n": 7 * seq} if seq < 90 else {})} for seq in range(3, 200))
    whole = b"".join(axes) + b"".join(
        line("r1", seq, "metrics", at={"epoch": 2 * seq}, data=data) for seq, data in enumerate(metrics, 3)
    )
    middle = whole.find(b"\n", 9000) + 1
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    output = TensorBoard()
    output.open(tmp_path / "one", None)
    output.write(LineBatch(exp.path, "log", 0, whole[:middle], selection()))
    committed = output.commit()
    output.write(LineBatch(exp.path, "log", middle, whole[middle:], selection()))
    output.write(LineBatch(exp.path, "new", 0, whole, selection()))
    [path] = [path for path in (tmp_path / "one").iterdir() if path.suffix == ".mlv"]
    os.truncate(path, min(path.stat().st_size, committed["files"][path.name] + kept))

    again = TensorBoard()
    again.open(tmp_path / "one", committed)
    again.write(LineBatch(exp.path, "log", middle, whole[middle:], selection()))
    again.commit()

    at_once = TensorBoard()
    at_once.open(tmp_path / "two", None)
    at_once.write(LineBatch(exp.path, "log", 0, whole, selection()))
    at_once.commit()
    for each in (output, again, at_once):
        each.close()
    assert files(tmp_path / "one") == files(tmp_path / "two")


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: os.truncate(path, 150)], ids=["gone", "shorter"])
def test_harmed_output_is_built_again(exp, harm):
    """A file that lost what was committed is made anew, from the log."""
    exp.log({"x": 1}, step=0)
    folder = shown(exp)
    before = files(folder)
    [path] = [path for path in folder.iterdir() if path.suffix == ".mlv"]
    harm(path)

    with pytest.raises(CannotResume):
        TensorBoard().open(folder, {"exp": "", "created_s": 0, "files": {path.name: 1000}, "series": {}, "session": None})
    replay(exp, "tensorboard")

    assert files(folder) == before


def test_files_of_others_stay(exp):
    """Event files that mlv did not write are left alone, where it begins anew."""
    theirs = exp.path / "tensorboard" / "events.out.tfevents.1.host"
    theirs.parent.mkdir()
    theirs.write_bytes(b"theirs")
    exp.log({"x": 1}, step=0)

    shown(exp)
    shown(exp, texts=False)

    assert theirs.read_bytes() == b"theirs"
    assert len(list(theirs.parent.glob("*.mlv"))) == 1


def test_output_below_another_stays(exp, tmp_path):
    """An output that begins anew leaves those of other experiments alone, also in folders below its own."""
    with Exp(tmp_path, "other", capture=()) as other:
        other.log({"x": 2}, step=0)
    inner = replay(other, TensorBoard(path=tmp_path / "tb" / "other"))
    exp.log({"x": 1}, step=0)

    outer = shown(exp, path=tmp_path / "tb")

    assert (points(outer, "x"), points(inner, "x")) == ([(0, 1.0)], [(0, 2.0)])


def is_a_float(value: float) -> bool:
    try:
        return isinstance(float(value), float)
    except OverflowError:  # an integer beyond all floats
        return False


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(texts, metrics, st.one_of(st.none(), st.integers(0, 5), st.floats(0, 9))), max_size=5))
def test_hostile_names_and_values(tmp_path_factory, logged):
    """Whatever is logged, every number is there under its own name, and the reader finds the file whole."""
    lines = b"".join(metric_line(seq, *each) for seq, each in enumerate(logged, 1))
    expected = Counter(name for name, value in pairs(lines) if isinstance(value, (int, float)) and is_a_float(value))
    folder = tmp_path_factory.mktemp("output")

    output = TensorBoard()
    output.open(folder, None)
    output.write(LineBatch(folder, "log", 0, lines, selection()))
    output.commit()
    output.close()

    found = read(folder)
    assert {tag: len(found.Scalars(tag)) for tag in found.Tags()["scalars"]} == expected
