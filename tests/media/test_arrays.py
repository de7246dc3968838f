"""Arrays of any library, and lists of numbers, are read as the bytes that they are."""

from __future__ import annotations

import math
import struct
from array import array
from fractions import Fraction

import pytest

from mlv.media import arrays
from mlv.media.jobs import Unusable


def items(raw: arrays.Raw) -> list[object]:
    """The numbers behind the bytes, read by the standard library."""
    code = {"b1": "?", "i8": "q", "u8": "Q", "f8": "d", "f4": "f", "u1": "B", "i4": "i", "c16": "d"}[raw.descr[1:]]
    return list(struct.unpack(f"<{len(raw.content) // struct.calcsize(code)}{code}", raw.content))


class TestLists:
    @pytest.mark.parametrize(
        ("value", "descr", "shape", "found"),
        [
            ([1, 2, 3], "<i8", (3,), [1, 2, 3]),
            ([[1, 2.5], [3, 4]], "<f8", (2, 2), [1, 2.5, 3, 4]),
            ([True, False], "|b1", (2,), [True, False]),
            ([1, True], "<i8", (2,), [1, 1]),
            ([2**63], "<u8", (1,), [2**63]),
            ([1j, 2], "<c16", (2,), [0, 1, 2, 0]),
            ([Fraction(1, 2), 1], "<f8", (2,), [0.5, 1]),
            ([], "<f8", (0,), []),
            ([[], []], "<f8", (2, 0), []),
            (((1,), (2,)), "<i8", (2, 1), [1, 2]),
            (range(3), "<i8", (3,), [0, 1, 2]),
            (array("f", [0.5]), "<f4", (1,), [0.5]),
            (memoryview(b"\x01\x02\x03\x04")[::2], "|u1", (2,), [1, 3]),
            (3, "<i8", (), [3]),
            (0.5, "<f8", (), [0.5]),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, memoryview) else repr(value),
    )
    def test_numbers(self, value, descr, shape, found):
        """Numbers get one type that holds all of them, and nested lists a shape; none of it needs numpy."""
        raw = arrays.raw(value)

        assert (raw.descr, raw.shape, items(raw)) == (descr, shape, found)
        assert raw.size == math.prod(shape)

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            ([1, [2]], "ragged"),
            ([[1], [2, 3]], "ragged"),
            ([2**64], "beyond 64 bits"),
            (["a"], "holds a value of type str"),
            ([None], "holds a value of type NoneType"),
            ("text", "a value of type str is no array"),
            (b"bytes", "a value of type bytes is no array"),
            (None, "a value of type NoneType is no array"),
            ({1: 2}, "a value of type dict is no array"),
        ],
        ids=repr,
    )
    def test_what_is_no_array(self, value, reason):
        """What cannot be an array is refused, and the reason says what it is."""
        with pytest.raises(Unusable, match=reason):
            arrays.raw(value)

    def test_a_list_in_itself(self):
        """A list that contains itself is refused, too."""
        value: list[object] = []
        value.append(value)

        with pytest.raises(Unusable, match="ragged"):
            arrays.raw(value)


@pytest.mark.parametrize("value", [0.0, -1.5, math.inf, 3.0e38, 1e-40], ids=repr)
def test_bfloat16_is_widened(value):
    """A bfloat16 is the upper half of a float32, so the wider number is exactly the same."""
    upper = struct.pack("<f", value)[2:]

    descr, content = arrays.widened(arrays.BFLOAT16, upper)

    assert (descr, bytes(content)) == ("<f4", b"\0\0" + upper)


