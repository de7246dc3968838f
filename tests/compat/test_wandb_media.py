"""`mlv.compat.wandb`: images, tables, sounds and other media, with the arguments that wandb takes, in the experiment."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wandb_folder import own_folder

import mlv
import mlv.compat.wandb as wandb
from mlv.audit.verify import verify

numpy = pytest.importorskip("numpy", reason="numpy is not installed")
pillow = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
pytestmark = pytest.mark.usefixtures("inline")

PIXELS = numpy.arange(8 * 10 * 3, dtype=numpy.uint8).reshape(8, 10, 3)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A run in a folder of its own."""
    with own_folder(tmp_path, monkeypatch):
        yield wandb.init(project="p", name="n")


def events(run: Any, type: str | list[str]) -> list[mlv.Event]:
    """The events of a type; the experiment is intact."""
    run.finish()
    assert verify(run.exp.path).verdict == "intact"
    return list(mlv.Exp.open(run.exp.path).events(type))


def picture(run: Any, reference: Any) -> Any:
    with pillow.open(run.exp.path / reference["path"]) as image:
        image.load()
        return image


class Tensor:
    """As much of a tensor of torch as is asked for."""

    def __init__(self, array: Any) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return self

    def numpy(self) -> Any:
        return self.array


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (PIXELS, PIXELS),
        (PIXELS[..., :1], PIXELS[..., 0]),
        (PIXELS[..., 0], PIXELS[..., 0]),
        (Tensor(PIXELS.transpose(2, 0, 1)), PIXELS),
        (PIXELS[None], PIXELS),
        (PIXELS.astype(float), PIXELS),
        (PIXELS.astype(int), PIXELS),
        (PIXELS / 255.0, PIXELS),
        (PIXELS / 127.5 - 1, (PIXELS / 239.0 * 255).round()),
        (PIXELS[..., 0] > 7, (PIXELS[..., 0] > 7) * 255),
        (numpy.array([[0.0, numpy.nan], [1.0, numpy.inf]]), numpy.array([[0, 0], [255, 255]])),
        (pillow.fromarray(PIXELS), PIXELS),
    ],
    ids=lambda value: type(value).__name__,
)
def test_pixels(run, value, expected):
    """Arrays, tensors and pictures are stored as they look, whatever their type and the order of their axes."""
    wandb.log({"image": wandb.Image(value, caption="text")})

    [event] = events(run, "image")
    assert (event.name, event.step, event.data["caption"]) == ("image", 0, "text")
    assert numpy.array_equal(numpy.asarray(picture(run, event.data["file"])), expected)


def test_an_image_is_what_it_was(run):
    """An array that changes after the call is logged as it was."""
    array = PIXELS.copy()
    image = wandb.Image(array)
    array[:] = 0
    wandb.log({"image": image, "again": wandb.Image(image, caption="second")})

    first, second = events(run, "image")
    assert first.data["file"]["sha256"] == second.data["file"]["sha256"]
    assert numpy.asarray(picture(run, first.data["file"])).any()


def test_files_and_modes(run):
    """A file is kept as it is; pixels may become JPEG or of another mode; what lies elsewhere is an address."""
    pillow.fromarray(PIXELS).save("own.png")
    wandb.log({
        "path": wandb.Image("own.png"), "grey": wandb.Image(PIXELS, mode="L"), "jpeg": wandb.Image(PIXELS, file_type="jpg"),
        "far": wandb.Image("https://example.org/a.png"),
    })  # fmt: skip
    assert wandb.Image(PIXELS).image.size == (10, 8)
    assert wandb.Image("https://example.org/a.png").image is None

    path, grey, jpeg = events(run, "image")
    assert (run.exp.path / path.data["file"]["path"]).read_bytes() == Path("own.png").read_bytes()
    assert (grey.data["channels"], picture(run, jpeg.data["file"]).format) == (1, "JPEG")
    [far] = mlv.Exp.open(run.exp.path).events("event", name="far")
    assert far.data["path"] == "https://example.org/a.png"


@pytest.mark.parametrize("of", ["pixels", "tensor", "picture", "figure"])
def test_a_jpeg_has_no_transparency(run, of):
    """Pixels, pictures and figures that could be seen through become JPEG without that."""
    pixels = numpy.dstack([PIXELS, PIXELS[..., :1]])
    value: object = {"pixels": pixels, "tensor": Tensor(pixels.transpose(2, 0, 1))}.get(of, pillow.fromarray(pixels))
    if of == "figure":
        pyplot = pytest.importorskip("matplotlib.pyplot", reason="matplotlib is not installed")
        pyplot.switch_backend("Agg")
        value = pyplot.figure()
        pyplot.close(value)

    wandb.log({"image": wandb.Image(value, file_type="jpg")})

    [event] = events(run, "image")
    assert (picture(run, event.data["file"]).format, picture(run, event.data["file"]).mode) == ("JPEG", "RGB")


