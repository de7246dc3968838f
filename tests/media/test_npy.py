"""Headers of `.npy` files that are written by hand are those that numpy reads and writes."""

from __future__ import annotations

import io

import pytest

from mlv.media import npy

numpy = pytest.importorskip("numpy")

SHAPES = [(), (1,), (5,), (2, 3), (256, 256, 3), (0, 4), (10**12,) * 6]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("descr", ["|u1", "|b1", "<u2", "<f4", ">f8"])
def test_the_header(descr, shape):
    """numpy reads the type and the shape back, and what follows begins at a multiple of 64 bytes."""
    header = npy.header(descr, shape)

    file = io.BytesIO(header)
    assert numpy.lib.format.read_magic(file) == (1, 0)
    assert numpy.lib.format.read_array_header_1_0(file) == (shape, False, numpy.dtype(descr))
    assert file.tell() == len(header)
    assert len(header) % 64 == 0


def test_a_file(tmp_path):
    """The header and the items make a file that numpy loads without pickle."""
    array = numpy.arange(24, dtype="<f4").reshape(2, 3, 4)
    path = tmp_path / "array.npy"

    path.write_bytes(npy.header("<f4", (2, 3, 4)) + array.tobytes())

    assert numpy.array_equal(numpy.load(path, allow_pickle=False), array)
