"""The kind of a value follows from what it is, and nothing is imported to find it."""

from __future__ import annotations

from collections import UserDict

import pytest

from mlv.media.infer import kind_of


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, "metric"), (0.5, "metric"), (True, "metric"), ("text", "text"), ([1, 2.5], "histogram"), ({"a": 1}, "event"),
        (UserDict(a=1), "event"), ([], "event"), ([[1]], "event"), (["a"], "event"), ([1, "a"], "event"), ((1, 2), "event"),
        (None, "event"), (b"b", "event"), (1j, "event"), (len, "event"), (int, "event"), ([{"a": 1}], "event"),
    ],
    ids=repr,
)  # fmt: skip
def test_plain_values(value, kind):
    """Numbers, texts, rows of numbers; the rest are events."""
    assert kind_of(value) == kind


def test_hostile_values():
    """Whatever the attributes of a value do, it has a kind."""
    pytest.importorskip("hypothesis")
    import strategies

    for recipe in (strategies.Raises, strategies.RaisesOnAnyAttribute, strategies.containing_itself):
        assert kind_of(recipe()) == "event"
    assert kind_of([strategies.Raises()]) == "event"


class Figure:
    """Anything with `savefig` is a figure."""

    def savefig(self, file):
        file.write(b"")


def test_figures():
    """A figure, or a list of figures; its class is none."""
    assert [kind_of(value) for value in (Figure(), [Figure(), Figure()], Figure, [Figure(), 1])] == [
        "figure", "figure", "event", "event",
    ]  # fmt: skip


def test_figures_of_plotly():
    """A figure of plotly has no `savefig`, and is one as well."""
    plotly = pytest.importorskip("plotly.graph_objects")

    assert kind_of(plotly.Figure()) == "figure"
    assert kind_of(plotly.Scatter()) == "event"


class TestArrays:
    @pytest.fixture(autouse=True)
    def _numpy(self):
        self.numpy = pytest.importorskip("numpy")

    @pytest.mark.parametrize(
        ("shape", "dtype", "kind"),
        [
            ((), "f4", "metric"), ((1,), "i8", "metric"), ((1, 1), "f8", "metric"), ((5,), "f4", "histogram"),
            ((5,), ">f4", "histogram"), ((5,), "?", "histogram"), ((0,), "f8", "histogram"), ((8, 8), "f4", "image"),
            ((8, 8), "u1", "image"), ((8, 8, 3), "u1", "image"), ((8, 8, 4), "f2", "image"), ((1, 8, 8), "f4", "image"),
            ((3, 8, 8), "u1", "image"), ((8, 8, 8), "u1", "array"), ((8, 8), "i8", "array"), ((0, 3), "f4", "array"),
            ((4, 8, 8, 3), "u1", "images"), ((4, 3, 8, 8), "u1", "images"), ((4, 8, 8, 7), "u1", "array"),
            ((65, 8, 8, 3), "u1", "array"), ((4, 3, 8, 8), "f4", "array"), ((2, 2, 2, 2, 2), "u1", "array"),
            ((5,), "c8", "array"), ((5,), "U3", "array"), ((5,), "M8[s]", "array"),
            ((), "M8[s]", "event"), ((5,), "O", "event"),
        ],
    )  # fmt: skip
    def test_shapes(self, shape, dtype, kind):
        """One axis is a histogram, two and three an image where they can be one; floats with four axes are an array."""
        assert kind_of(self.numpy.zeros(shape, dtype)) == kind

    @pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf")])
    def test_floats_that_are_no_image(self, value):
        """Floats outside of 0..1 would be rejected as an image: as an array they are kept."""
        array = self.numpy.zeros((8, 8))
        array[3, 3] = value

        assert kind_of(array) == "array"

    def test_lists(self):
        """A list of scalars is one of numbers, a list of images are images."""
        numpy = self.numpy

        assert kind_of([numpy.float32(1), 2]) == "histogram"
        assert kind_of([numpy.zeros((8, 8)), numpy.zeros((4, 4, 3))]) == "images"
        assert kind_of([numpy.zeros((8, 8)), numpy.zeros(3)]) == "event"

    @pytest.mark.parametrize("library", ["pandas", "polars"])
    def test_frames(self, library):
        """A frame is a table, also if it has a column `dtype`; a column of numbers is a histogram."""
        module = pytest.importorskip(library)

        assert kind_of(module.DataFrame({"dtype": [1, 2]})) == "table"
        assert kind_of(module.Series([1, 2])) == "histogram"
        assert kind_of(module.Series(["a", "b"])) == "event"

    def test_tables_of_arrow(self):
        """A table of Arrow is a table, a column of it is not."""
        pyarrow = pytest.importorskip("pyarrow")

        assert kind_of(pyarrow.table({"a": [1]})) == "table"
        assert kind_of(pyarrow.chunked_array([[1]])) == "event"

    def test_images_of_pillow(self):
        """An image of Pillow is an image."""
        pillow = pytest.importorskip("PIL.Image")

        assert kind_of(pillow.new("RGB", (2, 2))) == "image"


def test_tensors():
    """Tensors have the kinds that arrays have; one whose numbers cannot be read is an array."""
    torch = pytest.importorskip("torch")
    values = [torch.tensor(1.0), torch.zeros(3, dtype=torch.bfloat16), torch.rand(3, 8, 8), -torch.ones(8, 8)]

    assert [kind_of(value) for value in values] == ["metric", "histogram", "image", "array"]
    assert kind_of([torch.tensor(1.0), torch.tensor(2.0)]) == "histogram"
    assert kind_of(torch.zeros(3, 3, device="meta")) == "array"
    assert kind_of(torch.nn.Linear(1, 1)) == "event"


def test_nothing_is_imported(python):
    """Finding the kind of a value imports no library."""
    done = python(
        """
        import sys
        from mlv.media.infer import kind_of
        for value in (1, "a", [1, 2], {}, object()):
            kind_of(value)
        print({"numpy", "torch", "PIL", "pandas", "matplotlib", "plotly"} & set(sys.modules))
        """
    )

    assert (done.stdout, done.stderr) == ("set()\n", "")