def test_boxes_and_masks(run):
    """Boxes are in pixels, with labels and scores; masks have the names of their classes."""
    boxes = {
        "predictions": {
            "box_data": [
                {"position": {"minX": 0.1, "maxX": 0.5, "minY": 0.25, "maxY": 0.5}, "class_id": 1, "scores": {"acc": 0.5}},
                {"position": {"middle": [4, 4], "width": 2, "height": 4}, "domain": "pixel", "class_id": 2, "box_caption": "b"},
            ],
            "class_labels": {1: "cat"},
        }
    }
    masks = {"truth": {"mask_data": numpy.ones((8, 10), dtype=int), "class_labels": {1: "cat"}}}
    classes = wandb.Classes([{"id": 2, "name": "dog"}])
    wandb.log(
        {"image": wandb.Image(PIXELS, boxes=boxes, masks=masks, classes=classes), "list": [wandb.Image(PIXELS, boxes=boxes)]}
    )

    first, second = events(run, "image")
    assert first.data["boxes"] == [
        {"box": [1, 2, 5, 4], "group": "predictions", "class_id": 1, "label": "cat", "scores": {"acc": 0.5}, "score": 0.5},
        {"box": [3, 2, 5, 6], "group": "predictions", "class_id": 2, "label": "dog", "caption": "b"},
    ]
    assert first.data["masks"]["truth"]["classes"] == {"1": "cat", "2": "dog"}
    assert (second.name, len(second.data["boxes"])) == ("list/0", 2)


def test_lists(run):
    """Images of a list are logged together, other media of a list one by one."""
    wandb.log({
        "images": [wandb.Image(PIXELS, caption="a"), wandb.Image(PIXELS[:4])],
        "pages": [wandb.Html("<p>1"), wandb.Html("<p>2")], "empty": [],
    })  # fmt: skip

    [images] = events(run, "image")
    assert (images.data["sizes"], images.data["captions"]) == ([[10, 8], [10, 4]], ["a", ""])
    exp = mlv.Exp.open(run.exp.path)
    assert [event.name for event in exp.events("figure")] == ["pages", "pages"]
    assert [event.data for event in exp.events("metrics")] == [{"empty": []}]


def test_tables(run):
    """Rows, columns and cells of any kind; a picture in a cell is an event that the cell names."""
    table = wandb.Table(columns=["id", "picture"], data=[[1, wandb.Image(PIXELS)]])
    table.add_data("two", None)
    table.add_row(numpy.float32(3), {"a": (1, 2)})
    table.add_column("new", [True, 1.5, "x"])
    table.add_computed_columns(lambda number, row: {"double": number * 2})
    wandb.log({"table": table}, commit=False)
    wandb.log({"array": wandb.Table(data=numpy.eye(2), columns=["a", "b"]), "rows": wandb.Table(rows=[[1, 2, 3]])})

    assert table.get_column("id") == [1, "two", 3]
    assert table.get_column("double", convert_to="numpy").tolist() == [0, 2, 4]
    assert [number for number, _ in table.iterrows()] == [0, 1, 2]
    first, second, third = events(run, "table")
    assert first.data == {
        "columns": ["id", "picture", "new", "double"],
        "rows": [[1, "table/picture/0", True, 0], ["two", None, 1.5, 2], [3.0, {"a": [1, 2]}, "x", 4]],
    }
    assert (second.data["rows"], third.data["columns"]) == ([[1.0, 0.0], [0.0, 1.0]], ["Input", "Output", "Expected"])
    assert [event.name for event in mlv.Exp.open(run.exp.path).events("image")] == ["table/picture/0"]


def test_data_frames(run):
    """A data frame is a table, bare or as one."""
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    wandb.log({"bare": frame, "table": wandb.Table(dataframe=frame), "data": wandb.Table(data=frame)})

    assert wandb.Table(dataframe=frame).get_dataframe()["a"].tolist() == [1, 2]
    assert [event.data["rows"] for event in events(run, "table")] == [[[1, "x"], [2, "y"]]] * 3


