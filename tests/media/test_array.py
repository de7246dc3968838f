"""Arrays of any shape and type lie in `.npy` files that anybody can load."""

from __future__ import annotations

import pytest

from media.places import Folder
from mlv.media import array
from mlv.media.jobs import Unusable

numpy = pytest.importorskip("numpy")

DTYPES = [
    "|b1",
    "|i1",
    "<i2",
    ">i4",
    "<i8",
    "|u1",
    "<u8",
    "<f2",
    "<f4",
    ">f8",
    "<c8",
    "<c16",
    "<U3",
    "|S2",
    "<M8[ns]",
    "<m8[s]",
]


def loaded(folder, data):
    return numpy.load(folder.at(data["file"]), allow_pickle=False)


@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 0), (3, 4), (2, 3, 4, 5)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_each_type_and_shape(tmp_path, dtype, shape):
    """What is loaded is what was logged, and the event names its shape and type."""
    count = int(numpy.prod(shape))
    value = (numpy.arange(count) % 2).astype("i8").astype(dtype).reshape(shape)
    folder = Folder(tmp_path)

    data = folder.data(array.prepare(value))

    found = loaded(folder, data)
    assert found.dtype == value.dtype.newbyteorder("<")
    assert numpy.array_equal(found, value)
    assert found.shape == shape
    assert data == {"file": data["file"], "shape": list(shape), "dtype": str(found.dtype)}
    assert data["file"]["media_type"] == "application/x-npy"


def test_any_array(tmp_path):
    """Property: every array that numpy can make of numbers comes back bit by bit."""
    hypothesis = pytest.importorskip("hypothesis")
    strategies = pytest.importorskip("hypothesis.extra.numpy")
    folder = Folder(tmp_path)

    @hypothesis.settings(max_examples=50, deadline=None)
    @hypothesis.given(strategies.arrays(strategies.scalar_dtypes(), strategies.array_shapes(min_dims=0, min_side=0)))
    def holds(value):
        found = loaded(folder, folder.data(array.prepare(value)))
        assert found.tobytes() == value.astype(value.dtype.newbyteorder("<")).tobytes()
        assert found.shape == value.shape

    holds()


def test_lists(tmp_path):
    """A list of lists of numbers is an array."""
    folder = Folder(tmp_path)

    assert loaded(folder, folder.data(array.prepare([[1, 2], [3, 4]]))).tolist() == [[1, 2], [3, 4]]


def test_what_numpy_has_no_type_for(tmp_path):
    """A bfloat16 tensor is stored as float32, and the event says what it was."""
    torch = pytest.importorskip("torch")
    folder = Folder(tmp_path)

    data = folder.data(array.prepare(torch.tensor([1.5, -2.0], dtype=torch.bfloat16)))

    assert (data["dtype"], data["dtype_logged"]) == ("float32", "bfloat16")
    assert loaded(folder, data).tolist() == [1.5, -2.0]


def test_objects():
    """An array of objects would need pickle: it is refused, and the way out is named."""
    with pytest.raises(Unusable, match=r"astype\(float\)"):
        array.prepare(numpy.array([1, None]))