class TestWithoutNumpy:
    @pytest.mark.parametrize(
        "descr", ["|b1", "<f2", "<f4", ">f4", "<f8", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8"]
    )
    def test_same_floats(self, monkeypatch, descr):
        """Numbers of each type are read alike with and without numpy."""
        numpy = pytest.importorskip("numpy")
        content = numpy.array([0, 1, 1, 0], descr).tobytes()
        found = arrays.floats(descr, content)
        monkeypatch.setattr(arrays, "numpy_if_there", lambda: None)

        assert list(arrays.floats(descr, content)) == list(found) == [0, 1, 1, 0]
        assert [list(piece) for piece in arrays.floats_in_chunks(descr, content, 3)] == [[0, 1, 1], [0]]

    def test_a_type_that_only_numpy_reads(self, monkeypatch):
        """Where numpy would be needed, it is named."""
        monkeypatch.setattr(arrays, "numpy_if_there", lambda: None)

        with pytest.raises(Unusable, match="pip install numpy"):
            arrays.floats("<f16", bytes(16))


class TestNumpy:
    @pytest.fixture(autouse=True)
    def _numpy(self):
        self.numpy = pytest.importorskip("numpy")

    def test_memory_is_shared(self):
        """What is contiguous already is not copied."""
        value = self.numpy.zeros((2, 3), "f4")

        raw = arrays.raw(value)
        value[0, 0] = 1

        assert items(raw) == [1, 0, 0, 0, 0, 0]

    @pytest.mark.parametrize("make", [lambda value: value.T, lambda value: value[:, ::-1], lambda value: value.astype(">i4")])
    def test_layouts(self, make):
        """Whatever the layout in memory, the bytes are in C order and little-endian."""
        value = make(self.numpy.arange(6, dtype="i4").reshape(2, 3))

        raw = arrays.raw(value)

        assert raw.descr == "<i4"
        assert raw.shape == value.shape
        assert items(raw) == value.ravel().tolist()

    def test_scalars_and_lists_of_arrays(self):
        """A scalar has no axis; arrays of one shape in a list get one more; a list of scalars is one of numbers."""
        numpy = self.numpy

        assert arrays.raw(numpy.float32(0.5)).shape == ()
        assert arrays.raw([numpy.zeros((2, 3)), numpy.ones((2, 3))]).shape == (2, 2, 3)
        assert items(arrays.raw([numpy.float32(0.5), numpy.int8(1)])) == [0.5, 1]

    def test_what_is_refused(self):
        """Objects, records, masked items and arrays of different shapes have no common bytes."""
        numpy = self.numpy
        with pytest.raises(Unusable, match="dtype object"):
            arrays.raw(numpy.array([object()]))
        with pytest.raises(Unusable, match="no items of a fixed type"):
            arrays.raw(numpy.zeros(2, [("a", "f4")]))
        with pytest.raises(Unusable, match="masked"):
            arrays.raw(numpy.ma.array([1, 2], mask=[True, False]))
        with pytest.raises(Unusable, match=r"different shapes or types \(float64 \(2,\), float64 \(3,\)\)"):
            arrays.raw([numpy.zeros(2), numpy.zeros(3)])

    def test_columns_of_pandas(self):
        """What says that it is an array, as a column of pandas does, is one."""
        pandas = pytest.importorskip("pandas")

        assert items(arrays.raw(pandas.Series([0.5, 1.5]))) == [0.5, 1.5]


class TestTorch:
    @pytest.fixture(autouse=True)
    def _torch(self):
        self.torch = pytest.importorskip("torch")

    @pytest.mark.parametrize(
        ("name", "descr"),
        [
            ("float32", "<f4"), ("float16", "<f2"), ("bfloat16", "bfloat16"), ("float8_e4m3fn", "<f4"), ("int64", "<i8"),
            ("uint8", "|u1"), ("bool", "|b1"), ("complex64", "<c8"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("has_numpy", [True, False])
    def test_each_type(self, monkeypatch, name, descr, has_numpy):
        """Tensors of each type are read, with numpy beside torch or without."""
        if not has_numpy:
            monkeypatch.setattr(self.torch.Tensor, "numpy", _raising)
        tensor = self.torch.tensor([[0, 1], [1, 1]]).to(getattr(self.torch, name))

        raw = arrays.raw(tensor)

        assert (raw.descr, raw.shape, raw.dtype) == (descr, (2, 2), name)
        if raw.kind in "biuf":
            assert list(arrays.floats(raw.descr, raw.content)) == [0, 1, 1, 1]

    def test_each_form(self):
        """Gradients, transposition, sparse layout and pending conjugation make no difference."""
        torch = self.torch
        for tensor in [
            torch.arange(4.0).reshape(2, 2).T.requires_grad_(),
            torch.tensor([[0.0, 2.0], [1.0, 3.0]]).to_sparse(),
            torch.tensor([[0.0, 2.0], [1.0, 3.0]]).to(torch.complex64).conj().real,
        ]:
            assert items(arrays.raw(tensor)) == [0, 2, 1, 3]
        assert struct.unpack("<2f", arrays.raw(torch.tensor([1 + 2j]).conj()).content) == (1, -2)

    def test_scalars_in_a_list(self):
        """Losses that were collected in a list are a row of numbers."""
        assert items(arrays.raw([self.torch.tensor(0.5), self.torch.tensor(1.5)])) == [0.5, 1.5]

    def test_a_tensor_without_data(self):
        """A tensor on the meta device has no numbers, and the reason is torch's."""
        with pytest.raises(Unusable, match="meta tensor"):
            arrays.raw(self.torch.zeros(2, device="meta"))


def _raising(self):
    raise RuntimeError("Numpy is not available")