def test_histograms(run):
    """Numbers, counts, and arrays that are too large for a list; what is not finite is left out."""
    wandb.log({
        "numbers": wandb.Histogram([1.0, 2.0, numpy.nan], num_bins=2), "counts": wandb.Histogram(np_histogram=([3], [0, 1])),
        "large": numpy.arange(33), "small": numpy.arange(32), "one": numpy.array([[7]]), "words": numpy.array(["a"] * 40),
    })  # fmt: skip

    numbers, counts, large = events(run, "histogram")
    assert (numbers.data["counts"], counts.data["edges"], sum(large.data["counts"])) == ([1, 1], [0, 1], 33)
    [metrics] = mlv.Exp.open(run.exp.path).events("metrics")
    assert metrics.data == {"small": list(range(32)), "one": 7, "words": ["a"] * 40}


def test_sounds_and_videos(run):
    """Samples become WAV, frames a picture that moves; several videos lie beside each other."""
    frames = numpy.zeros((3, 4, 3, 16, 16), dtype=numpy.uint8)
    Path("own.gif").write_bytes(b"GIF89a" + bytes(20))
    wandb.log({
        "sound": wandb.Audio(numpy.sin(numpy.arange(80)), sample_rate=8000, caption="c"),
        "video": wandb.Video(frames[0], fps=2, format="gif", caption="v"), "videos": wandb.Video(frames, format="gif"),
    })  # fmt: skip

    sound, video, videos = events(run, ["audio", "video"])
    assert (sound.data["rate"], sound.data["caption"]) == (8000, "c")
    assert (video.data["frames"], video.data["fps"], video.data["width"], video.data["caption"]) == (4, 2, 16, "v")
    assert (videos.data["width"], videos.data["height"], videos.data["fps"]) == (48, 16, 4)


def test_files_of_media(run):
    """Pages, points and molecules are files of the experiment, several of a step beside each other."""
    Path("page.html").write_text("<p>file")
    Path("mesh.obj").write_text("v 0 0 0\n")
    points = numpy.arange(6).reshape(2, 3)
    scene = {"type": "lidar/beta", "points": points, "boxes": [{"corners": [[0, 0, 0]]}]}
    wandb.log({
        "page": wandb.Html("<p>text"), "path": wandb.Html(Path("page.html")), "open": wandb.Html(io.StringIO("<p>open")),
        "a/points": wandb.Object3D(points, caption="c"), "scene": wandb.Object3D(scene), "mesh": wandb.Object3D("mesh.obj"),
        "read": wandb.Object3D.from_file(io.StringIO("x"), "stl"), "cloud": wandb.Object3D.from_point_cloud(points),
        "mol": wandb.Molecule(io.StringIO("x"), file_type="pdb"),
        "../odd: name": wandb.Molecule(io.StringIO("y"), file_type="pdb"),
    })  # fmt: skip
    wandb.log({"mol": wandb.Molecule(io.StringIO("z"), file_type="pdb")}, step=0)

    files = {event.name: (run.exp.path / event.data["path"]).read_text() for event in events(run, "file")}
    figures = mlv.Exp.open(run.exp.path).events("figure")
    pages = {event.name: run.exp.path / event.data["file"]["path"] for event in figures}
    assert {name: path.read_text() for name, path in pages.items()} == {"page": "<p>text", "path": "<p>file", "open": "<p>open"}
    [named] = mlv.Exp.open(run.exp.path).events("event", name="a/points")
    assert named.data == {"_type": "object3D-file", "file": "files/object3D/a/points_0.pts.json", "caption": "c"}
    assert files.pop("object3D/a/points_0.pts.json") == json.dumps(points.tolist())
    assert json.loads(files.pop("object3D/scene_0.pts.json"))["points"] == points.tolist()
    assert json.loads(files.pop("object3D/cloud_0.pts.json"))["type"] == "lidar/beta"
    assert files == {
        "object3D/mesh_0.obj": "v 0 0 0\n", "object3D/read_0.stl": "x", "molecule/mol_0.pdb": "x",
        "molecule/odd_ name_0.pdb": "y", "molecule/mol_0_1.pdb": "z",
    }  # fmt: skip


def test_figures(run):
    """Figures of matplotlib are pictures: bare, as a module, as an axis, or as an image."""
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="matplotlib is not installed")
    pyplot.switch_backend("Agg")
    figure, axis = pyplot.subplots()
    wandb.log({"figure": figure, "module": pyplot, "axis": axis, "image": wandb.Image(figure), "chart": wandb.Plotly(figure)})
    pyplot.close(figure)

    assert sorted((event.name, event.type) for event in events(run, ["figure", "image"])) == [
        ("axis", "figure"), ("chart", "figure"), ("figure", "figure"), ("image", "image"), ("module", "figure"),
    ]  # fmt: skip


