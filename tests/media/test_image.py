"""Arrays become PNG files that hold exactly their pixels; what is no image is refused in words."""

from __future__ import annotations

import math
import sys

import pytest

from media.places import Folder
from mlv.media import image
from mlv.media.jobs import Unusable

numpy = pytest.importorskip("numpy")

RANDOM = numpy.random.default_rng(0)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "media")


@pytest.fixture
def pillow():
    return pytest.importorskip("PIL.Image")


def pixels(*shape):
    return RANDOM.integers(0, 256, shape, dtype=numpy.uint8)


def test_what_is_left(folder, pillow):
    """One PNG, and data that refers to it and says its size."""
    value = pixels(4, 6, 3)

    data = folder.data(image.prepare(value, caption="a cat"))

    path = folder.at(data["file"])
    assert data == {"file": data["file"], "width": 6, "height": 4, "channels": 3, "caption": "a cat"}
    assert data["file"]["media_type"] == "image/png"
    assert numpy.array_equal(numpy.asarray(pillow.open(path)), value)


SHAPES = [
    ((5, 7), None, (5, 7, 1)),
    ((5, 7, 1), None, (5, 7, 1)),
    ((5, 7, 2), None, (5, 7, 2)),
    ((5, 7, 3), None, (5, 7, 3)),
    ((5, 7, 4), None, (5, 7, 4)),
    ((1, 5, 7), None, (5, 7, 1)),
    ((3, 5, 7), None, (5, 7, 3)),
    ((4, 5, 7), None, (5, 7, 4)),
    ((3, 3, 3), None, (3, 3, 3)),
    ((3, 5, 4), None, (3, 5, 4)),
    ((3, 5, 4), "CHW", (5, 4, 3)),
    ((7, 5, 3), "WHC", (5, 7, 3)),
    ((1, 5, 7, 3), None, (5, 7, 3)),
    ((1, 3, 5, 7), None, (5, 7, 3)),
    ((1, 3, 5, 3), "nchw", (5, 3, 3)),
    ((1, 1), None, (1, 1, 1)),
]


@pytest.mark.parametrize(("shape", "layout", "expected"), SHAPES)
def test_shapes(folder, pillow, shape, layout, expected):
    """Rows, columns and channels are known by the shape; where it leaves a choice HWC wins, unless a layout is given."""
    data = folder.data(image.prepare(pixels(*shape), layout=layout))

    assert (data["height"], data["width"], data["channels"]) == expected


@pytest.mark.parametrize(
    "view",
    [
        lambda array: array.transpose(1, 0, 2),
        lambda array: numpy.asfortranarray(array),
        lambda array: array[2:9, 3:7],
        lambda array: array[::-1, ::-2],
        lambda array: numpy.broadcast_to(array[:1], array.shape),
        lambda array: numpy.moveaxis(numpy.ascontiguousarray(numpy.moveaxis(array, -1, 0)), 0, -1),
    ],
    ids=["transposed", "fortran", "cut out", "turned", "broadcast", "channels first in memory"],
)
def test_any_order_of_memory(folder, pillow, view):
    """Views of an array are stored as what they show."""
    value = view(pixels(11, 8, 3))

    data = folder.data(image.prepare(value))

    assert numpy.array_equal(numpy.asarray(pillow.open(folder.at(data["file"]))), value)


def test_nothing_is_copied():
    """Contiguous arrays are handed over as the memory that they are, in whatever order their axes lie."""
    value = pixels(11, 8, 3)

    parts = [image.prepare(view).buffers[0] for view in (value, value.transpose(2, 0, 1), value.transpose(1, 0, 2))]

    assert all(numpy.shares_memory(numpy.frombuffer(part, "u1"), value) for part in parts)


DTYPES = [
    ("uint8", [0, 128, 255], [0, 128, 255]),
    ("bool", [False, True, True], [0, 255, 255]),
    ("int64", [0, 7, 255], [0, 7, 255]),
    ("uint16", [0, 7, 255], [0, 7, 255]),
    (">i4", [0, 7, 255], [0, 7, 255]),
    ("float16", [0, 0.5, 1], [0, 128, 255]),
    ("float32", [0, 0.5, 1], [0, 128, 255]),
    (">f8", [0, 0.25, 1], [0, 64, 255]),
    ("float32", [-0.001, 0.5, 1.001], [0, 128, 255]),
]


@pytest.mark.parametrize(("dtype", "values", "expected"), DTYPES)
def test_dtypes(folder, pillow, dtype, values, expected):
    """Floats are levels from 0 to 1, what is true is white, and integers are the levels themselves."""
    data = folder.data(image.prepare(numpy.array([values], dtype)))

    assert numpy.asarray(pillow.open(folder.at(data["file"]))).tolist() == [expected]


