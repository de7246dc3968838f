"""Figures are rendered where they are, and stored as the files that they become."""

from __future__ import annotations

import pytest

from media.places import Folder
from mlv.media import figure
from mlv.media.jobs import Unusable


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "media")


@pytest.fixture
def pyplot():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as pyplot

    yield pyplot
    pyplot.close("all")


def drawn(pyplot, inches=(2, 1)):
    plot, axes = pyplot.subplots(figsize=inches)
    axes.plot([1, 2, 3])
    return plot


@pytest.mark.parametrize(("format", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_of_matplotlib(folder, pyplot, format, begins):
    """A figure becomes a file of the format asked for."""
    data = folder.data(figure.prepare(drawn(pyplot), format=format))

    path = folder.at(data["file"])
    assert set(data) == {"file"}
    assert path.suffix == f".{format}"
    assert path.read_bytes().startswith(begins)


def test_dots_per_inch(folder, pyplot):
    """The resolution can be given."""
    pillow = pytest.importorskip("PIL.Image")

    data = folder.data(figure.prepare(drawn(pyplot, (2, 1)), dpi=50))

    with pillow.open(folder.at(data["file"])) as image:
        assert image.size == (100, 50)


def test_of_plotly(folder):
    """A figure of plotly becomes a page that can be opened in a browser."""
    graphs = pytest.importorskip("plotly.graph_objects")

    data = folder.data(figure.prepare(graphs.Figure(graphs.Scatter(y=[1, 2, 3]))))

    path = folder.at(data["file"])
    assert data["file"]["media_type"] == "text/html"
    assert "plotly" in path.read_text()
    assert path.stat().st_size < 100_000


def test_several(folder, pyplot):
    """A list becomes one event with a file of each figure, in order."""
    data = folder.data(figure.prepare([drawn(pyplot), drawn(pyplot)]))

    assert [folder.at(file).read_bytes()[:4] for file in data["files"]] == [b"\x89PNG"] * 2


class Grid:
    """What holds a figure, as those of seaborn do."""

    def __init__(self, inner):
        self.figure = inner

    def savefig(self, *args, **options):
        self.figure.savefig(*args, **options)


@pytest.mark.parametrize("holder", [lambda inner: inner, Grid, lambda inner: [inner]], ids=["figure", "grid", "list"])
@pytest.mark.parametrize("close", [True, False])
def test_close(pyplot, holder, close):
    """Figures are closed where that is asked for, and only there."""
    plot = drawn(pyplot)

    figure.prepare(holder(plot), close=close)

    assert pyplot.fignum_exists(plot.number) is not close


def test_close_after_a_failure(pyplot):
    """A figure that cannot be rendered is closed as well: it would stay in memory."""
    plot = drawn(pyplot)

    with pytest.raises(Unusable, match=r"cannot be rendered.*'nope' is not supported"):
        figure.prepare(plot, format="nope", close=True)

    assert not pyplot.fignum_exists(plot.number)


def test_nothing_is_imported(python):
    """What has `savefig` is a figure; no library for figures is needed, nor looked for."""
    done = python("""
        import sys
        from mlv.media import figure

        class Drawing:
            def savefig(self, file, format):
                file.write(b"drawn as " + format.encode())

        prepared = figure.prepare(Drawing(), format="svg", close=True)
        print(bytes(prepared.buffers[0]), sorted({"matplotlib", "numpy", "plotly"} & set(sys.modules)))
    """)

    assert (done.stdout, done.stderr) == ("b'drawn as svg' []\n", "")


class Broken:
    def savefig(self, *_, **__):
        raise ZeroDivisionError("no axes")


@pytest.mark.parametrize(
    ("value", "options", "reason"),
    [
        (Broken(), {}, "the figure cannot be rendered: ZeroDivisionError"),
        ([Broken()], {}, "cannot be rendered"),
        (5, {}, "type int is no figure"),
        ([None], {}, "type NoneType is no figure"),
        ([], {}, "empty list"),
        (Broken(), {"format": "../png"}, "is no format of figures"),
        (Broken(), {"format": 5}, "is no format of figures"),
    ],
)
def test_what_is_no_figure(value, options, reason):
    """It is refused at once, with the reason."""
    with pytest.raises(Unusable, match=reason):
        figure.prepare(value, **options)