def test_watch(run):
    """Parameters and gradients of a module are histograms every so many passes, until it is let go."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    module = torch.nn.Linear(2, 1)
    run.watch(module, log="all", log_freq=2)
    with pytest.raises(ValueError, match="once per model"):
        run.watch(module)
    for _ in range(4):
        module(torch.ones(1, 2)).sum().backward()
        wandb.log({"loss": 1.0})
    wandb.unwatch(module)
    module(torch.ones(1, 2)).sum().backward()

    logged = sorted((event.name, event.step) for event in events(run, "histogram"))
    assert logged == [
        (f"{kind}/{name}", step) for kind in ("gradients", "parameters") for name in ("bias", "weight") for step in (1, 3)
    ]


class Module:
    """What `watch` uses of a module of torch."""

    def __init__(self, weight: Any) -> None:
        self.weight, self.hooks = weight, []

    def named_parameters(self) -> list[tuple[str, Any]]:
        return [("weight", self.weight)]

    def register_forward_hook(self, hook: Any) -> Any:
        self.hooks.append(hook)
        return self

    def remove(self) -> None:
        self.hooks.clear()


def test_a_watch_that_fails_ends_no_training(run, capsys):
    """Numbers that no histogram can be made of are warned about, and the pass goes on."""
    module = Module(numpy.array([-1.7e308, 1.7e308]))  # their distance is no number
    run.watch(module, log="parameters", log_freq=1)

    module.hooks[0](module)

    assert "'watch' is not stored, and the run goes on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: wandb.Image(numpy.zeros((2, 3, 4, 5))), ValueError),
        (lambda: wandb.Image(PIXELS, file_type="tiff"), ValueError),
        (lambda: wandb.Image(PIXELS, boxes=[1]), ValueError),
        (lambda: wandb.Image(PIXELS, boxes={"a": {"box_data": [{"position": {}}]}}), ValueError),
        (lambda: wandb.Image(PIXELS, masks={"a": {}}), ValueError),
        (lambda: wandb.Image("missing.png"), OSError),
        (lambda: wandb.Audio([0.0]), ValueError),
        (lambda: wandb.Video(numpy.zeros((2, 3, 4, 4))), ValueError),
        (lambda: wandb.Video(numpy.zeros((3, 4, 4)), format="gif"), ValueError),
        (lambda: wandb.Video("a.avi"), ValueError),
        (lambda: wandb.Html(3), ValueError),
        (lambda: wandb.Object3D(numpy.zeros((2, 2))), ValueError),
        (lambda: wandb.Object3D({"type": "other"}), ValueError),
        (lambda: wandb.Object3D("a.txt"), ValueError),
        (lambda: wandb.Molecule(io.StringIO("x")), ValueError),
        (lambda: wandb.Molecule(3), ValueError),
        (lambda: wandb.Plotly(3), ValueError),
        (lambda: wandb.Histogram(np_histogram=([1], [1])), ValueError),
        (lambda: wandb.Histogram([1], num_bins=1000), ValueError),
        (lambda: wandb.Table(columns=["a"], data=[[1, 2]]), ValueError),
        (lambda: wandb.Table(columns="a"), AssertionError),
        (lambda: wandb.Table(columns=["a"], log_mode="OTHER"), AssertionError),
    ],
)
def test_media_that_cannot_be(make, error):
    """What wandb refuses when media are made is refused, before anything is logged."""
    with pytest.raises(error):
        make()


def test_a_file_that_is_gone_ends_no_training(run, capsys):
    """Media whose file cannot be read when they are logged cost a warning, once, and not the row."""
    Path("mesh.obj").write_text("x")
    mesh = wandb.Object3D("mesh.obj")
    Path("mesh.obj").unlink()
    wandb.log({"mesh": mesh, "loss": 1.0})
    wandb.log({"mesh": mesh, "loss": 2.0})

    assert [event.data["loss"] for event in events(run, "metrics")] == [1.0, 2.0]
    [message] = mlv.Exp.open(run.exp.path).events("message")
    assert "'mesh' is not stored, and the run goes on: FileNotFoundError" in message.data["message"]
    assert capsys.readouterr().err.count("is not stored") == 1