NO_IMAGES = [
    (lambda: pixels(5), r"shape \(5,\) is no image: known are HW, HWC or CHW"),
    (lambda: pixels(5, 6, 7), r"shape \(5, 6, 7\)"),
    (lambda: pixels(8, 6, 7, 3), "for a batch there is `images`"),
    (lambda: pixels(0, 6, 3), r"shape \(0, 6, 3\) has no pixels"),
    (lambda: numpy.zeros((4, 4), complex), "dtype complex128 has no pixels: give uint8"),
    (lambda: numpy.zeros((4, 4), object), "dtype object"),
    (lambda: numpy.zeros((4, 4), "datetime64[s]"), "dtype datetime64"),
    (lambda: [[0, 1], [1, 0]], "type list is no array"),
    (lambda: None, "type NoneType is no array"),
]


@pytest.mark.parametrize(("make", "reason"), NO_IMAGES)
def test_what_is_no_image(make, reason):
    """It is refused at once, and the text says what was seen and what is known."""
    with pytest.raises(Unusable, match=reason):
        image.prepare(make())


@pytest.mark.parametrize("layout", ["HW", "HWCC", "NHWC", "CWHX", 5, "THW"])
def test_a_layout_that_cannot_be(layout):
    """A layout has the letters that it needs, one for each axis."""
    with pytest.raises(Unusable, match="has no layout"):
        image.prepare(pixels(5, 6, 3), layout=layout)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_slightly_out_of_range(dtype, folder, pillow):
    """W17: what filters and resizing overshoot is cut off and counted: the image is not lost."""
    value = numpy.array([[-0.01, 0.5], [1.05, 1.0]], dtype)

    data = folder.data(image.prepare(value))

    assert data["clipped"] == 2
    assert numpy.asarray(pillow.open(folder.at(data["file"]))).tolist() == [[0, 128], [255, 255]]


def test_masked():
    """W8: what lies under a mask is no picture; an array without masked items is one."""
    value = numpy.ma.array([[0.0, 0.5]], mask=[[True, False]])

    with pytest.raises(Unusable, match="masked items: fill them"):
        image.prepare(value)
    with pytest.raises(Unusable, match="masked items: fill them"):
        image.prepare_many([value])
    image.prepare(numpy.ma.array([[0.0, 0.5]]))


BAD_VALUES = [
    (numpy.full((2, 3), math.nan, "f4"), "6 of 6 values that are NaN or infinite"),
    (numpy.array([[0.5, math.inf]]), "1 of 2 values"),
    (numpy.array([[0.0, 128.0]]), r"from 0 to 128 instead of 0\.\.1: divide by 255"),
    (numpy.array([[-1.0, 1.0]]), r"from -1 to 1 instead of 0\.\.1: scale them"),
    (numpy.array([[0, 256]]), "from 0 to 256: scale"),
    (numpy.array([[-1, 5]], "i1"), "from -1 to 5: scale"),
]


@pytest.mark.parametrize(("value", "reason"), BAD_VALUES)
def test_values_out_of_range(folder, value, reason):
    """A worker rejects the event, leaves no file, and says which values it saw."""
    import re

    assert re.search(reason, folder.reason(image.prepare(value)))


class OfAnotherLibrary:
    """What can only say that it is an array, as those of JAX do."""

    def __init__(self, array):
        self._array = array

    def __array__(self, dtype=None, copy=None):
        return self._array


def test_arrays_of_other_libraries(folder, pillow):
    """Whatever has `__array__` is an array."""
    value = pixels(4, 5, 3)

    data = folder.data(image.prepare(OfAnotherLibrary(value)))

    assert numpy.array_equal(numpy.asarray(pillow.open(folder.at(data["file"]))), value)


def test_an_array_that_raises():
    """What a library says when it cannot give its array is passed on."""

    class OnADevice:
        def __array__(self, *_, **__):
            raise TypeError("implicit conversion is not allowed")

    with pytest.raises(Unusable, match="implicit conversion"):
        image.prepare(OnADevice())


@pytest.mark.parametrize("dtype", ["uint8", "bool", "float32", "float16", "bfloat16", "float64"])
def test_tensors(folder, pillow, dtype):
    """Tensors of torch are taken with their gradients, of any dtype, channels first."""
    torch = pytest.importorskip("torch")
    value = torch.tensor([[[0, 1, 1, 0, 1], [1, 0, 1, 1, 1]]] * 3).to(getattr(torch, dtype))
    expected = 1 if dtype == "uint8" else 255

    data = folder.data(image.prepare(value.requires_grad_() if value.is_floating_point() else value))

    assert (data["height"], data["width"], data["channels"]) == (2, 5, 3)
    assert numpy.asarray(pillow.open(folder.at(data["file"])))[0, :3, 0].tolist() == [0, expected, expected]


MODES = [
    ("L", 1),
    ("LA", 2),
    ("RGB", 3),
    ("RGBA", 4),
    ("1", 1),
    ("P", 3),
    ("CMYK", 3),
    ("YCbCr", 3),
    ("La", 2),
    ("I", 1),
    ("F", 1),
]


@pytest.mark.parametrize(("mode", "channels"), MODES)
def test_images_of_pillow(folder, pillow, mode, channels):
    """They are stored with 8 bits a channel, in the mode that is nearest to theirs."""
    value = pillow.new(mode, (5, 4), 1 if mode in "1IF" else None)

    data = folder.data(image.prepare(value))

    assert (data["height"], data["width"], data["channels"]) == (4, 5, channels)


def test_pillow_alone(python, pillow):
    """An image of Pillow comes through where numpy is missing."""
    done = python("""
        import sys
        sys.modules["numpy"] = None
        from PIL import Image
        from mlv.media import image
        from mlv.media.jobs import Unusable

        class Target:
            def file(self, suffix, content, label=""):
                return {"suffix": suffix, "begins": bytes(content[1:4]).decode()}

        prepared = image.prepare(Image.new("RGB", (3, 2), "red"))
        print(image.encode(prepared.options, prepared.buffers, Target()))
    """)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "{'file': {'suffix': '.png', 'begins': 'PNG'}, 'width': 3, 'height': 2, 'channels': 3}\n"


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_without_pillow(folder, monkeypatch, dtype):
    """The pixels are stored as an array, rows, columns and channels, and the data says so."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    value = numpy.array([[0, 1], [1, 0], [1, 1]], dtype)

    data = folder.data(image.prepare(value, masks={"m": value.astype(bool)}))

    assert (data["encoding"], data["width"], data["height"], data["channels"]) == ("npy", 2, 3, 1)
    assert data["file"]["media_type"] == "application/x-npy"
    found = numpy.load(folder.at(data["file"]), allow_pickle=False)
    assert found.dtype == numpy.uint8
    assert found.tolist() == (value.astype("u1") * (1 if dtype == "uint8" else 255))[..., None].tolist()
    assert numpy.load(folder.at(data["masks"]["m"]["file"])).tolist() == value.tolist()


# Boxes and masks.


def test_boxes(folder, pillow):
    """Boxes come with plain numbers, and keep what else they say."""
    boxes = [{"box": numpy.array([0, 1, 2, 3]), "label": "cat", "score": numpy.float32(0.5)}, {"box": (1.5, 1, 2, 2), "id": 7}]

    data = folder.data(image.prepare(pixels(4, 4), boxes=boxes))

    assert data["boxes"] == [
        {"box": [0.0, 1.0, 2.0, 3.0], "label": "cat", "score": 0.5},
        {"box": [1.5, 1.0, 2.0, 2.0], "id": 7},
    ]


def test_boxes_as_an_array(folder, pillow):
    """Boxes alone may be the rows of an array."""
    data = folder.data(image.prepare(pixels(4, 4), boxes=numpy.array([[0, 1, 2, 3], [1, 1, 2, 2]])))

    assert data["boxes"] == [{"box": [0.0, 1.0, 2.0, 3.0]}, {"box": [1.0, 1.0, 2.0, 2.0]}]


@pytest.mark.parametrize(
    ("boxes", "reason"),
    [
        ({"box": [0, 0, 1, 1]}, "of type dict: give a list"),
        (5, "of type int: give a list"),
        ([{"box": [0, 0, 1]}], "is no box"),
        ([{"label": "cat"}], "is no box"),
        (["cat"], "is no box"),
        ([[2, 0, 1, 1]], "not in the order"),
        ([[0, 0, math.nan, 1]], "not finite"),
        ([[0, 0, math.inf, 1]], "not finite"),
    ],
)
def test_what_are_no_boxes(boxes, reason):
    """It is refused at once."""
    with pytest.raises(Unusable, match=reason):
        image.prepare(pixels(4, 4), boxes=boxes)


@pytest.mark.parametrize(("dtype", "most"), [("bool", 1), ("uint8", 255), ("int64", 255), ("int32", 65_535), (">u2", 65_535)])
def test_masks(folder, pillow, dtype, most):
    """The number of each pixel's class is kept exactly, and what the numbers mean beside it."""
    mask = RANDOM.integers(0, most + 1, (5, 4)).astype(dtype)
    mask[0, 0] = most

    data = folder.data(
        image.prepare(pixels(5, 4, 3), masks={"truth": mask, "guess": {"mask": mask.T.copy().T, "classes": {1: "cat"}}})
    )

    assert data["masks"]["guess"]["classes"] == {"1": "cat"}
    for name in ("truth", "guess"):
        path = folder.at(data["masks"][name]["file"])
        assert name in path.name
        assert numpy.array_equal(numpy.asarray(pillow.open(path)), mask)


@pytest.mark.parametrize(
    ("masks", "reason"),
    [
        ([numpy.zeros((4, 4), int)], "of type list: give a mapping"),
        ({"a": numpy.zeros((4, 4))}, "mask 'a' of shape .* and dtype float64 is none"),
        ({"a": numpy.zeros((4, 4, 3), int)}, "is none: give integers or bool of the shape HW"),
        ({"a": "cat.png"}, "mask 'a': a value of type str is no array"),
        ({1: numpy.zeros((4, 4), int), "1": numpy.zeros((4, 4), int)}, "two masks are named '1'"),
    ],
)
def test_what_are_no_masks(masks, reason):
    """It is refused at once."""
    with pytest.raises(Unusable, match=reason):
        image.prepare(pixels(4, 4), masks=masks)


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (numpy.zeros((4, 5), int), "mask 'a' of 5x4 lies on an image of 4x4"),
        (numpy.full((4, 4), -1), "classes from -1 to -1"),
        (numpy.full((4, 4), 65_536), "classes from 65536 to 65536"),
    ],
)
def test_masks_that_do_not_fit(folder, pillow, mask, reason):
    """A worker rejects the event, and leaves no file, not even that of the image."""
    assert reason in folder.reason(image.prepare(pixels(4, 4), masks={"a": mask}))


# Many.


@pytest.mark.parametrize(
    ("shape", "layout"), [((3, 5, 7), None), ((3, 5, 7, 4), None), ((3, 4, 5, 7), None), ((3, 5, 2), "NHW")]
)
def test_batches(folder, pillow, shape, layout):
    """Each image of a batch is a file; the data lists them in order, with their sizes and captions."""
    value = pixels(*shape)

    data = folder.data(image.prepare_many(value, captions=["a", "b", "c"], layout=layout))

    rows, columns = (shape[2], shape[3]) if shape == (3, 4, 5, 7) else (shape[1], shape[2])
    assert data["sizes"] == [[columns, rows]] * 3
    assert data["captions"] == ["a", "b", "c"]
    found = [numpy.asarray(pillow.open(folder.at(file))) for file in data["files"]]
    expected = value.transpose(0, 2, 3, 1) if shape == (3, 4, 5, 7) else value
    assert numpy.array_equal(numpy.stack(found), expected)


def test_a_list(folder, pillow, tmp_path):
    """A list may hold whatever one image can be, of any sizes."""
    pillow.new("L", (9, 8)).save(tmp_path / "a.jpg")

    data = folder.data(image.prepare_many([pixels(5, 6), pixels(3, 7, 8), tmp_path / "a.jpg", pillow.new("RGB", (2, 1))]))

    assert data["sizes"] == [[6, 5], [8, 7], [9, 8], [2, 1]]
    assert [file["media_type"] for file in data["files"]] == ["image/png", "image/png", "image/jpeg", "image/png"]


@pytest.mark.parametrize(
    ("values", "options", "reason"),
    [
        ([], {}, "empty list"),
        ([pixels(4, 4), pixels(4)], {}, r"image 1 of 2: an array of shape \(4,\)"),
        (pixels(4, 4), {}, "does not hold many images: known are NHW"),
        (pixels(40, 40, 3), {}, "may be one image or 40: say layout='NHW'"),
        (pixels(4, 4, 4, 5, 5), {}, "does not hold many"),
        (pixels(4, 5, 5), {"layout": "CHW"}, "has no layout 'CHW'"),
        (pixels(2, 4, 4), {"captions": ["a"]}, "1 captions for 2 images"),
        (pixels(2, 5, 5), {"captions": "ab"}, "captions are of type str"),
        ("cat.png", {}, "type str is no array"),
    ],
)
def test_what_are_no_images(values, options, reason):
    """It is refused at once, and the text says which one of a list it is."""
    with pytest.raises(Unusable, match=reason):
        image.prepare_many(values, **options)


def test_one_bad_image_of_many(folder, pillow):
    """None of the files is left when one image cannot be stored."""
    values = numpy.zeros((3, 4, 5))
    values[2, 0, 0] = math.nan

    assert "1 of 20 values" in folder.reason(image.prepare_many(values))
